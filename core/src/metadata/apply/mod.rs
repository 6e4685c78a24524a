//! What an entry does to the image: deterministic, and total over every entry that can be decoded.
//!
//! Before its subject is looked at, a command passes its sender's FIFO:
//!
//! | the command is | it comes to |
//! |---|---|
//! | of an unknown node or another incarnation | `Fenced`, unless it is that incarnation's first and a registration |
//! | of a number already taken | the answer kept for it, without effect |
//! | beyond the next number | `SequenceGap` |
//! | the next, under another epoch than the node's | `Fenced`, which takes the number |
//! | the next | what its subject says, refusals included, which takes the number and is kept |
//!
//! A refused registration of a new incarnation changes nothing at all: the FIFO stays the old incarnation's.

mod commit;
mod compaction;
mod nodes;
mod objects;
mod streams;
mod topics;

#[cfg(test)]
mod tests;

use super::{Answer, Command, Entry, Image, Refusal};
use crate::controller::NodeCommand;
use crate::id::CommandSeq;

/// What a sender's FIFO says to a command.
enum Admission {
    /// It is the next.
    Take,
    /// Nothing is to be done; this is the answer.
    Answered(Answer),
}

impl Image {
    /// Applies the next entry and says what its command came to.
    ///
    /// Who reads a log checks that its entries are dense; applying does not.
    pub fn apply(&mut self, entry: &Entry) -> Answer {
        self.seq = entry.seq;
        self.at = self.at.max(entry.at);
        match self.admit(&entry.by) {
            Admission::Answered(answer) => answer,
            Admission::Take => {
                let answer = self.perform(&entry.by).unwrap_or_else(Answer::Refused);
                self.keep_answer(&entry.by, &answer);
                answer
            }
        }
    }

    fn admit(&self, by: &NodeCommand) -> Admission {
        let Some(node) = self.nodes.get(&by.node).filter(|node| node.incarnation == by.incarnation) else {
            return match *by.command {
                Command::Register { .. } if by.seq == CommandSeq(1) => Admission::Take,
                Command::Register { .. } => Admission::Answered(Answer::Refused(Refusal::SequenceGap)),
                _ => Admission::Answered(Answer::Refused(Refusal::Fenced)),
            };
        };
        if by.seq <= node.last_command {
            // An answer that is not kept was confirmed: nobody waits for it.
            return Admission::Answered(node.answers.get(&by.seq).cloned().unwrap_or(Answer::Done));
        }
        if by.seq == node.last_command.next() {
            Admission::Take
        } else {
            Admission::Answered(Answer::Refused(Refusal::SequenceGap))
        }
    }

    fn perform(&mut self, by: &NodeCommand) -> Result<Answer, Refusal> {
        if let Command::Register { wal, host, port, give_up } = &*by.command {
            return self.register(by, (*wal, *give_up), (host, *port));
        }
        if self.nodes.get(&by.node).is_none_or(|node| node.epoch != by.epoch) {
            return Err(Refusal::Fenced);
        }
        match &*by.command {
            Command::Register { .. } => unreachable!("handled above"),
            Command::NameWal { uuid, kind } => self.name_wal(by, *uuid, *kind),
            Command::EndRecovery { number } => self.end_recovery(by, *number),
            Command::OpenStreams => self.open_streams_of_sender(by),
            Command::CloseStreams => Ok(self.close_streams(by)),
            Command::CreateTopic(topic) => self.create_topic(by, topic),
            Command::GrowTopic { id, partitions } => self.grow_topic(by, *id, *partitions),
            Command::DeleteTopic { id } => self.delete_topic(*id),
            Command::ConfigureTopic { id, patch } => self.configure_topic(*id, patch),
            Command::LeaseObjects { count } => self.lease_objects(by, *count),
            Command::LeaseProducers { count } => self.lease_producers(*count),
            Command::Commit(commit) => self.commit(by, commit),
            Command::TrimStream { stream, epoch, start } => self.trim_stream(by, *stream, *epoch, *start),
            Command::Compact(compaction) => self.compact(by, compaction),
            Command::AbandonObjects { ids } => self.abandon_objects(by, ids),
            Command::ForgetObjects { ids } => self.forget_objects(ids),
        }
    }

    fn keep_answer(&mut self, by: &NodeCommand, answer: &Answer) {
        let Some(node) = self.nodes.get_mut(&by.node).filter(|node| node.incarnation == by.incarnation) else {
            return;
        };
        node.last_command = by.seq;
        node.answers.retain(|seq, _| *seq > by.confirmed);
        node.answers.insert(by.seq, answer.clone());
    }
}
