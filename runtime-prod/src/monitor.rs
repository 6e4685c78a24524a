//! What those see who watch a broker: numbers for Prometheus, a status, whether it is ready.
//!
//! ```text
//!   IO threads, WAL workers, store calls ──add──► metrics ─────────┐
//!   start, node, operator ──────────────phase──► status ───────────┼──► pages ──► http, log
//!   shard ──a look at it, once somebody asks──► ShardView ─────────┘
//! ```
//! What happens often is counted where it happens, without a lock. What a machine knows is looked at between two of its
//! turns, and costs nothing while nobody asks.

pub(crate) mod exposition;
mod groups;
pub(crate) mod histogram;
pub(crate) mod metrics;
mod pages;
mod reads;
mod status;
mod view;

#[cfg(test)]
mod tests;

pub use status::{Phase, Progress};

pub(crate) use pages::{Page, page};
pub(crate) use view::{Detail, Look, ShardView};

use crate::config::Endpoint;
use crate::net::Sessions;
use karst_core::id::{ClusterId, NodeEpoch, NodeId};
use metrics::Metrics;
use status::Status;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::watch;

/// What is known about a broker from outside, from before it starts. One per process.
#[derive(Debug)]
pub struct Monitor {
    pub(crate) metrics: Metrics,
    status: watch::Sender<Status>,
    owners: OnceLock<Owners>,
}

/// By what a started broker can be asked.
#[derive(Debug)]
pub(crate) struct Owners {
    pub(crate) sessions: Sessions,
    pub(crate) shard: Look,
}

impl Monitor {
    /// Of a broker that starts.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { metrics: Metrics::default(), status: watch::Sender::new(Status::new(node)), owners: OnceLock::new() }
    }

    /// It goes on to something else.
    pub fn enter(&self, phase: Phase) {
        self.status.send_modify(|status| status.phase = phase);
    }

    /// How far it is with what takes long: only if it is still doing that.
    pub fn progress(&self, progress: Progress) {
        self.status.send_if_modified(|status| status.phase.progress(progress));
    }

    /// Where clients find it.
    pub(crate) fn listens(&self, listening: SocketAddr, advertised: &Endpoint) {
        self.status.send_modify(|status| status.addresses = Some((listening, advertised.clone())));
    }

    /// As what it takes part in which cluster.
    pub(crate) fn serves(&self, cluster: ClusterId, epoch: NodeEpoch) {
        self.status.send_modify(|status| status.member = Some((cluster, epoch)));
    }

    /// Its owners run.
    pub(crate) fn started(&self, owners: Owners) {
        // There is one start in a process.
        let _ = self.owners.set(owners);
    }

    fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Logs what the broker is at, every `pause`, while it does not serve.
    pub async fn tell(&self, pause: Duration) {
        let mut status = self.status.subscribe();
        loop {
            // It can't end before this, of which it is a part.
            let _ = status.wait_for(|status| status.phase.takes_long()).await;
            tokio::time::sleep(pause).await;
            let status = self.status();
            if status.phase.takes_long() {
                let waiting = self.metrics.uploads.waiting_bytes.get();
                tracing::info!(uploads_waiting_bytes = waiting, "{}", status.phase);
            }
        }
    }
}
