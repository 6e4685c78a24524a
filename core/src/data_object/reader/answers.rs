//! What comes back from the store: it is checked, kept, and given to who waits for it.

use super::blocks::{BlockKey, Spare};
use super::cursors::CursorKey;
use super::load::{Load, Waiter, What};
use super::loads::Target;
use super::plan::Planned;
use super::tries::{Tries, Verdict};
use super::types::Outcome;
use super::{ObjectReader, fail};
use crate::data_object::{BlockEntry, Learned, StoredBatch, decode_block};
use crate::envelope::DecodeError;
use crate::id::ObjectId;
use crate::machine::{Mark, Now, OpIds, Payload, sometimes};
use crate::store::{StoreError, attempt};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

impl ObjectReader {
    pub(super) fn index_answered(
        &mut self,
        now: Now,
        (target, mut load): (Target, Load),
        (body, total): (&Payload, u64),
        ops: &mut OpIds,
        out: &mut Outcome,
    ) {
        let What::Index { cluster, object, step } = &mut load.what else {
            unreachable!("a load without blocks is of an index")
        };
        match step.learn(*cluster, *object, body, total) {
            Ok(Learned::Next(next)) => {
                *step = next;
                let op = ops.issue();
                self.loads.go_on(target, load, op);
                self.call(now, target, op, out);
            }
            Ok(Learned::Index(index)) => {
                for Waiter { read, .. } in load.waiting {
                    let planned = Planned::of(&index, &read);
                    self.place_planned(now, read, planned, out);
                }
                self.indexes.insert(*object, index);
            }
            Err(error) => self.failed(now, target, load, Failure::Bytes(error), out),
        }
    }

    /// Keeps what is sound of the blocks that were asked for, and serves who waits for it.
    pub(super) fn data_answered(&mut self, now: Now, mut load: Load, body: &Payload, out: &mut Outcome) {
        let (object, at) = (load.object(), load.blocks()[0].at);
        self.stats.bytes += body.len() as u64;
        let mut bad: Vec<(BlockEntry, DecodeError)> = Vec::new();
        for entry in load.blocks() {
            match alone(entry, at, body).and_then(|bytes| decode_block(object, entry, &bytes)) {
                Ok(batches) => self.keep(object, entry, batches, load.ahead_for),
                Err(error) => bad.push((*entry, error)),
            }
        }
        let is_stuck = |waiter: &mut Waiter| bad.iter().any(|(entry, _)| waiter.wants(entry));
        let mut stuck: Vec<Waiter> = load.waiting.extract_if(.., is_stuck).collect();
        for Waiter { read, plan } in core::mem::take(&mut load.waiting) {
            self.finish(&read, plan.expect("who waits for blocks knows which"), out);
        }
        // What is damaged is asked for again, block by block: the others are there.
        for (entry, error) in bad {
            let ours: Vec<Waiter> = stuck.extract_if(.., |waiter| waiter.wants(&entry)).collect();
            if ours.is_empty() {
                continue;
            }
            let target = Target::Data(self.loads.next_id());
            let mut again = Load::new(What::Blocks { object, blocks: vec![entry] }, load.origin, load.ahead_for);
            (again.waiting, again.tries) = (ours, load.tries.clone());
            self.failed(now, target, again, Failure::Bytes(error), out);
        }
        self.make_room(self.room.saturating_sub(self.loads.reserved()), Spare::All);
    }

    /// A load brought nothing: it is tried again, or all who wait for it hear so.
    pub(super) fn failed(&mut self, now: Now, target: Target, mut load: Load, failure: Failure, out: &mut Outcome) {
        let object = load.object();
        if load.waiting.is_empty() {
            // Whoever wants it asks for it, and hears why.
            sometimes!(Mark::ReadAheadFailed, load.ahead_for.is_some());
            if !matches!(failure, Failure::Store(error) if error.may_pass()) {
                self.indexes.forget(object);
            }
            if let Some(cursor) = load.ahead_for {
                self.cursors.shrink(cursor);
            }
            return;
        }
        let within = attempt(self.attempt, load.len());
        let tries = load.tries.get_or_insert_with(|| Tries::new(now, within));
        let verdict = match failure {
            Failure::Store(error) => tries.failed(now, error, &mut self.rng),
            Failure::Bytes(error) => tries.undecodable(now, error, &mut self.rng),
        };
        match verdict {
            Verdict::Again(at) => self.loads.pause(target, load, at),
            Verdict::GiveUp(error) => {
                sometimes!(Mark::LoadFailedForMany, load.waiting.len() > 1);
                self.indexes.forget(object);
                fail(load.waiting, error, out);
            }
        }
    }

    /// Keeps a block that has come; one that was read ahead for a cursor which is elsewhere by now may leave first.
    fn keep(&mut self, object: ObjectId, entry: &BlockEntry, batches: Vec<StoredBatch>, ahead_for: Option<CursorKey>) {
        let awaited = ahead_for.filter(|cursor| self.cursors.awaits(*cursor, entry));
        self.blocks.insert(object, entry, batches, awaited);
        if ahead_for.is_some() && awaited.is_none() {
            sometimes!(Mark::ReadAheadWasted);
            self.stats.ahead_wasted += u64::from(entry.len);
            self.blocks.spend(BlockKey::of(object, entry));
        }
    }
}

/// Why a load brought nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    /// The store did not give it.
    Store(StoreError),
    /// It makes no sense.
    Bytes(DecodeError),
}

/// A block in a buffer of its own.
fn alone(entry: &BlockEntry, origin: u64, body: &Payload) -> Result<Bytes, DecodeError> {
    let bytes = entry.block_in(origin, body).ok_or(DecodeError::Short)?;
    Ok(if bytes.len() == body.len() { bytes } else { Bytes::copy_from_slice(&bytes) })
}
