//! What a run leaves behind: one number that is equal only for equal runs, and, when asked for, readable lines.
//!
//! The number is a rolling hash over (time, owner, input, effects) of every event. The hasher is our own: fixed for
//! ever, the same on every platform of one byte order, and each of its steps is a bijection, so two runs that once
//! differed never hash alike again by accident of what follows.

use crate::time::SimTime;
use core::fmt::{self, Debug, Write};
use core::hash::{Hash, Hasher};
use std::collections::VecDeque;
use std::sync::Arc;

/// A fixed, fast 64-bit hasher. Not for keys chosen by an adversary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceHasher(u64);

impl TraceHasher {
    fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.0 = mixed.rotate_left(29).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
}

impl Hasher for TraceHasher {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for chunk in &mut words {
            self.word(u64::from_le_bytes(chunk.try_into().expect("chunks of 8 have 8 bytes")));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            last[7] = rest.len() as u8;
            self.word(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, i: u8) {
        self.word(i.into());
    }

    fn write_u16(&mut self, i: u16) {
        self.word(i.into());
    }

    fn write_u32(&mut self, i: u32) {
        self.word(i.into());
    }

    fn write_u64(&mut self, i: u64) {
        self.word(i);
    }

    fn write_usize(&mut self, i: usize) {
        self.word(i as u64);
    }
}

/// Which lines to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The last so many lines; none at all costs nothing.
    pub keep: usize,
    /// Events before this one leave no line.
    pub from: u64,
    /// Each text is cut after so many bytes.
    pub text: usize,
}

impl LogOptions {
    /// No lines.
    pub const OFF: Self = Self { keep: 0, from: 0, text: 0 };
    /// Enough to see how a run ended.
    pub const LAST: Self = Self { keep: 2000, from: 0, text: 400 };
}

/// One line of the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The event's number, from 1. An input and the effects that it caused share one.
    pub event: u64,
    /// When.
    pub at: SimTime,
    /// Which process.
    pub process: Arc<str>,
    /// Which of its owners.
    pub owner: Arc<str>,
    /// What: `< input`, `> effect`, or `- ` and what the world did.
    pub text: String,
    /// The run's hash once this is part of it; the effects of one input share theirs. Two runs are equal up to the last
    /// line of which this is equal.
    pub hash: u64,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} {} {}/{} {}", self.event, self.at, self.process, self.owner, self.text)
    }
}

/// Who did something: what is hashed is the number, what is read are the names.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) id: u32,
    pub(crate) process: Arc<str>,
    pub(crate) owner: Arc<str>,
}

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hasher: TraceHasher,
    events: u64,
    last: SimTime,
    options: LogOptions,
    lines: VecDeque<Line>,
}

impl Trace {
    pub(crate) fn new(options: LogOptions) -> Self {
        Self { hasher: TraceHasher::default(), events: 0, last: SimTime::ZERO, options, lines: VecDeque::new() }
    }

    /// An owner takes an input: the beginning of an event.
    pub(crate) fn input(&mut self, at: SimTime, who: &Who, input: &(impl Hash + Debug)) {
        self.events += 1;
        self.last = at;
        self.hasher.write_u64(at.0);
        self.hasher.write_u32(who.id);
        input.hash(&mut self.hasher);
        self.line(at, who, "< ", input);
    }

    /// What the input caused.
    pub(crate) fn effects<E: Hash + Debug>(&mut self, at: SimTime, who: &Who, effects: &[E]) {
        effects.hash(&mut self.hasher);
        if self.options.keep > 0 {
            for effect in effects {
                self.line(at, who, "> ", effect);
            }
        }
    }

