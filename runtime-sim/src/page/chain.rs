//! What led to a failure, as few steps as tell it.
//!
//! ```text
//!   the failure's words ──► what it is about ──► where that came from, and everybody who first had it in hand
//!   the failure's entry ──► its causes       ──► the last of them, and their birth
//!   between all these                        ──► what was done to it: faults and ends of processes
//! ```
//! Of a run without a failure the story is what was done to it.

use super::words::{headline, named_in};
use crate::failure::Failure;
use crate::follow::{Query, follow};
use crate::recording::{Entry, EntryId, EntryKind, Lane, Recording, Tag, TagValue};
use crate::time::SimTime;
use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

/// Steps on what the failure is about.
const MILESTONES: usize = 9;
/// Steps right before the failure.
const HOPS: usize = 5;
/// The same, when nothing is known of what it is about.
const ALL_HOPS: usize = 9;
/// Steps that are faults.
const FAULTS: usize = 5;
/// Steps of a run without a failure.
const DISTURBANCES: usize = 20;
/// Characters of a text within a sentence.
const TEXT: usize = 72;
/// Tags of a step that are told.
const TAGS: usize = 3;
/// Bytes of a tag that is told: longer ones are for machines.
const TAG: usize = 32;

/// One sentence of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The entry that it tells; `None` if the recording has none.
    pub entry: Option<EntryId>,
    /// When.
    pub at: SimTime,
    /// Who, such as `broker-2/wal`.
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
        write!(f, "{} {mark} {}: {}", self.at, self.who, self.words)
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
    let last = |is: &dyn Fn(&Entry) -> bool| recording.entries.iter().rposition(is);
    let found = last(&|entry| is_in(entry) && is_whose(entry) && entry.kind == EntryKind::Input)
        .or_else(|| last(&|entry| is_in(entry) && is_whose(entry)))
        .or_else(|| last(&|entry| is_in(entry) && entry.kind == EntryKind::Input))
        .or_else(|| last(&|entry| entry.at <= failure.at));
    found.and_then(|place| u32::try_from(place).ok()).map(EntryId)
}

struct Story<'a> {
    recording: &'a Recording,
}

/// Entries about one thing, each with the tags that say so.
type About = BTreeMap<EntryId, Vec<Tag>>;

/// Entries by their event: the input (or note, or fault) with the effect that matters for the story.
type Picked = BTreeMap<EntryId, Option<EntryId>>;

