//! A bucket that fails, a controller that answers late, and a judge over both.

use crate::data_object::sample::CLUSTER;
use crate::data_object::{decode, parse_key};
use crate::id::{CutNumber, Lsn, NodeEpoch, ObjectId, Offset, RecoveryNumber, StreamId};
use crate::limits::Limits;
use crate::machine::{Effects, Instant, Machine, Now, OpId, Rng};
use crate::mail::{Halt, Mail as Letter};
use crate::metadata::{Answer, Command, Commit, Refusal};
use crate::node::{self, Asker};
use crate::store::{
    Cause, ETag, Fatal, Key, Precondition, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult,
};
use crate::upload::{Cut, CutRange, Effect, Input, Mail, Uploader};
use crate::wal;
use crate::wal::Appended;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// How the world treats the uploader.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Store requests out of 100 that fail in one of the ways that may pass.
    pub(super) store: u64,
    /// Commits out of 100 that find a lease ended.
    pub(super) lease: u64,
}

pub(super) struct World {
    pub(super) uploader: Uploader,
    pub(super) now: u64,
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) calls: Vec<(OpId, StoreCall)>,
    pub(super) commands: VecDeque<Command>,
    pub(super) objects: BTreeMap<Key, Bytes>,
    pub(super) commits: Vec<Commit>,
    pub(super) told: Vec<Told>,
    pub(super) halts: Vec<Halt>,
    /// Commits that found a lease ended.
    pub(super) lapsed: u64,
    /// Puts that may still take effect.
    late: Vec<(Key, Bytes)>,
    /// The first bytes that were offered for each name.
    offered: BTreeMap<Key, Bytes>,
    leased: BTreeSet<ObjectId>,
    next_object: u64,
    cuts: VecDeque<Cut>,
}

/// What the uploader told others about a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Wal(Lsn),
    Node(CutNumber),
}

pub(super) fn limits() -> Limits {
    Limits { uploads: 2, split: 400, data_block: 200, lease: 3, ..Limits::default() }
}

/// A cut of the current epoch, 7.
pub(super) fn cut(number: u64, ranges: Vec<CutRange>) -> Cut {
    let (number, lsn) = (CutNumber(number), Lsn(number * 4096));
    Cut { cluster: CLUSTER, epoch: NodeEpoch(7), recovery: None, number, lsn, ranges, stored: None }
}

