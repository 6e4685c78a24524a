//! One member of a group.

use super::Name;
use super::record::MemberValue;
use crate::machine::{Instant, Now};
use crate::shard::Asked;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// A member, from its first join until it leaves or is silent for too long.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Name,
    /// Set if it is static (KIP-345): one that comes back as the same instance takes its place.
    pub(super) instance: Option<Name>,
    pub(super) client: Name,
    /// Where it came from when it joined.
    pub(super) host: Name,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    /// What it can be assigned by, in the order of its preference, each with what it says about itself.
    pub(super) protocols: Vec<(Name, Bytes)>,
    pub(super) assignment: Bytes,
    /// Its join that waits for the others.
    pub(super) join: Option<Asked>,
    /// Its sync that waits for the leader's assignment.
    pub(super) sync: Option<Asked>,
    /// Whether it was never told of a generation: it does not know its own id, and can't send heartbeats.
    pub(super) is_new: bool,
    /// When it is taken for dead, unless it waits for an answer.
    pub(super) expires: Instant,
}

/// A join of a member that was never told its id is given up after so long, as in Kafka: a client that goes away while it
/// waits may have come back as another.
pub(super) const NEW_MEMBER_JOIN: Duration = Duration::from_secs(300);

impl Member {
    /// As it was when the log was written. It has a whole session to be heard of.
    pub(super) fn loaded(now: Now, value: &MemberValue, protocol: Option<&Name>) -> Self {
        let protocols = protocol.map(|name| (name.clone(), value.subscription.clone()));
        Self {
            id: value.id.clone(),
            instance: value.instance.clone(),
            client: value.client.clone(),
            host: value.host.clone(),
            session: value.session,
            rebalance: value.rebalance,
            protocols: protocols.into_iter().collect(),
            assignment: value.assignment.clone(),
            join: None,
            sync: None,
            is_new: false,
            expires: now.mono.after(value.session),
        }
    }

    /// As the log has it.
    pub(super) fn value(&self, protocol: Option<&Name>, assignment: Bytes) -> MemberValue {
        MemberValue {
            id: self.id.clone(),
            instance: self.instance.clone(),
            client: self.client.clone(),
            host: self.host.clone(),
            rebalance: self.rebalance,
            session: self.session,
            subscription: protocol.map(|protocol| self.metadata(protocol)).unwrap_or_default(),
            assignment,
        }
    }

    /// It was heard of.
    pub(super) fn heard(&mut self, now: Now) {
        self.expires = now.mono.after(self.session);
    }

    /// What it says about itself under a protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| &**name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| &**name == protocol)
    }

    /// Whether it is alive whatever the clock says: it waits for others.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }

    /// What it takes in memory.
    pub(super) fn weight(&self) -> u64 {
        let protocols: usize = self.protocols.iter().map(|(name, metadata)| 64 + name.len() + metadata.len()).sum();
        let names =
            self.id.len() + self.client.len() + self.host.len() + self.instance.as_ref().map_or(0, |name| name.len());
        (512 + 2 * names + protocols + self.assignment.len()) as u64
    }

    /// What it takes in the log, without its assignment.
    pub(super) fn logged(&self) -> usize {
        let longest = self.protocols.iter().map(|(_, metadata)| metadata.len()).max().unwrap_or(0);
        32 + self.id.len()
            + self.client.len()
            + self.host.len()
            + self.instance.as_ref().map_or(0, |name| name.len())
            + longest
    }

    /// Everybody who waits for it.
    pub(super) fn take_waiting(&mut self) -> Vec<Waiting> {
        let mut all = vec![];
        all.extend(self.join.take().map(Waiting::Join));
        all.extend(self.sync.take().map(Waiting::Sync));
        all
    }
}

/// A request of a member that waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    Join(Asked),
    Sync(Asked),
}
