//! What led to a failure, as few steps as tell it.
//!
//! ```text
//!   the failure's subjects, or else its words
//!                       ──► what it is about ──► where each came from, its way, and everybody who first had it in hand
//!   the failure's entry ──► its causes       ──► the last of them, and their birth
//!   between all these                        ──► what was done to it: faults and ends of processes
//!   before all these         ──► the last that befell such a process: it may have forgotten something
//! ```
//! Of a run without a failure the story is what was done to it.

use super::milestones::milestones;
use super::sentence::{sentence, which_of};
use super::words::{ends_in, named_in};
use crate::failure::Failure;
use crate::follow::{Query, follow};
use crate::recording::{Entry, EntryId, EntryKind, Lane, Recording, Tag, TagValue, kind_of};
use crate::time::SimTime;
use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

/// Steps right before the failure.
const HOPS: usize = 5;
/// The same, when it is about several things.
const HOPS_OF_SEVERAL: usize = 3;
/// The same, when nothing is known of what it is about.
const ALL_HOPS: usize = 9;
/// Things that a story is about.
const SUBJECTS: usize = 4;
/// Steps that are faults.
const FAULTS: usize = 5;
/// Effects of a step.
const EFFECTS: usize = 2;
/// Steps of a run without a failure.
const DISTURBANCES: usize = 20;

/// One sentence of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The entry that it tells; `None` if the recording has none.
    pub entry: Option<EntryId>,
    /// When.
    pub at: SimTime,
    /// Who, such as `broker-2's wal`.
    pub who: String,
    /// What, in words.
    pub words: String,
    /// What kind of step.
    pub kind: StepKind,
}

/// What kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Somebody did something.
    Step,
    /// Something was done to somebody.
    Fault,
    /// The invariant was violated.
    Failure,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.kind {
            StepKind::Step => ' ',
            StepKind::Fault => '!',
            StepKind::Failure => 'X',
        };
        write!(f, "{} {mark} {} {}", self.at, self.who, self.words)
    }
}

/// The story of a recording, in the order of time. See the module.
#[must_use]
pub fn chain(recording: &Recording) -> Vec<Step> {
    let story = Story { recording };
    match &recording.failure {
        Some(failure) => story.of_failure(failure),
        None => story.of_disturbances(),
    }
}

/// The entry at which a failure showed itself: the input that was being handled, by the one who failed if possible.
pub(super) fn failing_entry(recording: &Recording, failure: &Failure) -> Option<EntryId> {
    let is_in = |entry: &Entry| entry.event == failure.event && entry.at <= failure.at;
    let is_whose = |entry: &Entry| {
        lane_of(recording, entry)
            .is_some_and(|lane| *lane.process == *failure.process && *lane.owner == *failure.component)
    };
    // What the world says of a kind of owner is about the last of them that did something.
    let is_of_kind = |entry: &Entry| {
        failure.process.is_empty() && lane_of(recording, entry).is_some_and(|lane| *lane.owner == *failure.component)
    };
    let last = |is: &dyn Fn(&Entry) -> bool| recording.entries.iter().rposition(is);
    // Who watches the bucket fails it right after a change that somebody had asked for.
    let change = || {
        let newest = last(&|entry| entry.at <= failure.at)?;
        let entry = &recording.entries[newest];
        (entry.kind == EntryKind::Note && entry.cause.is_some() && failure.process.is_empty()).then_some(newest)
    };
    let found = last(&|entry| is_in(entry) && is_whose(entry) && entry.kind == EntryKind::Input)
        .or_else(|| last(&|entry| is_in(entry) && is_whose(entry)))
        .or_else(change)
        .or_else(|| last(&|entry| entry.at <= failure.at && is_of_kind(entry) && entry.kind == EntryKind::Input))
        .or_else(|| last(&|entry| is_in(entry) && entry.kind == EntryKind::Input))
        .or_else(|| last(&|entry| entry.at <= failure.at));
    found.and_then(|place| u32::try_from(place).ok()).map(EntryId)
}

struct Story<'a> {
    recording: &'a Recording,
}

/// Entries about one thing, each with the tags that say so.
pub(super) type About = BTreeMap<EntryId, Vec<Tag>>;

