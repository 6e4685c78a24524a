//! Requests that contradict themselves, or wait too long: Kafka's own answers.

use super::world::World;
use crate::data_object::sample;
use crate::kafka::{Api, RequestBody};
use crate::limits::Limits;
use crate::machine::Rng;
use crate::session::RequestNumber;
use crate::shard::Mail;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest,
    ProduceResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.into()))
}

fn produced(world: &mut World, number: RequestNumber) -> (i16, i64) {
    let response: ProduceResponse = world.answer(number, 9);
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

#[test]
fn a_produce_that_is_not_durable_in_time_is_answered_and_may_become_durable() {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 1);
    let number = world.produce("orders", 0, 2);
    world.mail(Mail::Granted(1 << 20));
    world.pass(Duration::from_millis(999));
    assert!(!world.is_answered(number));
    world.pass(Duration::from_millis(1));
    assert_eq!(produced(&mut world, number), (7, -1));
    assert!(!world.shard.is_quiescent(), "it is on its way all the same");
    let stream = world.stream("orders", crate::id::PartitionIndex(0));
    world.mail(Mail::Appended(vec![sample::batch(stream.0, 1, 0, 2, 10, &mut Rng::new(9))]));
    assert_eq!(world.shard.high_watermark(stream), Some(crate::id::Offset(2)));
    assert!(world.shard.is_quiescent());
    // One that is in time leaves nothing behind.
    world.write("orders", 0, &[1]);
    assert!(world.shard.is_quiescent());
    world.pass(Duration::from_secs(5));
    assert_eq!(world.answers.len(), 0);
}

#[test]
fn what_waits_for_room_too_long_is_not_appended() {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 1);
    let late = world.produce("orders", 0, 2);
    world.pass(Duration::from_millis(500));
    let next = world.produce("orders", 0, 3);
    world.pass(Duration::from_millis(500));
    assert_eq!(produced(&mut world, late), (7, -1));
    let stream = world.stream("orders", crate::id::PartitionIndex(0));
    world.mail(Mail::Granted(1 << 20));
    assert_eq!(world.shard.appended(stream), Some(crate::id::Offset(3)), "only the second got offsets");
    world.mail(Mail::Appended(vec![sample::batch(stream.0, 1, 0, 3, 10, &mut Rng::new(9))]));
    assert_eq!(produced(&mut world, next), (0, 0));
    assert!(world.shard.is_quiescent());
}

fn delete(world: &mut World, lines: &[(Option<&str>, [u8; 16])]) -> (RequestNumber, usize) {
    let line = |(topic, id): &(Option<&str>, [u8; 16])| {
        DeleteTopicState::default().with_name(topic.map(name)).with_topic_id(uuid::Uuid::from_bytes(*id))
    };
    let request = DeleteTopicsRequest::default().with_topics(lines.iter().map(line).collect()).with_timeout_ms(1_000);
    let number = world.ask(Api::DeleteTopics, 6, RequestBody::DeleteTopics(request));
    (number, world.commands())
}

fn deleted(world: &mut World, number: RequestNumber) -> Vec<(Option<String>, i16)> {
    let response: DeleteTopicsResponse = world.answer(number, 6);
    response.responses.iter().map(|line| (line.name.as_ref().map(|name| name.to_string()), line.error_code)).collect()
}

#[test]
fn topics_that_are_to_be_deleted_are_named_once() {
    const NIL: [u8; 16] = [0; 16];
    let mut world = World::new(&Limits::default());
    ["a", "b", "c"].into_iter().for_each(|topic| world.topic(topic, 1));
    let (a, b) = (world.id_of("a").0, world.id_of("b").0);
    for (lines, expected) in [
        (vec![(Some("a"), NIL), (Some("a"), NIL)], vec![(Some("a"), 42)]),
        (vec![(None, a), (None, a), (None, a)], vec![(None, 42)]),
        (vec![(None, a), (Some("a"), NIL)], vec![(Some("a"), 42)]),
        (vec![(Some("a"), a)], vec![(Some("a"), 42)]),
        (vec![(None, NIL)], vec![(None, 42)]),
        (vec![(None, [9; 16]), (Some("z"), NIL), (Some("?"), NIL)], vec![(None, 100), (Some("z"), 3), (Some("?"), 3)]),
    ] {
        let (number, commands) = delete(&mut world, &lines);
        assert_eq!(commands, 0, "{lines:?}");
        let expected: Vec<_> = expected.into_iter().map(|(topic, code)| (topic.map(String::from), code)).collect();
        assert_eq!(deleted(&mut world, number), expected, "{lines:?}");
    }
    // What is wrong with one is no matter of the others.
    let (number, commands) = delete(&mut world, &[(Some("c"), NIL), (Some("a"), NIL), (None, b), (Some("a"), NIL)]);
    assert_eq!(commands, 2);
    world.decide();
    world.decide();
    let names = deleted(&mut world, number);
    assert_eq!(names, [(Some("c".into()), 0), (Some("a".into()), 42), (None, 0)]);
}

