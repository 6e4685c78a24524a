//! A log on a disk, with the shard and the node played by the test.

use super::disk::Disk;
use super::{an_append, stamped};
use crate::id::Lsn;
use crate::limits::Limits;
use crate::machine::{Effects, Instant, Machine, Now, Rng};
use crate::mail::Mail as AnyMail;
use crate::metadata::FEATURE_LEVEL;
use crate::wal::cost;
use crate::wal::{Append, Appended, CutReason, Effect, Input, Inspection, Life, Mail, Recovered, Wal};
use crate::{node, shard};
use alloc::vec;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

pub(super) struct Bench {
    pub(super) wal: Wal,
    pub(super) disk: Disk,
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
    /// Length of the append that waits for a grant.
    wanted: Option<usize>,
    trace: Fnv,
}

impl Bench {
    /// A log that was told nothing yet.
    pub(super) fn new(disk: Disk, limits: &Limits) -> Self {
        Self {
            wal: Wal::new(disk.bytes.len() as u64, limits).expect("the limits fit"),
            disk,
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
            wanted: None,
            trace: Fnv(0xcbf2_9ce4_8422_2325),
        }
    }

    /// A log that serves.
    pub(super) fn formatted(disk: Disk, limits: &Limits, life: Life, rng: &mut Rng) -> Self {
        let mut bench = Self::new(disk, limits);
        bench.mail(Mail::Inspect);
        bench.settle(rng);
        bench.mail(Mail::Format { life, level: FEATURE_LEVEL });
        bench.settle(rng);
        assert!(matches!(bench.to_node.pop(), Some(node::Mail::WalFormatted)), "formatted");
        bench.to_node.clear();
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
            effect.hash(&mut self.trace);
            match effect {
                Effect::Disk(op, asked) => self.disk.submit(op, asked),
                Effect::Mail(AnyMail::Node(mail)) => self.to_node.push(mail),
                Effect::Mail(AnyMail::Shard(mail)) => self.heard(mail),
                effect => panic!("to nobody who listens: {effect:?}"),
            }
        }
    }

    /// Ends one disk operation, if there is one.
    pub(super) fn complete(&mut self, rng: &mut Rng) {
        if !self.disk.is_idle() {
            let (op, result) = self.disk.complete(rng);
            self.handle(Input::Disk(op, result));
        }
    }

    /// Ends all disk operations.
    pub(super) fn settle(&mut self, rng: &mut Rng) {
        while !self.disk.is_idle() {
            self.complete(rng);
        }
    }

    /// Appends a batch of this length.
    pub(super) fn append(&mut self, len: usize, rng: &mut Rng) {
        self.granted -= cost(len);
        let append = an_append(self.sent.len(), len, rng);
        self.sent.push(append.clone());
        self.mail(Mail::Append(vec![append]));
    }

    /// Does one random thing.
    pub(super) fn step(&mut self, rng: &mut Rng) {
        match rng.below(16) {
            0..6 => self.append_some(rng),
            6..12 => self.complete(rng),
            12 if rng.chance(1, 4) => self.mail(Mail::Cut(CutReason::Age)),
            12 | 13 => self.trim_some(rng),
            _ => {
                self.now.mono = Instant(self.now.mono.0 + rng.below(700_000_000));
                if self.wal.deadline().is_some_and(|due| due.at <= self.now.mono) {
                    self.handle(Input::Tick);
                    assert!(self.wal.deadline().is_none_or(|due| due.at > self.now.mono), "a deadline that stays due");
                }
            }
        }
    }

    /// Trims to the last cut and ends all disk operations, until nothing changes.
    pub(super) fn drain(&mut self, rng: &mut Rng) {
        self.settle(rng);
        for _ in 0..8 {
            self.trim_to(self.cuts.len() - 1);
            self.settle(rng);
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

    pub(super) fn trace(&self) -> u64 {
        self.trace.0
    }

    fn append_some(&mut self, rng: &mut Rng) {
        let largest = u64::from(self.limits.batch);
        let len = self.wanted.take().unwrap_or_else(|| match rng.below(4) {
            0 => rng.between(16, 61) as usize,
            1 => rng.between(16, largest / 8 + 16).min(largest) as usize,
            2 => rng.between(16, largest) as usize,
            _ => rng.between(16, 1500.min(largest)) as usize,
        });
        if cost(len) <= self.granted {
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
pub(super) enum Told {
    /// The records, and after each part where it ended: LSN and number of records.
    Records(Vec<Appended>, Vec<(Lsn, usize)>),
    Damaged,
}

/// Inspects a copy of a disk.
pub(super) fn inspect(disk: &Disk, limits: &Limits, rng: &mut Rng) -> (Bench, Inspection) {
    let mut bench = Bench::new(disk.clone(), limits);
    bench.mail(Mail::Inspect);
    bench.settle(rng);
    let Some(node::Mail::WalFound(found)) = bench.to_node.pop() else { panic!("an answer") };
    (bench, found)
}

/// Reads back all that a copy of a disk holds.
pub(super) fn recover(disk: &Disk, limits: &Limits, from: Lsn, rng: &mut Rng) -> Told {
    let (mut bench, found) = inspect(disk, limits, rng);
    if let Inspection::Ring(_) = found { recover_inspected(&mut bench, from, rng) } else { Told::Damaged }
}

pub(super) fn recover_inspected(bench: &mut Bench, from: Lsn, rng: &mut Rng) -> Told {
    bench.mail(super::recover_from(from));
    let (mut all, mut parts) = (Vec::new(), Vec::new());
    loop {
        assert!(bench.disk.in_flight() <= 1, "one read at a time");
        bench.settle(rng);
        match bench.to_node.pop() {
            Some(node::Mail::WalRecovered(Recovered::Part { records, upto, more })) => {
                all.extend(records);
                parts.push((upto, all.len()));
                if !more {
                    return Told::Records(all, parts);
                }
                bench.mail(Mail::RecoverMore);
            }
            Some(node::Mail::WalRecovered(Recovered::Damaged(_))) => return Told::Damaged,
            other => panic!("no answer to a recovery: {other:?}"),
        }
    }
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
