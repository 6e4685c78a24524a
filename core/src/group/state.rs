//! One group: its members, its generation, its rebalances.

use super::coordinator::Out;
use super::log::Then;
use super::member::{Member, Waiting};
use super::offsets::Offsets;
use super::record::{GroupValue, Key, Record};
use super::reply::{JoinReply, Reply, SyncReply};
use super::{Name, batch};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::{Instant, Mark, Now, WallTime, sometimes};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// A group. See the room.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Name,
    /// The partition of the log that it belongs to.
    pub(super) partition: u32,
    pub(super) state: State,
    pub(super) since: WallTime,
    pub(super) since_mono: Instant,
    pub(super) protocol_type: Option<Name>,
    pub(super) protocol: Option<Name>,
    pub(super) generation: i32,
    /// The latest of them that is durable: what others may know of.
    pub(super) durable_generation: i32,
    pub(super) leader: Option<Name>,
    pub(super) members: BTreeMap<Name, Member>,
    /// Static members by instance.
    pub(super) statics: BTreeMap<Name, Name>,
    /// Ids that were given to members which have not come back with them (KIP-394), and until when that counts.
    pub(super) pending: BTreeMap<Name, Instant>,
    /// Members of this generation that have not asked for their assignment.
    pub(super) unsynced: BTreeSet<Name>,
    /// By when they must have.
    pub(super) sync_due: Option<Instant>,
    /// Whether the leader's assignment of this generation is on its way into the log.
    pub(super) sync_written: bool,
    pub(super) offsets: Offsets,
    /// Its records on their way into the log.
    pub(super) in_flight: u32,
    /// It is being deleted: nobody may use it any more.
    pub(super) is_dead: bool,
    /// When its timers are looked at next.
    pub(super) scheduled: Option<Instant>,
    /// Its share of the memory of all groups, as last counted.
    pub(super) counted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody is in it.
    Empty,
    /// It waits for its members to join.
    Preparing(Preparing),
    /// It waits for its leader's assignment.
    Completing,
    /// Everybody has, or can have, an assignment.
    Stable,
}

/// How long it waits for members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preparing {
    pub(super) due: Instant,
    /// Set at the first rebalance of an empty group, which waits for others to come.
    pub(super) initial: Option<Initial>,
}

/// A first rebalance goes on for another delay as long as members come, up to the rebalance timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Initial {
    pub(super) remaining: Duration,
    pub(super) has_grown: bool,
}

impl Group {
    pub(super) fn new(id: Name, partition: u32, now: Now) -> Self {
        Self {
            id,
            partition,
            state: State::Empty,
            since: now.wall,
            since_mono: now.mono,
            protocol_type: None,
            protocol: None,
            generation: 0,
            durable_generation: 0,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            sync_due: None,
            sync_written: false,
            offsets: Offsets::default(),
            in_flight: 0,
            is_dead: false,
            scheduled: None,
            counted: 0,
        }
    }

    /// As the log has it.
    pub(super) fn load(&mut self, now: Now, value: &GroupValue) {
        self.protocol_type = Some(value.protocol_type.clone()).filter(|name| !name.is_empty());
        self.protocol.clone_from(&value.protocol);
        self.generation = value.generation;
        self.durable_generation = value.generation;
        self.leader.clone_from(&value.leader);
        self.since = value.since;
        self.since_mono = now.mono;
        for value in &value.members {
            let member = Member::loaded(now, value, self.protocol.as_ref());
            self.insert(member);
        }
        if self.leader.as_ref().is_none_or(|leader| !self.members.contains_key(leader)) {
            self.leader = self.members.keys().next().cloned();
        }
        // A group whose generation has no assignment goes on waiting for it: see the format.
        let is_assigned = self.members.values().any(|member| !member.assignment.is_empty());
        self.state = if self.members.is_empty() {
            State::Empty
        } else if is_assigned {
            State::Stable
        } else {
            sometimes!(Mark::GroupLoadedUnassigned);
            self.await_syncs(now);
            State::Completing
        };
        sometimes!(Mark::GroupLoadedStable, self.state == State::Stable);
    }

