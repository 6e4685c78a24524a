//! DeleteRecords: which offsets are legal, and what the answer and later requests say.

use super::world::World;
use crate::kafka::{Api, RequestBody};
use crate::limits::Limits;
use crate::metadata::{CleanupPolicy, Command, ConfigPatch, TopicConfigs};
use crate::session::RequestNumber;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

/// A broker with a topic of two partitions.
fn world() -> World {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 2);
    world
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("orders"))
}

fn ask(world: &mut World, version: i16, lines: &[(i32, i64)]) -> RequestNumber {
    let line = |(index, offset): &(i32, i64)| {
        DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset)
    };
    let topic = DeleteRecordsTopic::default().with_name(name()).with_partitions(lines.iter().map(line).collect());
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(1_000);
    world.ask(Api::DeleteRecords, version, RequestBody::DeleteRecords(request))
}

/// Partition, code and low watermark, by line.
fn lines(world: &mut World, number: RequestNumber, version: i16) -> Vec<(i32, i16, i64)> {
    let response: DeleteRecordsResponse = world.answer(number, version);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|line| (line.partition_index, line.error_code, line.low_watermark)).collect()
}

fn earliest(world: &mut World, index: i32) -> i64 {
    let line = ListOffsetsPartition::default().with_partition_index(index).with_timestamp(-2);
    let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![line]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let number = world.ask(Api::ListOffsets, 5, RequestBody::ListOffsets(request));
    let response: ListOffsetsResponse = world.answer(number, 5);
    response.topics[0].partitions[0].offset
}

#[test]
fn offsets_of_an_empty_partition_are_zero_and_the_high_watermark() {
    for version in 0..=2 {
        let mut world = world();
        let number = ask(&mut world, version, &[(0, 0), (1, -1), (0, 1), (0, -2), (1, i64::MIN), (2, 0), (-1, 0)]);
        let expected = [(0, 0, 0), (1, 0, 0), (0, 1, -1), (0, 1, -1), (1, 1, -1), (2, 3, -1), (-1, 3, -1)];
        assert_eq!(lines(&mut world, number, version), expected);
        assert_eq!(world.commands(), 0, "nothing is to be done");
    }
}

#[test]
fn the_start_moves_when_that_is_durable_and_never_back() {
    let mut world = world();
    world.write("orders", 0, &[3, 4]);
    let number = ask(&mut world, 2, &[(0, 5), (0, 8)]);
    assert_eq!((world.answers.len(), earliest(&mut world, 0)), (0, 0));
    world.decide();
    assert_eq!(lines(&mut world, number, 2), [(0, 0, 5), (0, 1, -1)]);
    assert_eq!(earliest(&mut world, 0), 5);
    let back = ask(&mut world, 2, &[(0, 2)]);
    assert_eq!((lines(&mut world, back, 2), world.commands()), (vec![(0, 0, 5)], 0));
    let all = ask(&mut world, 2, &[(0, -1)]);
    world.decide();
    assert_eq!((lines(&mut world, all, 2), earliest(&mut world, 0)), (vec![(0, 0, 7)], 7));
}

#[test]
fn two_at_once_are_told_of_the_higher_start_and_one_whose_time_is_up_of_nothing() {
    let mut world = world();
    world.write("orders", 0, &[9]);
    let numbers = [6, 4].map(|offset| ask(&mut world, 1, &[(0, offset)]));
    world.decide();
    assert_eq!(lines(&mut world, numbers[0], 1), [(0, 0, 6)]);
    world.decide();
    assert_eq!(lines(&mut world, numbers[1], 1), [(0, 0, 6)]);
    let late = ask(&mut world, 1, &[(0, 8)]);
    world.pass(Duration::from_secs(1));
    assert_eq!(lines(&mut world, late, 1), [(0, 7, -1)]);
    world.decide();
    assert_eq!((world.answers.len(), earliest(&mut world, 0)), (0, 8));
}

#[test]
fn a_partition_whose_topic_went_meanwhile_is_not_led_here_any_more() {
    let mut world = world();
    world.write("orders", 0, &[9]);
    let number = ask(&mut world, 0, &[(0, 4)]);
    let id = world.id_of("orders");
    world.command(Command::DeleteTopic { id });
    world.decide();
    assert_eq!(lines(&mut world, number, 0), [(0, 6, -1)]);
    assert!(world.shard.is_quiescent());
}

#[test]
fn nobody_deletes_from_what_is_compacted_only() {
    let both = CleanupPolicy::COMPACT.join(CleanupPolicy::DELETE);
    for (policy, code) in [(CleanupPolicy::COMPACT, 44), (both, 0), (CleanupPolicy::DELETE, 0)] {
        let mut world = world();
        world.write("orders", 0, &[9]);
        let set = TopicConfigs { cleanup_policy: Some(policy), ..TopicConfigs::default() };
        let patch = ConfigPatch { set, ..ConfigPatch::default() };
        let id = world.id_of("orders");
        world.command(Command::ConfigureTopic { id, patch });
        let number = ask(&mut world, 1, &[(0, 4)]);
        if code == 0 {
            world.decide();
        }
        let low = if code == 0 { 4 } else { -1 };
        assert_eq!(lines(&mut world, number, 1), [(0, code, low)], "{policy:?}");
    }
}
