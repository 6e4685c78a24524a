//! The model of one partition.

mod start;
mod writes;

use super::configs::{Allowance, stamp_of};
use super::losses::Cut;
use super::producers::{Sequences, Times};
use super::spans::Span;
use super::stored::{Stored, Storing};
use super::times::{self, Claim, Question, Told};
use super::trims::Trims;
use super::{Place, WriteId, subject};
use crate::client::batch;
use bytes::Bytes;
use karst_core::kafka::BatchHeader;
use karst_runtime_sim::recording::Tag;
use karst_runtime_sim::time::SimTime;
use std::collections::BTreeMap;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Acknowledged at this offset.
    Acked(i64),
    /// Refused before anything was done: it must never be read.
    Failed,
    /// It may or may not be in the log, now or later.
    Unknown,
}

/// Something that must never be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen.
    pub message: String,
    /// Whatever it is about, each by the tags with which it is recorded. Of some the message must do.
    pub about: Vec<Vec<Tag>>,
    /// Batches that it is about, by producer, epoch and first sequence, as long as nobody knows whose writes these are.
    pub(super) batches: Vec<(i64, i16, i32)>,
}

impl Violation {
    /// Of that invariant.
    #[must_use]
    pub fn new(invariant: &'static str, message: impl Into<String>) -> Self {
        Self { invariant, message: message.into(), about: Vec::new(), batches: Vec::new() }
    }

    /// It is about this, too.
    #[must_use]
    pub fn about(mut self, subject: Vec<Tag>) -> Self {
        self.about.push(subject);
        self
    }

    /// It is about these batches of idempotent producers.
    pub(super) fn of_batches(mut self, batches: impl IntoIterator<Item = (i64, i16, i32)>) -> Self {
        self.batches.extend(batches);
        self
    }
}

#[derive(Debug)]
struct Write {
    batch: Bytes,
    /// When it was sent for the first time.
    sent: SimTime,
    /// So many losses came before it was sent for the last time: what they took, it was not among.
    after_cuts: usize,
    /// So many times it may lie in the log.
    copies: u64,
    records: i64,
    outcome: Option<Outcome>,
    /// Where it lies, or lies last, once somebody knows.
    at: Option<i64>,
    /// Of its records, as they were sent; none if they can't be read.
    times: Vec<i64>,
    /// When the broker stamped it, or -1, once somebody was told so.
    stamp: Option<i64>,
    /// How it is stored, once somebody has read it.
    stored: Option<Stored>,
    /// How it may be, once it is acknowledged.
    storing: Option<Storing>,
}

/// What a batch is where it lies, once somebody has read it.
#[derive(Clone, Copy, Debug)]
struct Read {
    /// Under which leader epoch it was appended.
    epoch: i32,
    /// When the broker stamped it, or -1.
    stamp: i64,
}

impl Write {
    /// When the broker stamped it, if that is known. Of one that may lie in the log twice it is not known of which one
    /// somebody was told.
    fn stamp(&self) -> Option<i64> {
        self.stamp.filter(|_| self.copies == 1)
    }
}

#[derive(Debug)]
pub(super) struct PartitionModel {
    name: String,
    /// When this is.
    now: SimTime,
    writes: BTreeMap<WriteId, Write>,
    /// What is known to lie where: base offset to write.
    log: BTreeMap<i64, WriteId>,
    /// What was read back, at any time, by base offset.
    read: BTreeMap<i64, Read>,
    /// Everything below was acknowledged or read: a high watermark told later may not be lower.
    known_end: i64,
    /// What was certain when each open question was asked.
    asked: BTreeMap<u64, Known>,
    trims: Trims,
    producers: Sequences,
    /// What was told of times and epochs.
    claims: Vec<Claim>,
    /// The latest start that trims and retention were found to explain.
    explained: i64,
    /// Records in all writes that were sent: there is never more in the log.
    sent: i64,
    /// Whether the whole partition was read since the last write was acknowledged.
    complete: bool,
    /// Where it was cut off when a WAL was given up.
    cuts: Vec<Cut>,
}

/// What is certain of a log at a moment.
#[derive(Clone, Copy, Debug)]
struct Known {
    start: i64,
    end: i64,
}

