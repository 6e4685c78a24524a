//! What clients are told of topics, brokers and epochs.

use super::world::{CONN, World};
use crate::id::ConnId;
use crate::kafka::{Api, GroupRequest, RequestBody};
use crate::limits::Limits;
use crate::session::RequestNumber;
use crate::shard::{Arrival, Endpoint, Mail};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, FetchRequest, FetchResponse, MetadataRequest,
    MetadataResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.into()))
}

fn world() -> World {
    let mut world = World::new(&Limits::default());
    world.topic("b", 3);
    world.topic("a", 2);
    world.topic("c", 1);
    world
}

/// Asks for these topics from a cursor on. Returns the topics with code and partitions, and the next cursor.
type Page = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn page(world: &mut World, topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> Page {
    let cursor =
        cursor.map(|(topic, index)| Cursor::default().with_topic_name(name(topic)).with_partition_index(index));
    let topics = topics.iter().map(|topic| TopicRequest::default().with_name(name(topic))).collect();
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(topics)
        .with_response_partition_limit(limit)
        .with_cursor(cursor);
    let number = world.ask(Api::DescribeTopicPartitions, 0, RequestBody::DescribeTopicPartitions(request));
    let response: DescribeTopicPartitionsResponse = world.answer(number, 0);
    let topics = response.topics.into_iter().map(|topic| {
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        (topic.name.expect("it has one").to_string(), topic.error_code, indexes)
    });
    let next = response.next_cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
    (topics.collect(), next)
}

fn known(topic: &str, indexes: &[i32]) -> (String, i16, Vec<i32>) {
    (topic.into(), 0, indexes.to_vec())
}

#[test]
fn topics_are_described_page_by_page_in_order() {
    let mut world = world();
    let all = vec![known("a", &[0, 1]), known("b", &[0, 1, 2]), known("c", &[0])];
    assert_eq!(page(&mut world, &[], 2_000, None), (all.clone(), None));
    assert_eq!(page(&mut world, &["c", "b", "a", "b"], i32::MAX, None), (all, None));
    let mut cursor = None;
    let mut seen = Vec::new();
    loop {
        let from = cursor.as_ref().map(|(topic, index): &(String, i32)| (topic.as_str(), *index));
        let (topics, next) = page(&mut world, &[], 2, from);
        assert!(topics.iter().map(|topic| topic.2.len()).sum::<usize>() <= 2);
        seen.extend(
            topics.into_iter().flat_map(|(topic, _, indexes)| indexes.into_iter().map(move |i| (topic.clone(), i))),
        );
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let expected = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)];
    assert_eq!(seen, expected.map(|(topic, index)| (topic.to_string(), index)));
    assert_eq!(page(&mut world, &[], 0, None), (vec![known("a", &[0])], Some(("a".into(), 1))), "one at least");
    assert_eq!(page(&mut world, &[], 2, None), (vec![known("a", &[0, 1])], Some(("b".into(), 0))));
    assert_eq!(page(&mut world, &[], 9, Some(("aa", 1))).0, [known("b", &[0, 1, 2]), known("c", &[0])]);
}

#[test]
fn unknown_topics_and_cursors_are_refused_as_kafka_does() {
    let mut world = world();
    let (topics, next) = page(&mut world, &["a", "none", "?"], 9, None);
    assert_eq!(topics, [("?".into(), 17, vec![]), known("a", &[0, 1]), ("none".into(), 3, vec![])]);
    assert_eq!(next, None);
    assert_eq!(
        page(&mut world, &["a", "c"], 9, Some(("b", 0))).0,
        [("a".into(), 42, vec![]), ("c".into(), 42, vec![])]
    );
    assert_eq!(page(&mut world, &["a"], 9, Some(("a", -1))).0, [("a".into(), 42, vec![])]);
    assert_eq!(page(&mut world, &["a", "c"], 9, Some(("a", 7))).0, [known("a", &[]), known("c", &[0])]);
}

fn cluster(world: &mut World, version: i16, endpoints: i8) -> (i16, Vec<(i32, String, i32)>) {
    let request = DescribeClusterRequest::default().with_endpoint_type(endpoints);
    let number = world.ask(Api::DescribeCluster, version, RequestBody::DescribeCluster(request));
    let response: DescribeClusterResponse = world.answer(number, version);
    let brokers = response.brokers.iter().map(|broker| (broker.broker_id.0, broker.host.to_string(), broker.port));
    (response.error_code, brokers.collect())
}

