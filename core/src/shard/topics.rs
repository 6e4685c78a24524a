//! Requests that change or await topics, and the commands to the controller that they cause.

use super::joins::{Asked, Begun, Joins, Part};
use super::{Effect, Shard};
use crate::id::{Offset, StreamId, TopicId};
use crate::kafka::ErrorCode;
use crate::machine::{Deadline, Effects, Instant, Now};
use crate::metadata::{Answer, Command, NewTopic, Refusal};
use crate::node::Asker;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest, MetadataRequest,
};

/// A request whose answer waits for commands.
#[derive(Debug)]
pub(super) enum TopicRequest {
    Create(CreateTopicsRequest),
    Grow(CreatePartitionsRequest),
    /// With the ids that names stood for when it came.
    Delete(DeleteTopicsRequest, Vec<Option<TopicId>>),
    /// Its topics are its partitions, one after the other.
    Trim(DeleteRecordsRequest),
    Metadata(MetadataRequest),
    Alter(AlterConfigsRequest),
    AlterIncrementally(IncrementalAlterConfigsRequest),
}

/// What one topic of such a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TopicOutcome {
    Done,
    /// Created, or would be (validate only).
    Created(Box<NewTopic>),
    /// Nothing below that offset can be read any more.
    Trimmed(StreamId, Offset),
    Refused(ErrorCode, Cow<'static, str>),
}

/// What one topic of such a request needs.
#[derive(Debug)]
pub(super) enum TopicStep {
    /// Nothing: it has come to this already.
    Known(TopicOutcome),
    /// A command, and what it comes to if it is done.
    Command(Command, TopicOutcome),
}

impl TopicOutcome {
    /// No, and why.
    pub(super) fn refused(code: ErrorCode, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(code, why.into())
    }
}

impl Shard {
    /// Begins a request with a step for each of its topics. It is answered when all of them are known, or at `due`.
    pub(super) fn begin_topics(
        &mut self,
        now: Now,
        asked: Asked,
        request: TopicRequest,
        steps: Vec<TopicStep>,
        due: Instant,
        out: &mut Effects<Effect>,
    ) {
        let known = |step: &TopicStep| if let TopicStep::Known(outcome) = step { Some(outcome.clone()) } else { None };
        match self.topics.begin(asked, request, steps.iter().map(known).collect(), due) {
            Begun::Complete(complete) => self.answer_topics(now, complete, out),
            Begun::Open(join) => {
                for (index, step) in steps.into_iter().enumerate() {
                    if let TopicStep::Command(command, success) = step {
                        let tag = self.topics.command(join, index, success);
                        self.send_command(Asker::Shard(tag), command, out);
                    }
                }
            }
        }
    }
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
    fn begin(
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

    /// A number for a command that no other command has.
    pub(super) fn tag(&mut self) -> u64 {
        self.last_command += 1;
        self.last_command
    }

    /// A command for part `index` of a request, whose outcome is `success` if it is done. Returns its tag.
    fn command(&mut self, join: u64, index: usize, success: TopicOutcome) -> u64 {
        let tag = self.tag();
        self.commands.insert(tag, (self.joins.part(join, index), success));
        tag
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
            let outcome = |_| TopicOutcome::refused(ErrorCode::RequestTimedOut, "the cluster did not answer in time");
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
        Refusal::InvalidPartitions => {
            (ErrorCode::InvalidPartitions, "more partitions than a topic, or the cluster, may have")
        }
        Refusal::UnknownStream => (ErrorCode::NotLeaderOrFollower, "this broker does not lead the partition any more"),
        _ => (ErrorCode::NotController, "this broker may not change the cluster any more"),
    };
    TopicOutcome::refused(code, why)
}
