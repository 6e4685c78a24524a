//! The world's only timer queue.

use super::member::Member;
use crate::recording::EntryId;
use crate::time::SimTime;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;

/// Names a timer, to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    at: SimTime,
    nth: u64,
}

impl TimerId {
    /// When it fires.
    #[must_use]
    pub const fn at(self) -> SimTime {
        self.at
    }
}

pub(super) enum Timer {
    Call(Box<dyn FnOnce()>),
    Deadline(Rc<dyn Member>),
    Wake(Waker),
}

/// In the order of their moments; those of one moment in the order in which they were set.
#[derive(Default)]
pub(super) struct Timers {
    /// With why each was set.
    all: BTreeMap<TimerId, (Timer, Option<EntryId>)>,
    set: u64,
}

impl Timers {
    pub(super) fn set(&mut self, at: SimTime, timer: Timer, cause: Option<EntryId>) -> TimerId {
        self.set += 1;
        let id = TimerId { at, nth: self.set };
        self.all.insert(id, (timer, cause));
        id
    }

    pub(super) fn cancel(&mut self, id: TimerId) -> Option<Timer> {
        self.all.remove(&id).map(|(timer, _)| timer)
    }

    pub(super) fn pop_due(&mut self, now: SimTime) -> Option<(Timer, Option<EntryId>)> {
        let first = self.all.first_entry()?;
        (first.key().at <= now).then(|| first.remove())
    }

    pub(super) fn next(&self) -> Option<SimTime> {
        self.all.first_key_value().map(|(id, _)| id.at)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}
