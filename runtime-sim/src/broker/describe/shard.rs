//! The shard.

use super::TICK;
use super::compute::{has_a_job, of_outcome};
use super::kafka::numbered;
use super::metadata::{entries, of_answer};
use super::phrases::{count, listed};
use super::store::{asks_the_store, outcome};
use super::wal::durable;
use crate::recording::words::SENDER;
use crate::recording::{About, Describe};
use karst_core::shard::{Effect, Input, Mail, Pool};
use karst_core::wal::CutReason;

impl Describe for Input {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Store(op, _) | Self::Computed(op, _) => about.of(op),
            Self::Tick => about,
        };
    }

    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Mail(mail) => format!("gets{SENDER} {}", of_mail(mail)),
            Self::Store(_, result) => outcome(result),
            Self::Computed(_, outcome) => of_outcome(outcome),
            Self::Tick => TICK.into(),
        })
    }
}

impl Describe for Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Store(op, call) => about.of(op).of(call),
            Self::Compute(op, _) => about.of(op),
        };
    }

    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Mail(mail) => return mail.words(),
            Self::Store(_, call) => asks_the_store(call),
            Self::Compute(_, job) => has_a_job(job),
        })
    }
}

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Opened(conn, _) | Self::Closed(conn) => {
                about.number("connection", conn.0);
            }
            Self::CreditWanted(conn, ..) | Self::CreditBack(conn, ..) => {
                about.number("connection", conn.0);
            }
            Self::Request(conn, numbered) => {
                about.number("connection", conn.0).of(numbered);
            }
            Self::Appended(batches) => batches.iter().for_each(|batch| batch.describe(about)),
            Self::Cut(marker) => {
                about.number("upto-lsn", marker.lsn.0);
            }
            Self::Entries(entries) => entries.iter().for_each(|entry| entry.describe(about)),
            _ => {}
        }
    }
}

pub(super) fn of_mail(mail: &Mail) -> String {
    match mail {
        Mail::Opened(conn, _) => format!("the news that connection {conn} is open"),
        Mail::Request(conn, request) => numbered(*conn, request),
        Mail::CreditWanted(conn, pool, bytes) => {
            format!("connection {conn}'s wish for {bytes} bytes of credit for {}", of_pool(*pool))
        }
        Mail::CreditBack(conn, pool, bytes) => {
            format!("{bytes} bytes of credit for {} back from connection {conn}", of_pool(*pool))
        }
        Mail::Closed(conn) => format!("the news that connection {conn} is gone"),
        Mail::Granted(bytes) => format!("room for {bytes} bytes in the log"),
        Mail::Appended(batches) => {
            format!("the news that {} durable{}", are(batches.len()), listed(batches.iter().map(durable)))
        }
        Mail::Cut(marker) => {
            format!("the place to cut at, LSN {}, as {}", marker.lsn.0, why_cut(marker.reason))
        }
        Mail::WalPoisoned => "the news that a write to the log failed for good".into(),
        Mail::Image(image) => format!("the cluster's metadata as of entry {}", image.seq.0),
        Mail::Entries(all) => entries(all),
        Mail::Serve { node, epoch } => format!("the order to serve, as node {node} in epoch {}", epoch.0),
        Mail::Answered(number, answer) => format!("the answer to its command {number}: {}", of_answer(answer)),
        Mail::Drain => "the order to take nothing new and to finish what there is".into(),
    }
}

fn are(batches: usize) -> String {
    format!("{} {}", count(batches, "batch"), if batches == 1 { "is" } else { "are" })
}

/// What credit of that pool pays for.
pub(super) const fn of_pool(pool: Pool) -> &'static str {
    match pool {
        Pool::Idle => "small requests",
        Pool::Produce => "requests with records",
        Pool::LargeProduce => "large requests with records",
        Pool::Control => "requests without records",
        Pool::Answers => "answers with records",
        Pool::ControlAnswers => "answers without records",
    }
}

/// Why everything so far goes to the bucket.
pub(super) const fn why_cut(reason: CutReason) -> &'static str {
    match reason {
        CutReason::Size => "enough bytes have gathered",
        CutReason::Age => "enough time has passed",
        CutReason::RingHalfFull => "the ring is half full",
        CutReason::Close => "the streams are being closed",
    }
}
