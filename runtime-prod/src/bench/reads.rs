//! Consumers that are behind, of a broker whose object store is far away.

use super::child::Broker;
use super::consume::{self, Range};
use super::disk::{self, RawDisk};
use super::produce::{self, Enough};
use super::report::{Report, Unit};
use super::stats::{Latencies, megabytes};
use super::workdir::WorkDir;
use super::{ReadsOptions, progress};
use crate::admin;
use crate::client::{Client, topic_name};
use crate::failure::Failure;
use kafka_protocol::messages::TopicName;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Consumers of the same partition, where there are several.
const MANY: usize = 10;

/// Bytes of each record's value.
const RECORD: usize = 1024;

/// Everything is uploaded in so long.
const UPLOADING: Duration = Duration::from_secs(120);

pub(super) fn run(options: &ReadsOptions) -> Result<Report, Failure> {
    let dir = WorkDir::create(&options.dir)?;
    let mut bench = Bench {
        options,
        dir: &dir.path().join("broker"),
        topic: topic_name("behind".into()),
        probes: topic_name("probes".into()),
        end: 0,
    };
    let mut report = Report::new("reads");
    let bytes = bench.fill()?;
    let mut rates = Vec::new();
    for (key, what, ahead) in
        [("without", "nothing is read ahead", "0"), ("with", "what follows is read ahead", "16MiB")]
    {
        for consumers in [1, MANY] {
            report.section(format!("{consumers} behind, {} ms per request, {what}", options.delay.as_millis()));
            let rate = bench.measure(&format!("{key}.{consumers}"), consumers, (bytes, ahead), &mut report)?;
            rates.push(rate);
        }
    }
    report.section("with / without");
    report.add("ratio.1", "one behind", rates[2] / rates[0], Unit::Ratio);
    report.add(format!("ratio.{MANY}"), format!("{MANY} behind"), rates[3] / rates[1], Unit::Ratio);
    bench.neighbours(&RawDisk::create(dir.path())?, bytes, &mut report)?;
    Ok(report)
}

struct Bench<'a> {
    options: &'a ReadsOptions,
    dir: &'a Path,
    topic: TopicName,
    /// What is produced while others consume.
    probes: TopicName,
    /// There is nothing to be consumed from this offset on.
    end: i64,
}

/// A broker, and where it tells about itself.
struct Watched {
    broker: Broker,
    http: String,
}

impl Bench<'_> {
    /// Produces what is to be consumed. Returns how many bytes that is.
    fn fill(&mut self) -> Result<u64, Failure> {
        let watched = self.start("0", Duration::ZERO)?;
        let mut client = Client::connect(watched.broker.address())?;
        [&self.topic, &self.probes].into_iter().try_for_each(|topic| client.create_topic(topic, 1))?;
        progress("producing what is to be consumed");
        let done =
            produce::sustained(watched.broker.address(), &self.topic, 0, RECORD, Enough::Bytes(self.options.bytes))?;
        let begun = Instant::now();
        while watched.figure("karst_cache_bytes{state=\"uncut\"}")? > 0
            || watched.figure("karst_cache_bytes{state=\"uploading\"}")? > 0
        {
            if begun.elapsed() > UPLOADING {
                return Err(Failure::new("the broker does not upload what was produced"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.end = done.last + 1;
        Ok(done.bytes)
    }

    /// Consumers read everything, side by side. Returns their rate in all.
    fn measure(
        &self,
        key: &str,
        consumers: usize,
        (bytes, ahead): (u64, &str),
        report: &mut Report,
    ) -> Result<f64, Failure> {
        let watched = self.start(ahead, self.options.delay)?;
        progress(format_args!("{consumers} consumers, {ahead} read ahead"));
        let begun = Instant::now();
        self.consume(&watched, consumers)?;
        let rate = megabytes(bytes * consumers as u64, begun.elapsed());
        let requests = watched.figure("karst_object_requests_total{part=\"blocks\"}")?
            + watched.figure("karst_object_requests_total{part=\"index\"}")?;
        let fetched = watched.figure("karst_object_blocks_bytes_total")?;
        let consumed = (bytes * consumers as u64) as f64;
        report.add(format!("{key}.rate"), "consumed, by all together", rate, Unit::Megabytes);
        let what = "GETs per GiB that is consumed";
        report.add(format!("{key}.requests"), what, requests as f64 / consumed * f64::from(1 << 30), Unit::Count);
        let what = "bytes that come from the store per byte that is consumed";
        report.add(format!("{key}.amplification"), what, fetched as f64 / consumed, Unit::Ratio);
        Ok(rate)
    }

    /// What producers notice of those who are behind.
    fn neighbours(&self, raw: &RawDisk, bytes: u64, report: &mut Report) -> Result<(), Failure> {
        let during = self.options.during;
        let watched = self.start("16MiB", self.options.delay)?;
        let address = watched.broker.address();
        let data = disk::content(disk::SMALLEST);
        let produce = || {
            let write = || raw.write(&data);
            produce::one_by_one(address, &self.probes, RECORD, write, during).map(|(produced, _)| produced)
        };
        progress("a producer by itself");
        let alone = produce()?;
        progress("a producer beside consumers that are behind");
        let over = AtomicBool::new(false);
        let (beside, rounds) = std::thread::scope(|scope| {
            let consumers = scope.spawn(|| {
                let mut rounds = 0;
                while !over.load(Ordering::Relaxed) {
                    self.consume(&watched, MANY)?;
                    rounds += 1;
                }
                Ok::<u64, Failure>(rounds)
            });
            let beside = produce();
            over.store(true, Ordering::Relaxed);
            Ok::<(Latencies, u64), Failure>((beside?, consumers.join().expect("it does not panic")?))
        })?;
        report.section(format!("a producer of one record at a time, alone and beside {MANY} that are behind"));
        for (key, what, latencies) in [("alone", "alone", &alone), ("beside", "beside them", &beside)] {
            report.add(format!("produce.{key}.median"), format!("{what}: median"), latencies.median(), Unit::Micros);
            report.add(format!("produce.{key}.p99"), format!("{what}: p99"), latencies.p99(), Unit::Micros);
        }
        report.add("produce.ratio", "p99 beside them / alone", beside.p99() / alone.p99(), Unit::Ratio);
        let consumed = (rounds * MANY as u64 * bytes) >> 20;
        report.note(format!("they consumed {consumed} MiB meanwhile, by clients on the same machine"));
        Ok(())
    }

    fn consume(&self, watched: &Watched, consumers: usize) -> Result<(), Failure> {
        let address = watched.broker.address();
        let range = Range { partition: 0, start: 0, end: self.end };
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..consumers).map(|_| scope.spawn(|| consume::once(address, &self.topic, range))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
        })
    }

    fn start(&self, ahead: &str, delay: Duration) -> Result<Watched, Failure> {
        // Free a moment ago.
        let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let delay = format!("{}ms", delay.as_millis());
        let options = [
            ["--http", &http],
            ["--cache-bytes", "0"],
            ["--upload-bytes", "32MiB"],
            ["--upload-interval-ms", "500ms"],
            ["--num-store-threads", "64"],
            ["--store-delay-ms", &delay],
            ["--read-ahead-bytes", ahead],
        ];
        Ok(Watched { broker: Broker::start_with(self.dir, options.as_flattened())?, http })
    }
}

impl Watched {
    /// One figure of its metrics.
    fn figure(&self, name: &str) -> Result<u64, Failure> {
        let (_, page) = admin::get(&self.http, "/metrics")?;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.ok_or_else(|| Failure::new(format_args!("the broker tells no {name}")))
    }
}
