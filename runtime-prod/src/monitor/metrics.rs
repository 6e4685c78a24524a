//! What is counted while it happens: by threads of the shell, where inputs come in and effects are performed. Nobody
//! waits for anybody: each is an addition to a number that mostly one thread writes.

use super::histogram::Histogram;
use karst_core::compaction::Totals;
use karst_core::disk::{DiskDone, DiskResult};
use karst_core::kafka::Api;
use karst_core::store::{Cause, Fatal, StoreDone, StoreError, StoreOp, StoreResult};
use karst_core::wal::{Appended, Positions};
use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that its one writer replaces.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All that is counted, but for sockets: each IO thread has its [`IoMetrics`].
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) records: RecordMetrics,
    pub(crate) wal: WalMetrics,
    pub(crate) uploads: UploadMetrics,
    pub(crate) compaction: CompactionMetrics,
    pub(crate) store: StoreMetrics,
}

/// Of the sockets of one IO thread.
#[derive(Debug)]
pub(crate) struct IoMetrics {
    pub(crate) opened: Counter,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    /// By the number of the API; those that are not served have none.
    requests: Vec<Option<Histogram>>,
}

impl Default for IoMetrics {
    fn default() -> Self {
        let most = Api::all().map(Api::key).max().unwrap_or(0);
        let requests = (0..=most).map(|key| Api::of_key(key).map(|_| Histogram::default())).collect();
        Self { opened: Counter::default(), received: Counter::default(), sent: Counter::default(), requests }
    }
}

impl IoMetrics {
    /// A request's answer has left, so long after its turn had come.
    pub(crate) fn answered(&self, api: Api, took: Duration) {
        if let Some(histogram) = self.requests_of(api) {
            histogram.add(took);
        }
    }

    pub(crate) fn requests_of(&self, api: Api) -> Option<&Histogram> {
        usize::try_from(api.key()).ok().and_then(|key| self.requests.get(key)?.as_ref())
    }
}

/// Of records, as they become durable and as they are fetched.
#[derive(Debug, Default)]
pub(crate) struct RecordMetrics {
    pub(crate) batches: Counter,
    pub(crate) records: Counter,
    pub(crate) bytes: Counter,
    pub(crate) fetched_bytes: Counter,
}

impl RecordMetrics {
    pub(crate) fn durable(&self, batches: &[Appended]) {
        self.batches.add(batches.len());
        self.records.add(batches.iter().map(|batch| batch.end.0.saturating_sub(batch.base.0) as usize).sum());
        self.bytes.add(batches.iter().map(|batch| batch.batch.len()).sum());
    }
}

/// Of the WAL and its device.
#[derive(Debug, Default)]
pub(crate) struct WalMetrics {
    pub(crate) length: Gauge,
    /// Bytes that are not committed yet; positions are absent before and after a life.
    pub(crate) used: Gauge,
    /// Bytes that are being written.
    pub(crate) in_flight: Gauge,
    /// Objects of this life in the bucket, where the WAL is there.
    pub(crate) objects: Gauge,
    pub(crate) writes: Histogram,
    pub(crate) written: Counter,
    pub(crate) reads: Counter,
    pub(crate) read: Counter,
    pub(crate) failures: Counter,
}

impl WalMetrics {
    pub(crate) fn at(&self, positions: Option<Positions>) {
        let (used, in_flight) = positions.map_or((0, 0), |Positions { used, in_flight, .. }| (used, in_flight));
        self.used.set(used);
        self.in_flight.set(in_flight);
    }

    /// An operation on the device ended, of so many bytes if it was a write.
    pub(crate) fn ended(&self, len: usize, took: Duration, result: &DiskResult) {
        match result {
            Ok(DiskDone::Written) => {
                self.writes.add(took);
                self.written.add(len);
            }
            Ok(DiskDone::Read(bytes)) => {
                self.reads.add(1);
                self.read.add(bytes.len());
            }
            Err(_) => self.failures.add(1),
        }
    }
}

/// Of what is on its way into the bucket.
#[derive(Debug, Default)]
pub(crate) struct UploadMetrics {
    pub(crate) waiting: Gauge,
    pub(crate) waiting_bytes: Gauge,
    pub(crate) committed: Counter,
}

/// Of objects that are rewritten.
#[derive(Debug, Default)]
pub(crate) struct CompactionMetrics {
    pub(crate) committed: Gauge,
    pub(crate) abandoned: Gauge,
    pub(crate) inputs: Gauge,
    pub(crate) results: Gauge,
    pub(crate) read: Gauge,
    pub(crate) written: Gauge,
    /// Bytes of records that it holds.
    pub(crate) held: Gauge,
}

impl CompactionMetrics {
    pub(crate) fn at(&self, totals: &Totals, held: u64) {
        let Totals { committed, abandoned, inputs, results, read, written } = *totals;
        self.committed.set(committed);
        self.abandoned.set(abandoned);
        self.inputs.set(inputs);
        self.results.set(results);
        self.read.set(read);
        self.written.set(written);
        self.held.set(held);
    }
}

/// Who asks the object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Asker {
    Shard,
    Uploader,
    Compactor,
    Controller,
    Node,
    Wal,
}

impl Asker {
    pub(crate) const ALL: [Self; 6] =
        [Self::Shard, Self::Uploader, Self::Compactor, Self::Controller, Self::Node, Self::Wal];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::Uploader => "uploader",
            Self::Compactor => "compactor",
            Self::Controller => "controller",
            Self::Node => "node",
            Self::Wal => "wal",
        }
    }
}

