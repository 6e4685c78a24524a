//! Who leads a partition, for a client that asked the wrong broker or believes in another epoch (KIP-951): it goes on at
//! once, without asking for metadata first.
//!
//! As in Kafka, Produce says it with NOT_LEADER_OR_FOLLOWER, and Fetch with FENCED_LEADER_EPOCH, too; with
//! UNKNOWN_LEADER_EPOCH neither does, since the client knows better then. It is what Metadata says.

use crate::id::{ConnId, NodeId, StreamId};
use crate::kafka::{CurrentLeader, LeaderEndpoint};
use crate::machine::{Mark, sometimes};
use crate::metadata::StreamState;
use crate::shard::Shard;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

impl Shard {
    /// The leader of a partition, if that is known at all.
    pub(in crate::shard) fn leader_of(&self, stream: StreamId) -> Option<CurrentLeader> {
        let stream = self.image.as_ref()?.streams.get(&stream)?;
        let is_open = matches!(stream.state, StreamState::Open(_));
        Some(CurrentLeader { node: is_open.then_some(stream.owner), epoch: stream.epoch })
    }

    /// Where the client of a connection reaches these leaders, each once.
    pub(in crate::shard) fn endpoints_of(
        &self,
        conn: ConnId,
        leaders: impl Iterator<Item = CurrentLeader>,
    ) -> Vec<LeaderEndpoint> {
        let nodes: BTreeSet<NodeId> = leaders.filter_map(|leader| leader.node).collect();
        let endpoint = |node| {
            let (host, port) = self.address_for(conn, node);
            LeaderEndpoint { node, host, port }
        };
        sometimes!(Mark::LeaderTold, !nodes.is_empty());
        nodes.into_iter().map(endpoint).filter(|endpoint| endpoint.port >= 0).collect()
    }
}
