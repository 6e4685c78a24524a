//! `karst topics`: by Kafka's protocol, so of any broker that speaks it.

use super::TopicOrder;
use crate::client::{Client, check, topic_name};
use crate::failure::Failure;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsRequest, MetadataRequest, TopicName,
};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How long the broker may take for a change.
const TIMEOUT_MS: i32 = 30_000;

/// In a request for offsets: the first one, and the one after the last.
const EARLIEST: i64 = -2;
pub(super) const LATEST: i64 = -1;

pub(super) fn order(broker: &str, order: &TopicOrder) -> Result<String, Failure> {
    let mut client = Client::connect(broker)?;
    match order {
        TopicOrder::List => list(&mut client),
        TopicOrder::Describe(names) => describe(&mut client, names),
        TopicOrder::Create { names, partitions } => create(&mut client, names, *partitions),
        TopicOrder::Delete(names) => delete(&mut client, names),
    }
}

fn list(client: &mut Client) -> Result<String, Failure> {
    let mut out = String::new();
    for topic in topics(client, &[])? {
        let _ = writeln!(out, "{}", name(&topic));
    }
    Ok(out)
}

fn describe(client: &mut Client, names: &[String]) -> Result<String, Failure> {
    let mut out = String::new();
    for topic in topics(client, names)? {
        let name = name(&topic);
        check(&format!("describe topic {name:?}"), topic.error_code)?;
        let _ = writeln!(out, "{name}: {} partitions", topic.partitions.len());
        let of = topic.name.clone().unwrap_or_default();
        let mut partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        partitions.sort_unstable();
        let starts = offsets(client, &of, &partitions, EARLIEST)?;
        let ends = offsets(client, &of, &partitions, LATEST)?;
        let leaders: BTreeMap<i32, i32> =
            topic.partitions.iter().map(|partition| (partition.partition_index, partition.leader_id.0)).collect();
        for index in partitions {
            let leader = leaders.get(&index).filter(|leader| **leader >= 0).map_or("none".into(), ToString::to_string);
            let offset = |of: &BTreeMap<i32, i64>| of.get(&index).map_or("unknown".into(), ToString::to_string);
            let _ = writeln!(
                out,
                "  partition {index:<6} leader {leader:<6} offsets from {:<12} to {}",
                offset(&starts),
                offset(&ends)
            );
        }
    }
    Ok(out)
}

fn create(client: &mut Client, names: &[String], partitions: u32) -> Result<String, Failure> {
    const VERSION: i16 = 5;
    let topic = |name: &String| {
        CreatableTopic::default()
            .with_name(topic_name(name.clone()))
            .with_num_partitions(i32::try_from(partitions).unwrap_or(i32::MAX))
            .with_replication_factor(1)
    };
    let topics = names.iter().map(topic).collect();
    let response =
        client.ask(VERSION, &CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS))?;
    for topic in &response.topics {
        let why =
            topic.error_message.as_ref().map_or_else(String::new, |why| format!(", which says {:?}", why.as_str()));
        check(&format!("create topic {:?}{why}", topic.name.as_str()), topic.error_code)?;
    }
    Ok(told("created", names))
}

fn delete(client: &mut Client, names: &[String]) -> Result<String, Failure> {
    const VERSION: i16 = 5;
    let request = DeleteTopicsRequest::default()
        .with_topic_names(names.iter().cloned().map(topic_name).collect())
        .with_timeout_ms(TIMEOUT_MS);
    for topic in &client.ask(VERSION, &request)?.responses {
        let name = topic.name.as_ref().map_or("", |name| name.as_str());
        check(&format!("delete topic {name:?}"), topic.error_code)?;
    }
    Ok(told("deleted", names))
}

fn told(what: &str, names: &[String]) -> String {
    names.iter().map(|name| format!("{what} {name}\n")).collect()
}

/// These topics, or all, by name. None is made by the question.
fn topics(client: &mut Client, names: &[String]) -> Result<Vec<MetadataResponseTopic>, Failure> {
    const VERSION: i16 = 9;
    let wanted = |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name.clone())));
    let wanted = (!names.is_empty()).then(|| names.iter().map(wanted).collect());
    let request = MetadataRequest::default().with_topics(wanted).with_allow_auto_topic_creation(false);
    let mut topics = client.ask(VERSION, &request)?.topics;
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// An offset of each partition that has one to tell.
pub(super) fn offsets(
    client: &mut Client,
    topic: &TopicName,
    partitions: &[i32],
    which: i64,
) -> Result<BTreeMap<i32, i64>, Failure> {
    const VERSION: i16 = 5;
    let wanted = |index: &i32| ListOffsetsPartition::default().with_partition_index(*index).with_timestamp(which);
    let wanted =
        ListOffsetsTopic::default().with_name(topic.clone()).with_partitions(partitions.iter().map(wanted).collect());
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]);
    let response = client.ask(VERSION, &request)?;
    let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let known = partitions.filter(|partition| partition.error_code == 0);
    Ok(known.map(|partition| (partition.partition_index, partition.offset)).collect())
}

fn name(topic: &MetadataResponseTopic) -> &str {
    topic.name.as_ref().map_or("", |name| name.as_str())
}
