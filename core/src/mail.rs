//! Every message that one owner sends another. The runtime delivers mail to one owner in the order in which one owner
//! sent it.

use crate::id::ConnId;
use crate::{compaction, controller, node, session, shard, upload, wal};

/// A message with its addressee.
#[derive(Clone, Debug, Hash)]
pub enum Mail {
    /// To the session of a connection; dropped if that is gone.
    Session(ConnId, session::Mail),
    /// To the shard.
    Shard(shard::Mail),
    /// To the write-ahead log.
    Wal(wal::Mail),
    /// To the uploader.
    Uploader(upload::Mail),
    /// To the compactor.
    Compactor(compaction::Mail),
    /// To the controller on this broker.
    Controller(controller::Mail),
    /// To the node.
    Node(node::Mail),
}

/// Why a node stops itself. The shell turns it into a message for a person and an exit code of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Halt {
    /// Asked to stop, and everything was drained: nothing is left in the WAL.
    Clean,
    /// Asked to stop before it served. Nothing was changed; the WAL may hold records, which the next start uploads.
    NotStarted,
    /// The lost WAL that it was started for is given up: the next start will not ask for it.
    GivenUp,
    /// A newer registration of this node, or another leader, fenced this one.
    Fenced(alloc::string::String),
    /// The WAL's device failed; what was durable before that was uploaded as far as possible.
    WalPoisoned(alloc::string::String),
    /// The WAL does not belong to this node or cluster, is damaged, or is not the one that the cluster knows.
    WalRefused(alloc::string::String),
    /// The WAL could not be read at start: its device reports errors. Nothing was changed.
    WalUnreadable(alloc::string::String),
    /// The bucket does not hold what it must, or refuses what it must allow.
    Bucket(alloc::string::String),
}
