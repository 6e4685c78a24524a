//! The core by itself: what its machines cost for one batch, from a request's bytes to its answer's.

use super::cpu::this_thread;
use super::null_world::{NullWorld, Shares};
use super::report::{Report, Unit};
use super::stats::megabytes;
use super::{CoreOptions, batch, produce, progress};
use crate::client::{Frame, topic_name};
use crate::failure::Failure;
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{CreateTopicsRequest, FetchRequest, TopicName};
use std::time::{Duration, Instant};

/// Reads of a socket are of at most so many bytes.
const READ: usize = 256 << 10;

/// Requests in one read, where requests are pipelined.
const TRAIN: usize = 32;

/// What is looked at between two looks at the clock.
const ROUNDS: u64 = 16;

pub(super) fn run(options: &CoreOptions) -> Result<Report, Failure> {
    let CoreOptions { record, during } = *options;
    let topic = topic_name("bench".into());
    let large = Produce::new(&topic, batch::large(record))?;
    let single = Produce::new(&topic, batch::single(record))?;
    let mut report = Report::new("core");
    let mut measure = |key: &str, title: String, before: &[u8], requests: Requests| -> Result<(), Failure> {
        progress(&title);
        report.section(title);
        let mut world = NullWorld::start()?;
        world.receive(&[create(&topic)?, Bytes::copy_from_slice(before)]);
        measure(&mut world, key, &requests, during, &mut report);
        Ok(())
    };
    let title = format!("produce batches of {} bytes", large.batch);
    measure("core.produce.large", title, &[], Requests::new(&large.frame, 1, large.batch))?;
    let title = format!("produce one record of {record} bytes");
    measure("core.produce.single", title, &[], Requests::new(&single.frame, 1, single.batch))?;
    let title = format!("produce one record of {record} bytes, {TRAIN} requests in one read");
    measure("core.produce.train", title, &[], Requests::new(&single.frame, TRAIN, single.batch))?;
    let fetch = Frame::new(12, &fetch(&topic))?;
    let title = format!("fetch a batch of {} bytes from the log cache", large.batch);
    measure("core.fetch", title, &large.frame, Requests::new(fetch.bytes(), 1, large.batch))?;
    Ok(report)
}

/// A produce request.
struct Produce {
    frame: Vec<u8>,
    /// Length of its batch.
    batch: u64,
}

impl Produce {
    fn new(topic: &TopicName, records: Vec<u8>) -> Result<Self, Failure> {
        let batch = records.len() as u64;
        Ok(Self { frame: produce::frame(topic, 0, records)?.bytes().to_vec(), batch })
    }
}

/// What is received over and over.
struct Requests {
    chunks: Vec<Bytes>,
    /// How many requests that is.
    count: u64,
    /// Bytes of the batch in each, or in its answer.
    batch: u64,
}

impl Requests {
    fn new(frame: &[u8], count: usize, batch: u64) -> Self {
        let all = Bytes::from(frame.repeat(count));
        let chunks = (0..all.len()).step_by(READ).map(|at| all.slice(at..all.len().min(at + READ))).collect();
        Self { chunks, count: count as u64, batch }
    }
}

fn measure(world: &mut NullWorld, key: &str, requests: &Requests, during: Duration, report: &mut Report) {
    let repeat = |world: &mut NullWorld, during: Duration| {
        let (begun, busy, before) = (Instant::now(), this_thread(), world.answers());
        while begun.elapsed() < during {
            (0..ROUNDS).for_each(|_| world.receive(&requests.chunks));
        }
        (world.answers() - before, this_thread().saturating_sub(busy))
    };
    repeat(world, during / 10);
    let (batches, took) = repeat(world, during);
    report.add(format!("{key}.time"), "one request", nanos(took, batches), Unit::Nanos);
    report.add(format!("{key}.rate"), "bytes of batches", megabytes(batches * requests.batch, took), Unit::Megabytes);
    world.watch(Some(Shares::default()));
    let (batches, _) = repeat(world, during / 5);
    let shares = world.watch(None).unwrap_or_default();
    assert!(batches >= requests.count, "every request is answered");
    for (machine, time, inputs) in shares.all() {
        let inputs = inputs as f64 / batches as f64;
        let what = format!("  of that: {machine} ({inputs:.2} inputs)");
        report.add(format!("{key}.time.{machine}"), what, nanos(time, batches), Unit::Nanos);
    }
}

fn nanos(time: Duration, each: u64) -> f64 {
    time.as_nanos() as f64 / each as f64
}

fn create(topic: &TopicName) -> Result<Bytes, Failure> {
    let topic = CreatableTopic::default().with_name(topic.clone()).with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
    Ok(Bytes::copy_from_slice(Frame::new(5, &request)?.bytes()))
}

/// The first batch.
fn fetch(topic: &TopicName) -> FetchRequest {
    let partition =
        FetchPartition::default().with_current_leader_epoch(-1).with_fetch_offset(0).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(topic.clone()).with_partitions(vec![partition]);
    FetchRequest::default().with_max_wait_ms(0).with_min_bytes(1).with_max_bytes(50 << 20).with_topics(vec![topic])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_answer_whatever_is_measured() {
        let options = CoreOptions { during: Duration::from_millis(20), record: 100 };
        let table = run(&options).expect("nothing fails").table();
        for part in ["produce batches of", "32 requests in one read", "fetch a batch", "of that: wal ("] {
            assert!(table.contains(part), "{part} is missing in\n{table}");
        }
    }
}
