//! Idempotent producers at a shard: ids, duplicates, and partitions whose producers are still being read.

use super::world::{CONN, World};
use crate::data_object::sample;
use crate::id::{ConnId, Offset, PartitionIndex, StreamEpoch, StreamId};
use crate::kafka::{Acks, Api, CheckedBatch, ErrorCode, Produce, ProducePartition, ProduceTopic, RequestBody};
use crate::limits::Limits;
use crate::machine::Rng;
use crate::metadata::Command;
use crate::session::RequestNumber;
use crate::shard::Mail;
use crate::shard::partition::AGAIN;
use crate::wal::Appended;
use alloc::vec;
use core::time::Duration;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProduceResponse, TransactionalId};
use kafka_protocol::protocol::StrBytes;

const STREAM: StreamId = StreamId(1);

/// A broker with a topic of one partition, producer ids 0 to 9 issued, and room in the WAL.
fn world() -> World {
    let mut world = full();
    world.mail(Mail::Granted(1 << 20));
    world
}

/// The same without room.
fn full() -> World {
    let mut world = World::new(&Limits { producer_lease: 2, ..Limits::default() });
    world.topic("orders", 1);
    world.command(Command::LeaseProducers { count: 10 });
    world
}

/// A batch of two records, as the WAL makes it durable at `base`.
fn batch(base: u64, producer: u64, epoch: i16, first: i32) -> Appended {
    let plain = sample::batch(STREAM.0, 1, base, 2, 10, &mut Rng::new(first as u64));
    sample::sequenced(&plain, producer, epoch, first)
}

fn send(world: &mut World, batch: &Appended) -> RequestNumber {
    send_as(world, CONN, batch)
}

fn send_as(world: &mut World, conn: ConnId, batch: &Appended) -> RequestNumber {
    let records = CheckedBatch::check(&sample::sent(batch)).map_err(|refusal| refusal.code.into());
    let partitions = vec![ProducePartition { index: 0, records }];
    let name = Some(StrBytes::from_static_str("orders"));
    let topics = vec![ProduceTopic { name, id: Default::default(), partitions }];
    let produce = Produce { acks: Acks::All, timeout: Duration::from_secs(1), topics };
    world.ask_as(conn, Api::Produce, 9, RequestBody::Produce(produce))
}

