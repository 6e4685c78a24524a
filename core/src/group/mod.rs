//! Consumer groups: who consumes what, and how far they got. Plain structs within the shard.
//!
//! **Owns** every group that this broker coordinates: its members, its generation, the offsets that it committed; and the
//! logs of these, the partitions of `__consumer_offsets`.
//!
//! **Promises** that an offset is acknowledged only when it is durable, and that none goes back by a crash; that a
//! generation, and an assignment, is durable before anybody hears of it, so that each generation has one leader and one
//! assignment for ever, and members go on after a crash without a rebalance; that only members of the current generation
//! commit; that what it holds is bounded by [`crate::limits::Limits::group_memory`], and what is read at a start by what
//! is live.
//!
//! ```text
//!                join (timer: initial delay)         all have joined, or time is up
//!      EMPTY ──────────────────────────► PREPARING ─────────────────────────────► COMPLETING
//!        ▲                                ▲     ▲     one generation on, durable       │
//!        │ nobody is left                 │     └─────────────────┐                    │ the leader's
//!        └────────────────────────────────┤      a member comes, goes or changes       │ assignment,
//!                                         └────────────────────── STABLE ◄─────────────┘ durable
//! ```
//! Names of states, timeouts and rules are Kafka's (its classic group protocol; KIP-345 static members, KIP-394 members
//! that must come back with the id they are given).
//!
//! | file | subject |
//! |---|---|
//! | `coordinator` | all groups: who is asked, timers, memory |
//! | `state` | one group: its state, its rebalances |
//! | `joining`, `syncing`, `leaving` | requests that change it |
//! | `member` | one member |
//! | `offsets` | commits, fetches, deletes, expiry |
//! | `describe` | what administrators ask |
//! | `watch` | what those see who watch |
//! | `log` | one partition of the log: what is live, loading, writing it again |
//! | `record`, `batch` | its format |
//! | `reply` | what is said to whom |

mod batch;
mod coordinator;
mod describe;
mod expiry;
mod joining;
mod leaving;
mod loading;
mod log;
mod member;
mod offsets;
mod record;
mod reply;
mod state;
mod syncing;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use coordinator::{Append, Coordinator, Out};
pub(crate) use joining::Join;
pub(crate) use leaving::Leaver;
pub(crate) use loading::Load;
pub(crate) use log::AppendId;
pub(crate) use offsets::{Commit, CommitLine, Commits};
pub(crate) use reply::{Codes, Described, DescribedMember, JoinReply, Left, Reply, SyncReply};
pub(crate) use syncing::Sync;

use alloc::sync::Arc;

/// The log of all groups.
pub(crate) const TOPIC: &str = "__consumer_offsets";

/// An id of a group, member or instance, a topic's name, a protocol: text of its own, not a slice of a request, which it
/// would keep in memory.
pub(crate) type Name = Arc<str>;

/// Which partition of the log a group belongs to: as in Kafka, by the hash that Java has for texts.
pub(crate) fn partition_of(group: &str, partitions: u32) -> u32 {
    let hash = group.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    (hash & 0x7fff_ffff) % partitions.max(1)
}
