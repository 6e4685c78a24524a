//! A log on a bucket, with the shard and the node played by the test.

use super::an_append;
use super::bucket::{Bucket, Pending};
use crate::data_object;
use crate::data_object::StoredBatch;
use crate::id::{ClusterId, FeatureLevel, Lsn, NodeEpoch, Offset, StreamId};
use crate::limits::Limits;
use crate::machine::{Effects, Instant, Machine, Now, Rng};
use crate::mail::Mail as AnyMail;
use crate::metadata::{CommitObject, FEATURE_LEVEL};
use crate::wal::cost;
use crate::wal::tests::stamped;
use crate::wal::{Append, Appended, CutReason, Effect, Input, Life, Mail, Recovered, Wal};
use crate::{node, shard};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

pub(super) struct Bench {
    pub(super) wal: Wal,
    pub(super) pending: Pending,
    pub(super) limits: Limits,
    pub(super) now: Now,
    /// Grants not used.
    pub(super) granted: u64,
    /// All appends of this life.
    pub(super) sent: Vec<Append>,
    /// How many of them were delivered.
    pub(super) delivered: usize,
    /// Each cut: its LSN, and how many were delivered before it.
    pub(super) cuts: Vec<(Lsn, usize)>,
    /// The last trim that was asked for.
    pub(super) trim: Lsn,
    pub(super) half_full: usize,
    pub(super) to_node: Vec<node::Mail>,
    pub(super) poisoned: usize,
    /// It can commit, hence trim, no more.
    pub(super) is_fenced: bool,
    /// Length of the append that waits for a grant.
    wanted: Option<usize>,
    /// Where each stream ends.
    ends: BTreeMap<StreamId, Offset>,
}

impl Bench {
    /// A log that was told nothing yet.
    pub(super) fn new((limits, capacity): &(Limits, u64), rng: &Rng) -> Self {
        Self {
            wal: Wal::of_objects(*capacity, limits, rng.child("wal")).expect("the limits fit"),
            pending: Pending::default(),
            limits: limits.clone(),
            now: Now::default(),
            granted: 0,
            sent: Vec::new(),
            delivered: 0,
            cuts: vec![(Lsn(0), 0)],
            trim: Lsn(0),
            half_full: 0,
            to_node: Vec::new(),
            poisoned: 0,
            is_fenced: false,
            wanted: None,
            ends: BTreeMap::new(),
        }
    }

    /// A log that serves.
    pub(super) fn formatted(sizes: &(Limits, u64), life: Life, rng: &Rng) -> Self {
        Self::at_level(FEATURE_LEVEL, sizes, life, rng)
    }

    /// A log that serves in a cluster of that feature level.
    pub(super) fn at_level(level: FeatureLevel, sizes: &(Limits, u64), life: Life, rng: &Rng) -> Self {
        let mut bench = Self::new(sizes, rng);
        bench.mail(Mail::Format { life, level });
        assert!(matches!(bench.to_node.pop(), Some(node::Mail::WalFormatted)), "formatted");
        bench
    }

    pub(super) fn mail(&mut self, mail: Mail) {
        self.handle(Input::Mail(mail));
    }

    pub(super) fn handle(&mut self, input: Input) {
        let mut out = Effects::default();
        self.wal.handle(self.now, input, &mut out);
        self.wal.invariants();
        for effect in out.drain() {
            match effect {
                Effect::Store(op, call) => self.pending.submit(op, call),
                Effect::Mail(AnyMail::Node(mail)) => self.to_node.push(mail),
                Effect::Mail(AnyMail::Shard(mail)) => self.heard(mail),
                effect => panic!("to nobody who listens: {effect:?}"),
            }
        }
    }

    /// Ends one request, if there is one.
    pub(super) fn complete(&mut self, bucket: &mut Bucket, rng: &mut Rng) {
        if self.pending.len() > 0 {
            let (op, result) = self.pending.complete(bucket, rng);
            self.handle(Input::Store(op, result));
        }
    }

    /// Ends one request without an answer, if there is one.
    pub(super) fn lose(&mut self, bucket: &mut Bucket, rng: &mut Rng) {
        if self.pending.len() > 0 {
            let (op, result) = self.pending.lose(bucket, rng);
            self.handle(Input::Store(op, result));
        }
    }

    /// Lets time pass up to the next deadline, if there is one.
    pub(super) fn wait(&mut self) {
        if let Some(due) = self.wal.deadline() {
            self.now.mono = self.now.mono.max(due.at);
            self.handle(Input::Tick);
            assert!(self.wal.deadline().is_none_or(|due| due.at > self.now.mono), "a deadline that stays due");
        }
    }

