//! What idempotent producers wrote to a partition: P1.
//!
//! Each (producer, epoch, sequence) is in the log at most once, and in order: what has a newer epoch, or a higher
//! sequence under the same one, lies behind. Sequences never come to their end in the simulated world.
//!
//! There is no gap between a producer's batches, and a newer epoch begins at 0. The first batch in a partition may have
//! any sequence; but of those that were sent to the partition none lies below it, unless it was refused for good. Nor is
//! anything refused before which nothing is missing.
//!
//! But who was idle for long may be forgotten, and then is as one that never wrote: any of its batches may be the next, also
//! one that it had written before: so it is with Kafka. Idle for long means: by its owner's monotonic clock *and* by the
//! timestamps in the log.
//!
//! ```text
//!   what happened       batch A is sent ── appended ──── idle ──── B is appended ── heard of
//!   what can be known   └──────────────── at most so long ────────────────────────────────┘
//! ```
//! Only if that is the whole span, B may lie behind A although it should not.

use super::partition::Violation;
use super::spans::Span;
use karst_core::kafka::BatchHeader;
use karst_runtime_sim::time::SimTime;
use std::collections::{BTreeMap, BTreeSet};

/// The invariant's name.
pub(super) const P1: &str = "P1-exactly-once-in-order";

/// Kafka's code that tells a producer that its sequence makes no sense.
const OUT_OF_ORDER: i16 = 45;

/// A batch that is known to lie somewhere.
#[derive(Clone, Copy, Debug)]
struct Lies {
    epoch: i16,
    first: i32,
    last: i32,
    timestamp: i64,
    /// When it was sent for the first time: it was appended later.
    sent: SimTime,
    /// When somebody first heard that it is there: it was appended earlier.
    seen: SimTime,
}

/// What is known of one producer.
#[derive(Debug, Default)]
struct Known {
    /// By base offset.
    log: BTreeMap<i64, Lies>,
    /// The times of what was sent and is not known to lie anywhere, by epoch and sequence.
    waiting: BTreeMap<(i16, i32), i64>,
    /// What was sent more than once, by epoch and sequence.
    again: BTreeSet<(i16, i32)>,
    /// What was refused for good, or may have been when nothing was heard of it.
    denied: BTreeSet<(i16, i32)>,
    /// Whether it was forgotten, and what it had written was taken again.
    has_begun_anew: bool,
    /// Whether something that it wrote is lost.
    has_lost: bool,
}

/// Whose times the records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// Their producers'.
    AsSent,
    /// The broker's, or their producers'.
    PerhapsStamped,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sequences {
    span: Span,
    times: Times,
    /// The largest time of anything that was sent.
    newest: i64,
    producers: BTreeMap<i64, Known>,
}

impl Lies {
    fn precedes(&self, next: &Self) -> bool {
        (next.epoch, next.first) > (self.epoch, self.last)
    }
}

impl Sequences {
    pub(super) fn new(span: Span) -> Self {
        Self { span, times: Times::AsSent, newest: i64::MIN, producers: BTreeMap::new() }
    }

    /// Whose times records have from now on. What the broker stamped once, it did.
    pub(super) fn note_times(&mut self, times: Times) {
        if times == Times::PerhapsStamped {
            self.times = times;
        }
    }

    /// Whether a batch that is sent again may be appended again, some day.
    pub(super) fn may_forget(&self) -> bool {
        self.span.is_short()
    }

    /// Somebody is about to send the batch.
    pub(super) fn sent(&mut self, batch: &[u8]) {
        let Some(header) = sequenced(batch) else { return };
        self.newest = self.newest.max(header.max_timestamp().0);
        let waiting = &mut self.producers.entry(header.producer_id).or_default().waiting;
        waiting.insert((header.producer_epoch, header.base_sequence), header.max_timestamp().0);
    }

    /// Somebody is about to send the batch again.
    pub(super) fn sent_again(&mut self, batch: &[u8]) {
        self.note(batch, |known, key| known.again.insert(key));
    }

    /// The batch was refused for good, or may have been.
    pub(super) fn may_be_denied(&mut self, batch: &[u8]) {
        self.note(batch, |known, key| known.denied.insert(key));
    }