impl PartitionModel {
    /// Its producers may be forgotten after such a span.
    pub(super) fn new(place: &Place, span: Span) -> Self {
        let name = place.to_string();
        Self {
            trims: Trims::new(&name),
            name,
            now: SimTime::ZERO,
            producers: Sequences::new(span),
            writes: BTreeMap::new(),
            log: BTreeMap::new(),
            read: BTreeMap::new(),
            known_end: 0,
            asked: BTreeMap::new(),
            claims: Vec::new(),
            explained: 0,
            sent: 0,
            complete: false,
            cuts: Vec::new(),
        }
    }

    /// What is observed next happens now, and of records whose times are those.
    pub(super) fn look(&mut self, now: SimTime, times: Times) {
        self.now = now;
        self.producers.note_times(times);
    }

    pub(super) fn asked(&mut self, number: u64) {
        self.asked.insert(number, Known { start: self.trims.start(), end: self.known_end });
    }

    pub(super) fn high_watermark(&mut self, number: u64, hw: i64) -> Result<(), Violation> {
        let Some(Known { end: known, .. }) = self.asked.remove(&number) else { return Ok(()) };
        if hw < known {
            let message =
                format!("{}: the high watermark is {hw}, but {known} was known before the question", self.name);
            return Err(Violation::new("high-watermark-goes-back", message).about(self.record(known - 1)));
        }
        if hw > self.sent {
            let message =
                format!("{}: the high watermark is {hw}, and only {} records were sent", self.name, self.sent);
            return Err(Violation::new("records-from-nowhere", message).about(self.record(hw - 1)));
        }
        // What was told is durable: nobody may hear of less from now on.
        self.known_end = known.max(self.known_end).max(hw);
        Ok(())
    }