    /// Ends everything that can end by itself.
    pub(super) fn settle(&mut self, bucket: &mut Bucket, rng: &mut Rng) {
        for _ in 0..100_000 {
            if self.pending.len() > 0 {
                self.complete(bucket, rng);
            } else if self.wal.deadline().is_some() {
                self.wait();
            } else {
                return;
            }
        }
        panic!("no end");
    }

    /// Appends a batch of this length.
    pub(super) fn append(&mut self, len: usize, rng: &mut Rng) {
        self.granted -= cost(len);
        let stream = StreamId(rng.below(3));
        let base = self.ends.get(&stream).map_or(0, |end| end.0);
        let append = an_append(stream.0, base, len, rng);
        self.ends.insert(stream, append.end);
        self.sent.push(append.clone());
        self.mail(Mail::Append(vec![append]));
    }

    /// Does one random thing.
    pub(super) fn step(&mut self, bucket: &mut Bucket, rng: &mut Rng) {
        match rng.below(18) {
            0..6 => self.append_some(rng),
            6..11 => self.complete(bucket, rng),
            11 => self.lose(bucket, rng),
            12 => bucket.land_one(rng),
            13 if rng.chance(1, 3) => self.mail(Mail::Cut(CutReason::Age)),
            13 | 14 if !self.is_fenced => self.trim_some(rng),
            _ => {
                self.now.mono = Instant(self.now.mono.0 + rng.below(12_000_000));
                if self.wal.deadline().is_some_and(|due| due.at <= self.now.mono) {
                    self.wait();
                }
            }
        }
    }

    pub(super) fn trim_to(&mut self, cut: usize) {
        self.trim = self.trim.max(self.cuts[cut].0);
        self.mail(Mail::Trim(self.cuts[cut].0));
    }

    /// How many records are below an LSN at which a cut was made.
    pub(super) fn below(&self, lsn: Lsn) -> usize {
        let cut = self.cuts.iter().find(|cut| cut.0 == lsn);
        cut.unwrap_or_else(|| panic!("LSN {lsn} is none at which a cut was made")).1
    }

    fn append_some(&mut self, rng: &mut Rng) {
        let largest = u64::from(self.limits.batch);
        let len = self.wanted.take().unwrap_or_else(|| match rng.below(3) {
            0 => rng.between(61, 99) as usize,
            1 => rng.between(61, largest) as usize,
            _ => rng.between(61, 1500.min(largest)) as usize,
        });
        if self.poisoned == 0 && cost(len) <= self.granted {
            self.append(len, rng);
        } else {
            self.wanted = Some(len);
        }
    }

    fn trim_some(&mut self, rng: &mut Rng) {
        let done = self.cuts.iter().position(|cut| cut.0 > self.trim).unwrap_or(self.cuts.len() - 1);
        self.trim_to(rng.between(done as u64, self.cuts.len() as u64 - 1) as usize);
    }

    fn heard(&mut self, mail: shard::Mail) {
        match mail {
            shard::Mail::Granted(bytes) => self.granted += bytes,
            shard::Mail::Appended(records) => {
                assert_eq!(self.poisoned, 0, "delivered after it was poisoned");
                for record in records {
                    assert_eq!(record, stamped(&self.sent[self.delivered]), "delivered in order, byte for byte");
                    self.delivered += 1;
                }
            }
            shard::Mail::Cut(marker) => {
                self.half_full += usize::from(marker.reason == CutReason::RingHalfFull);
                let (lsn, below) = self.cuts[self.cuts.len() - 1];
                assert!(marker.lsn >= lsn, "cuts go back");
                assert_eq!(marker.lsn == lsn, below == self.delivered, "an LSN stands for a number of records");
                self.cuts.push((marker.lsn, self.delivered));
            }
            shard::Mail::WalPoisoned => self.poisoned += 1,
            mail => panic!("unexpected: {mail:?}"),
        }
    }
}

/// What a recovery told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The records, of each stream in order, and where they end.
    Records(Vec<Appended>, Lsn),
    Damaged,
    /// It ended before it was over.
    Crashed,
}

/// Somebody who reads a life back.
pub(super) struct Reader {
    pub(super) bench: Bench,
    records: Vec<Appended>,
    cluster: ClusterId,
    pub(super) parts: usize,
    /// Objects that may become data as they are.
    pub(super) objects: usize,
    /// Where the parts that are committed end.
    pub(super) upto: Lsn,
}

impl Reader {
    pub(super) fn new(sizes: &(Limits, u64), life: Life, from: Lsn, rng: &Rng) -> Self {
        let mut bench = Bench::new(sizes, rng);
        bench.mail(Mail::Recover { life, by: NodeEpoch(life.epoch.0 + 1), from });
        Self { bench, records: Vec::new(), cluster: life.cluster, parts: 0, objects: 0, upto: from }
    }

