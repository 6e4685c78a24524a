//! The node: start, recovery, stop.

use super::metadata::{entries, to_do};
use super::phrases::count;
use super::store::{asks_the_store, outcome};
use crate::recording::words::SENDER;
use crate::recording::{About, Describe};
use karst_core::mail::Halt;
use karst_core::node::{Effect, Input, Mail};
use karst_core::wal::Inspection;

impl Describe for Input {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Store(op, _) => about.of(op),
            Self::Start | Self::Stop | Self::Tick => about,
        };
    }

    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Start => "begins".into(),
            Self::Stop => "is asked to stop".into(),
            Self::Mail(mail) => format!("gets{SENDER} {}", of_mail(mail)),
            Self::Store(_, result) => outcome(result),
            Self::Tick => super::TICK.into(),
        })
    }
}

impl Describe for Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Store(op, call) => about.of(op).of(call),
            Self::Ready | Self::Halt(_) => about,
        };
    }

    fn words(&self) -> Option<String> {
        match self {
            Self::Mail(mail) => mail.words(),
            Self::Store(_, call) => Some(asks_the_store(call)),
            Self::Ready => Some("lets clients connect".into()),
            Self::Halt(halt) => Some(format!("ends the process: {}", why(halt))),
        }
    }
}

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Entries(entries) => entries.iter().for_each(|entry| entry.describe(about)),
            Self::Command(_, command) => command.describe(about),
            Self::WalRecovered(recovered) => recovered.describe(about),
            Self::WalFound(Inspection::Ring(found)) => {
                about.number("below-lsn", found.trim.0);
            }
            Self::CutCommitted(number) | Self::Drained(number) => {
                about.number("cut", number.0);
            }
            _ => {}
        }
    }
}

pub(super) fn of_mail(mail: &Mail) -> String {
    match mail {
        Mail::Image(image) => format!("the cluster's metadata as of entry {}", image.seq.0),
        Mail::Entries(all) => entries(all),
        Mail::ControllerFailed(halt) => format!("the news that the controller can't go on: {}", why(halt)),
        Mail::Command(_, command) => format!("the wish {}", to_do(command)),
        Mail::WalFound(found) => format!("what is known of the log: {}", of_inspection(found)),
        Mail::WalRecovered(recovered) => super::wal::of_recovered(recovered),
        Mail::WalFormatted => "the news that the log has begun".into(),
        Mail::WalClosed => "the news that the log is marked as empty".into(),
        Mail::WalPoisoned(why) => format!("the news that a write to the log failed for good: {why}"),
        Mail::CutCommitted(number) => format!("the news that cut {} is committed", number.0),
        Mail::Failed(halt) => format!("the news that it can't go on: {}", why(halt)),
        Mail::PlanCompaction(_) => "the question which objects are to be rewritten".into(),
        Mail::Serves => "the news that its partitions are open".into(),
        Mail::Drained(number) => format!("the news that all is durable, and that cut {} is the last", number.0),
    }
}

fn of_inspection(found: &Inspection) -> String {
    match found {
        Inspection::Blank => "nothing, it was never formatted".into(),
        Inspection::Objects => "in the bucket, of which only the metadata knows".into(),
        Inspection::Ring(found) => {
            let state = if found.clean { "nothing is in it" } else { "records may be in it" };
            format!("it is of node epoch {}, committed below LSN {}, and {state}", found.life.epoch.0, found.trim.0)
        }
        Inspection::Unreadable(why) => format!("unreadable, {why}"),
        Inspection::Refused(why) => format!("refused, {why}"),
    }
}

/// Why a node stops itself.
pub(super) fn why(halt: &Halt) -> String {
    match halt {
        Halt::Clean => "it was asked to stop, and all is in the bucket".into(),
        Halt::NotStarted => "it was asked to stop before it served".into(),
        Halt::GivenUp => "the lost log is given up".into(),
        Halt::Fenced(why) => format!("another has taken its place, {why}"),
        Halt::WalPoisoned(why) => format!("the log can't be written any more, {why}"),
        Halt::WalRefused(why) => format!("the log is not what it must be, {why}"),
        Halt::WalUnreadable(why) => format!("the log can't be read, {why}"),
        Halt::Bucket(why) => format!("the bucket is not what it must be, {why}"),
    }
}

/// What a registration found.
pub(super) fn recoveries(number: usize) -> String {
    if number == 0 {
        "nothing to recover".into()
    } else {
        format!("{} to recover first", count(number, "earlier epoch"))
    }
}
