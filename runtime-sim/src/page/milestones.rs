//! Which entries tell what became of a thing: its way, and everybody else who had it in hand.
//!
//! ```text
//!   birth ──► ... causes ... ──► whoever began it hears of it        the way: every input on it
//!     └─────► other owners                                           the first that each of them did with it
//! ```

use super::chain::{About, lane_of, node_of};
use crate::recording::{EntryId, EntryKind, Recording, kind_of};
use std::collections::BTreeSet;

/// Steps of the way.
const WAY: usize = 9;
/// Steps of others.
const OTHERS: usize = 5;

/// The milestones of what these entries are about, in no order; fewer, if it is one of several things of a story.
pub(super) fn milestones(recording: &Recording, about: &About, things: usize) -> Vec<EntryId> {
    let (most_way, most_others) = (share(WAY, things), share(OTHERS, things));
    let is_done = |id: &EntryId| {
        let kind = recording.entries.get(id.0 as usize).map(|entry| entry.kind);
        matches!(kind, Some(EntryKind::Input | EntryKind::Effect))
    };
    let done: Vec<EntryId> = about.keys().copied().filter(is_done).collect();
    let mut found = way(recording, &done, most_way);
    let on_way: BTreeSet<EntryId> = found.iter().map(|id| node_of(recording, *id)).collect();
    let mut others = firsts(recording, &done);
    others.retain(|id| !on_way.contains(&node_of(recording, *id)));
    let most = if found.is_empty() { most_way } else { most_others };
    if others.len() > most {
        others.drain(most.div_ceil(2)..others.len() - most / 2);
    }
    found.append(&mut others);
    found
}

/// What one of so many things may take of a story; where it began and what came of it in any case.
fn share(most: usize, things: usize) -> usize {
    (most / things.max(1)).max(2)
}

/// From the birth to where its owner hears of it again, if that is because of the birth.
fn way(recording: &Recording, done: &[EntryId], most: usize) -> Vec<EntryId> {
    let Some((birth, later)) = done.split_first() else { return vec![] };
    let lane = |id: &EntryId| recording.entries.get(id.0 as usize).map(|entry| entry.lane);
    let begun_in = node_of(recording, *birth);
    let back = later.iter().filter(|id| lane(id) == lane(birth) && node_of(recording, **id) != begun_in);
    let Some(mut way) = back.rev().map(|id| causes(recording, *id, begun_in)).find(|way| !way.is_empty()) else {
        return vec![];
    };
    way.push(*birth);
    way.reverse();
    let steps: BTreeSet<EntryId> = way.iter().map(|id| node_of(recording, *id)).collect();
    if steps.len() > most {
        let kept: BTreeSet<EntryId> =
            steps.iter().take(most.div_ceil(2)).chain(steps.iter().rev().take(most / 2)).copied().collect();
        way.retain(|id| kept.contains(&node_of(recording, *id)));
    }
    way
}

/// An entry with its causes, back to a node; nothing if the node is not among them.
fn causes(recording: &Recording, from: EntryId, node: EntryId) -> Vec<EntryId> {
    let mut all = vec![from];
    let (mut at, mut of) = (from, from);
    while let Some(cause) = recording.cause_for(at, of).filter(|id| *id < at) {
        if node_of(recording, cause) == node {
            all.push(cause);
            return all;
        }
        if cause < node {
            return vec![];
        }
        all.push(cause);
        (at, of) = (cause, at);
    }
    vec![]
}

/// The first that each kind of owner of each process did.
fn firsts(recording: &Recording, done: &[EntryId]) -> Vec<EntryId> {
    let mut seen = BTreeSet::new();
    let is_first = |id: &EntryId| {
        let lane = recording.entries.get(id.0 as usize).and_then(|entry| lane_of(recording, entry));
        lane.is_some_and(|lane| seen.insert((&lane.process, kind_of(&lane.owner))))
    };
    done.iter().copied().filter(is_first).collect()
}
