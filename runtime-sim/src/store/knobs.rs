//! How fast and how bad the object store is.

use crate::fault::{Chance, Latency};
use core::time::Duration;

/// What a request may meet. Chances of one request are tried in the order below; the first that fires wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreKnobs {
    /// From the call to its answer. Where it exceeds the caller's patience, the caller hears of a timeout and the
    /// effect comes all the same.
    pub latency: Latency,
    /// 503 or 429.
    pub throttle: Chance,
    /// Another 5xx.
    pub server_error: Chance,
    /// The connection breaks.
    pub cut_off: Chance,
    /// No answer in time.
    pub timeout: Chance,
    /// Given one of the four above: the request takes effect nevertheless, before the answer.
    pub done_despite_error: Chance,
    /// Given one of the four above, without effect so far: it takes effect after the answer.
    pub late: Chance,
    /// How long after the answer.
    pub late_by: Latency,
    /// 409 for a conditional put while another put of that key is in flight.
    pub conflict: Chance,
    /// 409 for a conditional put without any reason.
    pub spurious_conflict: Chance,
    /// A read comes back truncated, which the shell reports as corrupt.
    pub truncate: Chance,
    /// A read of a part of an object gets no answer in time, while whole objects can be read and written.
    pub unread: Chance,
    /// A page of a listing holds at most so many names.
    pub page: usize,
    /// What ETags are made of.
    pub etags: Etags,
    /// A request of a process that died before it had arrived gets lost.
    pub lost_with_caller: Chance,
}

/// What an ETag is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Etags {
    /// The content: equal contents have equal ETags, as in S3 without KMS and in a directory.
    Content,
    /// A number of its own for every version.
    Unique,
}

impl StoreKnobs {
    /// A good store: quick, without faults.
    pub const CALM: Self = Self {
        latency: Latency::uniform(Duration::from_millis(8), Duration::from_millis(60)),
        throttle: Chance::NEVER,
        server_error: Chance::NEVER,
        cut_off: Chance::NEVER,
        timeout: Chance::NEVER,
        done_despite_error: Chance::NEVER,
        late: Chance::NEVER,
        late_by: Latency::uniform(Duration::from_millis(1), Duration::from_secs(1))
            .with_tail(Chance::percent(30), Duration::from_secs(60)),
        conflict: Chance::NEVER,
        spurious_conflict: Chance::NEVER,
        truncate: Chance::NEVER,
        unread: Chance::NEVER,
        page: 1000,
        etags: Etags::Content,
        lost_with_caller: Chance::NEVER,
    };
}