#[test]
fn the_cluster_is_its_brokers() {
    for version in 0..=2 {
        let mut world = world();
        assert_eq!(cluster(&mut world, version, 1), (0, vec![(1, "broker".into(), 9092)]));
        let (mismatched, unsupported) = if version == 0 { (42, 42) } else { (114, 115) };
        assert_eq!(cluster(&mut world, version, 2), (mismatched, vec![]));
        assert_eq!(cluster(&mut world, version, 0), (unsupported, vec![]));
    }
}

#[test]
fn a_client_is_told_the_address_at_which_it_has_arrived() {
    let mut world = world();
    let asks = |world: &mut World| {
        let number = world.ask(Api::Metadata, 12, RequestBody::Metadata(MetadataRequest::default()));
        let response: MetadataResponse = world.answer(number, 12);
        let broker = &response.brokers[0];
        assert_eq!(cluster(world, 1, 1).1, [(1, broker.host.to_string(), broker.port)]);
        (broker.host.to_string(), broker.port)
    };
    assert_eq!(asks(&mut world), ("broker".into(), 9092));
    world.mail(Mail::Closed(CONN));
    let at = Some(Endpoint { host: "::1".into(), port: 7 });
    world.mail(Mail::Opened(CONN, Arrival { at, ..Arrival::default() }));
    assert_eq!(asks(&mut world), ("::1".into(), 7));
    world.mail(Mail::Opened(ConnId(2), Arrival::default()));
    assert_eq!(asks(&mut world), ("::1".into(), 7), "another connection");
}

fn epoch_end(world: &mut World, believed: i32, partition: i32, epoch: i32) -> (i16, i32, i64) {
    let line = OffsetForLeaderPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(believed)
        .with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default().with_topic(name("b")).with_partitions(vec![line]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    let number: RequestNumber = world.ask(Api::OffsetForLeaderEpoch, 3, RequestBody::OffsetForLeaderEpoch(request));
    let response: OffsetForLeaderEpochResponse = world.answer(number, 3);
    let line = &response.topics[0].partitions[0];
    (line.error_code, line.leader_epoch, line.end_offset)
}

#[test]
fn an_epoch_ends_at_the_high_watermark_and_one_to_come_nowhere() {
    let mut world = world();
    world.write("b", 0, &[3, 4]);
    assert_eq!(epoch_end(&mut world, -1, 0, 1), (0, 1, 7));
    assert_eq!(epoch_end(&mut world, 1, 0, 0), (0, 0, 0));
    assert_eq!(epoch_end(&mut world, 1, 0, 2), (0, -1, -1));
    assert_eq!(epoch_end(&mut world, 1, 0, -1), (0, -1, -1));
    assert_eq!(epoch_end(&mut world, 0, 0, 1), (74, -1, -1));
    assert_eq!(epoch_end(&mut world, 2, 0, 1), (75, -1, -1));
    assert_eq!(epoch_end(&mut world, -1, 3, 1), (3, -1, -1));
}

#[test]
fn a_fetch_that_follows_what_the_log_does_not_have_is_told_where_they_part() {
    let mut world = world();
    world.write("b", 0, &[3, 4]);
    let mut fetch = |last_epoch: i32, offset: i64| {
        let partition = FetchPartition::default()
            .with_fetch_offset(offset)
            .with_last_fetched_epoch(last_epoch)
            .with_partition_max_bytes(1_000);
        let topic = FetchTopic::default().with_topic(name("b")).with_partitions(vec![partition]);
        let request = FetchRequest::default().with_max_bytes(1_000).with_topics(vec![topic]);
        let number = world.ask(Api::Fetch, 12, RequestBody::Fetch(request.into()));
        let response: FetchResponse = world.answer(number, 12);
        let answer = &response.responses[0].partitions[0];
        let diverging = &answer.diverging_epoch;
        let records = answer.records.as_ref().is_some_and(|records| !records.is_empty());
        (answer.error_code, (diverging.epoch, diverging.end_offset), records)
    };
    let nowhere = (-1, -1);
    assert_eq!(fetch(-1, 3), (0, nowhere, true));
    assert_eq!(fetch(1, 3), (0, nowhere, true));
    assert_eq!(fetch(1, 7), (0, nowhere, false));
    assert_eq!(fetch(1, 8), (0, (1, 7), false));
    assert_eq!(fetch(0, 3), (0, (0, 0), false));
    assert_eq!(fetch(2, 3), (1, nowhere, false));
    assert_eq!(fetch(0, -1), (1, nowhere, false));
}

#[test]
fn a_topic_that_metrics_could_not_tell_from_another_is_not_created_by_asking_for_it() {
    let mut world = world();
    world.topic("x.y_z", 1);
    for (asked, created) in [("x_y.z", 0), ("x.y.z", 0), ("x.yz", 1), ("xyz", 2)] {
        let topic = MetadataRequestTopic::default().with_name(Some(name(asked)));
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
        world.ask(Api::Metadata, 12, RequestBody::Metadata(request));
        assert_eq!(world.commands(), created, "{asked}");
    }
}

#[test]
fn who_may_create_topics_by_asking_for_them_and_how_many_partitions_they_get_can_be_set() {
    for (auto_create_topics, default_partitions) in [(true, 1), (true, 3), (false, 3)] {
        let mut world = World::new(&Limits { auto_create_topics, default_partitions, ..Limits::default() });
        for version in [1, 12] {
            let topic = MetadataRequestTopic::default().with_name(Some(name(&format!("t{version}"))));
            let request =
                MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
            world.ask(Api::Metadata, version, RequestBody::Metadata(request));
        }
        assert_eq!(world.commands(), if auto_create_topics { 2 } else { 0 });
        let created = world.created();
        assert!(created.iter().all(|topic| topic.partitions == default_partitions), "{created:?}");
    }
}

#[test]
fn authorized_operations_are_told_to_who_asks() {
    const UNASKED: i32 = i32::MIN;
    let mut world = world();
    for (asks, on_topic, on_cluster) in [(false, UNASKED, UNASKED), (true, 3576, 8096)] {
        for version in 7..=13 {
            let topics = ["a", "none"].map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))));
            let mut request = MetadataRequest::default().with_topics(Some(topics.into()));
            request.allow_auto_topic_creation = false;
            request.include_topic_authorized_operations = asks && version >= 8;
            request.include_cluster_authorized_operations = asks && (8..=10).contains(&version);
            let number = world.ask(Api::Metadata, version, RequestBody::Metadata(request));
            let response: MetadataResponse = world.answer(number, version);
            let told: Vec<i32> = response.topics.iter().map(|topic| topic.topic_authorized_operations).collect();
            assert_eq!(told, [if version >= 8 { on_topic } else { UNASKED }, UNASKED], "version {version}");
            let is_told = (8..=10).contains(&version);
            assert_eq!(response.cluster_authorized_operations, if is_told { on_cluster } else { UNASKED });
        }
        for version in 0..=2 {
            let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(asks);
            let number = world.ask(Api::DescribeCluster, version, RequestBody::DescribeCluster(request));
            let response: DescribeClusterResponse = world.answer(number, version);
            assert_eq!((response.error_code, response.cluster_authorized_operations), (0, on_cluster));
        }
    }
    let topic = TopicRequest::default().with_name(name("a"));
    let request = DescribeTopicPartitionsRequest::default().with_topics(vec![topic]);
    let number = world.ask(Api::DescribeTopicPartitions, 0, RequestBody::DescribeTopicPartitions(request));
    let response: DescribeTopicPartitionsResponse = world.answer(number, 0);
    assert_eq!(response.topics[0].topic_authorized_operations, 3576, "always, as Kafka does");
}