    pub(super) fn is_member(&self, id: &str) -> bool {
        self.members.contains_key(id)
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    pub(super) fn state_name(&self) -> &'static str {
        match self.state {
            _ if self.is_dead => "Dead",
            State::Empty => "Empty",
            State::Preparing(_) => "PreparingRebalance",
            State::Completing => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }

    /// Whether a member is who it says, by id and instance.
    pub(super) fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            return match self.statics.get(instance) {
                None => Err(ErrorCode::UnknownMemberId),
                Some(current) if &**current != member => Err(ErrorCode::FencedInstanceId),
                Some(_) => Ok(()),
            };
        }
        if self.is_member(member) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    pub(super) fn insert(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.pending.remove(&member.id);
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out; whoever waits for it is told.
    pub(super) fn remove(&mut self, id: &str, error: ErrorCode, out: &mut Out) {
        let Some(mut member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance
            && self.statics.get(instance).is_some_and(|current| **current == *id)
        {
            self.statics.remove(instance);
        }
        self.unsynced.remove(id);
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        refuse(&mut member, error, out);
    }

    /// The protocol that most members prefer among those that all support.
    pub(super) fn select_protocol(&self) -> Option<Name> {
        let first = self.members.values().next()?;
        let common = |name: &Name| self.members.values().all(|member| member.supports(name));
        let candidates: Vec<&Name> = first.protocols.iter().map(|(name, _)| name).filter(|name| common(name)).collect();
        let mut votes: BTreeMap<&Name, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|(name, _)| name).find(|name| candidates.contains(name));
            *votes.entry(vote?).or_default() += 1;
        }
        // Of several, the first member's favourite.
        let most = votes.values().copied().max()?;
        candidates.into_iter().find(|name| votes.get(name) == Some(&most)).cloned()
    }

