//! What became of each write: at which offset it lies, once; what of it is stored, and when it was stamped.

use super::{Outcome, PartitionModel, Violation, Write};
use crate::client::batch;
use crate::oracle::WriteId;
use crate::oracle::configs::Judged;
use crate::oracle::producers::P1;
use crate::oracle::stored::{Stored, Storing};
use bytes::Bytes;

impl PartitionModel {
    pub(in crate::oracle) fn sent(&mut self, id: WriteId, batch: Bytes) {
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
    pub(in crate::oracle) fn sent_again(&mut self, id: WriteId) {
        let write = self.writes.get_mut(&id).expect("a write is sent again after it was sent");
        write.after_cuts = self.cuts.len();
        self.producers.sent_again(&write.batch);
        if self.producers.may_forget() {
            write.copies += 1;
            self.sent += write.records;
        }
    }

    pub(in crate::oracle) fn ended(&mut self, id: WriteId, outcome: Outcome) -> Result<(), Violation> {
        let name = self.name.clone();
        let write = self.writes.get_mut(&id).expect("a write ends after it was sent");
        assert!(write.outcome.is_none(), "a write ends once");
        write.outcome = Some(outcome);
        match outcome {
            Outcome::Acked(base) if base < 0 => {
                let message = format!("{name}: write {} acked at offset {base}", id.0);
                Err(Violation::new("acked-offset", message).about(self.write(id)))
            }
            Outcome::Acked(base) => {
                self.complete = false;
                self.lies_at(id, base)
            }
            Outcome::Failed if write.at.is_some() => Err(Violation::new(
                "G1a-failed-write-read",
                format!("{name}: write {} was refused, but had been read", id.0),
            )
            .about(self.write(id))),
            Outcome::Failed | Outcome::Unknown => Ok(()),
        }
    }

    /// An answer to a write that was acknowledged or given up before.
    pub(in crate::oracle) fn acked_again(&mut self, id: WriteId, base: i64) -> Result<(), Violation> {
        self.lies_at(id, base)
    }

    /// Nothing is heard of an attempt to send a batch of an idempotent producer: it may have been refused for good.
    pub(in crate::oracle) fn unheard(&mut self, id: WriteId) {
        self.producers.may_be_denied(&self.writes[&id].batch);
    }

    /// The broker refused a batch before which nothing is missing.
    pub(in crate::oracle) fn refused(&mut self, id: WriteId, code: i16) -> Result<(), Violation> {
        let write = self.writes.get(&id).expect("a write is refused after it was sent");
        if self.producers.explain(&write.batch, code, self.now) {
            return Ok(());
        }
        let message = format!("{}: nothing is missing before write {}, and it got error {code}", self.name, id.0);
        Err(Violation::new(P1, message).about(self.write(id)))
    }

    /// A sound batch was answered. Returns it.
    pub(in crate::oracle) fn judged(&mut self, id: WriteId, judged: Judged) -> Result<Bytes, Violation> {
        if judged.code == 0 {
            self.note_stamp(id, judged.appended_at)?;
        } else {
            self.producers.may_be_denied(&self.writes[&id].batch);
        }
        Ok(self.writes[&id].batch.clone())
    }

    /// A batch was acknowledged that may be stored so.
    pub(in crate::oracle) fn may_be_stored(&mut self, id: WriteId, storing: Storing) -> Result<(), Violation> {
        self.writes.get_mut(&id).expect("only known writes are stored").storing = Some(storing);
        self.check_stored(id)
    }

    pub(super) fn note_stored(&mut self, id: WriteId, stored: Stored) -> Result<(), Violation> {
        self.writes.get_mut(&id).expect("only known writes are stored").stored = Some(stored);
        self.check_stored(id)
    }

    pub(super) fn check_stored(&self, id: WriteId) -> Result<(), Violation> {
        match &self.writes[&id] {
            // Of one that may lie in the log twice it is not known which one was acknowledged.
            Write { stored: Some(stored), storing: Some(storing), copies: 1, .. } => {
                let checked = stored.check(&format!("{}: write {}", self.name, id.0), storing);
                checked.map_err(|violation| violation.about(self.write(id)))
            }
            _ => Ok(()),
        }
    }

    /// The broker stamps a batch once.
    pub(super) fn note_stamp(&mut self, id: WriteId, stamp: i64) -> Result<(), Violation> {
        let write = self.writes.get_mut(&id).expect("only known writes are stamped");
        let known = *write.stamp.get_or_insert(stamp);
        if known != stamp && write.copies == 1 {
            let message = format!("{}: write {} is stamped {stamp}, and was stamped {known}", self.name, id.0);
            return Err(Violation::new("append-time-changes", message).about(self.write(id)));
        }
        Ok(())
    }

    pub(super) fn lies_at(&mut self, id: WriteId, base: i64) -> Result<(), Violation> {
        if let Some(other) = self.log.get(&base)
            && *other != id
        {
            let message = format!("{}: offset {base} holds write {} and write {}", self.name, other.0, id.0);
            let violation = Violation::new("inconsistent-offsets", message);
            return Err(violation.about(self.write(*other)).about(self.write(id)));
        }
        let write = self.writes.get_mut(&id).expect("only known writes are placed");
        let end = base + write.records;
        if let Some(cut) = self.cuts[write.after_cuts..].iter().find(|cut| end > cut.end) {
            let message = format!("{}: write {} lies at offset {base}, and was lost by {cut:?}", self.name, id.0);
            return Err(Violation::new("lost-write-returns", message).about(self.write(id)));
        }
        let is_sequenced = self.producers.lies_at(&self.name, &write.batch, base, (write.sent, self.now));
        let is_sequenced = match is_sequenced {
            Ok(is_sequenced) => is_sequenced,
            Err(violation) => return Err(self.named(violation)),
        };
        if let Some(at) = write.at
            && at != base
            && !is_sequenced
        {
            let message = format!("{}: write {} lies at offset {at} and at offset {base}", self.name, id.0);
            return Err(Violation::new("duplicate", message).about(self.write(id)));
        }
        write.at = write.at.max(Some(base));
        self.log.insert(base, id);
        self.known_end = self.known_end.max(base + write.records);
        Ok(())
    }
}
