//! Consumers.

use crate::client::{Client, check};
use crate::failure::Failure;
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, TopicName};
use karst_core::kafka::Batches;
use std::time::{Duration, Instant};

/// The last version that names topics.
const VERSION: i16 = 12;

/// Bytes of one answer: what Java's and C's consumers ask for per partition.
const PARTITION: i32 = 1 << 20;

/// Some of a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) partition: i32,
    /// The first offset.
    pub(super) start: i64,
    /// Nothing from this one on.
    pub(super) end: i64,
}

/// Reads a range from its start to its end, over and over. Returns how many bytes that was.
pub(super) fn over_and_over(address: &str, topic: &TopicName, range: Range, during: Duration) -> Result<u64, Failure> {
    let mut client = Client::connect(address)?;
    let begun = Instant::now();
    let (mut at, mut bytes) = (range.start, 0);
    while begun.elapsed() < during {
        let records = fetch(&mut client, topic, range.partition, at)?;
        bytes += records.len() as u64;
        at = end_of(records, at)?;
        if at >= range.end {
            at = range.start;
        }
    }
    Ok(bytes)
}

/// Reads a range from its start to its end.
pub(super) fn once(address: &str, topic: &TopicName, range: Range) -> Result<(), Failure> {
    let mut client = Client::connect(address)?;
    let mut at = range.start;
    while at < range.end {
        let records = fetch(&mut client, topic, range.partition, at)?;
        at = end_of(records, at)?;
    }
    Ok(())
}

fn fetch(client: &mut Client, topic: &TopicName, partition: i32, at: i64) -> Result<Bytes, Failure> {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(at)
        .with_partition_max_bytes(PARTITION);
    let topic = FetchTopic::default().with_topic(topic.clone()).with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_topics(vec![topic]);
    let response = client.ask(VERSION, &request)?;
    check("answer a fetch", response.error_code)?;
    let partition = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
    let partition = partition.ok_or_else(|| Failure::new("a fetch was answered without its partition"))?;
    check("give records", partition.error_code)?;
    Ok(partition.records.unwrap_or_default())
}

/// The offset after these records, which must begin where they were asked for.
fn end_of(records: Bytes, asked: i64) -> Result<i64, Failure> {
    let mut at = asked;
    for batch in Batches::new(records) {
        let (base, end) = (batch.header.base_offset, batch.header.end());
        let end = end.and_then(|end| i64::try_from(end.0).ok()).filter(|_| base == at);
        at = end.ok_or_else(|| Failure::new(format_args!("asked for offset {at}, the broker gave {base}")))?;
    }
    if at == asked { Err(Failure::new(format_args!("there are no records at offset {asked}"))) } else { Ok(at) }
}