impl Story<'_> {
    fn of_failure(&self, failure: &Failure) -> Vec<Step> {
        let Some(end) = failing_entry(self.recording, failure) else { return vec![violated(failure, None)] };
        let mut about = self.what_it_is_about(failure, end);
        about.split_off(&end);
        let mut picked = Picked::new();
        for entry in milestones(self.recording, &about) {
            self.pick(&mut picked, entry);
        }
        let hops = if picked.is_empty() { ALL_HOPS } else { HOPS };
        for entry in self.last_hops(end, hops) {
            self.pick(&mut picked, entry);
        }
        let from = picked.keys().next().copied().unwrap_or(end);
        for entry in self.faults_between(from, end, &about) {
            self.pick(&mut picked, entry);
        }
        picked.remove(&self.node(end));
        self.find_effects(&mut picked, &about);
        let mut steps: Vec<Step> = picked.into_iter().map(|(node, effect)| self.step(node, effect, &about)).collect();
        steps.push(violated(failure, Some(end)));
        steps
    }

    fn of_disturbances(&self) -> Vec<Step> {
        let is_disturbance = |entry: &Entry| {
            let is_of = |lane: &Lane| &*lane.owner == "nemesis" || is_grave(entry, lane);
            entry.kind == EntryKind::Fault && lane_of(self.recording, entry).is_some_and(is_of)
        };
        let all = self.entries().filter(|(_, entry)| is_disturbance(entry));
        all.take(DISTURBANCES).map(|(id, _)| self.step(id, None, &About::new())).collect()
    }

    /// The entries about what the failure's message names, or else about what its entry does.
    fn what_it_is_about(&self, failure: &Failure, end: EntryId) -> About {
        let named = named_in(&failure.message, self.recording);
        let of_entry = || {
            let tags = self.entry(end).map_or(&[][..], |entry| &entry.tags);
            Tag::groups(tags).find(|group| group.len() > 1).into_iter().flatten().map(pair).collect()
        };
        let mut wants: Vec<(&str, String)> = if named.is_empty() { of_entry() } else { named };
        // If nothing is about all of it, something may be about the first of it.
        while !wants.is_empty() {
            let query: Vec<String> = wants.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let found = query.join(",").parse::<Query>().map(|query| follow(self.recording, &query).entries);
            match found {
                Ok(found) if !found.is_empty() => return found,
                _ => drop(wants.pop()),
            }
        }
        About::new()
    }

    /// The last causes, and the first of all.
    fn last_hops(&self, end: EntryId, most: usize) -> Vec<EntryId> {
        let mut nodes = vec![];
        let mut next = self.entry(end).and_then(|entry| entry.cause);
        while let Some(id) = next {
            nodes.push(id);
            next = self.entry(id).and_then(|entry| entry.cause).filter(|cause| *cause < id);
        }
        nodes.retain(|id| self.entry(*id).is_some_and(|entry| entry.kind != EntryKind::Input) || self.node(*id) == *id);
        let birth = nodes.last().copied();
        let mut seen = BTreeSet::new();
        let mut hops: Vec<EntryId> = Vec::new();
        for id in nodes {
            if seen.len() < most || seen.contains(&self.node(id)) {
                seen.insert(self.node(id));
                hops.push(id);
            }
        }
        hops.extend(birth);
        hops
    }

    /// What was done meanwhile: first of all to those concerned, then whatever ended or stopped a process.
    fn faults_between(&self, from: EntryId, end: EntryId, about: &About) -> Vec<EntryId> {
        let is_between = |id: EntryId| from < id && id < end;
        let faults = || self.entries().filter(|(id, entry)| is_between(*id) && entry.kind == EntryKind::Fault);
        let is_grave = |entry: &Entry| lane_of(self.recording, entry).is_some_and(|lane| is_grave(entry, lane));
        let rank = |(id, entry): &(EntryId, &Entry)| (is_grave(entry), about.contains_key(id), *id);
        let mut ranked: Vec<(EntryId, &Entry)> =
            faults().filter(|(id, entry)| about.contains_key(id) || is_grave(entry)).collect();
        ranked.sort_by_key(rank);
        ranked.iter().rev().take(FAULTS).map(|(id, _)| *id).collect()
    }

    /// Adds an entry; an effect as part of its input's step.
    fn pick(&self, picked: &mut Picked, id: EntryId) {
        let node = self.node(id);
        let effect = picked.entry(node).or_default();
        if node != id {
            *effect = Some(id);
        }
    }

    /// Gives each input the effect that caused another step, or else one that is about the same.
    fn find_effects(&self, picked: &mut Picked, about: &About) {
        let cause_of = |node: &EntryId| self.entry(*node).and_then(|entry| entry.cause);
        let causes: BTreeSet<EntryId> = picked.keys().filter_map(cause_of).collect();
        for (node, effect) in picked.iter_mut() {
            let event = self.entry(*node).map(|entry| entry.event);
            let later = self.entries().skip(node.0 as usize + 1);
            let same_event = later.take_while(|(_, entry)| Some(entry.event) == event).map(|(id, _)| id);
            let parts: Vec<EntryId> = same_event.filter(|id| self.node(*id) == *node).collect();
            let first = |is: &dyn Fn(&EntryId) -> bool| parts.iter().copied().find(|part| is(part));
            *effect =
                first(&|part| causes.contains(part)).or(*effect).or_else(|| first(&|part| about.contains_key(part)));
        }
    }

    /// The input of which an effect is part.
    fn node(&self, id: EntryId) -> EntryId {
        let of = |entry: &Entry| {
            let cause = entry.cause.filter(|cause| *cause < id)?;
            let input = self.entry(cause)?;
            let is_part = entry.kind == EntryKind::Effect && input.event == entry.event && input.lane == entry.lane;
            is_part.then(|| self.node(cause))
        };
        self.entry(id).and_then(of).unwrap_or(id)
    }

    fn step(&self, node: EntryId, effect: Option<EntryId>, about: &About) -> Step {
        let Some(entry) = self.entry(node) else { unreachable!("only entries of the recording are picked") };
        let what = headline(unquoted(&entry.text), TEXT);
        let then = effect.and_then(|effect| self.entry(effect)).map(|effect| headline(&effect.text, TEXT));
        let is_fault = entry.kind == EntryKind::Fault;
        let words = match (entry.kind, then) {
            (EntryKind::Note | EntryKind::Fault, _) => what,
            (EntryKind::Effect, _) => format!("wants {what}"),
            (EntryKind::Input, None) => self.taken(entry, &what),
            (EntryKind::Input, Some(then)) => format!("{}, and wants {then}", self.taken(entry, &what)),
        };
        let tags =
            [Some(node), effect].into_iter().flatten().filter_map(|id| about.get(&id)).find(|tags| !tags.is_empty());
        let tags = tags.into_iter().flatten().map(ToString::to_string);
        let tags: Vec<String> = tags.filter(|tag| tag.len() <= TAG).take(TAGS).collect();
        let words = if tags.is_empty() { words } else { format!("{words} ({})", tags.join(", ")) };
        let kind = if is_fault { StepKind::Fault } else { StepKind::Step };
        Step { entry: Some(node), at: entry.at, who: self.who(entry), words, kind }
    }

    /// How an input came.
    fn taken(&self, entry: &Entry, what: &str) -> String {
        let cause = entry.cause.and_then(|cause| self.entry(cause));
        match cause {
            Some(cause) if cause.lane != entry.lane => format!("takes {what} from {}", self.who(cause)),
            Some(_) => format!("hears {what}"),
            None => format!("takes {what}"),
        }
    }

    fn who(&self, entry: &Entry) -> String {
        lane_of(self.recording, entry).map_or_else(String::new, name)
    }

    fn entry(&self, EntryId(id): EntryId) -> Option<&Entry> {
        self.recording.entries.get(id as usize)
    }

    fn entries(&self) -> impl Iterator<Item = (EntryId, &Entry)> {
        (0..).map(EntryId).zip(&self.recording.entries)
    }
}

