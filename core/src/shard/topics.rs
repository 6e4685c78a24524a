//! Requests that change or await topics, and the commands to the controller that they cause.

use super::joins::{Asked, Begun, Joins, Part};
use crate::id::TopicId;
use crate::kafka::ErrorCode;
use crate::machine::{Deadline, Instant};
use crate::metadata::{Answer, NewTopic, Refusal};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use kafka_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest};

/// A request whose answer waits for commands.
#[derive(Debug)]
pub(super) enum TopicRequest {
    Create(CreateTopicsRequest),
    /// With the ids that names stood for when it came.
    Delete(DeleteTopicsRequest, Vec<Option<TopicId>>),
    Metadata(MetadataRequest),
}

/// What one topic of such a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TopicOutcome {
    Done,
    /// Created, or would be (validate only).
    Created(NewTopic),
    Refused(ErrorCode, &'static str),
}

/// Open topic requests.
#[derive(Debug, Default)]
pub(super) struct Topics {
    joins: Joins<(Asked, TopicRequest), TopicOutcome>,
    due: BTreeSet<(Instant, u64)>,
    due_of: BTreeMap<u64, Instant>,
    commands: BTreeMap<u64, (Part, TopicOutcome)>,
    last_command: u64,
}

/// A topic request all of whose outcomes are known.
pub(super) type Complete = ((Asked, TopicRequest), Vec<TopicOutcome>);

impl Topics {
    /// Begins a request. For each `None` the caller then registers a command by [`Topics::command`].
    pub(super) fn begin(
        &mut self,
        asked: Asked,
        request: TopicRequest,
        outcomes: Vec<Option<TopicOutcome>>,
        due: Instant,
    ) -> Begun<(Asked, TopicRequest), TopicOutcome> {
        let begun = self.joins.begin((asked, request), outcomes);
        if let Begun::Open(join) = begun {
            self.due.insert((due, join));
            self.due_of.insert(join, due);
        }
        begun
    }

    /// A command for part `index` of a request, whose outcome is `success` if it is done. Returns its tag.
    pub(super) fn command(&mut self, join: u64, index: usize, success: TopicOutcome) -> u64 {
        self.last_command += 1;
        self.commands.insert(self.last_command, (self.joins.part(join, index), success));
        self.last_command
    }

    /// The cluster's answer to a command. Returns the request if that was the last one.
    pub(super) fn answered(&mut self, tag: u64, answer: &Answer) -> Option<Complete> {
        let (part, success) = self.commands.remove(&tag).expect("each command is answered once");
        let outcome = match answer {
            Answer::Done => success,
            Answer::Refused(refusal) => refused(refusal),
            other => unreachable!("{other:?} does not answer a topic command"),
        };
        let complete = self.joins.finish(part, outcome)?;
        if let Some(due) = self.due_of.remove(&part.join()) {
            self.due.remove(&(due, part.join()));
        }
        Some(complete)
    }

    /// Requests whose time is up: the commands go on, but the client is told that it was too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Complete> {
        let mut expired = Vec::new();
        while let Some(&(due, join)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            self.due_of.remove(&join);
            let outcome = |_| TopicOutcome::Refused(ErrorCode::RequestTimedOut, "the cluster did not answer in time");
            expired.extend(self.joins.give_up(join, outcome));
        }
        expired
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.due.first().map(|(at, _)| Deadline { at: *at, reason: "give up waiting for a topic" })
    }

    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.joins.is_empty()
    }
}

fn refused(refusal: &Refusal) -> TopicOutcome {
    let (code, why) = match refusal {
        Refusal::TopicExists => (ErrorCode::TopicAlreadyExists, "a topic of that name exists"),
        Refusal::UnknownTopic => (ErrorCode::UnknownTopicOrPartition, "no such topic"),
        Refusal::InvalidPartitions => (ErrorCode::InvalidPartitions, "the number of partitions is not allowed"),
        _ => (ErrorCode::NotController, "this broker may not change the cluster any more"),
    };
    TopicOutcome::Refused(code, why)
}
