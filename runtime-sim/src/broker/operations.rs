//! What a broker's owners have asked for and not heard of: law 4 of [`karst_core::machine`].
//!
//! ```text
//!   effect with OpId ── begin ──▶ under way ── end ──▶ its completion is an input
//! ```
//! An operation that begins again while it is under way, and one that ends without having begun, fail the run at once. One
//! that is never completed does so when the world is quiet: [`Operations::overdue`].

use crate::time::SimTime;
use core::time::Duration;
use karst_core::id::ConnId;
use karst_core::machine::OpId;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The longest that anything is under way in a world without faults.
const LONGEST: Duration = Duration::from_secs(5);

/// The operations of one broker.
#[derive(Default)]
pub(super) struct Operations(RefCell<BTreeMap<(Asker, OpId), SimTime>>);

/// Whose operation it is: each has operation ids of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asker {
    Shard,
    Wal,
    Uploader,
    Compactor,
    Controller,
    Node,
    Session(ConnId),
}

impl Operations {
    /// An effect was performed.
    ///
    /// # Panics
    /// When an operation of that name is under way.
    pub(super) fn begin(&self, now: SimTime, asker: Asker, op: OpId) {
        let before = self.0.borrow_mut().insert((asker, op), now);
        assert!(before.is_none(), "{asker:?} begins {op:?} again, which is under way");
    }

    /// It completes.
    ///
    /// # Panics
    /// When it is not under way.
    pub(super) fn end(&self, asker: Asker, op: OpId) {
        let begun = self.0.borrow_mut().remove(&(asker, op));
        assert!(begun.is_some(), "{asker:?} hears of {op:?}, which is not under way");
    }

    /// That session is over: what it asked for ends with it.
    pub(super) fn forget(&self, conn: ConnId) {
        self.0.borrow_mut().retain(|(asker, _), _| *asker != Asker::Session(conn));
    }

    /// What should have completed long ago.
    pub(super) fn overdue(&self, now: SimTime) -> Option<String> {
        let operations = self.0.borrow();
        let ((asker, op), begun) = operations.iter().find(|(_, begun)| begun.after(LONGEST) < now)?;
        Some(format!("{asker:?} has heard nothing of {op:?} since {begun}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SimTime = SimTime::ZERO;

    #[test]
    fn law_4_what_begins_ends_once() {
        let operations = Operations::default();
        operations.begin(NOW, Asker::Wal, OpId(1));
        operations.begin(NOW, Asker::Shard, OpId(1));
        assert_eq!(operations.overdue(NOW.after(LONGEST)), None);
        operations.end(Asker::Wal, OpId(1));
        let missed = operations.overdue(NOW.after(2 * LONGEST)).expect("the shard waits");
        assert!(missed.starts_with("Shard has heard nothing of OpId(1) since "), "{missed}");
        operations.end(Asker::Shard, OpId(1));
        assert_eq!(operations.overdue(NOW.after(2 * LONGEST)), None);
    }

    #[test]
    #[should_panic(expected = "Wal hears of OpId(1), which is not under way")]
    fn law_4_a_second_completion_fails_the_run() {
        let operations = Operations::default();
        operations.begin(NOW, Asker::Wal, OpId(1));
        operations.end(Asker::Wal, OpId(1));
        operations.end(Asker::Wal, OpId(1));
    }

    #[test]
    #[should_panic(expected = "Wal begins OpId(1) again")]
    fn law_4_an_id_that_is_under_way_is_not_given_again() {
        let operations = Operations::default();
        operations.begin(NOW, Asker::Wal, OpId(1));
        operations.begin(NOW, Asker::Wal, OpId(1));
    }

    #[test]
    fn what_a_session_asked_for_ends_with_it() {
        let operations = Operations::default();
        operations.begin(NOW, Asker::Session(ConnId(1)), OpId(1));
        operations.begin(NOW, Asker::Session(ConnId(2)), OpId(1));
        operations.forget(ConnId(1));
        operations.end(Asker::Session(ConnId(2)), OpId(1));
        assert_eq!(operations.overdue(NOW.after(2 * LONGEST)), None);
    }
}
