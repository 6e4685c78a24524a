//! What is read before it is wanted.
//!
//! ```text
//!   the cursor's window │■■■■■■■■■■│▒▒▒▒▒▒▒▒▒▒▒▒│          │   ■ here, or on its way   ▒ missing
//!                       position                       position + window
//! ```
//! Once half of a window is missing, or all that there is to come, that is asked for, in pieces of adjacent blocks, and
//! across the ends of objects. Only as much of it leaves as there are requests and memory that nobody wants now: at most
//! half of both, shared by all readers.

use super::ObjectReader;
use super::blocks::{self, BlockKey, Spare};
use super::cursors::CursorKey;
use super::load::{Load, What};
use super::loads::Target;
use super::types::Outcome;
use crate::data_object::{BlockEntry, IndexStep};
use crate::id::{ObjectId, Offset};
use crate::machine::{Now, OpIds};
use alloc::vec;
use alloc::vec::Vec;

/// A window has so many blocks at most, however small they are.
const STEPS: usize = 256;

/// Something of a window that is neither here nor on its way.
#[derive(Debug)]
enum Missing {
    /// The index of an object that the window reaches into.
    Index(ObjectId),
    /// Adjacent blocks.
    Blocks(ObjectId, Vec<BlockEntry>),
}

impl ObjectReader {
    /// Asks for what is worth to be read ahead for a cursor.
    pub(super) fn read_ahead(&mut self, now: Now, key: CursorKey, ops: &mut OpIds, out: &mut Outcome) {
        let wants_now = self.loads.first().is_some();
        let Some(cursor) = self.cursors.get(key).filter(|cursor| cursor.window > 0 && !wants_now) else { return };
        let others = self.cursors.len().max(1) as u64;
        let window = cursor.window.min(self.ahead_room() / others);
        for missing in self.missing(key, window) {
            if !self.leave_ahead(now, key, missing, ops, out) {
                return;
            }
        }
    }

    /// What of a cursor's window is missing; nothing if that is little.
    fn missing(&self, key: CursorKey, window: u64) -> Vec<Missing> {
        let Some(cursor) = self.cursors.get(key) else { return Vec::new() };
        let (mut missing, mut bytes, mut left) = (Vec::new(), 0, window);
        let mut steps = STEPS;
        for following in &cursor.following {
            if left == 0 {
                break;
            }
            let object = following.object;
            let Some(index) = self.indexes.peek(object) else {
                if !self.loads.contains(Target::Index(object)) {
                    missing.push(Missing::Index(object));
                }
                left = left.saturating_sub(following.bytes);
                continue;
            };
            let mut is_adjacent = false;
            for entry in index.from(key.stream, cursor.position) {
                if left == 0 || steps == 0 {
                    break;
                }
                steps -= 1;
                left = left.saturating_sub(entry.len.into());
                let at = BlockKey::of(object, entry);
                if self.blocks.contains(at) || self.loads.bringing(at).is_some() {
                    is_adjacent = false;
                    continue;
                }
                bytes += u64::from(entry.len);
                match missing.last_mut() {
                    Some(Missing::Blocks(_, run)) if is_adjacent && self.is_piece(run, entry) => run.push(*entry),
                    _ => missing.push(Missing::Blocks(object, vec![*entry])),
                }
                is_adjacent = true;
            }
        }
        let is_little = left == 0 && bytes < window / 2;
        missing.retain(|one| !is_little || matches!(one, Missing::Index(_)));
        missing
    }

    /// Whether a block may be asked for together with those before it.
    fn is_piece(&self, run: &[BlockEntry], entry: &BlockEntry) -> bool {
        let len: u64 = run.iter().map(|entry| u64::from(entry.len)).sum();
        run.first().is_some_and(|first| first.at + len == entry.at) && len + u64::from(entry.len) <= self.piece
    }

    /// Asks for it, if that takes nothing from what is wanted now. Whether it did.
    fn leave_ahead(&mut self, now: Now, key: CursorKey, missing: Missing, ops: &mut OpIds, out: &mut Outcome) -> bool {
        let Some(cursor) = self.cursors.get(key) else { return false };
        let (target, what, reached) = match missing {
            Missing::Index(object) => {
                let what = What::Index { cluster: cursor.cluster, object, step: IndexStep::Tail };
                (Target::Index(object), what, Offset(0))
            }
            Missing::Blocks(object, blocks) => {
                let reached = blocks.last().map_or(Offset(0), |entry| entry.end);
                (Target::Data(self.loads.next_id()), What::Blocks { object, blocks }, reached)
            }
        };
        let load = Load::new(what, key.origin, Some(key));
        if !self.has_room_ahead(&load) {
            return false;
        }
        if let Some(cursor) = self.cursors.get_mut(key) {
            cursor.reached = cursor.reached.max(reached);
        }
        let op = ops.issue();
        self.loads.leave_at_once(target, load, op);
        self.call(now, target, op, out);
        true
    }

    /// Makes room for what is read ahead, among blocks that were read already.
    fn has_room_ahead(&mut self, load: &Load) -> bool {
        let under_way = self.loads.in_flight();
        if under_way.ahead >= self.requests / 2 || under_way.requests >= self.requests {
            return false;
        }
        let cost: u64 = load.blocks().iter().map(blocks::cost).sum();
        if under_way.ahead_reserved + self.blocks.unread() + cost > self.ahead_room() {
            return false;
        }
        let Some(held) = self.room.checked_sub(self.loads.reserved() + cost) else { return false };
        self.make_room(held, Spare::Read);
        self.blocks.held() <= held
    }

    /// Memory that what is read ahead may take, from its request until somebody wants it.
    const fn ahead_room(&self) -> u64 {
        self.room / 2
    }
}
