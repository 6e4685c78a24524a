//! The model of one partition.

use super::configs::{Allowance, Judged, stamp_of, timestamp};
use super::losses::Cut;
use super::producers::{P1, Sequences, Times};
use super::spans::Span;
use super::stored::{Stored, Storing, most_stored};
use super::times::{self, Claim, Question, Told};
use super::trims::{Trim, TrimId, Trims, Upto};
use super::{Place, WriteId};
use crate::client::batch;
use bytes::Bytes;
use karst_runtime_sim::time::SimTime;
use std::collections::{BTreeMap, BTreeSet};

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
}

impl Violation {
    /// Of that invariant.
    #[must_use]
    pub fn new(invariant: &'static str, message: impl Into<String>) -> Self {
        Self { invariant, message: message.into() }
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

    pub(super) fn sent(&mut self, id: WriteId, batch: Bytes) {
        let records = i64::from(u32::from_be_bytes(batch[57..61].try_into().expect("a batch has a header")));
        self.sent += records;
        let times = batch::times_of(&batch).unwrap_or_default();
        self.producers.sent(&batch);
        let write = Write {
            batch,
            sent: self.now,
            after_cuts: self.cuts.len(),
            copies: 1,
            records,
            outcome: None,
            at: None,
            times,
            stamp: None,
            stored: None,
            storing: None,
        };
        let known = self.writes.insert(id, write);
        assert!(known.is_none(), "a write is sent once");
    }

    /// A batch of an idempotent producer is sent again: if that may be forgotten, it may be appended again.
    pub(super) fn sent_again(&mut self, id: WriteId) {
        let write = self.writes.get_mut(&id).expect("a write is sent again after it was sent");
        write.after_cuts = self.cuts.len();
        self.producers.sent_again(&write.batch);
        if self.producers.may_forget() {
            write.copies += 1;
            self.sent += write.records;
        }
    }

    pub(super) fn ended(&mut self, id: WriteId, outcome: Outcome) -> Result<(), Violation> {
        let name = self.name.clone();
        let write = self.writes.get_mut(&id).expect("a write ends after it was sent");
        assert!(write.outcome.is_none(), "a write ends once");
        write.outcome = Some(outcome);
        match outcome {
            Outcome::Acked(base) if base < 0 => {
                Err(Violation::new("acked-offset", format!("{name}: write {} acked at offset {base}", id.0)))
            }
            Outcome::Acked(base) => {
                self.complete = false;
                self.lies_at(id, base)
            }
            Outcome::Failed if write.at.is_some() => Err(Violation::new(
                "G1a-failed-write-read",
                format!("{name}: write {} was refused, but had been read", id.0),
            )),
            Outcome::Failed | Outcome::Unknown => Ok(()),
        }
    }

    /// An answer to a write that was acknowledged or given up before.
    pub(super) fn acked_again(&mut self, id: WriteId, base: i64) -> Result<(), Violation> {
        self.lies_at(id, base)
    }

    /// Nothing is heard of an attempt to send a batch of an idempotent producer: it may have been refused for good.
    pub(super) fn unheard(&mut self, id: WriteId) {
        self.producers.may_be_denied(&self.writes[&id].batch);
    }

    /// The broker refused a batch before which nothing is missing.
    pub(super) fn refused(&mut self, id: WriteId, code: i16) -> Result<(), Violation> {
        let write = self.writes.get(&id).expect("a write is refused after it was sent");
        if self.producers.explain(&write.batch, code, self.now) {
            return Ok(());
        }
        let message = format!("{}: nothing is missing before write {}, and it got error {code}", self.name, id.0);
        Err(Violation::new(P1, message))
    }

    pub(super) fn asked(&mut self, number: u64) {
        self.asked.insert(number, Known { start: self.trims.start(), end: self.known_end });
    }

    pub(super) fn high_watermark(&mut self, number: u64, hw: i64) -> Result<(), Violation> {
        let Some(Known { end: known, .. }) = self.asked.remove(&number) else { return Ok(()) };
        if hw < known {
            let message =
                format!("{}: the high watermark is {hw}, but {known} was known before the question", self.name);
            return Err(Violation::new("high-watermark-goes-back", message));
        }
        if hw > self.sent {
            let message =
                format!("{}: the high watermark is {hw}, and only {} records were sent", self.name, self.sent);
            return Err(Violation::new("records-from-nowhere", message));
        }
        // What was told is durable: nobody may hear of less from now on.
        self.known_end = known.max(self.known_end).max(hw);
        Ok(())
    }

    pub(super) fn trimming(&mut self, id: TrimId, upto: Upto) {
        self.trims.trimming(id, upto);
    }

    pub(super) fn trimmed(&mut self, id: TrimId, outcome: Trim, allowance: Allowance) -> Result<(), Violation> {
        match outcome {
            Trim::Done(start) => {
                self.trims.done(id, start)?;
                self.check_start(start, allowance)
            }
            Trim::Refused => {
                self.trims.refused(id);
                self.check_start(self.trims.start(), allowance)
            }
            Trim::Unknown => Ok(()),
        }
    }

    pub(super) fn log_start(&mut self, number: u64, start: i64, allowance: Allowance) -> Result<(), Violation> {
        let known = self.asked.get(&number).map_or(0, |known| known.start);
        self.trims.told(known, start)?;
        self.check_start(start, allowance)
    }

    /// What is gone, somebody asked to delete, or its topic's configs allowed to go.
    fn check_start(&mut self, start: i64, allowance: Allowance) -> Result<(), Violation> {
        if !self.is_explained(start, allowance) {
            let latest = self.trims.latest_start(self.sent).max(self.explained);
            let message = format!(
                "{}: the log starts at {start}; nobody trimmed it above {latest}, and {allowance:?} does not explain it",
                self.name
            );
            return Err(Violation::new("log-start", message));
        }
        self.explained = self.explained.max(start);
        Ok(())
    }

    /// Whether the log may start there: after trims, or after retention by size, and then by age.
    fn is_explained(&self, start: i64, allowance: Allowance) -> bool {
        let known = self.trims.latest_start(self.sent).max(self.explained);
        if start <= known {
            return true;
        }
        let young = self.log.range(..start).rev().find(|(base, id)| {
            let write = &self.writes[id];
            let stamped = self.stamp_at(**base, write).filter(|stamp| *stamp >= 0);
            !allowance.takes(stamped.unwrap_or_else(|| timestamp(&write.batch)))
        });
        let from = young.map_or(0, |(base, id)| (base + self.writes[id].records).min(start));
        from <= known || allowance.bytes.is_some_and(|kept| self.bytes_from(from, allowance) >= kept)
    }

    /// What the log may hold from there on, in bytes, at most.
    fn bytes_from(&self, from: i64, allowance: Allowance) -> u64 {
        let is_there = |write: &&Write| {
            let is_below = write.at.is_some_and(|at| at + write.records <= from);
            let is_lost = write.at.is_none()
                && write.after_cuts < self.cuts.len()
                && matches!(write.outcome, Some(Outcome::Acked(_)));
            !is_below && !is_lost && write.outcome != Some(Outcome::Failed)
        };
        let stored = |write: &Write| match write.stored {
            Some(stored) if write.copies == 1 => stored.len(),
            _ if allowance.recompresses => most_stored(&write.batch) as u64,
            _ => write.batch.len() as u64,
        };
        self.writes.values().filter(is_there).map(|write| stored(write) * write.copies).sum()
    }

    /// A sound batch was answered. Returns it.
    pub(super) fn judged(&mut self, id: WriteId, judged: Judged) -> Result<Bytes, Violation> {
        if judged.code == 0 {
            self.note_stamp(id, judged.appended_at)?;
        } else {
            self.producers.may_be_denied(&self.writes[&id].batch);
        }
        Ok(self.writes[&id].batch.clone())
    }

    /// A batch was acknowledged that may be stored so.
    pub(super) fn may_be_stored(&mut self, id: WriteId, storing: Storing) -> Result<(), Violation> {
        self.writes.get_mut(&id).expect("only known writes are stored").storing = Some(storing);
        self.check_stored(id)
    }

    fn note_stored(&mut self, id: WriteId, stored: Stored) -> Result<(), Violation> {
        self.writes.get_mut(&id).expect("only known writes are stored").stored = Some(stored);
        self.check_stored(id)
    }

    fn check_stored(&self, id: WriteId) -> Result<(), Violation> {
        match &self.writes[&id] {
            // Of one that may lie in the log twice it is not known which one was acknowledged.
            Write { stored: Some(stored), storing: Some(storing), copies: 1, .. } => {
                stored.check(&format!("{}: write {}", self.name, id.0), storing)
            }
            _ => Ok(()),
        }
    }

    /// The broker stamps a batch once.
    fn note_stamp(&mut self, id: WriteId, stamp: i64) -> Result<(), Violation> {
        let write = self.writes.get_mut(&id).expect("only known writes are stamped");
        let known = *write.stamp.get_or_insert(stamp);
        if known != stamp && write.copies == 1 {
            let message = format!("{}: write {} is stamped {stamp}, and was stamped {known}", self.name, id.0);
            return Err(Violation::new("append-time-changes", message));
        }
        Ok(())
    }

    pub(super) fn served(&mut self, number: u64, from: i64) -> Result<(), Violation> {
        match self.asked.get(&number) {
            Some(known) if from < known.start => {
                let message =
                    format!("{}: the log started at {}, and a fetch from {from} was served", self.name, known.start);
                Err(Violation::new("deleted-records-served", message))
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
            return Err(Violation::new("kept-records-refused", message));
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
                return Err(Violation::new("G1a-failed-write-read", message));
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
                return Err(Violation::new("offsets-dense", message));
            }
            next = base + self.writes[id].records;
        }
        // What came after the question may have been read too.
        if next < end {
            let message = format!("{}: the log ends at {next}, its high watermark is {end}", self.name);
            return Err(Violation::new("lost-write", message));
        }
        if let Some((base, _)) = self.acked_beyond(end) {
            let message = format!("{}: offset {base} was acknowledged, and the log ends at {end}", self.name);
            return Err(Violation::new("lost-write", message));
        }
        if let Some(base) =
            self.log.range(first..end).find(|(base, _)| !self.read.contains_key(base)).map(|(base, _)| *base)
        {
            let message = format!("{}: offset {base} is within the log and was never read", self.name);
            return Err(Violation::new("lost-write", message));
        }
        self.producers.check_complete(&self.name, first, end)?;
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
            return Err(Violation::new("deleted-records-served", message));
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

    /// The latest offset at which a log that ended at `end` or later may start by now: after trims, or after retention.
    /// Between batches of which the place is known others may lie, and go.
    fn latest_start(&self, end: i64, allowance: Allowance) -> i64 {
        let known = self.trims.latest_start(self.sent).max(self.explained);
        let bounds = self.log.iter().flat_map(|(base, id)| [*base, base + self.writes[id].records]);
        let beyond: BTreeSet<i64> = bounds.chain([end]).filter(|bound| *bound > known).collect();
        beyond.into_iter().rev().find(|bound| self.is_explained(*bound, allowance)).unwrap_or(known)
    }

    /// A batch was read: it bears the leader epoch under which it was appended, and the time at which it was stamped.
    fn note_read(&mut self, base: i64, id: WriteId, batch: &Bytes) -> Result<(), Violation> {
        let epoch = i32::from_be_bytes(batch[12..16].try_into().expect("the header was checked"));
        let stamp = stamp_of(batch);
        self.cuts.iter().try_for_each(|cut| cut.check_record(&self.name, base, epoch))?;
        let before = self.read.insert(base, Read { epoch, stamp });
        if let Some(before) = before.filter(|before| before.epoch != epoch) {
            let message = format!("{}: write {} is of epoch {} and of {epoch}", self.name, id.0, before.epoch);
            return Err(Violation::new("leader-epoch-changes", message));
        }
        if let Some(before) = before.filter(|before| before.stamp != stamp) {
            let message = format!("{}: write {} is stamped {stamp}, and was {}", self.name, id.0, before.stamp);
            return Err(Violation::new("append-time-changes", message));
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
                return Err(Violation::new("truncation-is-noticed", why));
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

    fn lies_at(&mut self, id: WriteId, base: i64) -> Result<(), Violation> {
        if let Some(other) = self.log.get(&base)
            && *other != id
        {
            let message = format!("{}: offset {base} holds write {} and write {}", self.name, other.0, id.0);
            return Err(Violation::new("inconsistent-offsets", message));
        }
        let write = self.writes.get_mut(&id).expect("only known writes are placed");
        let end = base + write.records;
        if let Some(cut) = self.cuts[write.after_cuts..].iter().find(|cut| end > cut.end) {
            let message = format!("{}: write {} lies at offset {base}, and was lost by {cut:?}", self.name, id.0);
            return Err(Violation::new("lost-write-returns", message));
        }
        let is_sequenced = self.producers.lies_at(&self.name, &write.batch, base, (write.sent, self.now))?;
        if let Some(at) = write.at
            && at != base
            && !is_sequenced
        {
            let message = format!("{}: write {} lies at offset {at} and at offset {base}", self.name, id.0);
            return Err(Violation::new("duplicate", message));
        }
        write.at = write.at.max(Some(base));
        self.log.insert(base, id);
        self.known_end = self.known_end.max(base + write.records);
        Ok(())
    }

    fn broken(&self, base: i64, what: &str) -> Violation {
        Violation::new("read-bytes-are-acked-bytes", format!("{}: the batch at offset {base} {what}", self.name))
    }
}

/// The batch that begins at `at`, if all of it is there: a fetch may cut the last one short.
fn whole_batch(batches: &Bytes, at: usize) -> Option<Bytes> {
    let length = batches.get(at + 8..at + 12)?;
    let length = usize::try_from(i32::from_be_bytes(length.try_into().ok()?)).ok()?;
    let end = at + 12 + length;
    (end <= batches.len() && length >= 49).then(|| batches.slice(at..end))
}