/// The birth, and where each kind of owner of each process had it first: of many, the first and the last.
fn milestones(recording: &Recording, about: &About) -> Vec<EntryId> {
    let mut seen = BTreeSet::new();
    let mut firsts: Vec<EntryId> = Vec::new();
    for id in about.keys() {
        let Some(entry) = recording.entries.get(id.0 as usize) else { continue };
        let Some(lane) = lane_of(recording, entry) else { continue };
        if matches!(entry.kind, EntryKind::Input | EntryKind::Effect) && seen.insert((&lane.process, stem(&lane.owner)))
        {
            firsts.push(*id);
        }
    }
    if firsts.len() > MILESTONES {
        firsts.drain(MILESTONES / 2 + 1..firsts.len() - MILESTONES / 2);
    }
    firsts
}

/// Whether it hit a whole process.
fn is_grave(entry: &Entry, lane: &Lane) -> bool {
    entry.kind == EntryKind::Fault && &*lane.owner == "process"
}

fn violated(failure: &Failure, entry: Option<EntryId>) -> Step {
    let Failure { invariant, process, component, message, at, .. } = failure;
    let who = if process.is_empty() { component.clone() } else { format!("{process}/{component}") };
    Step { entry, at: *at, who, words: format!("{invariant} is violated: {message}"), kind: StepKind::Failure }
}

fn lane_of<'a>(recording: &'a Recording, entry: &Entry) -> Option<&'a Lane> {
    recording.lanes.get(entry.lane.0 as usize)
}

fn name(lane: &Lane) -> String {
    if *lane.owner == *stem(&lane.process) || lane.owner == lane.process {
        return lane.process.to_string();
    }
    format!("{}/{}", lane.process, lane.owner)
}

/// `session-12` is a `session`.
fn stem(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-')
}

fn pair(tag: &Tag) -> (&'static str, String) {
    match &tag.value {
        TagValue::Name(name) => (tag.key, name.to_string()),
        TagValue::Range(from, _) => (tag.key, from.to_string()),
    }
}

/// A Debug text of a string, as the string.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}
