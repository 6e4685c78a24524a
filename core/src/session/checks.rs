//! What is inside compressed batches is looked into before the shard hears of them: cheap ones at once, others by jobs.
//!
//! ```text
//!  produce ──► cheap? ──yes──► checked ──► shard
//!                └──no──► Compute(part of its batches) ──► Computed ──► the next part, or the shard
//! ```
//! One produce at a time has a job out, and one job: so no connection takes more than one thread, and a queue of jobs has
//! at most one of each connection. Whatever comes behind it waits.

use super::mail::{Effect, Numbered};
use crate::kafka::{CheckedBatch, ErrorCode, Flaw, Produce, RecordFacts, Refusal, RequestBody};
use crate::limits::Limits;
use crate::machine::{Effects, INLINE_RATIO, Job, OpId, OpIds, Outcome};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A job has one batch, or several that together are at most so long.
const JOB: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Checks {
    /// Batches of a request that together are at most so long are cheap.
    inline: u64,
    /// The records of a batch may take so much.
    inflated: u64,
    /// Longer batches are refused without a look.
    batch: usize,
    out: Option<Out>,
}

/// A produce of which a job is out.
#[derive(Debug)]
struct Out {
    op: OpId,
    request: Numbered,
    /// The batches of the job.
    asked: Vec<Place>,
    /// Those of jobs to come.
    left: VecDeque<Place>,
}

/// Where a batch stands in its request: which topic, and which of that's partitions.
#[derive(Clone, Copy, Debug)]
struct Place(usize, usize);

impl Checks {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            inline: limits.compute_inline.into(),
            inflated: limits.inflated.into(),
            batch: limits.largest_batch as usize,
            out: None,
        }
    }

    /// Whether a job is out.
    pub(super) const fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// Begins to look into a request. Returns it if the shard may have it at once.
    pub(super) fn begin(
        &mut self,
        mut request: Numbered,
        ops: &mut OpIds,
        out: &mut Effects<Effect>,
    ) -> Option<Numbered> {
        assert!(!self.is_out(), "what comes behind a job waits");
        let RequestBody::Produce(produce) = &mut request.request.body else { return Some(request) };
        let left = self.check_cheap(produce);
        self.go_on(request, left, ops, out)
    }

    /// A job has come back. Returns its request if nothing of that is left to look into.
    pub(super) fn computed(
        &mut self,
        op: OpId,
        outcome: Outcome,
        ops: &mut OpIds,
        out: &mut Effects<Effect>,
    ) -> Option<Numbered> {
        let Out { op: expected, mut request, asked, left } =
            self.out.take().expect("only a job that is out comes back");
        assert_eq!(op, expected, "one effect, one completion");
        let Outcome::CheckedRecords(verdicts) = outcome else {
            unreachable!("a session only has batches looked into, not {outcome:?}")
        };
        assert_eq!(verdicts.len(), asked.len(), "each batch has a verdict");
        let produce = produce_of(&mut request);
        for (place, verdict) in asked.into_iter().zip(verdicts) {
            place.judge(produce, verdict);
        }
        self.go_on(request, left, ops, out)
    }

    /// Looks into what is cheap, and returns the rest. From the first that is not cheap on nothing is.
    fn check_cheap(&self, produce: &mut Produce) -> VecDeque<Place> {
        let mut left = VecDeque::new();
        let (mut code, mut content) = (self.inline, self.inline * INLINE_RATIO);
        for place in compressed(produce) {
            let batch = place.batch(produce);
            let len = batch.bytes.len();
            if len > self.batch {
                place.judge(produce, Err(ErrorCode::MessageTooLarge.into()));
                continue;
            }
            let affordable = left.is_empty().then(|| code.checked_sub(len as u64)).flatten();
            let Some(rest) = affordable else {
                left.push_back(place);
                continue;
            };
            code = rest;
            match batch.check_records(content.min(self.inflated)) {
                Ok(facts) => {
                    content -= facts.inflated;
                    place.judge(produce, Ok(facts));
                }
                // It may be legal; but to find out is not cheap.
                Err(Flaw::TooLarge) if content < self.inflated => left.push_back(place),
                Err(flaw) => place.judge(produce, Err(flaw.refusal())),
            }
        }
        left
    }

    fn go_on(
        &mut self,
        mut request: Numbered,
        mut left: VecDeque<Place>,
        ops: &mut OpIds,
        out: &mut Effects<Effect>,
    ) -> Option<Numbered> {
        let (mut asked, mut batches, mut len) = (Vec::new(), Vec::new(), 0);
        while let Some(place) = left.front() {
            let batch = place.batch(produce_of(&mut request));
            len += batch.bytes.len();
            if len > JOB && !batches.is_empty() {
                break;
            }
            batches.push(batch.clone());
            asked.extend(left.pop_front());
        }
        if batches.is_empty() {
            return Some(request);
        }
        let op = ops.issue();
        out.push(Effect::Compute(op, Job::CheckRecords { batches, inflated: self.inflated }));
        self.out = Some(Out { op, request, asked, left });
        None
    }
}

impl Place {
    fn batch(self, produce: &Produce) -> &CheckedBatch {
        let Self(topic, partition) = self;
        produce.topics[topic].partitions[partition].records.as_ref().expect("only sound batches are looked into")
    }

    fn judge(self, produce: &mut Produce, verdict: Result<RecordFacts, Refusal>) {
        let Self(topic, partition) = self;
        let records = &mut produce.topics[topic].partitions[partition].records;
        match (verdict, records) {
            (Ok(facts), Ok(batch)) => batch.facts = facts,
            (Err(refusal), records) => *records = Err(refusal),
            (Ok(_), Err(_)) => unreachable!("only sound batches are looked into"),
        }
    }
}

fn produce_of(request: &mut Numbered) -> &mut Produce {
    match &mut request.request.body {
        RequestBody::Produce(produce) => produce,
        other => unreachable!("only batches are looked into, not {other:?}"),
    }
}

/// The compressed batches that are sound so far.
fn compressed(produce: &Produce) -> Vec<Place> {
    let topics = produce.topics.iter().enumerate();
    let partitions = topics.flat_map(|(at, topic)| topic.partitions.iter().enumerate().map(move |one| (at, one)));
    let sound =
        partitions.filter(|(_, (_, partition))| partition.records.as_ref().is_ok_and(CheckedBatch::is_compressed));
    sound.map(|(topic, (partition, _))| Place(topic, partition)).collect()
}
