//! What a broker is at.

use crate::config::Endpoint;
use karst_core::id::{ClusterId, NodeEpoch, NodeId};
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) node: NodeId,
    pub(super) begun: Instant,
    pub(super) phase: Phase,
    /// Where it listens, and where clients reach it.
    pub(super) addresses: Option<(SocketAddr, Endpoint)>,
    pub(super) member: Option<(ClusterId, NodeEpoch)>,
}

impl Status {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, begun: Instant::now(), phase: Phase::Starting, addresses: None, member: None }
    }
}

/// Where in its life a broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It takes its directory and addresses.
    Starting,
    /// It writes the zeros of a new WAL.
    PreparingWal(Progress),
    /// It finds out whether the object store keeps its promises.
    ProbingStore,
    /// It reads the cluster's metadata and registers.
    Joining,
    /// It reads back what the last run left in the WAL, and uploads it.
    Recovering(Progress),
    /// It makes the WAL its own, and opens its partitions.
    Opening,
    /// Clients are served.
    Serving,
    /// It uploads what is left, and ends.
    Stopping,
}

/// How far something is that takes long, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Done.
    pub done: u64,
    /// In all; of a recovery, at most.
    pub of: u64,
}

impl Phase {
    pub(super) const ALL: [&str; 8] =
        ["starting", "preparing_wal", "probing_store", "joining", "recovering", "opening", "serving", "stopping"];

    /// For machines.
    pub(super) const fn name(self) -> &'static str {
        Self::ALL[match self {
            Self::Starting => 0,
            Self::PreparingWal(_) => 1,
            Self::ProbingStore => 2,
            Self::Joining => 3,
            Self::Recovering(_) => 4,
            Self::Opening => 5,
            Self::Serving => 6,
            Self::Stopping => 7,
        }]
    }

    /// How far it is, where that is known.
    pub(super) const fn extent(self) -> Option<Progress> {
        match self {
            Self::PreparingWal(progress) | Self::Recovering(progress) => Some(progress),
            _ => None,
        }
    }

    /// Whether an operator may begin to wonder.
    pub(super) fn takes_long(self) -> bool {
        self != Self::Serving
    }

    /// Whether that changes anything.
    pub(super) fn progress(&mut self, now: Progress) -> bool {
        match self {
            Self::PreparingWal(progress) | Self::Recovering(progress) => {
                *progress = now;
                true
            }
            _ => false,
        }
    }
}

impl Progress {
    /// In whole percent.
    #[must_use]
    pub fn percent(self) -> u64 {
        let percent = u128::from(self.done) * 100 / u128::from(self.of.max(1));
        u64::try_from(percent.min(100)).unwrap_or(100)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |f: &mut fmt::Formatter<'_>, what: &str, most: &str, progress: &Progress| {
            write!(f, "{what}: {} of {most}{} bytes ({} %)", progress.done, progress.of, progress.percent())
        };
        match self {
            Self::Starting => f.write_str("starting"),
            Self::PreparingWal(progress) => of(f, "preparing the WAL", "", progress),
            Self::ProbingStore => f.write_str("probing the object store"),
            Self::Joining => f.write_str("reading the cluster's metadata"),
            Self::Recovering(progress) => of(f, "recovering the WAL", "at most ", progress),
            Self::Opening => f.write_str("opening the partitions"),
            Self::Serving => f.write_str("serving"),
            Self::Stopping => f.write_str("stopping: uploading what is left"),
        }
    }
}
