//! Jobs and what came of them, in words.

use super::phrases::count;
use crate::recording::words::ASKED;
use karst_core::machine::{Job, Outcome};

pub(super) fn has_a_job(job: &Job) -> String {
    match job {
        Job::CheckRecords { batches, .. } => format!("has a job to look into {}", count(batches.len(), "batch")),
        Job::Recompress { batch, recoding } => {
            let (len, into) = (count(batch.len(), "byte"), recoding.into);
            format!("has a job to put a batch of {len} into the codec {into:?}")
        }
        Job::FindTime { batch, .. } => {
            format!("has a job to look for a record by its time, in a batch of {}", count(batch.len(), "byte"))
        }
    }
}

pub(super) fn of_outcome(outcome: &Outcome) -> String {
    let found = match outcome {
        Outcome::CheckedRecords(checked) => match checked.iter().filter(|one| one.is_err()).count() {
            0 => "all are sound".into(),
            bad => format!("{bad} of {} must be refused", checked.len()),
        },
        Outcome::Recompressed(Ok(batch)) => format!("it takes {} now", count(batch.len(), "byte")),
        Outcome::Recompressed(Err(_)) => "it must be refused".into(),
        Outcome::FoundTime(Ok(_)) => "done".into(),
        Outcome::FoundTime(Err(_)) => "the batch is damaged".into(),
    };
    format!("hears \"{found}\" from its job{ASKED}")
}
