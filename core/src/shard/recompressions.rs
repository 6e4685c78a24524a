//! Batches that their topic wants in another codec, on their way to the queue before the WAL.
//!
//! ```text
//!  produce ──► nothing of its partition is in line, and its codec is right, ───────────────────► appends
//!     │        or it is small and there is room: recompressed at once                              ▲
//!     └──► the partition's line ──► first, and there is room ──► Compute(job) ──► Computed ────────┤
//!                    '── behind it: what has the right codec goes when all before it has gone ─────┘
//! ```
//! **Order**: a partition's batches reach the queue in the order in which they came, those that stay as they are included;
//! a producer's sequence is looked at behind the line, where all before it have their offsets. A partition has one job out
//! at most, and no partition waits for another's job, only for room.
//!
//! **Room**: a batch may take many times more than its request has paid for, once it is in another codec. So what jobs work
//! on and what they have made, until the WAL has taken it, together take [`Limits::recompression`] at most, or one batch if
//! that is larger. Lines get room in the order in which they began to wait. A job works on a copy, so that it holds nothing
//! of a connection that ends meanwhile; what waits in line is part of a request, which is paid for.

use super::api::ProduceOutcome;
use super::appends::Waiting;
use super::{Effect, Shard};
use crate::id::StreamId;
use crate::kafka::batch::{Recoding, recompressed};
use crate::kafka::{CheckedBatch, Flaw};
use crate::limits::Limits;
use crate::machine::{Effects, Job, Mark, Now, OpId, Payload, sometimes};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;

/// The lines of all partitions that have one.
#[derive(Debug)]
pub(super) struct Recompressions {
    total: u64,
    lines: BTreeMap<StreamId, VecDeque<InLine>>,
    /// Lines whose first batch waits for room.
    waiting: VecDeque<StreamId>,
    jobs: BTreeMap<OpId, OpenJob>,
    /// What these work on and may make, in bytes.
    used: u64,
}

/// A batch in line. The first of a line waits for room or has a job out; no other has.
#[derive(Debug)]
struct InLine {
    /// `None` once nobody waits for it any more, while its job is out.
    batch: Option<Waiting>,
    /// What it needs, if it needs something.
    recoding: Option<Recoding>,
    job: Option<OpId>,
}

#[derive(Debug)]
struct OpenJob {
    stream: StreamId,
    room: u64,
}

/// How much one request may have recompressed at once, without a job, in bytes of records.
pub(super) struct AtOnce(u64);

impl AtOnce {
    /// Compressing is slower than looking into what is compressed: no multiple of the limit here.
    pub(super) fn new(limits: &Limits) -> Self {
        Self(limits.compute_inline.into())
    }
}

impl Recompressions {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            total: limits.recompression,
            lines: BTreeMap::new(),
            waiting: VecDeque::new(),
            jobs: BTreeMap::new(),
            used: 0,
        }
    }

    /// Whether no batch is in line.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether no job is out, either.
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty() && self.jobs.is_empty()
    }

    pub(super) fn invariants(&self) {
        assert_eq!(self.used, self.jobs.values().map(|job| job.room).sum(), "room is neither made nor lost");
        for (stream, line) in &self.lines {
            let first = line.front().expect("a line has somebody in it");
            assert!(first.recoding.is_some(), "who needs nothing is not kept");
            let waits = self.waiting.iter().filter(|one| *one == stream).count();
            assert_eq!(waits, usize::from(first.job.is_none()), "the first of a line waits once, or has a job out");
            assert!(line.iter().skip(1).all(|one| one.job.is_none()), "a partition has one job out at most");
        }
        assert!(self.waiting.iter().all(|stream| self.lines.contains_key(stream)), "only lines wait");
    }

    fn has_room(&self, bytes: u64, queued: u64) -> bool {
        let used = self.used + queued;
        used == 0 || used + bytes <= self.total
    }

    /// Takes out those that are meant. The lines behind them may have to move on.
    fn take(&mut self, is_meant: impl Fn(&Waiting) -> bool) -> (Vec<Waiting>, Vec<StreamId>) {
        let (mut taken, mut touched) = (Vec::new(), Vec::new());
        for (stream, line) in &mut self.lines {
            let before = taken.len();
            for one in line.iter_mut() {
                taken.extend(one.batch.take_if(|waiting| is_meant(waiting)));
            }
            if taken.len() > before {
                line.retain(|one| one.batch.is_some() || one.job.is_some());
                touched.push(*stream);
            }
        }
        (taken, touched)
    }

    /// Lets those at the front of a line go that need nothing, and returns them.
    fn advance(&mut self, stream: StreamId) -> Vec<Waiting> {
        let Some(line) = self.lines.get_mut(&stream) else { return Vec::new() };
        let mut gone = Vec::new();
        while let Some(free) = line.pop_front_if(|first| first.recoding.is_none()) {
            gone.extend(free.batch);
        }
        match line.front() {
            None => {
                self.lines.remove(&stream);
                self.waiting.retain(|waiting| *waiting != stream);
            }
            Some(first) if first.job.is_none() && !self.waiting.contains(&stream) => self.waiting.push_back(stream),
            Some(_) => {}
        }
        gone
    }
}