/// Error code and offset.
fn answer(world: &mut World, number: RequestNumber) -> (i16, i64) {
    let response: ProduceResponse = world.answer(number, 9);
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

fn ask_id(world: &mut World, conn: ConnId, transactional: Option<&'static str>) -> RequestNumber {
    let id = transactional.map(|id| TransactionalId(StrBytes::from_static_str(id)));
    let request = InitProducerIdRequest::default().with_transactional_id(id);
    world.ask_as(conn, Api::InitProducerId, 4, RequestBody::InitProducerId(request))
}

#[test]
fn a_batch_sent_again_is_answered_when_the_first_is_durable() {
    let mut world = world();
    let (one, two) = (batch(0, 7, 0, 0), batch(2, 7, 0, 2));
    let numbers = [&one, &two, &two, &one].map(|batch| send(&mut world, batch));
    assert!(world.answers.is_empty(), "nothing is durable");
    world.mail(Mail::Appended(vec![one.clone()]));
    assert_eq!([answer(&mut world, numbers[0]), answer(&mut world, numbers[3])], [(0, 0), (0, 0)]);
    assert!(world.answers.is_empty(), "the second is not durable");
    world.mail(Mail::Appended(vec![two]));
    assert_eq!([answer(&mut world, numbers[1]), answer(&mut world, numbers[2])], [(0, 2), (0, 2)]);
    let again = send(&mut world, &one);
    assert_eq!(answer(&mut world, again), (0, 0));
    assert_eq!(world.shard.appended(STREAM), Some(Offset(4)), "nothing was appended twice");
    let gap = send(&mut world, &batch(4, 7, 0, 9));
    assert_eq!(answer(&mut world, gap).0, ErrorCode::OutOfOrderSequenceNumber.code());
    world.command(Command::TrimStream { stream: STREAM, epoch: StreamEpoch(1), start: Offset(3) });
    let gap = send(&mut world, &batch(4, 7, 0, 9));
    let response: ProduceResponse = world.answer(gap, 9);
    assert_eq!(response.responses[0].partition_responses[0].log_start_offset, 3, "clients act by it");
    let stranger = send(&mut world, &batch(4, 10, 0, 0));
    assert_eq!(answer(&mut world, stranger).0, ErrorCode::UnknownProducerId.code(), "it was never issued");
    assert!(world.shard.is_quiescent());
}

#[test]
fn a_batch_sent_again_has_the_time_that_the_broker_gave_it_if_it_did() {
    let mut world = world();
    let (plain, timed) = (batch(0, 7, 0, 0), batch(2, 7, 0, 2));
    let mut time = |batch: &Appended, lands: Option<Appended>| {
        let number = send(&mut world, batch);
        if let Some(landed) = lands {
            world.mail(Mail::Appended(vec![landed]));
        }
        let response: ProduceResponse = world.answer(number, 9);
        response.responses[0].partition_responses[0].log_append_time_ms
    };
    assert_eq!(time(&plain, Some(plain.clone())), -1, "its producer's times hold");
    assert_eq!(time(&timed, Some(sample::stamped(&timed, 1_234))), 1_234);
    assert_eq!((time(&plain, None), time(&timed, None)), (-1, 1_234), "as the first time");
}

#[test]
fn a_batch_that_waited_too_long_for_room_was_never_there() {
    let mut world = full();
    let (one, two) = (batch(0, 7, 0, 0), batch(0, 7, 0, 2));
    let late = send(&mut world, &one);
    world.pass(Duration::from_millis(500));
    let next = send(&mut world, &two);
    world.pass(Duration::from_millis(500));
    assert_eq!(answer(&mut world, late).0, ErrorCode::RequestTimedOut.code());
    world.mail(Mail::Granted(1 << 20));
    assert_eq!(answer(&mut world, next).0, ErrorCode::OutOfOrderSequenceNumber.code(), "it would come before it");
    let again = send(&mut world, &one);
    world.mail(Mail::Appended(vec![one]));
    assert_eq!(answer(&mut world, again), (0, 0));
    assert!(world.shard.is_quiescent());
}

/// What is sent comes to that; what is taken becomes durable.
fn comes_to(world: &mut World, conn: ConnId, batch: &Appended, expected: Result<u64, ErrorCode>) {
    let number = send_as(world, conn, batch);
    if let Ok(base) = expected {
        let stream = world.stream("orders", PartitionIndex(0));
        let end = Offset(base + batch.end.0 - batch.base.0);
        world.mail(Mail::Appended(vec![Appended { stream, base: Offset(base), end, ..batch.clone() }]));
    }
    let answered = answer(world, number);
    assert_eq!(answered, expected.map_or_else(|error| (error.code(), -1), |base| (0, base as i64)));
}

const GAP: ErrorCode = ErrorCode::OutOfOrderSequenceNumber;
const MISSING: ErrorCode = ErrorCode::UnknownTopicOrPartition;

fn delete(world: &mut World) {
    let id = world.id_of("orders");
    world.command(Command::DeleteTopic { id });
}

#[test]
fn a_producer_goes_on_in_a_topic_that_was_created_again() {
    let mut world = world();
    comes_to(&mut world, CONN, &batch(0, 7, 0, 0), Ok(0));
    delete(&mut world);
    world.topic("orders", 1);
    comes_to(&mut world, CONN, &batch(0, 7, 0, 2), Ok(0));
    comes_to(&mut world, CONN, &batch(0, 7, 0, 6), Err(GAP));
    comes_to(&mut world, CONN, &batch(0, 7, 0, 4), Ok(2));
    // The gap that it had shown is closed only now.
    comes_to(&mut world, CONN, &batch(0, 7, 0, 6), Ok(4));
    assert!(world.shard.debts.is_empty());
}

#[test]
fn what_was_refused_where_there_was_no_topic_comes_first_where_there_is_one_again() {
    let mut world = world();
    comes_to(&mut world, CONN, &batch(0, 7, 0, 0), Ok(0));
    delete(&mut world);
    comes_to(&mut world, CONN, &batch(0, 7, 0, 2), Err(MISSING));
    world.topic("orders", 1);
    for again in [4, 6, 4] {
        comes_to(&mut world, CONN, &batch(0, 7, 0, again), Err(GAP));
    }
    comes_to(&mut world, CONN, &batch(0, 7, 0, 2), Ok(0));
    delete(&mut world);
    world.topic("orders", 1);
    comes_to(&mut world, CONN, &batch(0, 7, 0, 6), Err(GAP));
    comes_to(&mut world, CONN, &batch(0, 7, 0, 4), Ok(0));
    comes_to(&mut world, CONN, &batch(0, 7, 0, 6), Ok(2));
}

#[test]
fn what_was_in_flight_when_its_topic_was_deleted_comes_first() {
    let mut world = world();
    let first = send(&mut world, &batch(0, 7, 0, 0));
    let late = send(&mut world, &batch(0, 8, 0, 0));
    world.pass(Duration::from_secs(1));
    assert_eq!(answer(&mut world, late).0, ErrorCode::RequestTimedOut.code());
    assert_eq!(answer(&mut world, first).0, ErrorCode::RequestTimedOut.code());
    delete(&mut world);
    world.topic("orders", 1);
    for producer in [7, 8] {
        comes_to(&mut world, CONN, &batch(0, producer, 0, 2), Err(GAP));
    }
    comes_to(&mut world, CONN, &batch(0, 7, 0, 0), Ok(0));
    let again = send(&mut world, &batch(0, 7, 0, 2));
    delete(&mut world);
    assert_eq!(answer(&mut world, again).0, MISSING.code());
    world.topic("orders", 1);
    comes_to(&mut world, CONN, &batch(0, 7, 0, 4), Err(GAP));
    comes_to(&mut world, CONN, &batch(0, 7, 0, 2), Ok(0));
}

#[test]
fn a_connection_that_ends_owes_nothing() {
    let (mut world, other) = (world(), ConnId(2));
    world.mail(Mail::Opened(other, Default::default()));
    delete(&mut world);
    comes_to(&mut world, CONN, &batch(0, 7, 0, 0), Err(MISSING));
    world.topic("orders", 1);
    let flying = send(&mut world, &batch(0, 9, 0, 0));
    comes_to(&mut world, CONN, &batch(0, 7, 0, 2), Err(GAP));
    world.mail(Mail::Closed(CONN));
    assert!(world.shard.debts.is_empty());
    delete(&mut world);
    assert_eq!(answer(&mut world, flying).0, MISSING.code());
    assert!(world.shard.debts.is_empty(), "nobody is there to pay it");
    world.topic("orders", 1);
    comes_to(&mut world, other, &batch(0, 7, 0, 2), Ok(0));
}

#[test]
fn what_is_refused_for_good_keeps_nobody_back() {
    let mut world = World::new(&Limits { batch: 200, largest_batch: 200, ..Limits::default() });
    world.topic("orders", 1);
    world.command(Command::LeaseProducers { count: 10 });
    world.mail(Mail::Granted(1 << 20));
    let large = sample::batch(STREAM.0, 1, 0, 1, 500, &mut Rng::new(1));
    comes_to(&mut world, CONN, &sample::sequenced(&large, 7, 0, 0), Err(ErrorCode::MessageTooLarge));
    comes_to(&mut world, CONN, &batch(0, 7, 0, 1), Ok(0));
    // Of several records, it comes again in parts.
    let large = sample::batch(STREAM.0, 1, 0, 2, 500, &mut Rng::new(1));
    comes_to(&mut world, CONN, &sample::sequenced(&large, 8, 0, 0), Err(ErrorCode::MessageTooLarge));
    comes_to(&mut world, CONN, &batch(0, 8, 0, 2), Err(GAP));
    let part = sample::batch(STREAM.0, 1, 0, 1, 10, &mut Rng::new(1));
    comes_to(&mut world, CONN, &sample::sequenced(&part, 8, 0, 0), Ok(2));
    comes_to(&mut world, CONN, &sample::sequenced(&part, 8, 0, 1), Ok(3));
    comes_to(&mut world, CONN, &batch(0, 8, 0, 2), Ok(4));
}

#[test]
fn a_batch_that_is_late_in_flight_stays_the_first() {
    let mut world = world();
    let one = batch(0, 7, 0, 0);
    let late = send(&mut world, &one);
    world.pass(Duration::from_secs(1));
    assert_eq!(answer(&mut world, late).0, ErrorCode::RequestTimedOut.code());
    let again = send(&mut world, &one);
    world.mail(Mail::Appended(vec![one]));
    assert_eq!(answer(&mut world, again), (0, 0));
    assert_eq!(world.shard.appended(STREAM), Some(Offset(2)), "it was appended once");
    assert!(world.shard.is_quiescent());
}

#[test]
fn so_many_wait_for_a_batch_in_flight_and_no_more() {
    let mut world = world();
    let one = batch(0, 7, 0, 0);
    let waiting: alloc::vec::Vec<_> = (0..=AGAIN).map(|_| send(&mut world, &one)).collect();
    let refused = send(&mut world, &one);
    assert_eq!(answer(&mut world, refused).0, ErrorCode::NotLeaderOrFollower.code());
    world.mail(Mail::Appended(vec![one]));
    for number in waiting {
        assert_eq!(answer(&mut world, number), (0, 0));
    }
}

#[test]
fn whoever_waits_for_itself_hears_what_becomes_of_the_first() {
    let mut world = world();
    let one = batch(0, 7, 0, 0);
    let numbers = [&one, &one].map(|batch| send(&mut world, batch));
    let id = world.id_of("orders");
    world.command(Command::DeleteTopic { id });
    for number in numbers {
        assert_eq!(answer(&mut world, number).0, ErrorCode::UnknownTopicOrPartition.code());
    }
    assert!(world.shard.is_quiescent());
}

#[test]
fn a_failed_log_takes_nothing_of_a_producer_for_written() {
    let mut world = world();
    let one = batch(0, 7, 0, 0);
    let sent = [&one, &one].map(|batch| send(&mut world, batch));
    world.mail(Mail::WalPoisoned);
    assert_eq!(world.answers.len(), sent.len(), "whether it is durable is unknown: the connection closes");
    assert!(world.answers.iter().all(|(_, answer)| matches!(answer, crate::session::Answer::Close(_))));
}

#[test]
fn ids_come_from_blocks_and_each_is_given_once() {
    let mut world = world();
    let numbers: alloc::vec::Vec<_> = (0..3).map(|_| ask_id(&mut world, CONN, None)).collect();
    assert_eq!(world.commands(), 1, "a block is asked for once");
    world.decide();
    let mut ids = alloc::vec::Vec::new();
    for number in &numbers[..2] {
        let response: InitProducerIdResponse = world.answer(*number, 4);
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        ids.push(response.producer_id.0);
    }
    assert_eq!((ids, world.commands()), (vec![10, 11], 1), "the third needs the next block");
    world.mail(Mail::Closed(CONN));
    world.decide();
    assert!(world.answers.is_empty(), "nobody waits any more");
    assert!(world.shard.is_quiescent());
}

#[test]
fn transactional_ids_are_refused_for_good() {
    for id in ["mine", ""] {
        let mut world = world();
        let number = ask_id(&mut world, CONN, Some(id));
        let response: InitProducerIdResponse = world.answer(number, 4);
        let expected = (ErrorCode::TransactionalIdAuthorizationFailed.code(), -1, -1);
        assert_eq!((response.error_code, response.producer_id.0, response.producer_epoch), expected);
    }
}