#[test]
fn whatever_replication_is_asked_for_there_is_one_copy_and_that_is_said() {
    let mut world = World::new(&Limits::default());
    for wish in [-1, 1, 3] {
        let topic =
            CreatableTopic::default().with_name(name("new")).with_num_partitions(2).with_replication_factor(wish);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_validate_only(true);
        let number = world.ask(Api::CreateTopics, 7, RequestBody::CreateTopics(request));
        let response: CreateTopicsResponse = world.answer(number, 7);
        let told = &response.topics[0];
        assert_eq!((told.error_code, told.num_partitions, told.replication_factor), (0, 2, 1), "{wish}");
    }
}

#[test]
fn replicas_are_assigned_to_this_broker_or_refused() {
    let mut world = World::new(&Limits::default());
    let mut create = |assignments: &[(i32, &[i32])]| {
        let assignments = assignments.iter().map(|(index, brokers)| {
            let brokers = brokers.iter().map(|id| (*id).into()).collect();
            CreatableReplicaAssignment::default().with_partition_index(*index).with_broker_ids(brokers)
        });
        let topic = CreatableTopic::default()
            .with_name(name("new"))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(assignments.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_validate_only(true);
        let number = world.ask(Api::CreateTopics, 7, RequestBody::CreateTopics(request));
        let response: CreateTopicsResponse = world.answer(number, 7);
        response.topics[0].error_code
    };
    assert_eq!(create(&[(0, &[1]), (1, &[1])]), 0);
    for wrong in [&[2][..], &[1, 2], &[], &[1, 1], &[-1]] {
        assert_eq!(create(&[(0, &[1]), (1, wrong)]), 39, "{wrong:?}");
    }
    assert_eq!(create(&[(0, &[1]), (0, &[1])]), 39);
    assert_eq!(create(&[(0, &[1]), (2, &[1])]), 39);
}

/// Asks for a topic to be created. Returns the code, and what would be created.
fn create_own(topic: CreatableTopic) -> (i16, Option<(u32, bool)>) {
    let mut world = World::new(&Limits { offsets_partitions: 5, ..Limits::default() });
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1_000);
    let number = world.ask(Api::CreateTopics, 7, RequestBody::CreateTopics(request));
    let created = world.created().pop();
    if created.is_some() {
        world.decide();
    }
    let response: CreateTopicsResponse = world.answer(number, 7);
    let created = created.map(|new| (new.partitions, new.configs.cleanup_policy().compact.is_on()));
    (response.topics[0].error_code, created)
}

#[test]
fn the_log_of_groups_is_created_as_the_broker_does_it_or_not_at_all() {
    let own = |partitions, policy: Option<&'static str>| {
        let config = |value| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str("cleanup.policy"))
                .with_value(Some(StrBytes::from_static_str(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(name("__consumer_offsets"))
            .with_num_partitions(partitions)
            .with_replication_factor(-1)
            .with_configs(policy.map(config).into_iter().collect());
        create_own(topic)
    };
    for (partitions, policy) in [(5, Some("compact")), (5, None), (-1, None)] {
        assert_eq!(own(partitions, policy), (0, Some((5, true))));
    }
    for (partitions, policy, code) in
        [(1, Some("compact"), 37), (50, None, 37), (5, Some("delete"), 40), (5, Some("compact,delete"), 40)]
    {
        assert_eq!(own(partitions, policy), (code, None));
    }
    for reserved in ["__transaction_state", "__cluster_metadata", "__share_group_state"] {
        let topic = CreatableTopic::default().with_name(name(reserved)).with_num_partitions(1);
        assert_eq!(create_own(topic.with_replication_factor(1)), (17, None));
        let mut world = World::new(&Limits::default());
        let topic = MetadataRequestTopic::default().with_name(Some(name(reserved)));
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
        world.ask(Api::Metadata, 12, RequestBody::Metadata(request));
        assert_eq!(world.commands(), 0, "nor by asking for it");
    }
}
