//! A coordinator, its log, and what it answers.

use crate::group::{
    Append, Commit, CommitLine, Coordinator, Join, JoinReply, Leaver, Left, Name, Out, Reply, Sync, SyncReply, batch,
};
use crate::id::{ConnId, Offset, StreamEpoch, StreamId};
use crate::kafka::batch::stamp;
use crate::kafka::{Batch, Batches, ErrorCode};
use crate::limits::Limits;
use crate::machine::{Instant, Now, Rng, WallTime};
use crate::session::RequestNumber;
use crate::shard::Asked;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

pub(super) const STREAM: StreamId = StreamId(9);
pub(super) const GROUP: &str = "g";

/// Whether records become durable at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    AtOnce,
    WhenTold,
}

pub(super) struct World {
    pub(super) coordinator: Coordinator,
    pub(super) limits: Limits,
    pub(super) now: Now,
    pub(super) durability: Durability,
    /// Durable batches from `start` on.
    pub(super) log: Vec<Batch>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    coming: VecDeque<Append>,
    asked: u64,
    pub(super) replies: BTreeMap<RequestNumber, Reply>,
    starts: u64,
    /// What was said of generations, in order.
    pub(super) heard: Vec<JoinReply>,
}

/// A request of the newest version.
pub(super) const NEWEST: i16 = 9;

impl World {
    /// With one partition, and no initial delay.
    pub(super) fn new() -> Self {
        Self::with(Limits { group_initial_rebalance_delay: Duration::ZERO, ..Limits::default() })
    }

    pub(super) fn with(limits: Limits) -> Self {
        let mut world = Self {
            coordinator: Coordinator::new(&limits, Rng::new(1)),
            limits,
            now: Now { mono: Instant(1_000), wall: WallTime(1_700_000_000_000) },
            durability: Durability::AtOnce,
            log: Vec::new(),
            start: Offset(0),
            end: Offset(0),
            coming: VecDeque::new(),
            asked: 0,
            replies: BTreeMap::new(),
            starts: 0,
            heard: Vec::new(),
        };
        world.restart();
        world
    }

    /// What was not durable is gone, and the rest is read.
    pub(super) fn restart(&mut self) {
        self.open_unread();
        while let Some(load) = self.coordinator.next_load() {
            let from = load.from;
            let rest = self.log.iter().filter(|batch| batch.header.end().is_some_and(|end| end > from));
            let some: Vec<Batch> = rest.take(2).cloned().collect();
            let mut out = Out::default();
            self.coordinator.loaded(self.now, 0, &some, &mut out);
            self.take(out);
        }
        self.coordinator.invariants();
    }

    /// What was not durable is gone, and nothing is read yet.
    pub(super) fn open_unread(&mut self) {
        self.starts += 1;
        self.coming.clear();
        self.replies.clear();
        self.now.mono = Instant(1_000);
        self.coordinator = Coordinator::new(&self.limits, Rng::new(self.starts));
        self.coordinator.set_partitions(1);
        self.coordinator.open(self.now, 0, STREAM, self.start);
    }

    pub(super) fn asked(&mut self, version: i16) -> Asked {
        self.asked += 1;
        Asked { conn: ConnId(self.asked), number: RequestNumber(self.asked), version }
    }

    pub(super) fn take(&mut self, out: Out) {
        for (asked, reply) in out.replies {
            self.coordinator.unpark(asked.conn);
            if let Reply::Join(reply) = &reply {
                self.heard.push(reply.clone());
            }
            assert!(self.replies.insert(asked.number, reply).is_none(), "a request is answered once");
        }
        self.coming.extend(out.appends);
        for (stream, start) in out.trims {
            assert_eq!(stream, STREAM);
            self.start = start;
            self.log.retain(|batch| batch.header.end().is_some_and(|end| end > start));
            self.coordinator.trimmed(stream);
        }
        if self.durability == Durability::AtOnce {
            while self.persist() {}
        }
        self.coordinator.invariants();
    }

    /// The log fails: what came last is heard first.
    pub(super) fn fail(&mut self) {
        while let Some(append) = self.coming.pop_back() {
            let mut out = Out::default();
            self.coordinator.failed(append.id, &mut out);
            self.take(out);
        }
    }

    /// The next records become durable. Whether there were any.
    pub(super) fn persist(&mut self) -> bool {
        let Some(append) = self.coming.pop_front() else { return false };
        let base = self.end;
        for (records, bytes) in append.batches {
            let mut bytes = bytes.to_vec();
            stamp(&mut bytes, self.end, StreamEpoch(1));
            self.end = Offset(self.end.0 + u64::from(records));
            self.log.push(Batches::new(bytes.into()).next().expect("a batch"));
        }
        let mut out = Out::default();
        self.coordinator.durable(self.now, append.id, base, self.end, &mut out);
        self.take(out);
        true
    }

    pub(super) fn coming(&self) -> usize {
        self.coming.len()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono.after(time);
        self.now.wall.0 += i64::try_from(time.as_millis()).expect("short");
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        let mut out = Out::default();
        self.coordinator.tick(self.now, &mut out);
        self.take(out);
    }