    /// The records of the parts that were told.
    pub(super) fn committed(mut self) -> Vec<Appended> {
        self.take()
    }

    /// Hears what there is to hear; what it came to, if it is over.
    pub(super) fn listen(&mut self, bucket: &Bucket) -> Option<Told> {
        match self.bench.to_node.pop()? {
            node::Mail::WalRecovered(Recovered::Part { records, upto, more }) => {
                records.into_iter().for_each(|record| self.add(record));
                self.parts += 1;
                self.upto = upto;
                if !more {
                    return Some(Told::Records(self.take(), upto));
                }
                self.bench.mail(Mail::RecoverMore);
                None
            }
            node::Mail::WalRecovered(Recovered::Object { object, upto }) => {
                self.read(&object, bucket);
                self.objects += 1;
                self.upto = upto;
                self.bench.mail(Mail::RecoverMore);
                None
            }
            node::Mail::WalRecovered(Recovered::Damaged(_)) => Some(Told::Damaged),
            other => panic!("no answer to a recovery: {other:?}"),
        }
    }

    fn add(&mut self, record: Appended) {
        let mut of_stream = self.records.iter().rev().filter(|last| last.stream == record.stream);
        assert!(of_stream.next().is_none_or(|last| last.end == record.base), "of each stream in order");
        self.records.push(record);
    }

    fn take(&mut self) -> Vec<Appended> {
        let mut all = core::mem::take(&mut self.records);
        all.sort_by_key(|record| (record.stream, record.base));
        all
    }

    /// Reads an object as everybody would once it is data.
    fn read(&mut self, object: &CommitObject, bucket: &Bucket) {
        let bytes = &bucket.objects[&data_object::key(object.id)];
        assert_eq!(object.size, bytes.len() as u64);
        let mut ranges = object.ranges.iter().peekable();
        let mut bytes_of = 0;
        for (entry, batches) in data_object::decode(self.cluster, object.id, bytes).expect("it is a data object") {
            let range = *ranges.peek().expect("each block is of a range");
            assert_eq!(entry.stream, range.stream);
            for StoredBatch { base, end, max_timestamp, batch } in batches {
                bytes_of += batch.len() as u64;
                self.add(Appended { stream: range.stream, epoch: range.epoch, base, end, max_timestamp, batch });
            }
            if entry.end == range.end {
                assert_eq!(core::mem::take(&mut bytes_of), range.bytes);
                ranges.next();
            }
        }
        assert!(ranges.next().is_none(), "each range has its blocks");
        for (range, state) in object.ranges.iter().filter_map(|range| Some((range, range.producers?))) {
            let at = state.at as usize;
            let state = bytes.slice(at..at + state.len as usize);
            data_object::decode_state(object.id, range.stream, range.end, &state).expect("it is one");
        }
    }

    /// Ends a request, or waits.
    pub(super) fn step_without_loss(&mut self, bucket: &mut Bucket, rng: &mut Rng) -> Option<Told> {
        match self.bench.pending.len() {
            0 => self.bench.wait(),
            _ => self.bench.complete(bucket, rng),
        }
        self.listen(bucket)
    }

    /// Does one random thing.
    pub(super) fn step(&mut self, bucket: &mut Bucket, rng: &mut Rng) -> Option<Told> {
        match rng.below(6) {
            0..3 => self.bench.complete(bucket, rng),
            3 => self.bench.lose(bucket, rng),
            _ => self.bench.wait(),
        }
        self.listen(bucket)
    }

    /// All that it can do by itself.
    pub(super) fn finish(&mut self, bucket: &mut Bucket, rng: &mut Rng) -> Told {
        for _ in 0..100_000 {
            if let Some(told) = self.listen(bucket) {
                return told;
            }
            if self.bench.pending.len() > 0 {
                self.bench.complete(bucket, rng);
            } else {
                self.bench.wait();
            }
        }
        panic!("a recovery without an end");
    }

    /// Dies on the way, now and then.
    pub(super) fn try_to_finish(&mut self, steps: u64, bucket: &mut Bucket, rng: &mut Rng) -> Told {
        for _ in 0..steps {
            if let Some(told) = self.step(bucket, rng) {
                return told;
            }
        }
        self.bench.pending.abandon(bucket, rng);
        Told::Crashed
    }
}

/// Reads back all that there is.
pub(super) fn recover(bucket: &mut Bucket, sizes: &(Limits, u64), life: Life, from: Lsn, rng: &mut Rng) -> Told {
    Reader::new(sizes, life, from, rng).finish(bucket, rng)
}
