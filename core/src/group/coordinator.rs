//! All groups of this broker: who is asked, what is written, what is due.

use super::log::{AppendId, InFlight, Log, NOT_WRITTEN, Then};
use super::member::Waiting;
use super::record::Record;
use super::reply::{JoinReply, Reply, SyncReply};
use super::state::{Group, State};
use super::{Name, batch, partition_of};
use crate::id::{ConnId, Offset, StreamId};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::{Deadline, Instant, Mark, Now, Rng, WallTime, sometimes};
use crate::shard::{Asked, Joins};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;

/// What the groups want done. The shard drains it after every call.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// Answers.
    pub(crate) replies: Vec<(Asked, Reply)>,
    /// Requests that wait for others.
    pub(crate) parked: Vec<Asked>,
    /// Batches for the log.
    pub(crate) appends: Vec<Append>,
    /// Where logs may begin.
    pub(crate) trims: Vec<(StreamId, Offset)>,
    writes: Vec<Write>,
    barriers: Vec<(u32, Asked, Reply)>,
}

/// Batches that become durable one behind the other.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) id: AppendId,
    pub(crate) stream: StreamId,
    /// When they were made.
    pub(crate) at: WallTime,
    /// How many records each has.
    pub(crate) batches: Vec<(u32, Bytes)>,
}

#[derive(Debug)]
struct Write {
    partition: u32,
    group: Name,
    records: Vec<Record>,
    then: Then,
}

impl Out {
    pub(super) fn reply(&mut self, asked: Asked, reply: Reply) {
        self.replies.push((asked, reply));
    }

    pub(super) fn park(&mut self, asked: Asked) {
        self.parked.push(asked);
    }

    /// Answers once all that the group has written by now is durable.
    pub(super) fn answer_durable(&mut self, group: &Group, asked: Asked, reply: Reply) {
        if group.in_flight == 0 {
            return self.reply(asked, reply);
        }
        self.park(asked);
        self.barriers.push((group.partition, asked, reply));
    }

    /// Writes records of a group, and goes on when they are durable.
    pub(super) fn write(&mut self, group: &mut Group, records: Vec<Record>, then: Then) {
        group.in_flight += 1;
        self.writes.push(Write { partition: group.partition, group: group.id.clone(), records, then });
    }
}

/// See the room.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) limits: Limits,
    rng: Rng,
    /// Partitions of the log by index; none before the topic exists.
    pub(super) logs: BTreeMap<u32, Log>,
    /// How many the topic has.
    partitions: u32,
    pub(super) groups: BTreeMap<Name, Group>,
    due: BTreeSet<(Instant, Name)>,
    pub(super) expiry_due: Option<Instant>,
    issued: u64,
    /// Whose requests wait.
    parked: BTreeSet<ConnId>,
    pub(super) deletes: Joins<(Asked, Vec<Name>), ErrorCode>,
    pub(super) deleting: BTreeMap<u64, crate::shard::Part>,
    /// What groups take in memory.
    weight: u64,
    /// Bytes on their way into the log.
    backlog: u64,
    backlogs: BTreeMap<AppendId, u64>,
    /// The broker stops, or its WAL failed: nothing changes any more.
    pub(super) is_halted: bool,
}

impl Coordinator {
    pub(crate) fn new(limits: &Limits, rng: Rng) -> Self {
        Self {
            limits: limits.clone(),
            rng,
            logs: BTreeMap::new(),
            partitions: 0,
            groups: BTreeMap::new(),
            due: BTreeSet::new(),
            expiry_due: None,
            issued: 0,
            parked: BTreeSet::new(),
            deletes: Joins::default(),
            deleting: BTreeMap::new(),
            weight: 0,
            backlog: 0,
            backlogs: BTreeMap::new(),
            is_halted: false,
        }
    }

    /// The topic has so many partitions.
    pub(crate) fn set_partitions(&mut self, partitions: u32) {
        self.partitions = partitions;
    }

    /// A partition of the log is open here. It is read before it is used.
    pub(crate) fn open(&mut self, now: Now, partition: u32, stream: StreamId, start: Offset) {
        self.logs.entry(partition).or_insert_with(|| Log::new(stream, start, now.mono));
        let first = now.mono.after(self.limits.offsets_retention_check);
        self.expiry_due.get_or_insert(first);
    }

