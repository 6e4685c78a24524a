//! CreatePartitions: what is refused, in which words, and when the others are answered.

use super::world::World;
use crate::kafka::{Api, ErrorCode, RequestBody};
use crate::limits::Limits;
use crate::metadata::Command;
use crate::session::RequestNumber;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

fn world() -> World {
    let mut world = World::new(&Limits { partitions_per_topic: 20, ..Limits::default() });
    world.topic("orders", 2);
    world
}

fn wish(topic: &str, count: i32) -> CreatePartitionsTopic {
    let name = TopicName(StrBytes::from_string(topic.into()));
    CreatePartitionsTopic::default().with_name(name).with_count(count).with_assignments(None)
}

fn assigned(topic: &str, count: i32, brokers: &[&[i32]]) -> CreatePartitionsTopic {
    let assignment = |ids: &&[i32]| {
        let ids = ids.iter().map(|id| (*id).into()).collect();
        CreatePartitionsAssignment::default().with_broker_ids(ids)
    };
    wish(topic, count).with_assignments(Some(brokers.iter().map(assignment).collect()))
}

fn request(topics: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
    CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(1_000)
}

fn ask(world: &mut World, version: i16, request: CreatePartitionsRequest) -> RequestNumber {
    world.ask(Api::CreatePartitions, version, RequestBody::CreatePartitions(request))
}

/// Names, codes and messages of an answer.
fn results(world: &mut World, number: RequestNumber, version: i16) -> Vec<(String, i16, Option<String>)> {
    let response: CreatePartitionsResponse = world.answer(number, version);
    assert_eq!(response.throttle_time_ms, 0);
    let line = |result: &kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult| {
        (result.name.to_string(), result.error_code, result.error_message.as_ref().map(ToString::to_string))
    };
    response.results.iter().map(line).collect()
}

fn partitions(world: &mut World) -> usize {
    let number = world.ask(Api::Metadata, 9, RequestBody::Metadata(MetadataRequest::default().with_topics(None)));
    let response: MetadataResponse = world.answer(number, 9);
    let partitions = &response.topics[0].partitions;
    assert!(partitions.iter().all(|partition| partition.error_code == 0 && partition.leader_id == 1));
    partitions.len()
}

#[test]
fn growth_is_answered_once_the_partitions_are_open_and_in_every_version() {
    for version in 0..=3 {
        let mut world = world();
        let number = ask(&mut world, version, request(vec![wish("orders", 5), wish("gone", 2)]));
        assert_eq!((world.answers.len(), partitions(&mut world)), (0, 2), "nothing is durable yet");
        world.decide();
        let results = results(&mut world, number, version);
        assert_eq!(results[0], ("orders".into(), 0, None));
        assert_eq!((results[1].0.as_str(), results[1].1), ("gone", 3));
        assert_eq!(partitions(&mut world), 5);
        assert!(world.shard.is_quiescent());
    }
}

#[test]
fn what_can_not_be_is_refused_in_kafkas_words_and_changes_nothing() {
    let mut world = world();
    let cases = [
        (wish("orders", 2), ErrorCode::InvalidPartitions, "Topic already has 2 partition(s)."),
        (
            wish("orders", 1),
            ErrorCode::InvalidPartitions,
            "The topic orders currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            wish("orders", -7),
            ErrorCode::InvalidPartitions,
            "The topic orders currently has 2 partition(s); -7 would not be an increase.",
        ),
        (wish("orders", 21), ErrorCode::InvalidPartitions, "more partitions than a topic may have"),
        (wish("orders", i32::MAX), ErrorCode::InvalidPartitions, "more partitions than a topic may have"),
        (
            assigned("orders", 4, &[&[1]]),
            ErrorCode::InvalidReplicaAssignment,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            assigned("orders", 3, &[&[]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            assigned("orders", 4, &[&[1], &[1, 2]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 2, but no such broker is registered.",
        ),
        (
            assigned("orders", 3, &[&[1, 1]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (wish("nope", 4), ErrorCode::UnknownTopicOrPartition, "no such topic"),
        (wish("no/name", 4), ErrorCode::UnknownTopicOrPartition, "no such topic"),
    ];
    for (topic, code, why) in cases {
        let name = topic.name.to_string();
        let number = ask(&mut world, 3, request(vec![topic]));
        assert_eq!(results(&mut world, number, 3), [(name, code.code(), Some(why.into()))]);
    }
    assert_eq!((world.commands(), partitions(&mut world)), (0, 2));
}

#[test]
fn a_topic_that_is_named_twice_is_refused_once_and_the_others_grow() {
    let mut world = world();
    let topics = vec![wish("twice", 4), wish("orders", 3), wish("twice", 5)];
    let number = ask(&mut world, 1, request(topics));
    world.decide();
    let expected = [("twice".into(), 42, Some("Duplicate topic name.".into())), ("orders".into(), 0, None)];
    assert_eq!(results(&mut world, number, 1), expected);
}

#[test]
fn a_rehearsal_says_what_would_be_and_an_assignment_to_this_broker_is_fine() {
    let mut world = world();
    let rehearsal = request(vec![assigned("orders", 4, &[&[1], &[1]])]).with_validate_only(true).with_timeout_ms(0);
    let number = ask(&mut world, 2, rehearsal.clone());
    assert_eq!(results(&mut world, number, 2), [("orders".into(), 0, None)]);
    assert_eq!((world.commands(), partitions(&mut world)), (0, 2));
    let number = ask(&mut world, 2, rehearsal.with_validate_only(false).with_timeout_ms(1));
    world.decide();
    assert_eq!(results(&mut world, number, 2), [("orders".into(), 0, None)]);
    assert_eq!(partitions(&mut world), 4);
}

#[test]
fn who_does_not_wait_is_told_that_it_took_too_long_and_the_topic_grows_all_the_same() {
    for (timeout, wait) in [(0, 0), (-1, 0), (50, 50)] {
        let mut world = world();
        let number = ask(&mut world, 0, request(vec![wish("orders", 3), wish("gone", 3)]).with_timeout_ms(timeout));
        assert_eq!(world.answers.len(), 0);
        world.pass(Duration::from_millis(wait));
        let codes: Vec<i16> = results(&mut world, number, 0).iter().map(|(_, code, _)| *code).collect();
        assert_eq!(codes, [7, 3]);
        world.decide();
        assert_eq!((world.answers.len(), partitions(&mut world)), (0, 3));
        assert!(world.shard.is_quiescent());
    }
}

#[test]
fn of_two_who_want_the_same_one_is_refused_and_a_deleted_topic_does_not_grow() {
    let mut world = world();
    let first = ask(&mut world, 3, request(vec![wish("orders", 4)]));
    let second = ask(&mut world, 3, request(vec![wish("orders", 4)]));
    let third = ask(&mut world, 3, request(vec![wish("orders", 6)]));
    world.decide();
    world.decide();
    let id = world.id_of("orders");
    world.command(Command::DeleteTopic { id });
    world.topic("orders", 1);
    world.decide();
    let code = |world: &mut World, number| results(world, number, 3)[0].1;
    assert_eq!([first, second, third].map(|number| code(&mut world, number)), [0, 37, 3]);
    assert_eq!(partitions(&mut world), 1, "the new topic of that name is another one");
}
