//! Finds what a predecessor left: segments and snapshots that no head refers to.
//!
//! Lists first and reads the head afterwards, so that whatever is listed and not referred to was either never referred
//! to or dropped; only names of a lower term than that head's go, since nobody but the leader of a term ever refers to
//! its names anew, and a lower term's leader can't replace the head any more.
//!
//! A head of another term says that this leader is deposed, even if it has nothing to append.

use super::call::{Call, Io, get};
use super::log::{HEAD, Head, Name, SEGMENTS, SNAPSHOTS};
use crate::id::Term;
use crate::machine::{Deadline, Instant, Mark, OpId, sometimes};
use crate::store::{Found, Key, StoreDone, StoreOp, StoreResult};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use tracing::{info, warn};

/// Names asked for at once.
const PAGE: usize = 1000;

/// Looks at the bucket now and then.
#[derive(Debug)]
pub(super) struct Scrub {
    /// Of this leader.
    term: Term,
    interval: Duration,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Resting(Instant),
    /// Listing the first of these prefixes.
    Listing(Call, &'static [&'static str], Vec<(Term, Key)>),
    /// Reading the head.
    Judging(Call, Vec<(Term, Key)>),
}

impl Scrub {
    /// Due at once.
    pub(super) fn new(term: Term, now: Instant, interval: Duration) -> Self {
        Self { term, interval, step: Step::Resting(now) }
    }

    /// Whether this completion is its own.
    pub(super) fn owns(&self, id: OpId) -> bool {
        match &self.step {
            Step::Resting(_) => false,
            Step::Listing(call, ..) | Step::Judging(call, _) => call.owns(id),
        }
    }

    /// Goes on after a completion; gives what may be deleted.
    ///
    /// # Errors
    /// The head, if it is of another term.
    pub(super) fn completed(&mut self, io: &mut Io<'_>, result: StoreResult) -> Result<Vec<Key>, Bytes> {
        let rest = Step::Resting(io.now.mono.after(self.interval));
        match core::mem::replace(&mut self.step, rest) {
            Step::Resting(_) => unreachable!("a completion has a call"),
            Step::Listing(call, prefixes, found) => self.step = listed(io, call, prefixes, found, result),
            Step::Judging(mut call, found) => match result {
                Ok(StoreDone::Got { body, .. }) => match Head::decode(&body) {
                    Ok(head) if head.term == self.term => return Ok(orphans(&head, found)),
                    Ok(_) => return Err(body.0),
                    Err(error) => warn!(%error, "the metadata head can't be read; not scrubbing"),
                },
                Err(error) if error.may_pass() => {
                    call.again(io);
                    self.step = Step::Judging(call, found);
                }
                // The next swap finds out what this means.
                Ok(_) | Err(_) => {}
            },
        }
        Ok(Vec::new())
    }

    /// Begins when it is time, goes on after a pause.
    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        match &mut self.step {
            Step::Resting(until) if *until <= io.now.mono => {
                let prefixes: &[&str] = &[SEGMENTS, SNAPSHOTS];
                self.step = Step::Listing(Call::new(io, list(prefixes[0], None)), prefixes, Vec::new());
            }
            Step::Resting(_) => {}
            Step::Listing(call, ..) | Step::Judging(call, _) => call.tick(io),
        }
    }

    /// When it goes on.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match &self.step {
            Step::Resting(at) => Some(Deadline { at: *at, reason: "scrub of old metadata" }),
            Step::Listing(call, ..) | Step::Judging(call, _) => call.deadline("retry of scrubbing old metadata"),
        }
    }
}

fn listed(
    io: &mut Io<'_>,
    mut call: Call,
    prefixes: &'static [&'static str],
    mut found: Vec<(Term, Key)>,
    result: StoreResult,
) -> Step {
    let (page, more) = match result {
        Ok(StoreDone::Listed { found, more }) => (found, more),
        Ok(other) => unreachable!("a list was answered with {other:?}"),
        Err(_) => {
            call.again(io);
            return Step::Listing(call, prefixes, found);
        }
    };
    let last = page.last().map(|found| found.key.clone());
    found.extend(page.into_iter().filter_map(|Found { key, .. }| Some((Name::parse(prefixes[0], &key)?.term, key))));
    match (last.filter(|_| more), &prefixes[1..]) {
        (Some(last), _) => call.next(io, list(prefixes[0], Some(last))),
        (None, []) => {
            call.next(io, get(HEAD));
            return Step::Judging(call, found);
        }
        (None, rest) => {
            call.next(io, list(rest[0], None));
            return Step::Listing(call, rest, found);
        }
    }
    Step::Listing(call, prefixes, found)
}

fn orphans(head: &Head, found: Vec<(Term, Key)>) -> Vec<Key> {
    let live: BTreeSet<Key> = head.references().collect();
    let dead = |(term, key): &(Term, Key)| *term < head.term && !live.contains(key);
    let orphans: Vec<Key> = found.into_iter().filter(dead).map(|(_, key)| key).collect();
    if !orphans.is_empty() {
        sometimes!(Mark::OrphanedMetadata);
        info!(objects = orphans.len(), "found metadata that no head refers to");
    }
    orphans
}

fn list(prefix: &str, after: Option<Key>) -> StoreOp {
    StoreOp::List { prefix: prefix.into(), after, max: PAGE }
}