#[test]
fn a_topic_is_known_by_its_id_whatever_name_comes_along() {
    let mut world = world();
    let id = uuid::Uuid::from_bytes(world.id_of("a").0);
    let other = uuid::Uuid::from_bytes([9; 16]);
    let mut told = |id: uuid::Uuid, named: Option<&str>| {
        let topic = MetadataRequestTopic::default().with_topic_id(id).with_name(named.map(name));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        let number = world.ask(Api::Metadata, 13, RequestBody::Metadata(request));
        let response: MetadataResponse = world.answer(number, 13);
        let topic = &response.topics[0];
        (topic.error_code, topic.name.as_ref().map(|name| name.to_string()), topic.topic_id)
    };
    for named in [None, Some(""), Some("b")] {
        assert_eq!(told(id, named), (0, Some("a".into()), id), "{named:?}");
        assert_eq!(told(other, named), (100, None, other), "{named:?}");
    }
    assert_eq!(told(uuid::Uuid::nil(), Some("")).0, 17);
}

#[test]
fn who_asks_for_the_new_protocol_of_groups_is_told_that_there_is_the_classic_one() {
    let mut world = world();
    for version in 0..=1 {
        let request = Box::new(GroupRequest::NewHeartbeat(ConsumerGroupHeartbeatRequest::default()));
        let number = world.ask(Api::ConsumerGroupHeartbeat, version, RequestBody::Group(request));
        let response: ConsumerGroupHeartbeatResponse = world.answer(number, version);
        assert_eq!(response.error_code, 35);
        assert!(response.error_message.is_some_and(|why| why.contains("group.protocol=classic")));
    }
}
