//! A broker from a client's side.

use super::child::Broker;
use super::consume::{self, Range};
use super::cpu::{Reading, Usage};
use super::disk::{self, RawDisk};
use super::produce::{self, Enough, Sustained};
use super::report::{Report, Unit};
use super::stats::{Latencies, megabytes};
use super::workdir::WorkDir;
use super::{Against, BrokerOptions, progress};
use crate::client::{Client, topic_name};
use crate::failure::Failure;
use kafka_protocol::messages::TopicName;
use std::time::Duration;

/// Bytes that the log cache is certain to hold.
const CACHED: u64 = 48 << 20;

/// Bytes at a partition's end of which some may be in the log cache: all of it, and a WAL that waits for its upload.
const MAYBE_CACHED: u64 = (128 + 512) << 20;

/// Fewer bytes than this in objects are not worth a measurement.
const WORTHWHILE: u64 = 32 << 20;

/// What a client may take before it is called the limit, in processors per connection.
const BUSY: f64 = 0.85;

pub(super) fn run(options: &BrokerOptions) -> Result<Report, Failure> {
    let dir = WorkDir::create(&options.dir)?;
    let disk = RawDisk::create(dir.path())?;
    let own = match &options.against {
        Against::Own => Some(Broker::start(&dir.path().join("broker"))?),
        Against::Running(_) => None,
    };
    let address = match (&options.against, &own) {
        (Against::Running(address), _) => address.clone(),
        (Against::Own, own) => own.as_ref().map(|own| own.address().to_owned()).unwrap_or_default(),
    };
    let topic = |kind: &str| topic_name(format!("karst-bench-{}-{kind}", std::process::id()));
    let bench = Bench { options, disk, pid: own.as_ref().map(Broker::pid), address };
    let mut report = Report::new("broker");
    let topics = [topic("latency"), topic("cache"), topic("sustained")];
    let mut client = Client::connect(&bench.address)?;
    topics.iter().try_for_each(|topic| client.create_topic(topic, options.connections))?;
    let measured = bench.measure(&topics, &mut report);
    if own.is_none() {
        client.delete_topics(&topics)?;
    }
    measured.map(|()| report)
}

struct Bench<'a> {
    options: &'a BrokerOptions,
    disk: RawDisk,
    pid: Option<u32>,
    address: String,
}