    /// Whether a member with these protocols could be in it.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(Name, Bytes)]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let common = |name: &Name| self.members.values().all(|member| member.supports(name));
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(|(name, _)| common(name))
    }

    /// A member came, went or changed: begins a rebalance, or looks whether the one under way is complete.
    pub(super) fn rebalance(&mut self, now: Now, limits: &Limits, out: &mut Out) {
        match self.state {
            State::Preparing(_) => self.try_complete_join(now, out),
            _ => self.prepare(now, limits, out),
        }
    }

    fn prepare(&mut self, now: Now, limits: &Limits, out: &mut Out) {
        sometimes!(Mark::RebalancedWhileCompleting, self.state == State::Completing);
        for member in self.members.values_mut() {
            if let Some(asked) = member.sync.take() {
                out.reply(asked, Reply::Sync(SyncReply::refused(ErrorCode::RebalanceInProgress)));
                member.heard(now);
            }
        }
        self.unsynced.clear();
        self.sync_due = None;
        let timeout = self.rebalance_timeout();
        let delay = limits.group_initial_rebalance_delay;
        let initial = (self.state == State::Empty && !delay.is_zero())
            .then(|| Initial { remaining: timeout.saturating_sub(delay), has_grown: false });
        let due = now.mono.after(if initial.is_some() { delay } else { timeout });
        self.enter(now, State::Preparing(Preparing { due, initial }));
        self.try_complete_join(now, out);
    }

    pub(super) fn enter(&mut self, now: Now, state: State) {
        self.state = state;
        self.since = now.wall;
        self.since_mono = now.mono;
    }

    /// Everybody is here: no need to wait.
    pub(super) fn try_complete_join(&mut self, now: Now, out: &mut Out) {
        let State::Preparing(Preparing { initial: None, .. }) = self.state else { return };
        if self.pending.is_empty() && self.members.values().all(|member| member.join.is_some()) {
            self.complete_join(now, out);
        }
    }

    /// The time to join is up, or everybody has joined.
    pub(super) fn complete_join(&mut self, now: Now, out: &mut Out) {
        let is_gone = |member: &&Member| member.join.is_none() && member.instance.is_none();
        let gone: Vec<Name> = self.members.values().filter(is_gone).map(|member| member.id.clone()).collect();
        for id in gone {
            self.remove(&id, ErrorCode::UnknownMemberId, out);
        }
        if !self.members.is_empty() && !self.elect() {
            // Only static members are left, and none is here: they are waited for until their sessions end.
            let due = now.mono.after(self.rebalance_timeout());
            self.state = State::Preparing(Preparing { due, initial: None });
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.sync_written = false;
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.enter(now, State::Empty);
            let record = self.record(&BTreeMap::new());
            let then = Then::Joined { generation: self.generation, replies: Vec::new() };
            return out.write(self, vec![record], then);
        }
        sometimes!(Mark::Rebalanced);
        self.protocol = self.select_protocol();
        self.enter(now, State::Completing);
        let mut replies = Vec::new();
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let reply = self.join_reply(&id, Audience::LeaderHearsAll);
            let member = self.members.get_mut(&id).expect("a key of the map");
            member.assignment = Bytes::new();
            member.is_new = false;
            member.heard(now);
            if let Some(asked) = member.join.take() {
                replies.push((asked, reply));
            }
        }
        self.await_syncs(now);
        let record = self.record(&BTreeMap::new());
        out.write(self, vec![record], Then::Joined { generation: self.generation, replies });
    }

    fn await_syncs(&mut self, now: Now) {
        self.unsynced = self.members.keys().cloned().collect();
        self.sync_due = Some(now.mono.after(self.rebalance_timeout()));
    }

    /// Makes sure that the leader is somebody who has joined.
    fn elect(&mut self) -> bool {
        let leads = |id: &Name| self.members.get(id).is_some_and(|member| member.join.is_some());
        if self.leader.as_ref().is_some_and(leads) {
            return true;
        }
        let next = self.members.values().find(|member| member.join.is_some()).map(|member| member.id.clone());
        let found = next.is_some();
        if found {
            self.leader = next;
        }
        found
    }

    /// What a member hears of the current generation.
    pub(super) fn join_reply(&self, member: &Name, audience: Audience) -> JoinReply {
        let tells = audience == Audience::LeaderHearsAll && self.is_leader(member);
        let protocol = self.protocol.clone().unwrap_or_default();
        let says = |member: &Member| (member.id.clone(), member.instance.clone(), member.metadata(&protocol));
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member: member.clone(),
            members: if tells { self.members.values().map(says).collect() } else { Vec::new() },
        }
    }

    /// The group as the log has it, with these assignments.
    pub(super) fn record(&self, assignments: &BTreeMap<Name, Bytes>) -> Record {
        let assignment = |member: &Member| assignments.get(&member.id).cloned().unwrap_or_default();
        let members = self.members.values().map(|member| member.value(self.protocol.as_ref(), assignment(member)));
        let value = GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: self.since,
            members: members.collect(),
        };
        Record { key: Key::Group(self.id.clone()).encode(), value: Some(value.encode()) }
    }

    /// Whether the log can hold it with another member of that size.
    pub(super) fn has_room(&self, member: usize, limits: &Limits) -> bool {
        let members: usize = self.members.values().map(Member::logged).sum();
        let empty = Record { key: Key::Group(self.id.clone()).encode(), value: Some(Bytes::new()) };
        // The other half is for assignments.
        batch::size([&empty]) + 1_024 + members + member <= limits.batch as usize / 2
    }

    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance).max().unwrap_or_default()
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = match self.state {
            State::Preparing(preparing) => Some(preparing.due),
            _ => None,
        };
        let sessions = self.members.values().filter(|member| !member.is_waiting()).map(|member| member.expires);
        sessions.chain(self.pending.values().copied()).chain(state).chain(self.sync_due).min()
    }

    /// What it takes in memory.
    pub(super) fn weight(&self) -> u64 {
        let members: u64 = self.members.values().map(Member::weight).sum();
        let pending: usize = self.pending.keys().map(|id| 128 + id.len()).sum();
        512 + 2 * self.id.len() as u64 + members + pending as u64 + self.offsets.weight()
    }

    pub(super) fn invariants(&self) {
        if self.state == State::Empty {
            assert!(self.members.is_empty(), "an empty group has no members");
        }
        if matches!(self.state, State::Stable | State::Completing) {
            assert!(!self.members.is_empty(), "a group with a generation has members");
            let leader = self.leader.as_ref().expect("it has a leader");
            assert!(self.members.contains_key(leader), "the leader is a member");
            let nobody_joins = self.members.values().all(|member| member.join.is_none());
            assert!(nobody_joins, "who joins waits for a rebalance");
        }
        if self.state == State::Stable {
            assert!(self.members.values().all(|member| member.sync.is_none()), "a stable group lets nobody wait");
        }
        for (instance, id) in &self.statics {
            let member = &self.members[id];
            assert_eq!(member.instance.as_ref(), Some(instance), "instances are members");
        }
    }
}

/// Who hears of all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    LeaderHearsAll,
    NobodyHearsAll,
}

/// Tells whoever waits for a member that it is none any more.
pub(super) fn refuse(member: &mut Member, error: ErrorCode, out: &mut Out) {
    for waiting in member.take_waiting() {
        match waiting {
            Waiting::Join(asked) => out.reply(asked, Reply::Join(JoinReply::refused(error, member.id.clone()))),
            Waiting::Sync(asked) => out.reply(asked, Reply::Sync(SyncReply::refused(error))),
        }
    }
}
