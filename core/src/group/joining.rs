//! JoinGroup: somebody wants to be, or stay, a member.

use super::Name;
use super::coordinator::{Coordinator, Out};
use super::log::Then;
use super::member::{Member, NEW_MEMBER_JOIN};
use super::reply::{JoinReply, Reply};
use super::state::{Audience, Group, State};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::{Mark, Now, Rng, sometimes};
use crate::shard::Asked;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// The request. What is empty was not said.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) member: Name,
    pub(crate) instance: Option<Name>,
    pub(crate) client: Name,
    /// The host that it comes from.
    pub(crate) host: Name,
    pub(crate) session: Duration,
    pub(crate) rebalance: Duration,
    pub(crate) protocol_type: Name,
    pub(crate) protocols: Vec<(Name, Bytes)>,
}

/// From this version on, a member must come back with the id that it is given (KIP-394).
const ID_REQUIRED: i16 = 4;
/// From this version on, a leader may be told that there is nothing to assign (KIP-814).
const MAY_SKIP: i16 = 9;

impl Coordinator {
    pub(crate) fn join(&mut self, now: Now, asked: Asked, group: &str, join: Join, out: &mut Out) {
        let member = join.member.clone();
        if let Err(error) = self.try_join(now, asked, group, join, out) {
            out.reply(asked, Reply::Join(JoinReply::refused(error, member)));
        }
        self.settle(now, group, out);
    }

    fn try_join(&mut self, now: Now, asked: Asked, id: &str, join: Join, out: &mut Out) -> Result<(), ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let partition = self.ready(id)?;
        let allowed = self.limits.group_min_session_timeout..=self.limits.group_max_session_timeout;
        if !allowed.contains(&join.session) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if !self.may_write() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if !self.has_group(id) && !join.member.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        let is_full = self.is_full();
        if is_full && !self.group(id).is_some_and(|group| group.is_member(&join.member)) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let (group, limits, rng) = self.open_group(id, partition, now);
        if group.is_dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if !group.accepts(&join.member, limits) || !group.has_room(join.logged(), limits) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !group.supports(&join.protocol_type, &join.protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if join.member.is_empty() {
            group.join_unknown(now, asked, join, limits, rng, out);
            Ok(())
        } else {
            group.join_known(now, asked, join, limits, out)
        }
    }
}

impl Join {
    fn logged(&self) -> usize {
        let longest = self.protocols.iter().map(|(_, metadata)| metadata.len()).max().unwrap_or(0);
        128 + self.client.len() + self.host.len() + 2 * self.instance.as_ref().map_or(0, |name| name.len()) + longest
    }
}

impl Group {
    /// Whether there is room for that member.
    fn accepts(&self, member: &str, limits: &Limits) -> bool {
        let most = limits.group_size as usize;
        match self.state {
            State::Empty => self.pending.len() < most,
            State::Preparing(_) => {
                let is_here = self.members.get(member).is_some_and(|member| member.join.is_some());
                let here = self.members.values().filter(|member| member.join.is_some()).count();
                is_here || (self.is_member(member) && here < most) || self.members.len() + self.pending.len() < most
            }
            _ => self.is_member(member) || self.members.len() + self.pending.len() < most,
        }
    }

    /// Somebody who was never told an id, or forgot it.
    fn join_unknown(&mut self, now: Now, asked: Asked, join: Join, limits: &Limits, rng: &mut Rng, out: &mut Out) {
        let id = draw_id(&join, rng);
        match &join.instance {
            Some(instance) => match self.statics.get(instance).cloned() {
                Some(old) => self.replace(now, asked, (old, id), join, limits, out),
                None => self.add(now, asked, id, join, limits, out),
            },
            None if asked.version >= ID_REQUIRED => {
                self.pending.insert(id.clone(), now.mono.after(join.session));
                out.reply(asked, Reply::Join(JoinReply::refused(ErrorCode::MemberIdRequired, id)));
            }
            None => self.add(now, asked, id, join, limits, out),
        }
    }

