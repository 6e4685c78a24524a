//! What idempotent producers wrote to a partition: P1.
//!
//! Each (producer, epoch, sequence) is in the log at most once, and in order: what has a newer epoch, or a higher
//! sequence under the same one, lies behind. Sequences begin at 0 in the simulated world and never come to their end.
//!
//! But who was idle for long may be forgotten, and then begins anew at sequence 0, also with what it had written before:
//! so it is with Kafka. Idle for long means: by its owner's monotonic clock *and* by the timestamps in the log.
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
use std::collections::BTreeMap;

/// The invariant's name.
pub(super) const P1: &str = "P1-exactly-once-in-order";

/// Kafka's codes that tell a producer that its sequence makes no sense.
const OUT_OF_ORDER: i16 = 45;
const UNKNOWN_PRODUCER: i16 = 59;

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
    /// Whether it began anew after it was forgotten.
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
        let broken = |why: &str, other: i64| {
            let message = format!("{name}: producer {id}, {:?} at offset {base} {why} offset {other}", (epoch, first));
            Err(Violation::new(P1, message))
        };
        if let Some((at, other)) = before.filter(|(_, other)| !other.precedes(&this)) {
            if !self.may_be_forgotten(id, &other, now) {
                let is_same = (other.epoch, other.first) == (epoch, first);
                return broken(if is_same { "is also at" } else { "should lie before what is at" }, at);
            }
            self.producers.entry(id).or_default().has_begun_anew = true;
        }
        if let Some((at, other)) = behind.filter(|(_, other)| !this.precedes(other)) {
            if !self.may_be_forgotten(id, &this, other.seen) {
                let is_same = (other.epoch, other.first) == (epoch, first);
                return broken(if is_same { "is also at" } else { "should lie behind what is at" }, at);
            }
            self.producers.entry(id).or_default().has_begun_anew = true;
        }
        self.producers.entry(id).or_default().log.insert(base, this);
        Ok(true)
    }

    /// The log ends there now: what lay above is lost.
    pub(super) fn lost(&mut self, end: i64) {
        for known in self.producers.values_mut() {
            let before = known.log.len();
            known.log.retain(|base, lies| base + i64::from(lies.last - lies.first) < end);
            known.has_lost |= known.log.len() < before;
        }
    }

    /// All of the log from `start` to `end` is known: there are no gaps.
    pub(super) fn check_complete(&self, name: &str, start: i64, end: i64) -> Result<(), Violation> {
        for (producer, known) in &self.producers {
            let within: Vec<_> = known.log.range(start..end).collect();
            for pair in within.windows(2) {
                let [(_, one), (base, next)] = pair else { unreachable!("windows of two") };
                let follows = one.epoch == next.epoch && one.precedes(next);
                let expected = if follows { one.last + 1 } else { 0 };
                if next.first != expected {
                    let first = next.first;
                    let message =
                        format!("{name}: producer {producer} has sequence {first} at offset {base}, not {expected}");
                    return Err(Violation::new(P1, message));
                }
            }
        }
        Ok(())
    }

    /// Whether it is right that the batch, whose predecessor is written, is refused now with that code: its producer is
    /// forgotten, or was, and began anew with another batch.
    pub(super) fn explain(&self, batch: &[u8], code: i16, now: SimTime) -> bool {
        let Some(header) = sequenced(batch).filter(|header| header.base_sequence > 0) else { return false };
        let Some(known) = self.producers.get(&header.producer_id) else { return false };
        let precedes = |lies: &Lies| (lies.epoch, lies.last + 1) == (header.producer_epoch, header.base_sequence);
        if known.has_lost && !known.log.values().any(precedes) {
            return matches!(code, OUT_OF_ORDER | UNKNOWN_PRODUCER);
        }
        let Some((_, last)) = known.log.last_key_value() else { return false };
        match code {
            UNKNOWN_PRODUCER => self.may_be_forgotten(header.producer_id, last, now),
            OUT_OF_ORDER => known.has_begun_anew || self.may_be_forgotten(header.producer_id, last, now),
            _ => false,
        }
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
