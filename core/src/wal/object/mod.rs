//! The log as objects `wal/NODE/EPOCH/SEQ` in the bucket: nothing is kept on any disk.
//!
//! ```text
//!   wal/0000000007/...12/...0  ...1  ...2  ...3  ...4
//!                       |deleted  |  durable  | being put, a few at once
//!                                 trim point: in the metadata, with each commit
//! ```
//! Each node epoch has a prefix of its own, and SEQs count from 0: an [`Lsn`] of this WAL is a SEQ. The
//! bytes of a SEQ are fixed at its first attempt, and it is put on the condition that nothing is there. An attempt without
//! an answer is repeated with the same bytes; if the name exists then, what is there is compared.
//!
//! What it adds to the promises of [`crate::wal`]:
//! - *Sealing is the fence.* A later life of the node reads upwards from the trim point and wins the first missing SEQ by a
//!   [seal](format::seal). The old writer, were it alive, meets the seal before it could acknowledge anything beyond, since
//!   it acknowledges in order. What it put below was read, and what it put beyond is void. A [seal is never
//!   deleted](format::SEAL_LEN): the store keeps no trace of what was deleted, and a late put would succeed.
//! - *The trim point is not in here* but in the metadata. A deleted object can't be told from one that never was, so a
//!   recovery must know where to begin; and a fenced life can't move it any more.
//! - *Every delete follows a durable entry*: of objects below the trim point its commit, and of all but the seal of a life
//!   that is over, and what became data, the end of its recovery. The life itself deletes the former, the node's janitor all
//!   others, which it lists; nothing here ever lists.
//! - *An object may become data as it is.* It has the layout of a [data object](crate::data_object), so a recovery tells of a
//!   large one without reading its records, and its commit is all that it takes. From then on it is the metadata's: whoever
//!   deletes what is left of a life asks that first.
//! - *Few objects.* There are never more than a bound: before it is reached a cut is asked for, at it nothing is put.

mod batch;
pub mod format;
mod log;
mod open;
mod put;
mod recovery;
mod rules;
mod sweep;