/// Pairs of key and value, as a query has them.
type Wants = Vec<(&'static str, String)>;

/// Keys whose values mean something to few owners only.
pub(super) const OF_FEW: [&str; 7] = [Tag::OF_OWNER, "connection", "request", "number", "from", "base", "batch"];

/// Entries by their event: the input (or note, or fault) with the effects that matter for the story.
type Picked = BTreeMap<EntryId, BTreeSet<EntryId>>;

impl Story<'_> {
    fn of_failure(&self, failure: &Failure) -> Vec<Step> {
        let Some(end) = failing_entry(self.recording, failure) else { return vec![violated(failure, None)] };
        let things = self.what_it_is_about(failure, end);
        let (mut about, mut picked) = (About::new(), Picked::new());
        for mut thing in things.iter().cloned() {
            thing.split_off(&end);
            for entry in milestones(self.recording, &thing, things.len()) {
                self.pick(&mut picked, entry);
            }
            about.append(&mut thing);
        }
        let hops = match things.len() {
            _ if picked.is_empty() => ALL_HOPS,
            0..=1 => HOPS,
            _ => HOPS_OF_SEVERAL,
        };
        for entry in self.last_hops(end, hops) {
            self.pick(&mut picked, entry);
        }
        let from = picked.keys().next().copied().unwrap_or(end);
        let blow = self.last_blow_before(from, &picked);
        for entry in self.faults_between(from, end, &about) {
            self.pick(&mut picked, entry);
        }
        blow.into_iter().for_each(|blow| self.pick(&mut picked, blow));
        self.pick(&mut picked, end);
        self.find_effects(&mut picked, &about);
        self.find_last_effects(&mut picked, end);
        let mut steps: Vec<Step> =
            picked.into_iter().map(|(node, effects)| self.step(node, &effects, &about)).collect();
        steps.push(violated(failure, Some(end)));
        steps
    }

    fn of_disturbances(&self) -> Vec<Step> {
        let is_disturbance = |entry: &Entry| {
            entry.kind == EntryKind::Fault && self.is_of(entry, |lane| &*lane.owner == "nemesis" || is_grave(lane))
        };
        let all: Vec<EntryId> = self.entries().filter(|(_, entry)| is_disturbance(entry)).map(|(id, _)| id).collect();
        let told = all.iter().take(DISTURBANCES).map(|id| self.step(*id, &BTreeSet::new(), &About::new()));
        let mut told: Vec<Step> = told.collect();
        if let Some(next) = all.get(DISTURBANCES) {
            let step = self.step(*next, &BTreeSet::new(), &About::new());
            let more = all.len() - DISTURBANCES;
            let words = format!("does this, too: {more} more disturbances follow, which are not told here");
            told.push(Step { entry: Some(*next), who: "the world".into(), words, ..step });
        }
        told
    }

    /// The last that befell a process, its end most of all, before a story begins that speaks of it or of a later one in its
    /// place.
    fn last_blow_before(&self, from: EntryId, picked: &Picked) -> Option<EntryId> {
        let process =
            |id: EntryId| self.entry(id).and_then(|entry| lane_of(self.recording, entry)).map(|lane| &lane.process);
        let concerned: BTreeSet<&str> = picked.keys().filter_map(|id| process(*id)).map(|name| kind_of(name)).collect();
        let before = self.entries().take_while(|(id, _)| *id < from);
        let blows = before.filter(|(_, entry)| entry.kind == EntryKind::Fault && self.is_of(entry, is_grave));
        let of_story = blows.filter(|(id, _)| process(*id).is_some_and(|name| concerned.contains(kind_of(name))));
        of_story.last().map(|(id, _)| id)
    }

    /// The entries about each subject of the failure, or about what its message names, or else about what its entry or one
    /// of its causes does.
    fn what_it_is_about(&self, failure: &Failure, end: EntryId) -> Vec<About> {
        let subjects = failure.subjects.iter().map(|tags| self.about(&tags.iter().map(pair).collect::<Wants>()));
        let things: Vec<About> = subjects.filter(|about| !about.is_empty()).take(SUBJECTS).collect();
        if things.is_empty() { vec![self.what_is_named(failure, end)] } else { things }
    }

    fn what_is_named(&self, failure: &Failure, end: EntryId) -> About {
        let named = named_in(&failure.message, self.recording);
        let of_ends = ends_in(&failure.message).map(|offset| [&named[..], &[("offset", offset)]].concat());
        let is_whole =
            named.iter().any(|(key, _)| *key == "offset") || named.iter().all(|(key, _)| *key != "partition");
        let ends: Vec<Wants> = if is_whole { vec![] } else { of_ends.collect() };
        let found = ends.iter().map(|wants| self.about(wants)).find(|found| !found.is_empty());
        // If nothing is about all of it, something may be about the first of it.
        let parts = (1..=named.len()).rev().map(|most| self.about(&named[..most]));
        let mut found = found.or_else(|| parts.into_iter().find(|found| !found.is_empty()));
        for id in [end].into_iter().chain(self.last_hops(end, usize::MAX)) {
            found = found.or_else(|| self.about_same(id));
        }
        found.unwrap_or_default()
    }

    /// The entries about what this one is about, if others know it by the same name.
    fn about_same(&self, id: EntryId) -> Option<About> {
        let is_wide = |tag: &&Tag| !OF_FEW.contains(&tag.key);
        let groups = Tag::groups(&self.entry(id)?.tags).map(|group| group.iter().filter(is_wide).map(pair).collect());
        let mut wants = groups.filter(|wants: &Wants| !wants.is_empty());
        wants.next().map(|wants| self.about(&wants)).filter(|found| !found.is_empty())
    }

    fn about(&self, wants: &[(&'static str, String)]) -> About {
        let query: Vec<String> = wants.iter().map(|(key, value)| format!("{key}={value}")).collect();
        query.join(",").parse::<Query>().map(|query| follow(self.recording, &query).entries).unwrap_or_default()
    }

    /// The last causes, and the first of all.
    fn last_hops(&self, end: EntryId, most: usize) -> Vec<EntryId> {
        let mut nodes = vec![];
        let (mut of, mut next) = (end, self.recording.cause_for(end, end));
        while let Some(id) = next {
            nodes.push(id);
            next = self.recording.cause_for(id, of).filter(|cause| *cause < id);
            of = id;
        }
        // That the world did something is no reason.
        nodes.retain(|id| self.entry(*id).is_none_or(|entry| entry.kind != EntryKind::Note || entry.cause.is_some()));
        nodes.retain(|id| self.entry(*id).is_some_and(|entry| entry.kind != EntryKind::Input) || self.node(*id) == *id);
        let birth = nodes.last().map(|id| self.node(*id));
        let of_birth: Vec<EntryId> = nodes.iter().copied().filter(|id| Some(self.node(*id)) == birth).collect();
        let mut seen = BTreeSet::new();
        let mut hops: Vec<EntryId> = Vec::new();
        for id in nodes {
            if seen.len() < most || seen.contains(&self.node(id)) {
                seen.insert(self.node(id));
                hops.push(id);
            }
        }
        hops.extend(of_birth);
        hops
    }

    /// What was done meanwhile: first of all whatever ended or stopped a process, then what the nemesis did besides, then
    /// the first of each kind that hit what the story is about; what the network does is borne by everybody.
    fn faults_between(&self, from: EntryId, end: EntryId, about: &About) -> Vec<EntryId> {
        let is_between = |id: EntryId| from < id && id < end;
        let faults: Vec<(EntryId, &Entry)> =
            self.entries().filter(|(id, entry)| is_between(*id) && entry.kind == EntryKind::Fault).collect();
        let mut seen = BTreeSet::new();
        let grave = faults.iter().rev().filter(|(_, entry)| self.is_of(entry, is_grave)).map(|(id, _)| *id);
        let nemesis = faults.iter().enumerate().rev();
        let nemesis = nemesis.filter(|(_, (_, entry))| self.is_of(entry, |lane| &*lane.owner == "nemesis"));
        let nemesis = nemesis.filter(|(at, _)| !self.is_seen_in(faults[at + 1..].iter())).map(|(_, (id, _))| *id);
        let of_it = faults.iter().filter(|(id, _)| about.contains_key(id));
        let of_it = of_it.filter(|(_, entry)| seen.insert((entry.lane, &entry.words))).map(|(id, _)| *id);
        let (of_net, of_others): (Vec<EntryId>, Vec<EntryId>) =
            of_it.partition(|id| self.entry(*id).is_some_and(|entry| self.is_of(entry, |lane| &*lane.owner == "net")));
        grave.chain(nemesis).chain(of_others).chain(of_net).take(FAULTS).collect()
    }

    /// Whether what the nemesis did shows in the fault after it: a process was killed or paused from outside.
    fn is_seen_in<'e>(&self, mut later: impl Iterator<Item = &'e (EntryId, &'e Entry)>) -> bool {
        let next = later.find(|(_, entry)| self.is_of(entry, |lane| is_grave(lane) || &*lane.owner == "nemesis"));
        let is_from_outside = |entry: &Entry| {
            entry.cause.and_then(|cause| self.entry(cause)).is_none_or(|cause| cause.kind != EntryKind::Effect)
        };
        next.is_some_and(|(_, entry)| self.is_of(entry, is_grave) && is_from_outside(entry))
    }

    fn is_of(&self, entry: &Entry, is_such: impl Fn(&Lane) -> bool) -> bool {
        lane_of(self.recording, entry).is_some_and(is_such)
    }

    /// Adds an entry; an effect as part of its input's step.
    fn pick(&self, picked: &mut Picked, id: EntryId) {
        let node = self.node(id);
        let effects = picked.entry(node).or_default();
        if node != id {
            effects.insert(id);
        }
    }

    /// Gives each input the effects that caused other steps, and the first that are about the same.
    fn find_effects(&self, picked: &mut Picked, about: &About) {
        let cause_of = |node: &EntryId| self.entry(*node).and_then(|entry| entry.cause);
        let causes: BTreeSet<EntryId> = picked.keys().filter_map(cause_of).collect();
        for (node, effects) in picked.iter_mut() {
            let event = self.entry(*node).map(|entry| entry.event);
            let later = self.entries().skip(node.0 as usize + 1);
            let same_event = later.take_while(|(_, entry)| Some(entry.event) == event).map(|(id, _)| id);
            let parts: Vec<EntryId> = same_event.filter(|id| self.node(*id) == *node).collect();
            effects.extend(parts.iter().filter(|part| causes.contains(part)));
            let left = EFFECTS.saturating_sub(effects.len());
            effects.extend(parts.iter().filter(|part| about.contains_key(part)).take(left));
        }
    }

    /// What failed may be an effect of the last input, which is about something else; of many nobody knows which.
    fn find_last_effects(&self, picked: &mut Picked, end: EntryId) {
        let node = self.node(end);
        let later = self.entries().skip(node.0 as usize + 1).map(|(id, _)| id);
        let parts: Vec<EntryId> = later.filter(|id| self.node(*id) == node).collect();
        if let Some(effects) = picked.get_mut(&node).filter(|effects| effects.is_empty() && parts.len() <= EFFECTS) {
            effects.extend(parts);
        }
    }

    /// The input of which an effect is part.
    fn node(&self, id: EntryId) -> EntryId {
        node_of(self.recording, id)
    }

    fn step(&self, node: EntryId, effects: &BTreeSet<EntryId>, about: &About) -> Step {
        let Some(entry) = self.entry(node) else { unreachable!("only entries of the recording are picked") };
        let then: Vec<&Entry> = effects.iter().filter_map(|effect| self.entry(*effect)).collect();
        let sentence = sentence(self.recording, entry, &then);
        let mut tags = [&node].into_iter().chain(effects).filter_map(|id| about.get(id));
        let which = tags.find(|tags| !tags.is_empty()).map_or_else(String::new, |tags| which_of(tags, &sentence));
        let words = sentence + &which;
        let kind = if entry.kind == EntryKind::Fault { StepKind::Fault } else { StepKind::Step };
        let who = lane_of(self.recording, entry).map_or_else(String::new, Lane::title);
        Step { entry: Some(node), at: entry.at, who, words, kind }
    }

    fn entry(&self, EntryId(id): EntryId) -> Option<&Entry> {
        self.recording.entries.get(id as usize)
    }

    fn entries(&self) -> impl Iterator<Item = (EntryId, &Entry)> {
        (0..).map(EntryId).zip(&self.recording.entries)
    }
}

/// Whether its faults hit a whole process.
fn is_grave(lane: &Lane) -> bool {
    &*lane.owner == "process"
}

fn violated(failure: &Failure, entry: Option<EntryId>) -> Step {
    let Failure { invariant, process, component, message, at, .. } = failure;
    let judge = if process.is_empty() { "world" } else { process };
    let who = Lane { process: judge.into(), owner: component.as_str().into() }.title();
    let words = format!("finds {invariant} violated: {message}");
    Step { entry, at: *at, who, words, kind: StepKind::Failure }
}

/// The input of which an effect is part.
pub(super) fn node_of(recording: &Recording, id: EntryId) -> EntryId {
    let entry = |EntryId(id): EntryId| recording.entries.get(id as usize);
    let of = |one: &Entry| {
        let cause = one.cause.filter(|cause| *cause < id)?;
        let input = entry(cause)?;
        let is_part = one.kind == EntryKind::Effect && input.event == one.event && input.lane == one.lane;
        is_part.then(|| node_of(recording, cause))
    };
    entry(id).and_then(of).unwrap_or(id)
}

pub(super) fn lane_of<'a>(recording: &'a Recording, entry: &Entry) -> Option<&'a Lane> {
    recording.lanes.get(entry.lane.0 as usize)
}

fn pair(tag: &Tag) -> (&'static str, String) {
    match &tag.value {
        TagValue::Name(name) => (tag.key, name.to_string()),
        TagValue::Range(from, _) => (tag.key, from.to_string()),
    }
}
