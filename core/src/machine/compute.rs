//! Heavy pure work: what a machine would rather not do itself, since all others on its thread would wait meanwhile.
//!
//! ```text
//!  machine ──Compute(OpId, Job)──► shell: a thread of its own ──Job::run──► Computed(OpId, Outcome) ──► machine
//! ```
//! A [`Job`] owns all that it needs and knows no clock, randomness or world: so its [`Outcome`] depends on nothing but the
//! job, wherever and whenever it runs, and a machine may as well run a small one itself. Law 4 holds: each job that leaves
//! comes back once as its outcome, or the process dies. Unlike the world's effects a job can't fail; what it finds wrong
//! with its data is part of the outcome.

use crate::kafka::batch::{Recoding, Since, Times, recompressed, times};
use crate::kafka::{CheckedBatch, Flaw, RecordFacts, Refusal};
use crate::machine::Payload;
use alloc::vec::Vec;

/// Batches that are looked into at once, without a job, may hold so many times more than they are long.
pub(crate) const INLINE_RATIO: u64 = 8;

/// Something to be computed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Job {
    /// Look into the records of batches.
    CheckRecords {
        /// Which.
        batches: Vec<CheckedBatch>,
        /// What the records of each may take once decompressed, in bytes.
        inflated: u64,
    },
    /// Put a batch's records into another codec.
    Recompress {
        /// The batch, sound by an earlier look.
        batch: Payload,
        /// Into which, and what it may take then.
        recoding: Recoding,
    },
    /// Look for a record by its time.
    FindTime {
        /// In this stored batch.
        batch: Payload,
        /// Which.
        since: Since,
        /// What its records may take once decompressed, in bytes.
        inflated: u64,
    },
}

/// What came of a [`Job`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Of [`Job::CheckRecords`]: for each batch, in order, what is known of its records, if it may be appended.
    CheckedRecords(Vec<Result<RecordFacts, Refusal>>),
    /// Of [`Job::Recompress`]: the batch as it is to be stored.
    Recompressed(Result<Payload, Flaw>),
    /// Of [`Job::FindTime`].
    FoundTime(Result<Times, Flaw>),
}

impl Job {
    /// Computes it.
    #[must_use]
    pub fn run(&self) -> Outcome {
        match self {
            Self::CheckRecords { batches, inflated } => {
                let check = |batch: &CheckedBatch| batch.check_records(*inflated).map_err(Flaw::refusal);
                Outcome::CheckedRecords(batches.iter().map(check).collect())
            }
            Self::Recompress { batch, recoding } => Outcome::Recompressed(recompressed(batch, *recoding)),
            Self::FindTime { batch, since, inflated } => Outcome::FoundTime(times(batch, *since, *inflated)),
        }
    }
}