use crate::id::Lsn;
use crate::limits::Limits;
use crate::machine::{Deadline, Effects, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::mail::Mail as To;
use crate::store::{StoreError, StoreResult};
use crate::wal::{CutMarker, Effect, Inspection, Life, Mail, Positions};
use crate::{node, shard};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use open::Open;
use put::Judgement;
use recovery::{Recovery, Said};
use rules::Rules;

/// A write-ahead log in the bucket.
#[derive(Debug)]
pub(super) struct ObjectWal {
    rules: Rules,
    rng: Rng,
    ops: OpIds,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// No life was begun; an earlier one may be, or has been, read back.
    Opening(Option<Box<Recovery>>),
    Open(Box<Open>, Life),
    Closed,
    /// Everything below was delivered.
    Poisoned(Lsn),
}

impl ObjectWal {
    pub(super) fn new(capacity: u64, limits: &Limits, rng: Rng) -> Result<Self, String> {
        let rules = Rules::new(capacity, limits)?;
        Ok(Self { rules, rng, ops: OpIds::default(), phase: Phase::Opening(None) })
    }

    pub(super) fn hear(&mut self, now: Now, mail: Mail, out: &mut Effects<Effect>) {
        match &mut self.phase {
            Phase::Opening(_) => self.hear_opening(mail, out),
            Phase::Open(open, _) => match mail {
                Mail::Append(batches) => open.append(batches),
                Mail::Cut(reason) => open.cut(reason, out),
                Mail::Trim(lsn) => open.trim(lsn),
                Mail::Close => open.close(),
                Mail::Inspect | Mail::Recover { .. } | Mail::RecoverMore | Mail::Format { .. } => {
                    panic!("{mail:?} to a log that is open")
                }
            },
            Phase::Poisoned(delivered) => {
                // What was delivered can still be saved; nothing else is done any more.
                if let Mail::Cut(reason) = mail {
                    sometimes!(Mark::CutOfPoisonedWal);
                    let marker = CutMarker { lsn: *delivered, reason };
                    out.push(Effect::Mail(To::Shard(shard::Mail::Cut(marker))));
                }
            }
            Phase::Closed => tracing::debug!(?mail, "too late for the WAL"),
        }
        self.pump(now, out);
    }

    pub(super) fn completed(&mut self, now: Now, op: OpId, result: StoreResult, out: &mut Effects<Effect>) {
        match &mut self.phase {
            Phase::Opening(Some(recovery)) => {
                let said = recovery.completed(now, op, result, &mut self.rng);
                say(said, out);
            }
            Phase::Open(open, life) => {
                let life = *life;
                match open.completed(now, op, result, &mut self.rng, out) {
                    Some((Judgement::Durable | Judgement::Again, _)) | None => {}
                    Some((lost, seq)) => self.poison(why(&life, seq, lost), out),
                }
            }
            // Completions of what was in flight when it ended.
            Phase::Opening(None) | Phase::Poisoned(_) | Phase::Closed => {}
        }
        self.pump(now, out);
    }

    /// Does what is due.
    pub(super) fn pump(&mut self, now: Now, out: &mut Effects<Effect>) {
        match &mut self.phase {
            Phase::Opening(Some(recovery)) => {
                let calls = recovery.requests(now, &mut self.ops);
                calls.into_iter().for_each(|(id, call)| out.push(Effect::Store(id, call)));
            }
            Phase::Open(open, _) => {
                if open.pump(now, &mut self.ops, out) {
                    self.phase = Phase::Closed;
                    out.push(Effect::Mail(To::Node(node::Mail::WalClosed)));
                }
            }
            Phase::Opening(None) | Phase::Closed | Phase::Poisoned(_) => {}
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match &self.phase {
            Phase::Opening(Some(recovery)) => {
                recovery.wakes_at().map(|at| Deadline { at, reason: "go on reading the WAL back" })
            }
            Phase::Open(open, _) => open.deadline(),
            Phase::Opening(None) | Phase::Closed | Phase::Poisoned(_) => None,
        }
    }

    pub(super) fn positions(&self) -> Option<Positions> {
        if let Phase::Open(open, _) = &self.phase { Some(open.positions()) } else { None }
    }

    pub(super) fn granted(&self) -> Option<u64> {
        if let Phase::Open(open, _) = &self.phase { Some(open.granted()) } else { None }
    }

    pub(super) fn objects(&self) -> u64 {
        if let Phase::Open(open, _) = &self.phase { open.objects() } else { 0 }
    }

    pub(super) fn invariants(&self) {
        if let Phase::Open(open, _) = &self.phase {
            open.invariants();
        }
    }

    fn hear_opening(&mut self, mail: Mail, out: &mut Effects<Effect>) {
        let Phase::Opening(recovery) = &mut self.phase else { unreachable!("the caller looked at the phase") };
        let is_idle = recovery.as_ref().is_none_or(|recovery| recovery.is_ended());
        match mail {
            Mail::Inspect => out.push(Effect::Mail(To::Node(node::Mail::WalFound(Inspection::Objects)))),
            Mail::Recover { life, by, from } => {
                assert!(is_idle, "one recovery at a time");
                *recovery = Some(Box::new(Recovery::new(self.rules, life, by, from)));
            }
            Mail::RecoverMore => {
                let said = recovery.as_mut().expect("what was begun goes on").more();
                say(said, out);
            }
            Mail::Format { life, level } => {
                assert!(is_idle, "a life begins when the earlier ones are read back");
                tracing::info!(node = life.node.0, epoch = life.epoch.0, uuid = %life.uuid, "the WAL is in the bucket");
                self.phase = Phase::Open(Box::new(Open::new(life, level, self.rules)), life);
                out.push(Effect::Mail(To::Node(node::Mail::WalFormatted)));
            }
            // A recovery's cuts are committed while there is no life of which anything could be trimmed.
            Mail::Trim(lsn) => tracing::debug!(lsn = lsn.0, "nothing to trim yet"),
            Mail::Close => {
                self.phase = Phase::Closed;
                out.push(Effect::Mail(To::Node(node::Mail::WalClosed)));
            }
            Mail::Append(_) | Mail::Cut(_) => panic!("{mail:?} to a log that is not open"),
        }
    }

    fn poison(&mut self, what: String, out: &mut Effects<Effect>) {
        let Phase::Open(open, _) = &self.phase else { unreachable!("only an open log fails") };
        tracing::error!(%what, "the WAL is poisoned");
        sometimes!(Mark::PoisonedWithWritesInFlight, open.in_flight() > 1);
        self.phase = Phase::Poisoned(open.durable());
        out.push(Effect::Mail(To::Shard(shard::Mail::WalPoisoned)));
        out.push(Effect::Mail(To::Node(node::Mail::WalPoisoned(what))));
    }
}

fn say(said: Said, out: &mut Effects<Effect>) {
    let mail = match said {
        Said::Nothing => return,
        Said::Tell(recovered) => node::Mail::WalRecovered(recovered),
        Said::Fail(halt) => node::Mail::Failed(halt),
    };
    out.push(Effect::Mail(To::Node(mail)));
}

/// What has ended a life, for a person.
fn why(life: &Life, seq: Lsn, lost: Judgement) -> String {
    let key = format::key(life.node, life.epoch, seq);
    match lost {
        Judgement::Sealed(by) => {
            sometimes!(Mark::WalFoundSealed);
            format!(
                "{key} is a seal: a newer broker with this node id, that of node epoch {by}, has taken over. All that was \
                 acknowledged is in what it has read back"
            )
        }
        Judgement::Taken => format!(
            "{key} exists in the bucket with a content that this broker did not write: the bucket was restored from \
             another copy, or is used by two clusters"
        ),
        Judgement::Hopeless(StoreError::Denied) => {
            format!("{key} can't be written: allow this broker to create and read objects in the bucket")
        }
        Judgement::Hopeless(error) => format!("{key} can't be written: {error}"),
        Judgement::Durable | Judgement::Again => unreachable!("these end nothing"),
    }
}

#[cfg(test)]
mod tests;