    /// The partition of the log that a group belongs to, if it can be asked for.
    pub(crate) fn ready(&self, group: &str) -> Result<u32, ErrorCode> {
        if self.is_halted || self.partitions == 0 {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let partition = partition_of(group, self.partitions);
        match self.logs.get(&partition) {
            None => Err(ErrorCode::NotCoordinator),
            Some(log) if !log.is_ready() => {
                sometimes!(Mark::GroupAskedWhileLoading);
                Err(ErrorCode::CoordinatorLoadInProgress)
            }
            Some(_) => Ok(partition),
        }
    }

    /// Whether more may go to the log now. Clients try again.
    pub(super) fn may_write(&self) -> bool {
        self.backlog <= self.limits.group_backlog
    }

    /// Whether groups take all the memory that they may.
    pub(super) fn is_full(&self) -> bool {
        self.weight >= self.limits.group_memory
    }

    pub(super) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(super) fn has_group(&self, id: &str) -> bool {
        self.groups.contains_key(id)
    }

    /// The group of that id, which is there from now on.
    pub(super) fn open_group(&mut self, id: &str, partition: u32, now: Now) -> (&mut Group, &Limits, &mut Rng) {
        let group = self.groups.entry(id.into()).or_insert_with(|| Group::new(id.into(), partition, now));
        (group, &self.limits, &mut self.rng)
    }

    /// The group of that id, for one of its members.
    pub(super) fn existing(&mut self, id: &str) -> Result<(&mut Group, &Limits), ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        self.ready(id)?;
        if !self.may_write() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let group = self.groups.get_mut(id).ok_or(ErrorCode::UnknownMemberId)?;
        if group.is_dead { Err(ErrorCode::CoordinatorNotAvailable) } else { Ok((group, &self.limits)) }
    }

    /// Ends every call: sends what a group wrote, and looks when it is due.
    pub(super) fn settle(&mut self, now: Now, id: &str, out: &mut Out) {
        self.flush(now, out);
        if let Some(group) = self.groups.get(id) {
            let is_void = group.state == State::Empty
                && group.generation == 0
                && group.pending.is_empty()
                && group.offsets.is_empty()
                && group.in_flight == 0;
            if is_void {
                self.forget_group(id);
            }
        }
        self.schedule(id);
        self.weigh(id);
    }

    pub(super) fn forget_group(&mut self, id: &str) {
        if let Some(group) = self.groups.remove(id) {
            self.weight -= group.counted;
            if let Some(at) = group.scheduled {
                self.due.remove(&(at, group.id));
            }
        }
    }

    /// Counts what a group takes.
    pub(super) fn weigh(&mut self, id: &str) {
        if let Some(group) = self.groups.get_mut(id) {
            let weight = group.weight();
            self.weight = self.weight - group.counted + weight;
            group.counted = weight;
        }
    }

    /// A timer that comes too early looks again; so heartbeats, which put everything off, cost nothing here.
    fn schedule(&mut self, id: &str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let next = group.deadline();
        if let Some(next) = next
            && group.scheduled.is_none_or(|at| next < at)
        {
            if let Some(at) = group.scheduled.replace(next) {
                self.due.remove(&(at, group.id.clone()));
            }
            self.due.insert((next, group.id.clone()));
        }
    }

    /// Sends what was written to the log.
    pub(super) fn flush(&mut self, now: Now, out: &mut Out) {
        for Write { partition, group, records, then } in core::mem::take(&mut out.writes) {
            self.append(now, partition, Some(group), records, then, out);
        }
        for (partition, asked, reply) in core::mem::take(&mut out.barriers) {
            let log = self.logs.get_mut(&partition).expect("groups belong to logs");
            log.in_flight.back_mut().expect("the group has records on their way").after.push((asked, reply));
        }
        self.parked.extend(out.parked.iter().map(|asked| asked.conn));
    }

