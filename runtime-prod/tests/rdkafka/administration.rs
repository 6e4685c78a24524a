//! What administrators do, and that it holds through kill -9.

use super::{PATIENCE, admin, client, create_topic, eventually, options, produce, runtime};
use crate::broker::Broker;
use rdkafka::admin::{AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

/// Partitions of a topic, as a client sees it.
fn partitions(broker: &Broker, topic: &str) -> Option<usize> {
    let metadata = admin(broker).inner().fetch_metadata(None, PATIENCE).expect("metadata");
    metadata.topics().iter().find(|found| found.name() == topic).map(|found| found.partitions().len())
}

#[test]
fn topics_are_created_grown_configured_trimmed_and_deleted() {
    let (runtime, mut broker) = (runtime(), Broker::start());
    create_topic(&runtime, &broker, "orders", 2);
    let client_of_admin = admin(&broker);
    let again = NewTopic::new("orders", 2, TopicReplication::Fixed(1));
    let again = runtime.block_on(client_of_admin.create_topics([&again], &options()));
    assert_eq!(again, Ok(vec![Err(("orders".into(), RDKafkaErrorCode::TopicAlreadyExists))]));

    let grown = runtime.block_on(client_of_admin.create_partitions([&NewPartitions::new("orders", 3)], &options()));
    assert_eq!(grown, Ok(vec![Ok("orders".into())]));
    eventually("a third partition", || (partitions(&broker, "orders") == Some(3)).then_some(()));

    let wanted = AlterConfig::new(ResourceSpecifier::Topic("orders")).set("retention.ms", "123456789");
    let altered = runtime.block_on(client_of_admin.alter_configs([&wanted], &options())).expect("answered");
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");

    produce(&runtime, &client(&broker, &[]), "orders", 3, 0..30);
    let mut before = TopicPartitionList::new();
    before.add_partition_offset("orders", 1, Offset::Offset(4)).expect("an offset");
    let trimmed = runtime.block_on(client_of_admin.delete_records(&before, &options())).expect("answered");
    assert_eq!(trimmed.elements()[0].offset(), Offset::Offset(4));

    broker.kill_and_start();
    let client_of_admin = admin(&broker);
    let topic = ResourceSpecifier::Topic("orders");
    let described = runtime.block_on(client_of_admin.describe_configs([&topic], &options())).expect("answered");
    let described = described[0].as_ref().expect("it is there");
    let retention = described.get("retention.ms").and_then(|entry| entry.value.as_deref());
    assert_eq!(retention, Some("123456789"));
    let consumer: BaseConsumer = client(&broker, &[("group.id", "nobody")]);
    assert_eq!(consumer.fetch_watermarks("orders", 1, PATIENCE), Ok((4, 10)));

    let deleted = runtime.block_on(client_of_admin.delete_topics(&["orders"], &options()));
    assert_eq!(deleted, Ok(vec![Ok("orders".into())]));
    eventually("it goes", || partitions(&broker, "orders").is_none().then_some(()));
    let unknown = runtime.block_on(client_of_admin.delete_topics(&["orders"], &options()));
    assert_eq!(unknown, Ok(vec![Err(("orders".into(), RDKafkaErrorCode::UnknownTopicOrPartition))]));
}