impl Bench<'_> {
    fn measure(&self, [latency, cache, sustained]: &[TopicName; 3], report: &mut Report) -> Result<(), Failure> {
        self.latency(latency, report)?;
        self.cache(cache, report)?;
        let produced = self.sustained(sustained, report)?;
        self.objects(sustained, &produced, report)
    }

    fn latency(&self, topic: &TopicName, report: &mut Report) -> Result<(), Failure> {
        let BrokerOptions { record, during, .. } = *self.options;
        progress("one record at a time, in turns with writes to the disk");
        let from = Reading::take(self.pid)?;
        let data = disk::content(disk::SMALLEST);
        let write = || self.disk.write(&data);
        let (produced, written) = produce::one_by_one(&self.address, topic, record, write, during)?;
        let usage = from.until(&Reading::take(self.pid)?);
        report.section(format!("produce one record of {record} bytes at a time, acks=all ({} times)", produced.len()));
        report.add("latency.produce.median", "broker: median", produced.median(), Unit::Micros);
        report.add("latency.produce.p99", "broker: p99", produced.p99(), Unit::Micros);
        report.add("latency.disk.median", "disk's own 4 KiB sync write: median", written.median(), Unit::Micros);
        report.add("latency.disk.p99", "disk's own 4 KiB sync write: p99", written.p99(), Unit::Micros);
        let added = produced.median() - written.median();
        report.add("latency.added", "what the broker adds to the disk's median", added, Unit::Micros);
        report.add("latency.ratio", "broker's median / disk's", produced.median() / written.median(), Unit::Ratio);
        add_usage("latency", &usage, report);
        Ok(())
    }

    fn sustained(&self, topic: &TopicName, report: &mut Report) -> Result<Vec<Sustained>, Failure> {
        const LEN: usize = 1 << 20;
        let BrokerOptions { record, during, connections, .. } = *self.options;
        progress("the disk's own throughput");
        let disk = self.disk.rate(LEN, during.min(Duration::from_secs(2)))?;
        progress("large batches");
        let from = Reading::take(self.pid)?;
        let done = self.each_connection(|partition| {
            produce::sustained(&self.address, topic, partition, record, Enough::Time(during))
        })?;
        let took = from.elapsed();
        let usage = from.until(&Reading::take(self.pid)?);
        let bytes = done.iter().map(|done| done.bytes).sum();
        let rate = megabytes(bytes, took);
        let mut latencies = Latencies::default();
        done.iter().for_each(|done| latencies.append(done.latencies.clone()));
        report.section(format!(
            "produce batches of 1 MB, acks=all, {} in flight on each of {connections} connections",
            produce::IN_FLIGHT
        ));
        report.add("produce.rate", "broker", rate, Unit::Megabytes);
        report.add("produce.disk.rate", "disk's own: 1 MiB, 8 at a time", disk, Unit::Megabytes);
        report.add(
            "produce.ratio",
            "broker / disk (each byte is written to the WAL and again to an object)",
            rate / disk,
            Unit::Ratio,
        );
        report.add("produce.latency.median", "from sending to answer: median", latencies.median(), Unit::Micros);
        report.add("produce.latency.p99", "from sending to answer: p99", latencies.p99(), Unit::Micros);
        add_usage("produce", &usage, report);
        self.judge_client(&usage, report);
        Ok(done)
    }

    fn cache(&self, topic: &TopicName, report: &mut Report) -> Result<(), Failure> {
        let BrokerOptions { record, connections, .. } = *self.options;
        progress("consumption from the log cache");
        let each = CACHED / connections as u64;
        let done = self.each_connection(|partition| {
            produce::sustained(&self.address, topic, partition, record, Enough::Bytes(each))
        })?;
        let ranges = done.iter().map(|done| (0, done.last.max(1))).collect();
        report.section(format!("consume from the log cache, {connections} connections"));
        self.consume("consume.cache", topic, ranges, report)
    }

    fn objects(&self, topic: &TopicName, produced: &[Sustained], report: &mut Report) -> Result<(), Failure> {
        let connections = self.options.connections;
        report
            .section(format!("consume from objects (some in the operating system's cache), {connections} connections"));
        let left_out = MAYBE_CACHED / connections as u64;
        // Batches are all alike, so offsets are in proportion to bytes.
        let sure = |done: &Sustained| {
            let batches = done.bytes / done.batch.max(1);
            let certain = done.bytes.saturating_sub(left_out) / done.batch.max(1);
            (0, done.last / i64::try_from(batches).unwrap_or(i64::MAX).max(1) * i64::try_from(certain).unwrap_or(0))
        };
        if produced.iter().any(|done| done.bytes.saturating_sub(left_out) < WORTHWHILE) {
            report.note("not measured: too little was produced to push it out of the log cache; try more --seconds");
            return Ok(());
        }
        progress("consumption from objects");
        self.consume("consume.objects", topic, produced.iter().map(sure).collect(), report)
    }

    fn consume(
        &self,
        key: &str,
        topic: &TopicName,
        ranges: Vec<(i64, i64)>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let during = self.options.during;
        let from = Reading::take(self.pid)?;
        let bytes: u64 = self
            .each_connection(|partition| {
                let (start, end) = ranges[partition as usize];
                consume::over_and_over(&self.address, topic, Range { partition, start, end }, during)
            })?
            .into_iter()
            .sum();
        let took = from.elapsed();
        let usage = from.until(&Reading::take(self.pid)?);
        report.add(format!("{key}.rate"), "broker", megabytes(bytes, took), Unit::Megabytes);
        add_usage(key, &usage, report);
        self.judge_client(&usage, report);
        Ok(())
    }

    /// On a thread each, with the number of its partition.
    fn each_connection<T: Send>(&self, work: impl Fn(i32) -> Result<T, Failure> + Sync) -> Result<Vec<T>, Failure> {
        let connections = i32::try_from(self.options.connections).map_err(Failure::new)?;
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..connections).map(|partition| scope.spawn(move || work(partition))).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        })
    }

    fn judge_client(&self, usage: &Usage, report: &mut Report) {
        if usage.client > BUSY * self.options.connections as f64 {
            report.note("the client is the limit: its threads did nothing but work");
        }
    }
}

fn add_usage(key: &str, usage: &Usage, report: &mut Report) {
    report.add(format!("{key}.cpu.client"), "processors kept busy by the client", usage.client, Unit::Processors);
    let Some(broker) = usage.broker else { return };
    report.add(format!("{key}.cpu.broker"), "processors kept busy by the broker", broker, Unit::Processors);
    for (thread, busy) in &usage.threads {
        report.add(format!("{key}.cpu.broker.{thread}"), format!("  its threads {thread}"), *busy, Unit::Processors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_not_there_is_named() {
        let dir = crate::scratch::Scratch::new("bench-broker");
        let options = BrokerOptions {
            against: Against::Running("127.0.0.1:1".into()),
            dir: dir.path().into(),
            during: Duration::from_millis(10),
            record: 100,
            connections: 1,
        };
        let failure = run(&options).expect_err("nobody listens there").to_string();
        assert!(failure.contains("cannot connect to 127.0.0.1:1"), "{failure}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
    }
}