    pub(super) fn append(
        &mut self,
        now: Now,
        partition: u32,
        group: Option<Name>,
        records: Vec<Record>,
        then: Then,
        out: &mut Out,
    ) {
        self.issued += 1;
        let id = AppendId(self.issued);
        let log = self.logs.get_mut(&partition).expect("groups belong to logs");
        records.iter().for_each(|record| log.take(record));
        let batches = batch::split(records, self.limits.batch as usize);
        let encode = |records: &Vec<Record>| (records.len() as u32, batch::encode(records, now.wall));
        let batches: Vec<(u32, Bytes)> = batches.iter().map(encode).collect();
        let bytes = batches.iter().map(|(_, batch)| batch.len() as u64).sum();
        log.grow(bytes);
        self.backlog += bytes;
        self.backlogs.insert(id, bytes);
        log.in_flight.push_back(InFlight { id, group, then, after: Vec::new() });
        out.appends.push(Append { id, stream: log.stream, at: now.wall, batches });
    }

    /// Records are durable, from that offset on, and the log ends there.
    pub(crate) fn durable(&mut self, now: Now, id: AppendId, base: Offset, end: Offset, out: &mut Out) {
        let is_first = |log: &Log| log.in_flight.iter().position(|one| one.id == id).is_none_or(|at| at == 0);
        assert!(self.logs.values().all(is_first), "records become durable in the order in which they were written");
        let Some((partition, done)) = self.take_in_flight(id) else { return };
        if let Some(name) = &done.group
            && let Some(group) = self.groups.get_mut(name)
        {
            group.in_flight -= 1;
        }
        let name = done.group.clone().unwrap_or_default();
        self.follow(now, &name, partition, base, done.then, out);
        out.replies.extend(done.after);
        self.tidy(now, partition, end, out);
        self.settle(now, &name, out);
    }

    fn follow(&mut self, now: Now, name: &Name, partition: u32, base: Offset, then: Then, out: &mut Out) {
        match then {
            Then::Joined { generation, replies } => {
                let mut group = self.groups.get_mut(name);
                if let Some(group) = &mut group {
                    group.durable_generation = generation;
                }
                let mut group = group.filter(|group| group.generation == generation);
                for (asked, reply) in replies {
                    if let Some(group) = &mut group {
                        group.heard(now, &reply.member);
                    }
                    out.reply(asked, Reply::Join(reply));
                }
            }
            Then::Assigned { generation, assignments } => {
                if let Some(group) = self.groups.get_mut(name) {
                    group.assigned(now, generation, assignments, out);
                }
            }
            Then::Committed(committed) => self.committed(now, name, committed, out),
            Then::OffsetsDeleted { keys, reply } => {
                if let Some(group) = self.groups.get_mut(name) {
                    keys.iter().for_each(|(topic, partition)| group.offsets.remove(topic, *partition));
                }
                out.replies.extend(reply);
            }
            Then::GroupDeleted(part) => {
                self.forget_group(name);
                if let Some(part) = part {
                    self.group_deleted(part, ErrorCode::None, out);
                }
            }
            Then::Rewritten => {
                if let Some(log) = self.logs.get_mut(&partition) {
                    log.rewritten(base);
                }
            }
        }
    }

    /// Writes live keys again, or cuts the log off, if that is due.
    pub(super) fn tidy(&mut self, now: Now, partition: u32, end: Offset, out: &mut Out) {
        if self.is_halted {
            return;
        }
        let Some(log) = self.logs.get_mut(&partition) else { return };
        if let Some(records) = log.next_rewrite(&self.limits) {
            return self.append(now, partition, None, records, Then::Rewritten, out);
        }
        if let Some(start) = log.next_trim(end) {
            out.trims.push((log.stream, start));
        }
    }

    /// A log begins where it should, or does not.
    pub(crate) fn trimmed(&mut self, stream: StreamId) {
        if let Some(log) = self.logs.values_mut().find(|log| log.stream == stream) {
            log.trimmed();
        }
    }