impl Shard {
    /// A batch that was accepted goes to the queue before the WAL, in its topic's codec.
    pub(super) fn enqueue(
        &mut self,
        mut waiting: Waiting,
        recoding: Option<Recoding>,
        at_once: &mut AtOnce,
        out: &mut Effects<Effect>,
    ) {
        let stream = waiting.stream;
        if let Some(line) = self.recompressions.lines.get_mut(&stream) {
            sometimes!(Mark::BehindRecompression);
            line.push_back(InLine { batch: Some(waiting), recoding, job: None });
            return;
        }
        let Some(recoding) = recoding else { return self.appends.push(waiting) };
        let queued = self.appends.recompressed();
        let left = at_once.0.checked_sub(recoding.inflated);
        // What waits for room is not overtaken by what would take it.
        let may = self.recompressions.waiting.is_empty() && self.recompressions.has_room(recoding.bound(), queued);
        if let Some(left) = left.filter(|_| may) {
            sometimes!(Mark::RecompressedAtOnce);
            at_once.0 = left;
            match recompressed(&waiting.batch, recoding) {
                Ok(batch) => {
                    waiting.recompressed(batch);
                    self.appends.push(waiting);
                }
                Err(flaw) => self.refuse_recompressed(&waiting, flaw, out),
            }
            return;
        }
        let line = VecDeque::from([InLine { batch: Some(waiting), recoding: Some(recoding), job: None }]);
        self.recompressions.lines.insert(stream, line);
        self.recompressions.waiting.push_back(stream);
    }

    /// Begins what there is room for.
    pub(super) fn begin_recompressions(&mut self, out: &mut Effects<Effect>) {
        while let Some(stream) = self.recompressions.waiting.front().copied() {
            let queued = self.appends.recompressed();
            let recompressions = &mut self.recompressions;
            let first = recompressions.lines.get(&stream).and_then(VecDeque::front).expect("only lines wait");
            let recoding = first.recoding.expect("who is first needs something");
            let batch = &first.batch.as_ref().expect("who waits for room is waited for").batch;
            let room = (batch.len() as u64).saturating_add(recoding.bound());
            if !recompressions.has_room(room, queued) {
                sometimes!(Mark::RecompressionWaitedForRoom);
                return;
            }
            let batch = Payload(Bytes::copy_from_slice(batch));
            let op = self.ops.issue();
            recompressions.waiting.pop_front();
            recompressions.used += room;
            recompressions.jobs.insert(op, OpenJob { stream, room });
            let line = recompressions.lines.get_mut(&stream).and_then(VecDeque::front_mut);
            line.expect("only lines wait").job = Some(op);
            out.push(Effect::Compute(op, Job::Recompress { batch, recoding }));
        }
    }

    /// A job has come back.
    pub(super) fn recompression_computed(
        &mut self,
        now: Now,
        op: OpId,
        made: Result<Payload, Flaw>,
        out: &mut Effects<Effect>,
    ) {
        let OpenJob { stream, room } = self.recompressions.jobs.remove(&op).expect("one completion for each job");
        self.recompressions.used -= room;
        // The whole line is gone if the WAL failed.
        let line = self.recompressions.lines.get_mut(&stream);
        if let Some(first) = line.and_then(|line| line.pop_front_if(|first| first.job == Some(op))) {
            sometimes!(Mark::RecompressedByJob);
            match (first.batch, made) {
                (None, _) => sometimes!(Mark::RecompressedForNobody),
                (Some(mut waiting), Ok(batch)) => {
                    waiting.recompressed(batch);
                    self.appends.push(waiting);
                }
                (Some(waiting), Err(flaw)) => self.refuse_recompressed(&waiting, flaw, out),
            }
            self.advance_line(stream);
        }
        self.append_granted(now, out);
    }

    /// Nobody waits any more for those that are meant: they are not appended. Returns them.
    pub(super) fn forget_recompressions(&mut self, is_meant: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let (gone, touched) = self.recompressions.take(is_meant);
        for stream in touched {
            self.advance_line(stream);
        }
        gone
    }

    /// The WAL takes nothing any more. Returns all that is in line.
    pub(super) fn abandon_recompressions(&mut self) -> impl Iterator<Item = Waiting> + use<> {
        self.recompressions.waiting.clear();
        let lines = core::mem::take(&mut self.recompressions.lines);
        lines.into_values().flatten().filter_map(|one| one.batch)
    }

    fn advance_line(&mut self, stream: StreamId) {
        for free in self.recompressions.advance(stream) {
            self.appends.push(free);
        }
    }

    fn refuse_recompressed(&mut self, waiting: &Waiting, flaw: Flaw, out: &mut Effects<Effect>) {
        sometimes!(Mark::RecompressedTooLarge, flaw == Flaw::TooLarge);
        self.finish_part(waiting.part, ProduceOutcome::Failed(flaw.recompressed()), out);
    }

    /// What is to become of a batch's records, if its topic wants them in another codec than its producer did.
    pub(super) fn recoding(&self, stream: StreamId, batch: &CheckedBatch) -> Option<Recoding> {
        let configs = self.configs_of(stream);
        let into = configs.compression_type().codec()?;
        let from = batch.header.attributes.codec().expect("the header was checked");
        let largest = self.largest_batch(configs);
        (from != into).then_some(Recoding { into, inflated: batch.facts.inflated, largest })
    }
}