    pub(super) fn served(&mut self, number: u64, from: i64) -> Result<(), Violation> {
        match self.asked.get(&number) {
            Some(known) if from < known.start => {
                let message =
                    format!("{}: the log started at {}, and a fetch from {from} was served", self.name, known.start);
                Err(Violation::new("deleted-records-served", message).about(self.record(from)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn out_of_range(&mut self, number: u64, from: i64, allowance: Allowance) -> Result<(), Violation> {
        let Some(known) = self.asked.remove(&number) else { return Ok(()) };
        // The log starts above it: at the end of its batch at least.
        let holding = self.log.range(..=from).next_back().map(|(base, id)| base + self.writes[id].records);
        let least = holding.filter(|end| *end > from).unwrap_or(from + 1);
        let is_kept = from >= self.trims.latest_start(self.sent) && !self.is_explained(least, allowance);
        if from <= known.end && is_kept {
            let message = format!("{}: offset {from} is said to be out of range", self.name);
            return Err(Violation::new("kept-records-refused", message).about(self.record(from)));
        }
        Ok(())
    }

    /// Checks batches that a fetch from `from` returned. Returns how many there were.
    pub(super) fn read(&mut self, from: i64, batches: &Bytes) -> Result<u64, Violation> {
        let mut at = 0;
        let mut next: Option<i64> = None;
        let mut count = 0;
        while at < batches.len() {
            let Some(batch) = whole_batch(batches, at) else { break };
            let base = i64::from_be_bytes(batch[..8].try_into().expect("the header was checked"));
            let id = batch::write_of(&batch).ok_or_else(|| self.broken(base, "is not a batch that a client wrote"))?;
            let write = self.writes.get(&id).ok_or_else(|| self.broken(base, "was never written"))?;
            let stored = Stored::of(&batch, &write.batch);
            let stored = stored.ok_or_else(|| self.broken(base, "is not what was written"))?;
            let end = base + write.records;
            match next {
                Some(expected) if base != expected => {
                    return Err(self.broken(base, &format!("follows a batch that ends at {expected}")));
                }
                None if from < base || from >= end => {
                    return Err(self.broken(base, &format!("does not hold the offset {from} that was asked for")));
                }
                _ => {}
            }
            if write.outcome == Some(Outcome::Failed) {
                let message = format!("{}: write {} was refused and is at offset {base}", self.name, id.0);
                return Err(Violation::new("G1a-failed-write-read", message).about(self.write(id)));
            }
            self.lies_at(id, base)?;
            self.note_read(base, id, &batch)?;
            self.note_stored(id, stored)?;
            next = Some(end);
            count += 1;
            at += batch.len();
        }
        Ok(count)
    }

    /// The whole partition was read, from `start` to the high watermark `end`: nothing acknowledged may be missing.
    pub(super) fn check_complete(&mut self, start: i64, end: i64, allowance: Allowance) -> Result<(), Violation> {
        self.check_start(start, allowance)?;
        // The batch that a trim cuts through is kept whole.
        let cut = self.log.range(..start).next_back().filter(|(base, id)| *base + self.writes[id].records > start);
        let first = cut.map_or(start, |(base, _)| *base);
        let mut next = first;
        for (base, id) in self.log.range(first..end) {
            if *base != next {
                let message = format!("{}: the offsets from {next} to {base} hold nothing", self.name);
                let violation = Violation::new("offsets-dense", message);
                return Err(violation.about(self.record(next)).about(self.record(*base)));
            }
            next = base + self.writes[id].records;
        }
        // What came after the question may have been read too.
        if next < end {
            let message = format!("{}: the log ends at {next}, its high watermark is {end}", self.name);
            return Err(Violation::new("lost-write", message).about(self.record(next)));
        }
        if let Some((base, _)) = self.acked_beyond(end) {
            let message = format!("{}: offset {base} was acknowledged, and the log ends at {end}", self.name);
            return Err(Violation::new("lost-write", message).about(self.record(base)));
        }
        if let Some(base) =
            self.log.range(first..end).find(|(base, _)| !self.read.contains_key(base)).map(|(base, _)| *base)
        {
            let message = format!("{}: offset {base} is within the log and was never read", self.name);
            return Err(Violation::new("lost-write", message).about(self.record(base)));
        }
        self.producers.check_complete(&self.name, first, end).map_err(|violation| self.named(violation))?;
        self.complete = true;
        self.claims.iter().try_for_each(|claim| self.judge(claim))
    }

    /// What was told of times or epochs in answer to that question.
    pub(super) fn told(
        &mut self,
        number: u64,
        question: Question,
        told: Told,
        allowance: Allowance,
    ) -> Result<(), Violation> {
        let Some(Known { start: known, end }) = self.asked.remove(&number) else { return Ok(()) };
        if let Told::Record(offset, ..) = told
            && offset < known
        {
            let message = format!("{}: the log started at {known}, and the record at {offset} was found", self.name);
            return Err(Violation::new("deleted-records-served", message).about(self.record(offset)));
        }
        let claim = Claim { question, told, start: self.latest_start(end, allowance), end };
        self.check_cuts(question, told, allowance)?;
        self.judge(&claim)?;
        self.claims.push(claim);
        Ok(())
    }

    fn judge(&self, claim: &Claim) -> Result<(), Violation> {
        let records = self.log.iter().flat_map(|(base, id)| {
            let write = &self.writes[id];
            let epoch = self.read.get(base).map(|read| read.epoch);
            // As long as nobody knows whether the broker stamped them their times are unknown.
            let stamp = self.stamp_at(*base, write);
            let known = stamp.map(|stamp| write.times.iter().map(move |sent| if stamp < 0 { *sent } else { stamp }));
            let known = (*base..).zip(known.into_iter().flatten());
            known.map(move |(offset, time)| times::Known { offset, time, epoch })
        });
        claim.judge(&self.name, records)
    }

    /// A batch was read: it bears the leader epoch under which it was appended, and the time at which it was stamped.
    fn note_read(&mut self, base: i64, id: WriteId, batch: &Bytes) -> Result<(), Violation> {
        let epoch = i32::from_be_bytes(batch[12..16].try_into().expect("the header was checked"));
        let stamp = stamp_of(batch);
        self.cuts.iter().try_for_each(|cut| cut.check_record(&self.name, base, epoch))?;
        let before = self.read.insert(base, Read { epoch, stamp });
        if let Some(before) = before.filter(|before| before.epoch != epoch) {
            let message = format!("{}: write {} is of epoch {} and of {epoch}", self.name, id.0, before.epoch);
            return Err(Violation::new("leader-epoch-changes", message).about(self.write(id)));
        }
        if let Some(before) = before.filter(|before| before.stamp != stamp) {
            let message = format!("{}: write {} is stamped {stamp}, and was {}", self.name, id.0, before.stamp);
            return Err(Violation::new("append-time-changes", message).about(self.write(id)));
        }
        self.note_stamp(id, stamp)
    }

    /// When the broker stamped the write that lies there, if that is known.
    fn stamp_at(&self, base: i64, write: &Write) -> Option<i64> {
        self.read.get(&base).map(|read| read.stamp).or(write.stamp())
    }

    /// The WAL is given up: what lay above is lost, and whoever asked before will not be answered.
    pub(super) fn lost(&mut self, cut: Cut) {
        let is_lost = |base: i64, id: &WriteId| base + self.writes[id].records > cut.end;
        let lost: Vec<(i64, WriteId)> =
            self.log.iter().filter(|(base, id)| is_lost(**base, id)).map(|(base, id)| (*base, *id)).collect();
        for (base, id) in lost {
            self.log.remove(&base);
            self.read.remove(&base);
            let left = self.log.iter().rev().find(|(_, other)| **other == id).map(|(base, _)| *base);
            let write = self.writes.get_mut(&id).expect("only known writes are in the log");
            write.at = left;
            if left.is_none() {
                (write.stamp, write.stored, write.storing) = (None, None, None);
            }
        }
        self.known_end = self.known_end.min(cut.end);
        self.asked.clear();
        self.claims = self.claims.drain(..).filter_map(|claim| claim.cut(cut.end)).collect();
        self.producers.lost(cut.end);
        self.complete = false;
        self.cuts.push(cut);
    }

    /// Who asks for the end of an epoch in which something is lost learns that it ends before that. The log may start
    /// behind it by now.
    fn check_cuts(&self, question: Question, told: Told, allowance: Allowance) -> Result<(), Violation> {
        let Question::Epoch(asked) = question else { return Ok(()) };
        for cut in self.cuts.iter().filter(|cut| asked <= cut.epoch) {
            if !matches!(told, Told::EpochEnd(_, end) if end <= cut.end || self.is_explained(end, allowance)) {
                let why = format!("{}: {question:?} was answered with {told:?} after {cut:?}", self.name);
                return Err(Violation::new("truncation-is-noticed", why).about(self.record(cut.end)));
            }
        }
        Ok(())
    }

    /// A write acknowledged before the high watermark was asked for, at or above it.
    fn acked_beyond(&self, end: i64) -> Option<(i64, WriteId)> {
        self.log.range(end..).map(|(base, id)| (*base, *id)).find(|(base, id)| {
            let acked = matches!(self.writes[id].outcome, Some(Outcome::Acked(_)));
            acked && !self.read.contains_key(base)
        })
    }

    pub(super) fn has_acked(&self) -> bool {
        self.writes.values().any(|write| matches!(write.outcome, Some(Outcome::Acked(_))))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    fn broken(&self, base: i64, what: &str) -> Violation {
        let message = format!("{}: the batch at offset {base} {what}", self.name);
        Violation::new("read-bytes-are-acked-bytes", message).about(self.record(base))
    }

    /// A record, as recordings name it.
    fn record(&self, offset: i64) -> Vec<Tag> {
        subject::record(&self.name, offset)
    }

    /// A write, as recordings name it.
    fn write(&self, id: WriteId) -> Vec<Tag> {
        subject::write(&self.name, id)
    }

    /// Names the writes of the batches that a violation is about.
    fn named(&self, mut violation: Violation) -> Violation {
        for batch in std::mem::take(&mut violation.batches) {
            let is_it = |write: &Write| {
                BatchHeader::parse(&write.batch)
                    .is_some_and(|header| (header.producer_id, header.producer_epoch, header.base_sequence) == batch)
            };
            let writes = self.writes.iter().filter(|(_, write)| is_it(write));
            violation.about.extend(writes.map(|(id, _)| self.write(*id)));
        }
        violation
    }
}

/// The batch that begins at `at`, if all of it is there: a fetch may cut the last one short.
fn whole_batch(batches: &Bytes, at: usize) -> Option<Bytes> {
    let length = batches.get(at + 8..at + 12)?;
    let length = usize::try_from(i32::from_be_bytes(length.try_into().ok()?)).ok()?;
    let end = at + 12 + length;
    (end <= batches.len() && length >= 49).then(|| batches.slice(at..end))
}