    /// Records will not become durable. Nobody knows which of them did, and this is heard in any order: what still waited
    /// for room fails before what was on its way to the disk.
    pub(crate) fn failed(&mut self, id: AppendId, out: &mut Out) {
        let Some((_, failed)) = self.take_in_flight(id) else { return };
        match failed.then {
            Then::Joined { replies, .. } => {
                for (asked, reply) in replies {
                    out.reply(asked, Reply::Join(JoinReply::refused(NOT_WRITTEN, reply.member)));
                }
            }
            Then::Committed(committed) => out.replies.push(committed.failed()),
            Then::OffsetsDeleted { reply: Some((asked, _)), .. } => {
                out.reply(asked, Reply::DeleteOffsets(NOT_WRITTEN, Vec::new()));
            }
            Then::GroupDeleted(Some(part)) => self.group_deleted(part, NOT_WRITTEN, out),
            _ => {}
        }
        for (asked, reply) in failed.after {
            let refused = match reply {
                Reply::Join(reply) => Reply::Join(JoinReply::refused(NOT_WRITTEN, reply.member)),
                Reply::Sync(_) => Reply::Sync(SyncReply::refused(NOT_WRITTEN)),
                other => other,
            };
            out.reply(asked, refused);
        }
        self.halt(out);
    }

    /// The broker stops, or its log failed: who waits is told to ask again, elsewhere or later.
    pub(crate) fn halt(&mut self, out: &mut Out) {
        self.is_halted = true;
        self.due.clear();
        for group in self.groups.values_mut() {
            group.scheduled = None;
            for member in group.members.values_mut() {
                for waiting in member.take_waiting() {
                    out.replies.push(match waiting {
                        Waiting::Join(asked) => {
                            (asked, Reply::Join(JoinReply::refused(NOT_WRITTEN, member.id.clone())))
                        }
                        Waiting::Sync(asked) => (asked, Reply::Sync(SyncReply::refused(NOT_WRITTEN))),
                    });
                }
            }
        }
    }

    fn take_in_flight(&mut self, id: AppendId) -> Option<(u32, InFlight)> {
        self.backlog -= self.backlogs.remove(&id)?;
        for (partition, log) in &mut self.logs {
            if let Some(at) = log.in_flight.iter().position(|one| one.id == id) {
                return Some((*partition, log.in_flight.remove(at)?));
            }
        }
        unreachable!("what is on its way belongs to a log")
    }

    /// Whether all that is known is read.
    pub(crate) fn is_loaded(&self) -> bool {
        self.logs.values().all(Log::is_ready)
    }

    /// A connection is gone: whatever it waited for, nobody is there to be told.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.parked.remove(&conn);
    }

    /// A connection waits no longer.
    pub(crate) fn unpark(&mut self, conn: ConnId) {
        self.parked.remove(&conn);
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        if self.is_halted {
            return None;
        }
        let group = self.due.first().map(|(at, _)| Deadline { at: *at, reason: "look at a consumer group" });
        let expiry = self.expiry_due.map(|at| Deadline { at, reason: "look for expired offsets" });
        Deadline::earliest([group, expiry, self.loading_deadline()])
    }

    pub(crate) fn tick(&mut self, now: Now, out: &mut Out) {
        if self.is_halted {
            return;
        }
        while let Some((at, id)) = self.due.first().cloned()
            && at <= now.mono
        {
            self.due.pop_first();
            let Some(group) = self.groups.get_mut(&id) else { continue };
            group.scheduled = None;
            group.tick(now, &self.limits, out);
            self.settle(now, &id, out);
        }
        self.wake_loading(now);
        if self.expiry_due.is_some_and(|at| at <= now.mono) {
            self.expiry_due = Some(now.mono.after(self.limits.offsets_retention_check));
            self.expire_offsets(now, out);
        }
    }

    /// Whether nobody waits, and nothing is being written or read.
    pub(crate) fn is_quiescent(&self) -> bool {
        self.parked.is_empty() && self.deletes.is_empty() && self.logs.values().all(Log::is_quiet)
    }

    /// What there is to be seen from outside of every group: generation, members, state.
    pub(crate) fn invariants(&self) {
        self.groups.values().for_each(Group::invariants);
        self.logs.values().for_each(Log::invariants);
        let counted: u64 = self.groups.values().map(|group| group.counted).sum();
        assert_eq!(counted, self.weight, "what groups take is counted");
        let backlog: u64 = self.backlogs.values().sum();
        assert_eq!(backlog, self.backlog, "what is on its way is counted");
        if !self.is_halted {
            for group in self.groups.values() {
                let next = group.deadline();
                assert!(
                    next.is_none() || group.scheduled.is_some_and(|at| Some(at) <= next),
                    "group {} is looked at in time",
                    group.id
                );
            }
        }
    }
}
