//! Answers are paid for before they are made, and who holds up others is told so.

use super::world::{CONN, World};
use crate::id::ConnId;
use crate::kafka::{Api, RequestBody};
use crate::limits::Limits;
use crate::session::{self, Answer, Fee, RequestNumber};
use crate::shard::{Arrival, Mail, Pool};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

const OTHER: ConnId = ConnId(2);

fn limits() -> Limits {
    Limits { answer_credit: 2_000, control_answer_credit: 2_000, idle_credit: 100, batch: 600, ..Limits::default() }
}

/// A broker whose topic holds two batches of about 400 bytes each.
fn world() -> World {
    let mut world = World::new(&limits());
    world.topic("orders", 1);
    world.write("orders", 0, &[16, 16]);
    world.mail(Mail::Opened(OTHER, Arrival::default()));
    world
}

fn fetch(world: &mut World, conn: ConnId) -> RequestNumber {
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
    let topic = TopicName(StrBytes::from_static_str("orders"));
    let topics = vec![FetchTopic::default().with_topic(topic).with_partitions(vec![partition])];
    let request = FetchRequest::default().with_max_wait_ms(1_000).with_max_bytes(1 << 20).with_topics(topics);
    world.ask_as(conn, Api::Fetch, 11, RequestBody::Fetch(Box::new(request)))
}

fn metadata(world: &mut World, conn: ConnId) -> RequestNumber {
    let request = MetadataRequest::default().with_topics(None);
    world.ask_as(conn, Api::Metadata, 9, RequestBody::Metadata(request))
}

fn paid(world: &mut World, number: RequestNumber) -> Option<(usize, Fee)> {
    let at = world.answers.iter().position(|(to, _)| *to == number)?;
    match world.answers.remove(at).1 {
        Answer::Paid(body, fee) => Some((body.len(), fee)),
        other => panic!("nothing was paid for {other:?}"),
    }
}

#[test]
fn records_are_found_again_when_there_is_credit_for_them() {
    let mut world = world();
    let first = fetch(&mut world, CONN);
    let (length, fee) = paid(&mut world, first).expect("there is credit for one");
    assert_eq!(fee.pool, Pool::Answers);
    assert!(fee.bytes >= length as u64 && length > 300, "{length} of {}", fee.bytes);
    let mut unread = vec![fee];
    let number = loop {
        let number = fetch(&mut world, CONN);
        match paid(&mut world, number) {
            Some((_, fee)) => unread.push(fee),
            None => break number,
        }
        assert!(unread.len() < 5, "credit ends");
    };
    world.mail(Mail::CreditBack(CONN, Pool::Answers, unread[0].bytes));
    let (_, fee) = paid(&mut world, number).expect("an answer has left");
    unread[0] = fee;
    for fee in unread {
        world.mail(Mail::CreditBack(CONN, fee.pool, fee.bytes));
    }
    world.mail(Mail::Closed(CONN));
    world.mail(Mail::Closed(OTHER));
    assert!(world.shard.credit_is_whole());
}

#[test]
fn a_small_answer_costs_nothing() {
    let mut world = World::new(&Limits { idle_credit: 1_000, ..limits() });
    world.topic("orders", 1);
    world.write("orders", 0, &[1]);
    let number = fetch(&mut world, CONN);
    assert!(paid(&mut world, number).is_some_and(|(_, fee)| fee.bytes == 0));
    let number = metadata(&mut world, CONN);
    assert!(world.answered(number).is_some());
}

#[test]
fn metadata_of_many_topics_waits_for_those_before_it_to_be_read() {
    let mut world = world();
    for topic in ["a", "b", "c"] {
        world.topic(topic, 4);
    }
    let first = metadata(&mut world, CONN);
    let (length, fee) = paid(&mut world, first).expect("there is credit for one");
    assert_eq!(fee.pool, Pool::ControlAnswers);
    assert!(fee.bytes >= length as u64, "{length} of {}", fee.bytes);
    let second = metadata(&mut world, OTHER);
    assert!(paid(&mut world, second).is_none(), "2,000 bytes are not enough for two");
    world.mail(Mail::CreditBack(CONN, fee.pool, fee.bytes));
    assert!(paid(&mut world, second).is_some());
}

#[test]
fn who_holds_what_others_wait_for_is_told_to_hurry_until_nobody_waits() {
    let mut world = world();
    let told = |world: &mut World| -> Vec<ConnId> {
        let told = core::mem::take(&mut world.told);
        told.into_iter().filter(|(_, mail)| matches!(mail, session::Mail::Hurry)).map(|(conn, _)| conn).collect()
    };
    world.mail(Mail::CreditWanted(CONN, Pool::LargeProduce, u64::MAX));
    world.pass(Duration::from_secs(10));
    assert_eq!(told(&mut world), [], "nobody waits");
    world.mail(Mail::CreditWanted(OTHER, Pool::LargeProduce, 1));
    world.pass(limits().crowded_after - Duration::from_millis(1));
    assert_eq!(told(&mut world), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(told(&mut world), [CONN]);
    world.pass(limits().crowded_after);
    assert_eq!(told(&mut world), [CONN]);
    world.mail(Mail::Closed(CONN));
    world.pass(limits().crowded_after);
    assert_eq!(told(&mut world), []);
}