/// A cut that a recovery of epoch 6 found.
pub(super) fn recovered(number: u64, ranges: Vec<CutRange>) -> Cut {
    Cut { epoch: NodeEpoch(6), recovery: Some(RecoveryNumber(99)), ..cut(number, ranges) }
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let rng = Rng::new(seed);
        Self {
            uploader: Uploader::new(&limits(), rng.child("uploader")),
            now: 0,
            rng: rng.child("world"),
            faults,
            calls: Vec::new(),
            commands: VecDeque::new(),
            objects: BTreeMap::new(),
            commits: Vec::new(),
            told: Vec::new(),
            halts: Vec::new(),
            lapsed: 0,
            late: Vec::new(),
            offered: BTreeMap::new(),
            leased: BTreeSet::new(),
            next_object: 1,
            cuts: VecDeque::new(),
        }
    }

    pub(super) fn cut(&mut self, cut: Cut) {
        self.cuts.push_back(cut.clone());
        self.handle(Input::Mail(Mail::Cut(cut)));
    }

    pub(super) fn handle(&mut self, input: Input) {
        let now = Now { mono: Instant(self.now), ..Now::default() };
        let mut out = Effects::default();
        self.uploader.handle(now, input, &mut out);
        self.uploader.invariants();
        for effect in out.drain() {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Store(op, call) => {
                if let StoreOp::Put { key, body, only_if } = &call.op {
                    assert_eq!(*only_if, Precondition::Absent);
                    let body = body.to_bytes();
                    let first = self.offered.entry(key.clone()).or_insert_with(|| body.clone());
                    assert!(*first == body, "the bytes of {key} are fixed at the first attempt");
                    assert!(self.leased.contains(&parse_key(key).unwrap()), "{key} was never leased");
                }
                self.calls.push((op, call));
            }
            Effect::Mail(Letter::Node(node::Mail::Command(Asker::Uploader, command))) => {
                let commit = |command: &Command| matches!(command, Command::Commit(_));
                assert!(!commit(&command) || !self.commands.iter().any(commit), "one commit at a time");
                self.commands.push_back(command);
            }
            Effect::Mail(Letter::Node(node::Mail::CutCommitted(number))) => self.tell(Told::Node(number)),
            Effect::Mail(Letter::Wal(wal::Mail::Trim(lsn))) => self.tell(Told::Wal(lsn)),
            Effect::Mail(Letter::Node(node::Mail::Failed(halt))) => self.halts.push(halt),
            other => panic!("an uploader does not say {other:?}"),
        }
    }

    /// The law: whoever hears of a committed cut hears it after the commit.
    fn tell(&mut self, told: Told) {
        let is_so = |commit: &Commit| match told {
            Told::Wal(lsn) => commit.recovery.is_none() && commit.lsn >= lsn,
            Told::Node(number) => commit.number == number,
        };
        assert!(self.commits.last().is_some_and(is_so), "{told:?} before its commit is durable");
        self.told.push(told);
    }

    /// Answers the oldest command as the controller would.
    pub(super) fn answer_command(&mut self) {
        let answer = match self.commands.pop_front().expect("a command waits") {
            Command::LeaseObjects { count } => {
                let first = ObjectId(self.next_object);
                self.next_object += u64::from(count) + self.rng.below(3);
                self.leased.extend((first.0..).take(count as usize).map(ObjectId));
                Answer::Leased { first, count }
            }
            Command::Commit(commit) => self.judge(commit),
            other => panic!("an uploader does not ask for {other:?}"),
        };
        self.handle(Input::Mail(Mail::Answered(answer)));
    }

    fn judge(&mut self, commit: Commit) -> Answer {
        if self.rng.chance(self.faults.lease, 100)
            && let Some(id) = self.rng.pick(&commit.objects).map(|object| object.id)
        {
            self.lapsed += 1;
            self.objects.remove(&crate::data_object::key(id));
            return Answer::Refused(Refusal::NotLeased { id });
        }
        let cut = self.cuts.pop_front().expect("only what was cut is committed");
        let header = (commit.epoch, commit.recovery, commit.number, commit.lsn);
        assert_eq!(header, (cut.epoch, cut.recovery, cut.number, cut.lsn), "cuts are committed in order");
        let mut stored: BTreeMap<StreamId, Vec<(Offset, Offset, Bytes)>> = BTreeMap::new();
        for object in &commit.objects {
            let bytes = &self.objects[&crate::data_object::key(object.id)];
            assert_eq!(bytes.len() as u64, object.size);
            let decoded = decode(CLUSTER, object.id, bytes).expect("what is committed is readable");
            let streams: BTreeSet<StreamId> = object.ranges.iter().map(|range| range.stream).collect();
            let total: u64 = object.ranges.iter().map(|range| range.bytes).sum();
            assert!(
                object.ranges.len() == 1 || object.ranges.iter().all(|range| range.bytes < limits().split),
                "{total}"
            );
            for (entry, batches) in decoded {
                assert!(streams.contains(&entry.stream), "every range is named in the commit");
                let of = stored.entry(entry.stream).or_default();
                of.extend(batches.into_iter().map(|batch| (batch.base, batch.end, batch.batch.0)));
            }
        }
        let whole = |batch: &Appended| (batch.base, batch.end, batch.batch.0.clone());
        let expected: BTreeMap<StreamId, Vec<_>> =
            cut.ranges.iter().map(|range| (range.stream, range.batches.iter().map(whole).collect())).collect();
        assert!(stored == expected, "the objects of cut {} hold exactly its batches", cut.number);
        let named: usize = commit.objects.iter().map(|object| object.ranges.len()).sum();
        assert_eq!(named, cut.ranges.len());
        self.commits.push(commit);
        Answer::Done
    }

    /// Completes a request that waits, any of them.
    pub(super) fn complete_any(&mut self) {
        let at = self.rng.below(self.calls.len() as u64) as usize;
        let (op, call) = self.calls.swap_remove(at);
        let result = self.store(&call);
        self.handle(Input::Store(op, result));
    }

    /// Completes the oldest request that waits.
    pub(super) fn complete_with(&mut self, result: StoreResult) {
        let (op, _) = self.calls.remove(0);
        self.handle(Input::Store(op, result));
    }

    /// What the store does without faults.
    pub(super) fn honest(&mut self, call: &StoreCall) -> StoreResult {
        let etag = ETag(String::new());
        match &call.op {
            StoreOp::Put { key, .. } if self.objects.contains_key(key) => Err(StoreError::Exists),
            StoreOp::Put { key, body, .. } => {
                self.objects.insert(key.clone(), body.to_bytes());
                Ok(StoreDone::Put { etag })
            }
            StoreOp::Get { key, span: Span::Last { len } } => {
                let whole = self.objects.get(key).ok_or(StoreError::Missing)?;
                let from = whole.len().saturating_sub(*len as usize);
                Ok(StoreDone::Got { body: whole.slice(from..).into(), etag, total: whole.len() as u64 })
            }
            other => panic!("an uploader does not ask for {other:?}"),
        }
    }

    fn store(&mut self, call: &StoreCall) -> StoreResult {
        if !self.rng.chance(self.faults.store, 100) {
            return self.honest(call);
        }
        let cause = *self.rng.pick(&[Cause::Throttled, Cause::Server, Cause::Timeout, Cause::CutOff]).unwrap();
        match (self.rng.below(6), &call.op) {
            (0, _) => Err(StoreError::Ambiguous(cause)),
            (1, _) => {
                let _ = self.honest(call);
                Err(StoreError::Ambiguous(cause))
            }
            (2, StoreOp::Put { key, body, .. }) => {
                self.late.push((key.clone(), body.to_bytes()));
                Err(StoreError::Ambiguous(cause))
            }
            (3, StoreOp::Put { .. }) => Err(StoreError::Fatal(Fatal::NoSpace)),
            (4, StoreOp::Put { .. }) => Err(StoreError::Conflict),
            (_, StoreOp::Put { .. }) => Err(StoreError::Throttled),
            (2, _) => Err(StoreError::Corrupt),
            _ => Err(StoreError::Throttled),
        }
    }

    /// One thing happens, any of those that can. `false` if nothing can.
    pub(super) fn step(&mut self) -> bool {
        let due = self.uploader.deadline();
        let mut can: Vec<u8> = Vec::new();
        can.extend((!self.calls.is_empty()).then_some(0));
        can.extend((!self.commands.is_empty()).then_some(1));
        can.extend(due.map(|_| 2));
        can.extend((!self.late.is_empty()).then_some(3));
        match self.rng.pick(&can) {
            Some(0) => self.complete_any(),
            Some(1) => self.answer_command(),
            Some(2) => {
                self.now = self.now.max(due.expect("it is due").at.0);
                self.handle(Input::Tick);
            }
            Some(_) => {
                let (key, body) = self.late.swap_remove(0);
                self.objects.entry(key).or_insert(body);
            }
            None => return false,
        }
        true
    }

    pub(super) fn run(&mut self) {
        while self.step() {}
    }
}
