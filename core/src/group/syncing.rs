//! SyncGroup and Heartbeat: members fetch what is theirs, and say that they live.

use super::coordinator::{Coordinator, Out};
use super::log::Then;
use super::reply::{Reply, SyncReply};
use super::state::{Group, State};
use super::{Name, batch};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::{Mark, Now, sometimes};
use crate::shard::Asked;
use alloc::collections::BTreeMap;
use alloc::vec;
use bytes::Bytes;

/// The request.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) member: Name,
    pub(crate) instance: Option<Name>,
    pub(crate) generation: i32,
    /// As the member believes them to be, if it says so (KIP-559).
    pub(crate) protocol_type: Option<Name>,
    pub(crate) protocol: Option<Name>,
    /// From the leader: what each member gets.
    pub(crate) assignments: BTreeMap<Name, Bytes>,
}

impl Coordinator {
    pub(crate) fn sync(&mut self, now: Now, asked: Asked, group: &str, sync: Sync, out: &mut Out) {
        if let Err(mut error) = self.try_sync(now, asked, group, sync, out) {
            // As Kafka's coordinator up to 3.9: clients don't expect to hear of loading here (Java's throws it at its user).
            // All of them can join again.
            if error == ErrorCode::CoordinatorLoadInProgress {
                error = ErrorCode::RebalanceInProgress;
            }
            out.reply(asked, Reply::Sync(SyncReply::refused(error)));
        }
        self.settle(now, group, out);
    }

    fn try_sync(&mut self, now: Now, asked: Asked, id: &str, sync: Sync, out: &mut Out) -> Result<(), ErrorCode> {
        let (group, limits) = self.existing(id)?;
        group.check_member(&sync.member, sync.instance.as_deref())?;
        if sync.generation != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<Name>, is: &Option<Name>| said.is_some() && said != is;
        if differs(&sync.protocol_type, &group.protocol_type) || differs(&sync.protocol, &group.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match group.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::Preparing(_) => Err(ErrorCode::RebalanceInProgress),
            State::Completing => {
                group.await_assignment(now, asked, sync, limits, out);
                Ok(())
            }
            State::Stable => {
                group.unsynced.remove(&sync.member);
                group.sync_due = group.sync_due.filter(|_| !group.unsynced.is_empty());
                group.heard(now, &sync.member);
                let reply = group.sync_reply(&sync.member);
                out.answer_durable(group, asked, Reply::Sync(reply));
                Ok(())
            }
        }
    }

    /// A member says that it lives.
    pub(crate) fn heartbeat(
        &mut self,
        now: Now,
        id: &str,
        (member, instance, generation): (&str, Option<&str>, i32),
    ) -> Result<(), ErrorCode> {
        // As in Kafka: nobody is thrown out while a group loads, and some clients take an error for the end.
        if !id.is_empty() && self.ready(id) == Err(ErrorCode::CoordinatorLoadInProgress) {
            return Ok(());
        }
        let (group, _) = self.existing(id)?;
        group.check_member(member, instance)?;
        if generation != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match group.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::Preparing(_) => {
                group.heard(now, member);
                Err(ErrorCode::RebalanceInProgress)
            }
            State::Completing | State::Stable => {
                group.heard(now, member);
                Ok(())
            }
        }
    }
}

impl Group {
    fn await_assignment(&mut self, now: Now, asked: Asked, sync: Sync, limits: &Limits, out: &mut Out) {
        let member = self.members.get_mut(&sync.member).expect("it was checked");
        if let Some(earlier) = member.sync.replace(asked) {
            out.reply(earlier, Reply::Sync(SyncReply::refused(ErrorCode::RebalanceInProgress)));
        }
        self.unsynced.remove(&sync.member);
        self.sync_due = self.sync_due.filter(|_| !self.unsynced.is_empty());
        out.park(asked);
        if !self.is_leader(&sync.member) || self.sync_written {
            return;
        }
        let of = |id: &Name| sync.assignments.get(id).cloned().unwrap_or_default();
        let assignments: BTreeMap<Name, Bytes> = self.members.keys().map(|id| (id.clone(), of(id))).collect();
        let record = self.record(&assignments);
        if batch::size([&record]) > limits.batch as usize {
            tracing::error!(group = %self.id, "an assignment is larger than a record batch may be");
            return self.fail_syncs(now, limits, out);
        }
        self.sync_written = true;
        out.write(self, vec![record], Then::Assigned { generation: self.generation, assignments });
    }

    /// Nobody gets an assignment in this generation.
    fn fail_syncs(&mut self, now: Now, limits: &Limits, out: &mut Out) {
        for member in self.members.values_mut() {
            if let Some(asked) = member.sync.take() {
                out.reply(asked, Reply::Sync(SyncReply::refused(ErrorCode::UnknownServerError)));
                member.heard(now);
            }
        }
        self.rebalance(now, limits, out);
    }

    /// The leader's assignment is durable.
    pub(super) fn assigned(&mut self, now: Now, generation: i32, assignments: BTreeMap<Name, Bytes>, out: &mut Out) {
        if self.state != State::Completing || self.generation != generation {
            sometimes!(Mark::AssignedTooLate);
            return;
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.enter(now, State::Stable);
        for id in self.members.keys().cloned().collect::<alloc::vec::Vec<_>>() {
            let reply = self.sync_reply(&id);
            let member = self.members.get_mut(&id).expect("a key of the map");
            if let Some(asked) = member.sync.take() {
                member.heard(now);
                out.reply(asked, Reply::Sync(reply));
            }
        }
    }

    fn sync_reply(&self, member: &str) -> SyncReply {
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members[member].assignment.clone(),
        }
    }
}