    /// Something that the world itself did.
    pub(crate) fn note(&mut self, at: SimTime, who: &Who, what: &(impl Hash + Debug)) {
        self.hasher.write_u64(at.0);
        what.hash(&mut self.hasher);
        self.line(at, who, "- ", what);
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn last(&self) -> SimTime {
        self.last
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(crate) fn take_lines(&mut self) -> Vec<Line> {
        core::mem::take(&mut self.lines).into()
    }

    fn line(&mut self, at: SimTime, who: &Who, mark: &str, what: &impl Debug) {
        if self.options.keep == 0 || self.events < self.options.from {
            return;
        }
        if self.lines.len() == self.options.keep {
            self.lines.pop_front();
        }
        let text = cut(mark, what, self.options.text);
        let (process, owner) = (who.process.clone(), who.owner.clone());
        let hash = self.hash();
        self.lines.push_back(Line { event: self.events, at, process, owner, text, hash });
    }
}

/// What something says of itself, cut after so many bytes.
pub(crate) fn cut(mark: &str, what: &impl Debug, limit: usize) -> String {
    let mut out = Cut { text: mark.to_owned(), limit: limit + mark.len() };
    if write!(out, "{what:?}").is_err() {
        out.text.push('…');
    }
    out.text
}

struct Cut {
    text: String,
    limit: usize,
}

impl Write for Cut {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.limit.saturating_sub(self.text.len());
        if piece.len() <= room {
            self.text.push_str(piece);
            return Ok(());
        }
        self.text.push_str(&piece[..piece.floor_char_boundary(room)]);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Who {
        Who { id: 3, process: "n1".into(), owner: "wal".into() }
    }

    fn hash_of(what: &impl Hash) -> u64 {
        let mut hasher = TraceHasher::default();
        what.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn the_hasher_is_fixed_for_ever() {
        assert_eq!(hash_of(&(1_u64, "karst", [1_u8, 2, 3].as_slice())), 6_057_101_035_345_073_925);
    }

    #[test]
    fn order_length_and_content_count() {
        assert_ne!(hash_of(&(1_u64, 2_u64)), hash_of(&(2_u64, 1_u64)));
        assert_ne!(hash_of(&"abc"), hash_of(&"abd"));
        assert_ne!(hash_of(&b"\0\0".as_slice()), hash_of(&b"\0".as_slice()));
        assert_ne!(hash_of(&b"12345678".as_slice()), hash_of(&b"12345679".as_slice()));
    }

    #[test]
    fn time_owner_input_and_effects_count() {
        let base = |at: u64, id: u32, input: u32, effects: &[u32]| {
            let mut trace = Trace::new(LogOptions::OFF);
            trace.input(SimTime(at), &Who { id, ..who() }, &input);
            trace.effects(SimTime(at), &who(), effects);
            trace.hash()
        };
        let one = base(1, 1, 1, &[1]);
        for other in
            [base(2, 1, 1, &[1]), base(1, 2, 1, &[1]), base(1, 1, 2, &[1]), base(1, 1, 1, &[]), base(1, 1, 1, &[2])]
        {
            assert_ne!(one, other);
        }
        assert_eq!(one, base(1, 1, 1, &[1]));
    }

    #[test]
    fn lines_are_kept_only_when_asked_and_never_more_than_asked() {
        let run = |options| {
            let mut trace = Trace::new(options);
            for n in 0..10_u32 {
                trace.input(SimTime(n.into()), &who(), &n);
                trace.effects(SimTime(n.into()), &who(), &[vec!["é"; 100]]);
            }
            (trace.hash(), trace.take_lines())
        };
        let (hash, none) = run(LogOptions::OFF);
        assert_eq!(none, []);
        let (same, lines) = run(LogOptions { keep: 3, from: 0, text: 9 });
        assert_eq!(hash, same, "looking changes nothing");
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["> [\"é\", \"…", "< 9", "> [\"é\", \"…"]);
        assert_eq!(lines[2].to_string(), "      10 0.000000009s n1/wal > [\"é\", \"…");
        let (_, late) = run(LogOptions { keep: 100, from: 10, text: 9 });
        assert_eq!(late.len(), 2);
    }
}
