//! Producers.

use super::batch;
use super::stats::Latencies;
use crate::client::{Client, Frame, check};
use crate::failure::Failure;
use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The last version that names topics.
const VERSION: i16 = 12;

/// Large batches that one connection has under way.
pub(super) const IN_FLIGHT: usize = 8;

/// What a producer of large batches did.
#[derive(Debug, Default)]
pub(super) struct Sustained {
    /// Of acknowledged batches.
    pub(super) bytes: u64,
    /// From the sending of each until its answer.
    pub(super) latencies: Latencies,
    /// Base offset of the last batch.
    pub(super) last: i64,
    /// Bytes of each batch.
    pub(super) batch: u64,
}

/// When a producer has sent enough.
#[derive(Clone, Copy, Debug)]
pub(super) enum Enough {
    /// So much time has passed.
    Time(Duration),
    /// So many bytes were sent.
    Bytes(u64),
}

/// A produce request with these records.
pub(super) fn frame(topic: &TopicName, partition: i32, records: Vec<u8>) -> Result<Frame<ProduceRequest>, Failure> {
    let partition = PartitionProduceData::default().with_index(partition).with_records(Some(Bytes::from(records)));
    let topic = TopicProduceData::default().with_name(topic.clone()).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
    Frame::new(VERSION, &request)
}

/// One record at a time, and in turns with that something else, which says how long it took. Returns the latencies of both.
pub(super) fn one_by_one(
    address: &str,
    topic: &TopicName,
    record: usize,
    mut beside: impl FnMut() -> Result<Duration, Failure>,
    during: Duration,
) -> Result<(Latencies, Latencies), Failure> {
    let mut client = Client::connect(address)?;
    let mut frame = frame(topic, 0, batch::single(record))?;
    let (mut produced, mut took) = (Latencies::default(), Latencies::default());
    // What happens only once, such as growing a buffer, is over after some rounds.
    let warm = Instant::now();
    while warm.elapsed() < during / 10 {
        client.send(&mut frame)?;
        base_offset(&client.receive_for(&frame)?)?;
        beside()?;
    }
    let begun = Instant::now();
    while begun.elapsed() < during {
        let sent = Instant::now();
        client.send(&mut frame)?;
        let response = client.receive_for(&frame)?;
        produced.add(sent.elapsed());
        base_offset(&response)?;
        took.add(beside()?);
    }
    Ok((produced, took))
}

/// Large batches, pipelined, into one partition.
pub(super) fn sustained(
    address: &str,
    topic: &TopicName,
    partition: i32,
    record: usize,
    enough: Enough,
) -> Result<Sustained, Failure> {
    let records = batch::large(record);
    let mut done = Sustained { batch: records.len() as u64, ..Sustained::default() };
    let mut frame = frame(topic, partition, records)?;
    let mut client = Client::connect(address)?;
    let mut under_way = VecDeque::new();
    let mut sent = 0;
    let begun = Instant::now();
    loop {
        let go_on = match enough {
            Enough::Time(during) => begun.elapsed() < during,
            Enough::Bytes(bytes) => sent < bytes,
        };
        if go_on && under_way.len() < IN_FLIGHT {
            under_way.push_back(Instant::now());
            client.send(&mut frame)?;
            sent += done.batch;
            continue;
        }
        let Some(since) = under_way.pop_front() else { return Ok(done) };
        done.last = base_offset(&client.receive_for(&frame)?)?;
        done.latencies.add(since.elapsed());
        done.bytes += done.batch;
    }
}

fn base_offset(response: &ProduceResponse) -> Result<i64, Failure> {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let Some(partition) = partitions.next() else { return Err(Failure::new("a produce was not answered")) };
    check("append records", partition.error_code)?;
    Ok(partition.base_offset)
}
