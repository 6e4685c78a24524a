//! Commands, and the entries that they become.

use super::node::recoveries;
use super::phrases::{count, list, listed, range, records, stream_name};
use crate::recording::words::name_of;
use crate::recording::{About, Describe, Tag};
use karst_core::controller::NodeCommand;
use karst_core::metadata::{Answer, Command, Commit, Compaction, Entry, Refusal};

impl Describe for Entry {
    fn describe(&self, about: &mut About) {
        self.by.command.describe(about);
    }
}

impl Describe for Command {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Commit(commit) => commit.describe(about),
            Self::CreateTopic(topic) => {
                about.name("topic", topic.name.as_str());
            }
            Self::GrowTopic { id, .. } => {
                about.name("topic-id", id.to_string());
            }
            Self::DeleteTopic { id } => {
                about.name("deleted-topic-id", id.to_string());
            }
            Self::TrimStream { stream, start, .. } => {
                about.number("stream", stream.0).number("below-offset", start.0);
            }
            Self::Compact(Compaction { inputs, results }) => {
                for id in inputs.iter().chain(results.iter().map(|object| &object.id)) {
                    about.number("object", id.0);
                }
                for object in results {
                    for range in &object.ranges {
                        about.number("stream", range.stream.0).range("offset", range.start.0, range.end.0);
                        about.number("object", object.id.0);
                    }
                }
            }
            Self::AbandonObjects { ids } | Self::ForgetObjects { ids } => {
                for id in ids {
                    about.number("object", id.0);
                }
            }
            _ => {}
        }
    }
}

impl Describe for Commit {
    fn describe(&self, about: &mut About) {
        let cut = if self.recovery.is_some() { "recovery-cut" } else { "cut" };
        about.number(cut, self.number.0);
        for object in &self.objects {
            about.number("object", object.id.0);
        }
        for object in &self.objects {
            for range in &object.ranges {
                about.number("stream", range.stream.0).range("offset", range.start.0, range.end.0);
                about.number("object", object.id.0).number(cut, self.number.0);
            }
        }
    }
}

/// Durable entries.
pub(super) fn entries(all: &[Entry]) -> String {
    let one = |entry: &Entry| format!("{} ({})", entry.seq.0, of_command(&entry.by));
    let verb = if all.len() == 1 { "is" } else { "are" };
    let number = count(all.len(), "new entry");
    format!("the news that {number} of the metadata log {verb} durable: {}", list(all.iter().map(one)))
}

pub(super) fn of_command(sent: &NodeCommand) -> String {
    format!("the wish of node {} {}", sent.node, to_do(&sent.command))
}

/// What a command asks for, as `to delete topic t1-4`.
pub(super) fn to_do(command: &Command) -> String {
    match command {
        Command::Register { give_up: Some(lost), .. } => format!("to be registered without the lost log {lost}"),
        Command::Register { .. } => "to be registered as a broker".into(),
        Command::NameWal { .. } => "to name the WAL that it writes to".into(),
        Command::EndRecovery { number } => format!("to end recovery {}", number.0),
        Command::OpenStreams => "to open its partitions".into(),
        Command::CloseStreams => "to close its partitions".into(),
        Command::CreateTopic(topic) => {
            let partitions = count(topic.partitions as usize, "partition");
            format!("to create topic {} with {partitions}", topic.name.as_str())
        }
        Command::GrowTopic { id, partitions } => {
            let topic = name_of(&Tag::name("topic-id", id.to_string()));
            format!("to give topic {topic} {}", count(*partitions as usize, "partition"))
        }
        Command::DeleteTopic { id } => {
            format!("to delete topic {}", name_of(&Tag::name("topic-id", id.to_string())))
        }
        Command::ConfigureTopic { id, .. } => {
            format!("to change configs of topic {}", name_of(&Tag::name("topic-id", id.to_string())))
        }
        Command::LeaseObjects { count: number } => format!("to get {}", count(*number as usize, "object number")),
        Command::LeaseProducers { count: number } => format!("to get {}", count(*number as usize, "producer id")),
        Command::Commit(commit) => to_commit(commit),
        Command::TrimStream { stream, start, .. } => {
            format!("to delete the records of {} below offset {}", stream_name(*stream), start.0)
        }
        Command::Compact(Compaction { inputs, results }) => {
            let (inputs, results) =
                (list(inputs.iter().map(|id| id.to_string())), results.iter().map(|object| object.id));
            format!("to put objects {} in the place of {inputs}", list(results.map(|id| id.to_string())))
        }
        Command::AbandonObjects { ids } => {
            format!("to give up {}{}", count(ids.len(), "object"), listed(ids.iter().map(|id| id.to_string())))
        }
        Command::ForgetObjects { ids } => {
            format!("to forget {}{}", count(ids.len(), "deleted object"), listed(ids.iter().map(|id| id.0.to_string())))
        }
    }
}

fn to_commit(commit: &Commit) -> String {
    let recovered = if commit.recovery.is_some() { "recovered " } else { "" };
    let objects = commit.objects.iter().map(|object| {
        let all = object.ranges.iter().map(|range| records(range.stream, range.start, range.end));
        format!("object {} with {}", object.id.0, list(all))
    });
    format!("to commit {recovered}cut {}{}", commit.number.0, listed(objects))
}

pub(super) fn of_answer(answer: &Answer) -> String {
    match answer {
        Answer::Done => "done".into(),
        Answer::Registered { epoch, recoveries: all } => {
            format!("registered as epoch {}, with {}", epoch.0, recoveries(all.len()))
        }
        Answer::Leased { first, count } => {
            format!("it may use {}", range("object number", first.0, first.0.saturating_add(u64::from(*count))))
        }
        Answer::LeasedProducers { first, count } => {
            format!("it may issue {}", range("producer id", first.0, first.0.saturating_add(u64::from(*count))))
        }
        Answer::Refused(refusal) => format!("refused, since {}", why(refusal)),
    }
}

fn why(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Fenced => "another has taken its place".into(),
        Refusal::SequenceGap => "a command before this one is missing".into(),
        Refusal::WrongWal { .. } => "another ring has records that were acknowledged".into(),
        Refusal::NothingToGiveUp => "no log of that broker is waited for".into(),
        Refusal::WalPresent => "the log that is to be given up is there".into(),
        Refusal::WalAhead { known } => {
            format!("the ring knows of more commits than the metadata, up to LSN {}", known.0)
        }
        Refusal::NotRecovered => "an earlier epoch is not recovered yet".into(),
        Refusal::RecoverySuperseded => "another recovery was ordered since".into(),
        Refusal::CutGap { expected } => format!("cut {} is missing", expected.0),
        Refusal::NotContiguous { stream, end } => {
            format!("it does not continue {}, which ends at offset {}", stream_name(*stream), end.0)
        }
        Refusal::NotLeased { id } => format!("object {} is not its own to use", id.0),
        Refusal::NotCovered { id } => format!("object {} holds not exactly what it is to replace", id.0),
        Refusal::TopicExists => "there is such a topic".into(),
        Refusal::UnknownTopic => "there is no such topic".into(),
        Refusal::InvalidPartitions => "a topic can't have so many partitions".into(),
        Refusal::UnknownStream => "it does not hold such a partition".into(),
        Refusal::Invalid => "it is not possible".into(),
    }
}