    fn note(&mut self, batch: &[u8], what: impl Fn(&mut Known, (i16, i32)) -> bool) {
        if let Some(header) = sequenced(batch) {
            let known = self.producers.entry(header.producer_id).or_default();
            what(known, (header.producer_epoch, header.base_sequence));
        }
    }

    /// The batch lies there, somebody says now. It was sent at that moment for the first time. Returns whether it is an
    /// idempotent producer's.
    pub(super) fn lies_at(
        &mut self,
        name: &str,
        batch: &[u8],
        base: i64,
        (sent, now): (SimTime, SimTime),
    ) -> Result<bool, Violation> {
        let Some(header) = sequenced(batch) else { return Ok(false) };
        let (id, epoch, first) = (header.producer_id, header.producer_epoch, header.base_sequence);
        let last = first + header.last_offset_delta;
        let this = Lies { epoch, first, last, timestamp: header.max_timestamp().0, sent, seen: now };
        let known = self.producers.entry(id).or_default();
        known.waiting.remove(&(epoch, first));
        if known.log.contains_key(&base) {
            return Ok(true);
        }
        let before = known.log.range(..base).next_back().map(|(at, other)| (*at, *other));
        let behind = known.log.range(base..).next().map(|(at, other)| (*at, *other));
        let broken = |why: &str, other: i64, lies: &Lies| {
            let message = format!("{name}: producer {id}, {:?} at offset {base} {why} offset {other}", (epoch, first));
            let batches = [(id, lies.epoch, lies.first), (id, epoch, first)];
            Err(Violation::new(P1, message).of_batches(batches))
        };
        if let Some((at, other)) = before.filter(|(_, other)| !other.precedes(&this)) {
            if !self.may_be_forgotten(id, &other, now) {
                let is_same = (other.epoch, other.first) == (epoch, first);
                return broken(if is_same { "is also at" } else { "should lie before what is at" }, at, &other);
            }
            self.producers.entry(id).or_default().has_begun_anew = true;
        }
        if let Some((at, other)) = behind.filter(|(_, other)| !this.precedes(other)) {
            if !self.may_be_forgotten(id, &this, other.seen) {
                let is_same = (other.epoch, other.first) == (epoch, first);
                return broken(if is_same { "is also at" } else { "should lie behind what is at" }, at, &other);
            }
            self.producers.entry(id).or_default().has_begun_anew = true;
        }
        self.producers.entry(id).or_default().log.insert(base, this);
        Ok(true)
    }

    /// The log ends there now: what lay above is lost, and so is what nobody has heard of, if it does not lie below.
    pub(super) fn lost(&mut self, end: i64) {
        for known in self.producers.values_mut() {
            let is_lost = |base: i64, lies: &Lies| base + i64::from(lies.last - lies.first) >= end;
            let lost = known.log.iter().filter(|(base, lies)| is_lost(**base, lies));
            let lost: Vec<(i16, i32)> = lost.map(|(_, lies)| (lies.epoch, lies.first)).collect();
            known.log.retain(|base, lies| !is_lost(*base, lies));
            known.has_lost |= !lost.is_empty();
            known.denied.extend(lost.into_iter().chain(known.waiting.keys().copied()));
        }
    }

    /// All of the log from `start` to `end` is known.
    pub(super) fn check_complete(&self, name: &str, start: i64, end: i64) -> Result<(), Violation> {
        for (producer, known) in &self.producers {
            let mut before = None;
            for (base, next) in known.log.range(start..end) {
                if let Err((why, others)) = self.check_next(*producer, known, (before, start), next) {
                    let (epoch, first) = (next.epoch, next.first);
                    let message =
                        format!("{name}: producer {producer} has {:?} at offset {base}, and {why}", (epoch, first));
                    let batches = others.into_iter().chain([(epoch, first)]);
                    return Err(
                        Violation::new(P1, message).of_batches(batches.map(|(epoch, first)| (*producer, epoch, first)))
                    );
                }
                before = Some(next);
            }
        }
        Ok(())
    }

