//! Who reads where, and how far ahead of it is worth to be read.
//!
//! ```text
//!             position                    position + window
//!   passed ──────┤ wanted now │  read ahead  │   not yet
//! ```
//! A reader that goes on where it ended, and has to wait all the same, has its window doubled; so the window grows until
//! the store's latency is hidden, and no further. One that goes on elsewhere, or whose blocks left before it came, has
//! it halved.

use super::types::{Following, Origin, Read};
use crate::data_object::BlockEntry;
use crate::id::{ClusterId, Offset, StreamId};
use crate::machine::{Instant, Mark, sometimes};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// Names a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CursorKey {
    pub(super) stream: StreamId,
    pub(super) origin: Origin,
}

/// Where somebody reads in a stream.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Where the last read that ended began.
    last: Offset,
    /// And where it ended.
    pub(super) position: Offset,
    /// So many bytes from there on are worth to be had.
    pub(super) window: u64,
    /// What was asked for ahead ends there.
    pub(super) reached: Offset,
    pub(super) cluster: ClusterId,
    /// The ranges from the position on, as of the last read.
    pub(super) following: Vec<Following>,
    used: Instant,
}

/// How a read follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// Somebody begins to read.
    New,
    /// Where the last one ended.
    On,
    /// The same once more: its answer was lost, or had no room for it.
    Again,
    /// Elsewhere. What was read ahead is not wanted.
    Elsewhere,
}

/// Cursors that are remembered; the one used longest ago makes room.
const CURSORS: usize = 4096;

/// All of them.
#[derive(Debug)]
pub(super) struct Cursors {
    first: u64,
    limit: u64,
    idle: Duration,
    all: BTreeMap<CursorKey, Cursor>,
    by_use: BTreeSet<(Instant, CursorKey)>,
}

impl Cursors {
    /// Windows begin with `first` bytes and have `limit` at most. A cursor that is not used for `idle` is forgotten.
    pub(super) fn new(first: u64, limit: u64, idle: Duration) -> Self {
        Self { first: first.min(limit), limit, idle, all: BTreeMap::new(), by_use: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, key: CursorKey) -> Option<&Cursor> {
        self.all.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: CursorKey) -> Option<&mut Cursor> {
        self.all.get_mut(&key)
    }

    /// A read begins.
    pub(super) fn begin(&mut self, now: Instant, read: &Read, following: Vec<Following>) -> Course {
        let (key, offset, cluster) = (read.cursor(), read.offset, read.cluster);
        let Some(cursor) = self.all.get_mut(&key) else {
            let (last, position, reached) = (offset, offset, offset);
            let cursor = Cursor { last, position, window: 0, reached, cluster, following, used: now };
            self.all.insert(key, cursor);
            self.by_use.insert((now, key));
            return Course::New;
        };
        self.by_use.remove(&(cursor.used, key));
        self.by_use.insert((now, key));
        cursor.used = now;
        cursor.following = following;
        if offset == cursor.position {
            return Course::On;
        }
        let is_again = offset == cursor.last;
        cursor.position = offset;
        if is_again {
            return Course::Again;
        }
        cursor.reached = offset;
        Course::Elsewhere
    }

    /// Whether a block was asked for ahead for a cursor that still comes to it.
    pub(super) fn awaits(&self, key: CursorKey, entry: &BlockEntry) -> bool {
        self.all.get(&key).is_some_and(|cursor| entry.end > cursor.position && entry.start < cursor.reached)
    }

    /// A read has ended.
    pub(super) fn advance(&mut self, key: CursorKey, from: Offset, to: Offset) {
        if let Some(cursor) = self.all.get_mut(&key).filter(|cursor| cursor.position == from) {
            (cursor.last, cursor.position) = (from, to);
            cursor.reached = cursor.reached.max(to);
        }
    }

    /// It went on, and had to wait.
    pub(super) fn grow(&mut self, key: CursorKey) {
        let (first, limit) = (self.first, self.limit);
        if let Some(cursor) = self.all.get_mut(&key) {
            cursor.window = cursor.window.saturating_mul(2).clamp(first, limit);
        }
    }

    /// What was read ahead was for nothing.
    pub(super) fn shrink(&mut self, key: CursorKey) {
        let first = self.first;
        if let Some(cursor) = self.all.get_mut(&key).filter(|cursor| cursor.window > 0) {
            sometimes!(Mark::ReadAheadShrunk);
            cursor.window /= 2;
            if cursor.window < first {
                cursor.window = 0;
            }
        }
    }

    /// Whether another reader of the stream has yet to come to what lies below `end`.
    pub(super) fn is_followed(&self, key: CursorKey, end: Offset) -> bool {
        let least = CursorKey { stream: key.stream, origin: Origin::LEAST };
        let of_stream = self.all.range(least..).take_while(|(other, _)| other.stream == key.stream);
        of_stream.into_iter().any(|(other, cursor)| *other != key && cursor.position < end)
    }

    /// Takes one out that was not used for long, or is one too many.
    pub(super) fn expire(&mut self, now: Instant) -> Option<CursorKey> {
        let (used, key) = *self.by_use.first()?;
        if used.after(self.idle) > now && self.all.len() <= CURSORS {
            return None;
        }
        self.remove(key);
        Some(key)
    }

    /// Takes those of one reader out.
    pub(super) fn forget(&mut self, origin: Origin) -> Vec<CursorKey> {
        let of_it: Vec<CursorKey> = self.all.keys().filter(|key| key.origin == origin).copied().collect();
        of_it.iter().for_each(|key| self.remove(*key));
        of_it
    }

    /// When the next one is to be taken out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.by_use.first().map(|(used, _)| used.after(self.idle))
    }

    fn remove(&mut self, key: CursorKey) {
        if let Some(cursor) = self.all.remove(&key) {
            self.by_use.remove(&(cursor.used, key));
        }
    }

    pub(super) fn invariants(&self) {
        assert_eq!(self.all.len(), self.by_use.len(), "each cursor has one moment of last use");
        assert!(self.all.values().all(|cursor| cursor.window <= self.limit), "windows have a limit");
    }
}

impl Read {
    pub(super) const fn cursor(&self) -> CursorKey {
        CursorKey { stream: self.stream, origin: self.origin }
    }
}

impl Origin {
    /// None is before it.
    const LEAST: Self = Self::Client(crate::id::ConnId(0));
}
