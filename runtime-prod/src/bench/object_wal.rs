//! A broker whose WAL is in the object store, beside that store's own puts.

use super::child::Broker;
use super::produce::{self, Enough};
use super::report::{Report, Unit};
use super::stats::{Latencies, megabytes};
use super::workdir::WorkDir;
use super::{ObjectWalOptions, disk, progress};
use crate::client::{Client, topic_name};
use crate::failure::Failure;
use crate::store::{Backend, Directory, Distant};
use bytes::Bytes;
use kafka_protocol::messages::TopicName;
use karst_core::store::{Key, Precondition, StoreOp};
use std::path::Path;
use std::time::{Duration, Instant};

/// What gathers for so long goes into one object, unless it is set.
const USUAL: Duration = Duration::from_millis(250);

/// Shorter than any put is meant to take, so that each record comes after a pause.
const SHORT: Duration = Duration::from_millis(1);

/// Bytes of an object that is full.
const FULL: usize = 8 << 20;

pub(super) fn run(options: &ObjectWalOptions) -> Result<Report, Failure> {
    let dir = WorkDir::create(&options.dir)?;
    let store = Puts::open(&dir.path().join("puts"), options.delay)?;
    let (dir, topic) = (dir.path(), topic_name("records".into()));
    let mut bench = Bench { options, store, dir, topic, report: Report::new("object-wal") };
    let put = bench.at_once()?;
    bench.gathered(put)?;
    bench.full()?;
    Ok(bench.report)
}

struct Bench<'a> {
    options: &'a ObjectWalOptions,
    store: Puts,
    dir: &'a Path,
    topic: TopicName,
    report: Report,
}

impl Bench<'_> {
    /// A record that comes after a pause leaves at once. Returns the p99 of a put.
    fn at_once(&mut self) -> Result<f64, Failure> {
        let delay = self.options.delay.as_millis();
        self.report.section(format!("one record at a time, each after a pause; {delay} ms per request"));
        let (produced, put) = self.one_by_one("at-once", SHORT)?;
        self.tell("at-once.produce", "produce", &produced);
        self.tell("at-once.put", "the store's own put", &put);
        self.report.add("at-once.ratio", "p99 of a produce / of a put", produced.p99() / put.p99(), Unit::Ratio);
        Ok(put.p99())
    }

    /// A record that comes behind another waits for the interval.
    fn gathered(&mut self, put: f64) -> Result<(), Failure> {
        let usual = USUAL.as_millis();
        self.report.section(format!("one record at a time, without pauses, gathered for {usual} ms"));
        let (produced, _) = self.one_by_one("gathered", USUAL)?;
        self.tell("gathered.produce", "produce", &produced);
        let least = put + USUAL.as_micros() as f64;
        let what = "p99 of a produce / of a put and the interval";
        self.report.add("gathered.ratio", what, produced.p99() / least, Unit::Ratio);
        Ok(())
    }

    /// Objects are full.
    fn full(&mut self) -> Result<(), Failure> {
        let broker = self.start("full", USUAL)?;
        let batches = produce::IN_FLIGHT;
        self.report.section(format!("batches of 1 MB, {batches} in flight"));
        progress("producing large batches");
        let begun = Instant::now();
        let enough = Enough::Time(self.options.during);
        let done = produce::sustained(broker.address(), &self.topic, 0, self.options.record, enough)?;
        let rate = megabytes(done.bytes, begun.elapsed());
        let mut put = Latencies::default();
        let begun = Instant::now();
        while begun.elapsed() < self.options.during {
            put.add(self.store.put(FULL)?);
        }
        self.report.add("full.produce.rate", "produced", rate, Unit::Megabytes);
        self.tell("full.produce", "produce", &done.latencies);
        self.tell("full.put", "the store's own put of 8 MiB, one at a time", &put);
        Ok(())
    }

    /// Produces one record at a time, and puts as much in turns with that.
    fn one_by_one(&mut self, name: &str, interval: Duration) -> Result<(Latencies, Latencies), Failure> {
        let broker = self.start(name, interval)?;
        progress("producing one record at a time");
        let (record, during) = (self.options.record, self.options.during);
        produce::one_by_one(broker.address(), &self.topic, record, || self.store.put(disk::SMALLEST), during)
    }

    fn tell(&mut self, key: &str, what: &str, latencies: &Latencies) {
        self.report.add(format!("{key}.median"), format!("{what}: median"), latencies.median(), Unit::Micros);
        self.report.add(format!("{key}.p99"), format!("{what}: p99"), latencies.p99(), Unit::Micros);
    }

    fn start(&self, name: &str, interval: Duration) -> Result<Broker, Failure> {
        let (delay, interval) = [self.options.delay, interval].map(|time| format!("{}ms", time.as_millis())).into();
        let options = [
            ["--http", "off"],
            ["--wal-device", "object:"],
            ["--wal-object-interval-ms", &interval],
            ["--num-store-threads", "64"],
            ["--store-delay-ms", &delay],
        ];
        let broker = Broker::start_with(&self.dir.join(name), options.as_flattened())?;
        Client::connect(broker.address())?.create_topic(&self.topic, 1)?;
        Ok(broker)
    }
}

/// A store of the kind that the broker has, by itself.
struct Puts {
    store: Distant<Directory>,
    names: u64,
}

impl Puts {
    fn open(dir: &Path, delay: Duration) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)?;
        let near = Directory::open(dir).map_err(Failure::new)?;
        Ok(Self { store: Distant::new(near, delay), names: 0 })
    }

    /// How long it takes to create an object of this length.
    fn put(&mut self, len: usize) -> Result<Duration, Failure> {
        self.names += 1;
        let key = Key(format!("put/{:020}", self.names));
        let put = StoreOp::Put { key, body: Bytes::from(vec![0x5a; len]).into(), only_if: Precondition::Absent };
        let begun = Instant::now();
        self.store.perform(&put).map_err(|error| Failure::new(format_args!("the store {error}")))?;
        Ok(begun.elapsed())
    }
}