    /// Whether a batch may come behind that one, or be the first from `start` on; if not, why, and which others that is
    /// about. That they are in order was looked at.
    fn check_next(
        &self,
        producer: i64,
        known: &Known,
        (before, start): (Option<&Lies>, i64),
        next: &Lies,
    ) -> Result<(), (String, Vec<(i16, i32)>)> {
        let begins = match before {
            // What is deleted may have come before it.
            None => start == 0,
            Some(one) if one.epoch == next.epoch && next.first == one.last + 1 => false,
            Some(one) if one.precedes(next) => {
                let begins_anew = one.epoch < next.epoch && next.first == 0;
                if !begins_anew && !self.may_be_forgotten(producer, one, next.seen) {
                    // Whatever was sent and should lie between says more than what lies before.
                    let between = known.waiting.range((one.epoch, one.last)..(next.epoch, next.first));
                    let between = between.map(|(key, _)| *key).take(1);
                    let others = [(one.epoch, one.first)].into_iter().chain(between).collect();
                    return Err((format!("comes behind {:?}", (one.epoch, one.last)), others));
                }
                // What lies between may have been written before that was written again.
                !known.has_begun_anew
            }
            Some(_) => false,
        };
        let missing = known.waiting.range((next.epoch, i32::MIN)..(next.epoch, next.first));
        let missing = missing.map(|(key, _)| *key).find(|key| !known.denied.contains(key));
        match missing.filter(|_| begins) {
            Some(missing) => Err((format!("{missing:?} was sent before it, and is nowhere"), vec![missing])),
            None => Ok(()),
        }
    }

    /// Whether it is right that the batch, before which nothing is missing, is refused now with that code: it may have
    /// been refused for good before, and what came behind it was taken; or its producer was forgotten, and was taken again
    /// with what comes behind it, or with what was sent again.
    pub(super) fn explain(&self, batch: &[u8], code: i16, now: SimTime) -> bool {
        let Some(header) = sequenced(batch).filter(|_| code == OUT_OF_ORDER) else { return false };
        let Some(known) = self.producers.get(&header.producer_id) else { return false };
        let key = (header.producer_epoch, header.base_sequence);
        let precedes = |lies: &Lies| (lies.epoch, lies.last + 1) == key;
        if known.has_lost && !known.log.values().any(precedes) {
            return true;
        }
        let Some((_, last)) = known.log.last_key_value() else { return known.denied.contains(&key) };
        let again = || known.again.iter().any(|other| *other != key);
        let is_disturbed = || again() && self.may_be_forgotten(header.producer_id, last, now);
        let is_forgotten = || self.may_be_forgotten_behind(header.producer_id, known, key, now);
        known.denied.contains(&key) || known.has_begun_anew || is_disturbed() || is_forgotten()
    }

    /// Whether a batch lies there, but the producer may have been forgotten and gone on since.
    fn may_be_forgotten_behind(&self, producer: i64, known: &Known, key: (i16, i32), now: SimTime) -> bool {
        let Some((at, _)) = known.log.iter().rfind(|(_, one)| (one.epoch, one.first) == key) else { return false };
        let from: Vec<&Lies> = known.log.range(at..).map(|(_, one)| one).collect();
        let goes_on = known.waiting.range(key..).next().is_some();
        let ends = from.iter().skip(1).map(|next| next.seen).chain(goes_on.then_some(now));
        from.iter().zip(ends).any(|(one, by)| self.may_be_forgotten(producer, one, by))
    }

    /// Whether the producer, of which nothing is known behind that batch, may be forgotten by then.
    fn may_be_forgotten(&self, producer: i64, last: &Lies, by: SimTime) -> bool {
        // What nobody has heard of yet may lie behind it, and be of an earlier time.
        let waiting = self.producers.get(&producer).into_iter().flat_map(|known| known.waiting.values());
        let oldest = waiting.copied().fold(last.timestamp, i64::min);
        let by_log = self.times == Times::PerhapsStamped || self.newest.saturating_sub(oldest) >= self.span.millis;
        by_log && self.span.fits(last.sent, by)
    }
}

fn sequenced(batch: &[u8]) -> Option<BatchHeader> {
    BatchHeader::parse(batch).filter(|header| header.producer_id >= 0)
}

#[cfg(test)]
mod tests;