    /// Somebody who says which member it is.
    fn join_known(
        &mut self,
        now: Now,
        asked: Asked,
        join: Join,
        limits: &Limits,
        out: &mut Out,
    ) -> Result<(), ErrorCode> {
        let id = join.member.clone();
        if self.pending.contains_key(&id) && join.instance.is_none() {
            self.add(now, asked, id, join, limits, out);
            return Ok(());
        }
        self.check_member(&id, join.instance.as_deref())?;
        let member = self.members.get(&id).ok_or(ErrorCode::UnknownMemberId)?;
        let is_same = member.protocols == join.protocols;
        match self.state {
            State::Empty => return Err(ErrorCode::UnknownMemberId),
            // It did not hear the answer: here it is again.
            State::Completing if is_same => {
                let reply = self.join_reply(&id, Audience::LeaderHearsAll);
                out.answer_durable(self, asked, Reply::Join(reply));
            }
            State::Stable if is_same && !self.is_leader(&id) => {
                let reply = self.join_reply(&id, Audience::NobodyHearsAll);
                out.answer_durable(self, asked, Reply::Join(reply));
                self.heard(now, &id);
            }
            _ => {
                self.update(now, asked, &id, join, out);
                self.rebalance(now, limits, out);
            }
        }
        Ok(())
    }

    /// A new member.
    fn add(&mut self, now: Now, asked: Asked, id: Name, join: Join, limits: &Limits, out: &mut Out) {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
            self.leader = None;
        }
        if let State::Preparing(preparing) = &mut self.state
            && let Some(initial) = &mut preparing.initial
        {
            initial.has_grown = true;
        }
        self.insert(Member {
            id,
            instance: join.instance,
            client: join.client,
            host: join.host,
            session: join.session,
            rebalance: join.rebalance,
            protocols: join.protocols,
            assignment: Bytes::new(),
            join: Some(asked),
            sync: None,
            is_new: true,
            expires: now.mono.after(NEW_MEMBER_JOIN),
        });
        out.park(asked);
        self.rebalance(now, limits, out);
    }

    /// A member joins again.
    fn update(&mut self, now: Now, asked: Asked, id: &Name, join: Join, out: &mut Out) {
        let member = self.members.get_mut(id).expect("it was checked");
        member.session = join.session;
        member.rebalance = join.rebalance;
        member.protocols = join.protocols;
        member.heard(now);
        if let Some(earlier) = member.join.replace(asked) {
            // Its connection broke, or it asks twice: the earlier one hears the same as one that comes too late.
            let reply = JoinReply::refused(ErrorCode::RebalanceInProgress, id.clone());
            out.reply(earlier, Reply::Join(reply));
        }
        out.park(asked);
    }

    /// A static member has come back without its id: it takes its own place, under a new one (KIP-345).
    fn replace(
        &mut self,
        now: Now,
        asked: Asked,
        (old, new): (Name, Name),
        join: Join,
        limits: &Limits,
        out: &mut Out,
    ) {
        sometimes!(Mark::StaticMemberReplaced);
        let led = self.leader.clone();
        let mut member = self.members.remove(&old).expect("instances are members");
        super::state::refuse(&mut member, ErrorCode::FencedInstanceId, out);
        self.unsynced.remove(&old);
        member.id = new.clone();
        if self.is_leader(&old) {
            self.leader = Some(new.clone());
        }
        self.insert(member);
        let (client, host) = (join.client.clone(), join.host.clone());
        self.update(now, asked, &new, join, out);
        let member = self.members.get_mut(&new).expect("just inserted");
        (member.client, member.host) = (client, host);
        if self.state != State::Stable || self.select_protocol() != self.protocol {
            // Its old id may have been told to the leader, who would assign to that.
            return self.rebalance(now, limits, out);
        }
        sometimes!(Mark::StaticMemberKeptGroupStable);
        let is_leader = self.is_leader(&new);
        let skips = asked.version >= MAY_SKIP;
        let audience = if skips { Audience::LeaderHearsAll } else { Audience::NobodyHearsAll };
        let mut reply = self.join_reply(&new, audience);
        reply.skip_assignment = skips && is_leader;
        if !skips {
            // It would assign, and nobody would hear: so it is told of the leader that it was.
            reply.leader = led.unwrap_or_default();
        }
        self.members.get_mut(&new).expect("just inserted").join = None;
        let assignments = self.members.values().map(|member| (member.id.clone(), member.assignment.clone())).collect();
        let record = self.record(&assignments);
        let generation = self.generation;
        out.write(self, vec![record], Then::Joined { generation, replies: vec![(asked, reply)] });
    }

    /// A member was heard of.
    pub(super) fn heard(&mut self, now: Now, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.heard(now);
        }
    }
}

/// An id as Kafka makes them: by who it is, and random.
fn draw_id(join: &Join, rng: &mut Rng) -> Name {
    let who = join.instance.as_ref().unwrap_or(&join.client);
    // Names of clients may be as long as a request; ids are kept and logged.
    let end = who.char_indices().map(|(at, _)| at).take_while(|at| *at <= 255).last().unwrap_or(0);
    let who = if who.len() > 255 { &who[..end] } else { who };
    alloc::format!("{who}-{}", crate::id::Incarnation::draw(rng)).into()
}