/// What is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Operation {
    Put,
    Get,
    Delete,
    List,
}

impl Operation {
    pub(crate) const ALL: [Self; 4] = [Self::Put, Self::Get, Self::Delete, Self::List];

    pub(crate) const fn of(op: &StoreOp) -> Self {
        match op {
            StoreOp::Put { .. } => Self::Put,
            StoreOp::Get { .. } => Self::Get,
            StoreOp::Delete { .. } => Self::Delete,
            StoreOp::List { .. } => Self::List,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }
}

/// How that ends; the first one is success, and the next three are answers, too.
pub(crate) const OUTCOMES: [&str; 15] = [
    "ok",
    "exists",
    "missing",
    "conflict",
    "throttled",
    "server_error",
    "timeout",
    "cut_off",
    "denied",
    "corrupt",
    "no_bucket",
    "no_space",
    "read_only",
    "sync_failed",
    "bad_request",
];

fn outcome(result: &StoreResult) -> usize {
    let Err(error) = result else { return 0 };
    match error {
        StoreError::Exists => 1,
        StoreError::Missing => 2,
        StoreError::Conflict => 3,
        StoreError::Throttled | StoreError::Ambiguous(Cause::Throttled) => 4,
        StoreError::Ambiguous(Cause::Server) => 5,
        StoreError::Ambiguous(Cause::Timeout) => 6,
        StoreError::Ambiguous(Cause::CutOff) => 7,
        StoreError::Denied => 8,
        StoreError::Corrupt => 9,
        StoreError::Fatal(Fatal::NoBucket) => 10,
        StoreError::Fatal(Fatal::NoSpace) => 11,
        StoreError::Fatal(Fatal::ReadOnly) => 12,
        StoreError::Fatal(Fatal::SyncFailed) => 13,
        StoreError::Fatal(Fatal::BadRequest) => 14,
    }
}

/// Whether the store did what stores are for: it is an answer that something exists or does not.
const fn is_answer(outcome: usize) -> bool {
    outcome <= 3
}

/// Of requests to the object store.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    requests: [[[Counter; OUTCOMES.len()]; Operation::ALL.len()]; Asker::ALL.len()],
    /// By operation, of those that were answered and of those that failed.
    pub(crate) answered: [Histogram; Operation::ALL.len()],
    pub(crate) failed: [Histogram; Operation::ALL.len()],
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    latest: Mutex<Option<StoreFailure>>,
}

/// A request to the object store that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreFailure {
    pub(crate) at: Instant,
    pub(crate) asker: Asker,
    pub(crate) operation: Operation,
    pub(crate) error: StoreError,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            requests: array::from_fn(|_| array::from_fn(|_| array::from_fn(|_| Counter::default()))),
            answered: array::from_fn(|_| Histogram::default()),
            failed: array::from_fn(|_| Histogram::default()),
            sent: Counter::default(),
            received: Counter::default(),
            latest: Mutex::default(),
        }
    }
}

impl StoreMetrics {
    /// A request ended. `sent` is the length of what was to be put.
    pub(crate) fn ended(&self, asker: Asker, operation: Operation, sent: usize, took: Duration, result: &StoreResult) {
        let outcome = outcome(result);
        self.requests[asker as usize][operation as usize][outcome].add(1);
        let histograms = if is_answer(outcome) { &self.answered } else { &self.failed };
        histograms[operation as usize].add(took);
        match result {
            Ok(StoreDone::Put { .. }) => self.sent.add(sent),
            Ok(StoreDone::Got { body, .. }) => self.received.add(body.len()),
            Err(error) if !is_answer(outcome) => {
                let failure = StoreFailure { at: Instant::now(), asker, operation, error: *error };
                *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            }
            Ok(StoreDone::Deleted | StoreDone::Listed { .. }) | Err(_) => {}
        }
    }

    pub(crate) fn count(&self, asker: Asker, operation: Operation, outcome: usize) -> u64 {
        self.requests[asker as usize][operation as usize][outcome].get()
    }

    /// All requests, and those of them that failed.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let all = self.requests.iter().flatten().flat_map(|outcomes| outcomes.iter().enumerate());
        all.fold((0, 0), |(total, failed), (outcome, count)| {
            (total + count.get(), failed + if is_answer(outcome) { 0 } else { count.get() })
        })
    }

    pub(crate) fn latest_failure(&self) -> Option<StoreFailure> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_that_is_served_is_counted() {
        let io = IoMetrics::default();
        for api in Api::all() {
            io.answered(api, Duration::from_millis(1));
            let counted = io.requests_of(api).expect("it is served");
            assert_eq!(Histogram::sum([counted].into_iter()).count(), 1, "{api:?}");
        }
    }

    #[test]
    fn answers_of_the_store_are_no_failures() {
        let store = StoreMetrics::default();
        let end = |result: StoreResult| {
            store.ended(Asker::Node, Operation::Get, 0, Duration::ZERO, &result);
        };
        end(Ok(StoreDone::Deleted));
        end(Err(StoreError::Missing));
        assert_eq!(store.totals(), (2, 0));
        assert!(store.latest_failure().is_none());
        end(Err(StoreError::Ambiguous(Cause::Timeout)));
        assert_eq!(store.totals(), (3, 1));
        assert_eq!(store.latest_failure().map(|failure| failure.error), Some(StoreError::Ambiguous(Cause::Timeout)));
        let timeout = OUTCOMES.iter().position(|outcome| *outcome == "timeout").expect("listed");
        assert_eq!(store.count(Asker::Node, Operation::Get, timeout), 1);
    }
}
