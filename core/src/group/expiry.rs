//! What time does to groups: members that are silent, rebalances that take too long, offsets that nobody wants any more.

use super::coordinator::{Coordinator, Out};
use super::log::Then;
use super::record::{Key, Record};
use super::state::{Group, Initial, Preparing, State};
use super::{Name, offsets};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::{Instant, Mark, Now, sometimes};
use alloc::vec::Vec;

impl Group {
    /// Does what is due.
    pub(super) fn tick(&mut self, now: Now, limits: &Limits, out: &mut Out) {
        let late = |at: &Instant| *at <= now.mono;
        let had = self.pending.len();
        self.pending.retain(|_, due| !late(due));
        if self.pending.len() < had {
            self.try_complete_join(now, out);
        }
        let silent = self.members.values().filter(|member| !member.is_waiting() && late(&member.expires));
        for id in silent.map(|member| member.id.clone()).collect::<Vec<_>>() {
            sometimes!(Mark::MemberExpired);
            tracing::info!(group = %self.id, member = %id, "a member was silent for its session timeout");
            self.remove(&id, ErrorCode::UnknownMemberId, out);
            self.rebalance(now, limits, out);
        }
        if self.sync_due.as_ref().is_some_and(late) {
            self.expire_syncs(now, limits, out);
        }
        if let State::Preparing(preparing) = self.state
            && late(&preparing.due)
        {
            self.expire_join(now, preparing, limits, out);
        }
    }

    /// Members of the generation that never asked for their assignment go.
    fn expire_syncs(&mut self, now: Now, limits: &Limits, out: &mut Out) {
        self.sync_due = None;
        for id in core::mem::take(&mut self.unsynced) {
            self.remove(&id, ErrorCode::UnknownMemberId, out);
        }
        self.rebalance(now, limits, out);
    }

    fn expire_join(&mut self, now: Now, preparing: Preparing, limits: &Limits, out: &mut Out) {
        match preparing.initial {
            Some(Initial { remaining, has_grown: true }) if !remaining.is_zero() => {
                sometimes!(Mark::InitialRebalanceExtended);
                let delay = limits.group_initial_rebalance_delay.min(remaining);
                let initial = Some(Initial { remaining: remaining.saturating_sub(delay), has_grown: false });
                self.state = State::Preparing(Preparing { due: now.mono.after(delay), initial });
            }
            _ => self.complete_join(now, out),
        }
    }

    /// Offsets whose time is up, as Kafka judges: of an empty group since it is empty, of one without members ever since
    /// the commit, and of a living one if it does not consume their topic any more. Both clocks must agree, the monotonic
    /// one counting from when this broker first knew: a jump of the other expires nothing, nor does a crash.
    fn expired(&self, now: Now, limits: &Limits) -> Vec<(Name, i32)> {
        let retention = limits.offsets_retention;
        let wall = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let is_old = |since: crate::machine::WallTime, seen: Instant| {
            now.wall.0.saturating_sub(since.0) >= wall && now.mono.since(seen) >= retention
        };
        let is_empty_long = self.state == State::Empty && is_old(self.since, self.since_mono);
        let subscribed = self.subscribed();
        let all = self.offsets.all().filter(|(topic, _, value)| match value.value.expires {
            Some(expires) => now.wall >= expires && now.mono.since(value.seen) >= limits.offsets_retention_check,
            None => match (&self.protocol_type, self.state) {
                (Some(_), State::Empty) => is_empty_long && is_old(value.value.committed, value.seen),
                (None, _) => is_old(value.value.committed, value.seen),
                (Some(_), State::Stable) => {
                    subscribed.as_ref().is_some_and(|topics| !topics.contains(*topic))
                        && is_old(value.value.committed, value.seen)
                }
                _ => false,
            },
        });
        all.map(|(topic, partition, _)| (topic.clone(), partition)).collect()
    }
}

impl Coordinator {
    pub(super) fn expire_offsets(&mut self, now: Now, out: &mut Out) {
        if !self.may_write() {
            return;
        }
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            // What is on its way may be a newer commit of the same offset.
            if group.in_flight > 0 || group.is_dead {
                continue;
            }
            let keys = group.expired(now, &self.limits);
            if !keys.is_empty() {
                sometimes!(Mark::OffsetsExpired);
                let gone = |(topic, partition): &(Name, i32)| offsets::tombstone(&id, topic, *partition);
                let records: Vec<Record> = keys.iter().map(gone).collect();
                out.write(group, records, Then::OffsetsDeleted { keys, reply: None });
            } else if group.is_abandoned() {
                sometimes!(Mark::EmptyGroupRemoved);
                group.is_dead = true;
                let record = Record { key: Key::Group(id.clone()).encode(), value: None };
                out.write(group, alloc::vec![record], Then::GroupDeleted(None));
            }
            self.settle(now, &id, out);
        }
    }
}

impl Group {
    /// Whether nothing is left of it.
    fn is_abandoned(&self) -> bool {
        self.state == State::Empty && self.offsets.is_empty() && self.pending.is_empty()
    }
}