    pub(super) fn join(&mut self, version: i16, join: Join) -> RequestNumber {
        let asked = self.asked(version);
        let mut out = Out::default();
        self.coordinator.join(self.now, asked, GROUP, join, &mut out);
        self.take(out);
        asked.number
    }

    pub(super) fn sync(&mut self, member: &str, generation: i32, assignments: &[(&str, &str)]) -> RequestNumber {
        self.sync_as(member, None, generation, assignments)
    }

    pub(super) fn sync_as(
        &mut self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
        assignments: &[(&str, &str)],
    ) -> RequestNumber {
        let assignments = assignments.iter().map(|(id, what)| (Name::from(*id), Bytes::from(what.as_bytes().to_vec())));
        let sync = Sync {
            member: member.into(),
            instance: instance.map(Name::from),
            generation,
            protocol_type: Some("consumer".into()),
            protocol: None,
            assignments: assignments.collect(),
        };
        let asked = self.asked(5);
        let mut out = Out::default();
        self.coordinator.sync(self.now, asked, GROUP, sync, &mut out);
        self.take(out);
        asked.number
    }

    pub(super) fn heartbeat(&mut self, member: &str, generation: i32) -> ErrorCode {
        let result = self.coordinator.heartbeat(self.now, GROUP, (member, None, generation));
        self.coordinator.invariants();
        result.err().unwrap_or(ErrorCode::None)
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Left {
        let leaver = |(member, instance): &(&str, Option<&str>)| Leaver {
            member: (*member).into(),
            instance: instance.map(Name::from),
        };
        let asked = self.asked(5);
        let mut out = Out::default();
        self.coordinator.leave(self.now, asked, GROUP, members.iter().map(leaver).collect(), &mut out);
        self.take(out);
        match self.replies.remove(&asked.number) {
            Some(Reply::Leave(left)) => left,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit(&mut self, member: &str, generation: i32, offset: i64) -> RequestNumber {
        self.commit_in("t", member, generation, offset)
    }

    pub(super) fn commit_in(&mut self, topic: &str, member: &str, generation: i32, offset: i64) -> RequestNumber {
        let commit = Commit { member: member.into(), instance: None, generation, retention: None };
        let line = CommitLine { partition: 0, offset, leader_epoch: 1, metadata: Name::default(), is_unknown: false };
        let asked = self.asked(NEWEST);
        let mut out = Out::default();
        let commits = vec![(Name::from(topic), vec![line])];
        self.coordinator.commit(self.now, asked, GROUP, (commit, commits), &mut out);
        self.take(out);
        asked.number
    }

    /// The code of a commit's only line, if it is answered.
    pub(super) fn committed(&mut self, number: RequestNumber) -> Option<ErrorCode> {
        match self.replies.remove(&number)? {
            Reply::Commit(topics) => Some(topics[0].1[0].1),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn offset(&self) -> Option<i64> {
        self.offset_in("t")
    }

    pub(super) fn offset_in(&self, topic: &str) -> Option<i64> {
        self.coordinator.committed_offset(GROUP, topic, 0).map(|(offset, ..)| offset)
    }

    pub(super) fn joined(&mut self, number: RequestNumber) -> Option<JoinReply> {
        match self.replies.remove(&number)? {
            Reply::Join(reply) => Some(reply),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn synced(&mut self, number: RequestNumber) -> Option<SyncReply> {
        match self.replies.remove(&number)? {
            Reply::Sync(reply) => Some(reply),
            other => panic!("{other:?}"),
        }
    }

    /// A member that has joined alone with an id of its own, and its generation.
    pub(super) fn member(&mut self) -> (Name, i32) {
        let number = self.join(3, dynamic(""));
        let reply = self.joined(number).expect("it is alone");
        assert_eq!(reply.error, ErrorCode::None);
        (reply.member, reply.generation)
    }

    /// The same, with an assignment.
    pub(super) fn stable(&mut self) -> (Name, i32) {
        let (member, generation) = self.member();
        let number = self.sync(&member, generation, &[(&member, "all")]);
        assert_eq!(self.synced(number).expect("it leads").assignment, "all");
        (member, generation)
    }

    pub(super) fn state(&self) -> &'static str {
        self.coordinator.describe(GROUP).state
    }

    /// Bytes that a start reads.
    pub(super) fn logged(&self) -> u64 {
        self.log.iter().map(|batch| batch.bytes.len() as u64).sum()
    }

    pub(super) fn records(&self) -> usize {
        self.log.iter().map(|batch| batch::decode(batch).expect("ours").len()).sum()
    }
}

/// A dynamic member of that id, subscribed to `t`.
pub(super) fn dynamic(member: &str) -> Join {
    let subscription = [&[0, 1, 0, 0, 0, 1, 0, 1, b't'][..], &[0, 0, 0, 0]].concat();
    Join {
        member: member.into(),
        instance: None,
        client: "client".into(),
        host: "/10.0.0.1".into(),
        session: Duration::from_secs(10),
        rebalance: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription.into())],
    }
}

/// A static one.
pub(super) fn instance(member: &str, id: &str) -> Join {
    Join { instance: Some(id.into()), ..dynamic(member) }
}
