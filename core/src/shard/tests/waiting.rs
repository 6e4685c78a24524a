//! Fetches that wait: for how much, and what wakes them.

use super::world::World;
use crate::kafka::{Api, ErrorCode, RequestBody};
use crate::limits::Limits;
use crate::metadata::Command;
use crate::session::RequestNumber;
use crate::shard::Mail;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

fn fetch(world: &mut World, min_bytes: i32, max_bytes: i32) -> RequestNumber {
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
    let topic = TopicName(StrBytes::from_static_str("orders"));
    let topics = vec![FetchTopic::default().with_topic(topic).with_partitions(vec![partition])];
    let request = FetchRequest::default()
        .with_max_wait_ms(1_000)
        .with_min_bytes(min_bytes)
        .with_max_bytes(max_bytes)
        .with_topics(topics);
    world.ask(Api::Fetch, 11, RequestBody::Fetch(Box::new(request)))
}

fn is_answered(world: &World, number: RequestNumber) -> bool {
    world.answers.iter().any(|(to, _)| *to == number)
}

/// A broker with a partition that holds a batch, and the batch's length.
fn world() -> (World, i32) {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 1);
    world.write("orders", 0, &[1]);
    // The header of a batch, and a record of ten bytes: all batches here are alike.
    let length = (1..2_000).find(|min| {
        let number = fetch(&mut world, *min, 1 << 20);
        !is_answered(&world, number)
    });
    world.pass(Duration::from_secs(1));
    (world, length.expect("there is one batch") - 1)
}

#[test]
fn enough_is_what_there_was_and_what_has_come_since() {
    let (mut world, length) = world();
    let number = fetch(&mut world, 3 * length, 1 << 20);
    world.write("orders", 0, &[1]);
    assert!(!is_answered(&world, number), "a batch is missing");
    world.write("orders", 0, &[1]);
    assert!(is_answered(&world, number));
}

#[test]
fn more_at_least_than_at_most_is_at_most() {
    let (mut world, length) = world();
    let number = fetch(&mut world, 1 << 20, length);
    assert!(is_answered(&world, number));
}

#[test]
fn limits_that_no_whole_batch_fills_do_not_make_it_wait_for_ever() {
    let (mut world, length) = world();
    let number = fetch(&mut world, 2 * length - 1, 2 * length - 1);
    assert!(!is_answered(&world, number));
    world.write("orders", 0, &[1]);
    assert!(is_answered(&world, number), "enough has come, though the second batch does not fit");
}

#[test]
fn a_fetch_of_several_partitions_of_a_topic_that_is_deleted_finds_none_of_them() {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 3);
    for partition in 0..3 {
        world.write("orders", partition, &[1]);
    }
    let partition = |index| FetchPartition::default().with_partition(index).with_partition_max_bytes(1 << 20);
    let topic = TopicName(StrBytes::from_static_str("orders"));
    let topics = vec![FetchTopic::default().with_topic(topic).with_partitions((0..3).map(partition).collect())];
    let request = FetchRequest::default()
        .with_max_wait_ms(1_000)
        .with_min_bytes(1 << 20)
        .with_max_bytes(1 << 20)
        .with_topics(topics);
    let number = world.ask(Api::Fetch, 11, RequestBody::Fetch(Box::new(request)));
    let id = world.id_of("orders");
    world.command(Command::DeleteTopic { id });
    let answer: FetchResponse = world.answer(number, 11);
    let codes: Vec<i16> = answer.responses[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(codes, [ErrorCode::NotLeaderOrFollower.code(); 3]);
}

#[test]
fn an_unknown_partition_beside_others_is_told_in_time_and_alone_at_once() {
    let ask = |world: &mut World, wanted: &[i32]| {
        let partition =
            |index: &i32| FetchPartition::default().with_partition(*index).with_partition_max_bytes(1 << 20);
        let topic = TopicName(StrBytes::from_static_str("orders"));
        let partitions = wanted.iter().map(partition).collect();
        let topics = vec![FetchTopic::default().with_topic(topic).with_partitions(partitions)];
        let request = FetchRequest::default().with_max_wait_ms(500).with_min_bytes(1).with_topics(topics);
        world.ask(Api::Fetch, 11, RequestBody::Fetch(Box::new(request)))
    };
    let mut world = World::new(&Limits::default());
    world.topic("orders", 1);
    let alone = ask(&mut world, &[7]);
    assert!(is_answered(&world, alone));
    let number = ask(&mut world, &[0, 7]);
    assert!(!is_answered(&world, number), "a client that goes on asking would ask without a pause");
    world.pass(Duration::from_millis(500));
    let answer: FetchResponse = world.answer(number, 11);
    let codes: Vec<i16> = answer.responses[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    let number = ask(&mut world, &[0, 7]);
    world.write("orders", 0, &[1]);
    assert!(is_answered(&world, number), "records wake it");
}

#[test]
fn what_has_not_come_in_time_is_not_waited_for() {
    let (mut world, length) = world();
    let number = fetch(&mut world, 3 * length, 1 << 20);
    world.pass(Duration::from_millis(999));
    assert!(!is_answered(&world, number));
    world.pass(Duration::from_millis(1));
    assert!(is_answered(&world, number));
}

#[test]
fn a_produce_that_waits_for_nobody_is_answered_when_it_is_durable() {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 1);
    world.mail(Mail::Granted(1 << 20));
    let number = world.produce_in("orders", 9);
    world.pass(Duration::from_millis(900));
    assert!(!is_answered(&world, number), "its timeout is 0, and it waits for the WAL alone");
    world.write_out().expect("it is on its way");
    let answer: ProduceResponse = world.answer(number, 9);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    let number = world.produce_in("orders", 9);
    world.pass(Duration::from_secs(1));
    let answer: ProduceResponse = world.answer(number, 9);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::RequestTimedOut.code());
}
