//! Follows one thing through a recording: a record, an object, a connection, a request.
//!
//! ```text
//!   query ──► entries whose tags match ──► other names of the same thing, from what matches ──► more entries
//!                     │                    (offset: batch, block of an object, LSN, cut; batch: write, request)
//!                     ├── causes, upwards, until they are about something else: the birth, and who asked
//!                     ├── completions, faults and kills below
//!                     └── what became of it
//! ```
//! It knows tags and how their keys belong together, see [`crate::broker::describe`], and nothing else of the system.

mod fate;
mod line;
mod things;

#[cfg(test)]
mod tests;

pub use line::line;

use crate::recording::{Entry, EntryId, EntryKind, Recording, Tag, TagValue};
use core::fmt;
use core::str::FromStr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use things::Things;

/// What to follow: `partition=orders-3,offset=17`. A key `process` confines it to one process; the connection of a process,
/// `process=broker-1,connection=3`, is also called `connection=broker-1/3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    process: Option<Arc<str>>,
    wants: Vec<Want>,
}

/// One pair of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Want {
    key: String,
    value: TagValue,
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoQuery(String);

impl fmt::Display for NoQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not KEY=VALUE[,KEY=VALUE...], such as partition=orders-3,offset=17", self.0)
    }
}

impl FromStr for Query {
    type Err = NoQuery;

    fn from_str(text: &str) -> Result<Self, NoQuery> {
        let mut query = Self { process: None, wants: Vec::new() };
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or(NoQuery(text.into()))?;
            match (key, value.parse()) {
                ("process", _) => query.process = Some(value.into()),
                (_, Ok(number)) => {
                    let value = TagValue::Range(number, number.saturating_add(1));
                    query.wants.push(Want { key: key.into(), value });
                }
                (_, Err(_)) => query.wants.push(Want { key: key.into(), value: TagValue::Name(value.into()) }),
            }
        }
        query.name_connection();
        if query.wants.is_empty() { Err(NoQuery(text.into())) } else { Ok(query) }
    }
}

impl Query {
    /// What it asks for, but for the process.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.wants.iter().map(|want| want.key.as_str())
    }

    /// Both ends of a connection call it by the process that numbers it.
    fn name_connection(&mut self) {
        let of_process = self.wants.iter_mut().find(|want| want.key == Tag::OF_PROCESS);
        if let Some(Want { value, .. }) = of_process
            && let (Some(process), TagValue::Range(number, _)) = (&self.process, &*value)
        {
            *value = TagValue::Name(format!("{process}/{number}").into());
            self.process = None;
        }
    }
}

/// The story of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// What it is about, in order: each entry with the tags by which it was recognised, if it was by tags.
    pub entries: BTreeMap<EntryId, Vec<Tag>>,
    /// What became of it, one sentence each.
    pub fate: Vec<String>,
}

/// Follows a thing.
#[must_use]
pub fn follow(recording: &Recording, query: &Query) -> Followed {
    let mut search = Search { recording, things: Things::of(query), found: BTreeMap::new() };
    search.match_until_nothing_is_new();
    let matched: Vec<EntryId> = search.found.keys().copied().collect();
    let read: Vec<EntryId> = matched.iter().copied().filter(|id| search.climb(*id)).collect();
    if !read.is_empty() {
        // Who asked for what was read has a name now.
        search.match_until_nothing_is_new();
    }
    search.descend(&matched);
    search.add_kills();
    let fate = fate::fate(recording, &search.things, search.found.keys().copied());
    Followed { entries: search.found, fate }
}

struct Search<'a> {
    recording: &'a Recording,
    things: Things,
    found: BTreeMap<EntryId, Vec<Tag>>,
}

impl Search<'_> {
    /// Finds all entries that name the thing, by whatever name; an entry may tell another name.
    fn match_until_nothing_is_new(&mut self) {
        loop {
            let known = self.things.len();
            for (id, entry) in entries(self.recording) {
                let process = &self.recording.lanes[entry.lane.0 as usize].process;
                let tags = self.things.recognise(process, entry);
                if !tags.is_empty() {
                    self.found.insert(id, tags);
                }
            }
            if self.things.len() == known {
                return;
            }
        }
    }

    /// Adds why an entry is there, as long as that is not about something else. Returns whether a name was learned.
    fn climb(&mut self, from: EntryId) -> bool {
        let known = self.things.len();
        let birth = self.found.first_key_value().filter(|_| self.things.is_born());
        let birth = birth.map(|(id, _)| entry(self.recording, *id).event);
        let (mut of, mut next) = (from, self.cause(from, from));
        let mut inputs_left = u32::MAX;
        let is_asked = self.things.names_request(entry(self.recording, from));
        while let Some(id) = next.filter(|id| Some(entry(self.recording, *id).event) >= birth) {
            let entry = entry(self.recording, id);
            let process = &self.recording.lanes[entry.lane.0 as usize].process;
            if self.things.is_foreign(process, entry) {
                break;
            }
            next = self.cause(id, of);
            of = id;
            // Behind a request's first name are the bytes that held it, and why they were sent; what led its client to
            // that is another story, and so is a request that had to be answered before this one was looked at.
            if (is_asked || inputs_left < u32::MAX) && self.things.is_another_request(process, entry) {
                break;
            }
            self.found.entry(id).or_default();
            // What its client had heard when it began is another story.
            if birth == Some(entry.event) {
                break;
            }
            if self.things.learn_who_asked(process, entry) {
                inputs_left = 2;
            } else if entry.kind == EntryKind::Input {
                inputs_left -= 1;
            }
            if inputs_left == 0 {
                break;
            }
        }
        self.things.len() > known
    }

    /// The cause of an entry that caused `of`: where bytes of several sends came at once, none that is about something else.
    fn cause(&self, id: EntryId, of: EntryId) -> Option<EntryId> {
        let is_its = |cause: EntryId| {
            let entry = entry(self.recording, cause);
            let process = &self.recording.lanes[entry.lane.0 as usize].process;
            !self.things.is_foreign(process, entry) && !self.things.is_another_request(process, entry)
        };
        match &entry(self.recording, id).besides[..] {
            [] => entry(self.recording, id).cause,
            _ => self.recording.cause_among(id, of, is_its),
        }
    }

    /// Adds what ended the operations that are about it, and the faults that hit whatever is part of the story.
    fn descend(&mut self, matched: &[EntryId]) {
        let matched: BTreeSet<EntryId> = matched.iter().copied().collect();
        for (id, entry) in entries(self.recording) {
            let mut causes = entry.causes().filter(|cause| self.found.contains_key(cause)).peekable();
            if causes.peek().is_none() {
                continue;
            }
            let is_of_it = match entry.kind {
                EntryKind::Fault => true,
                EntryKind::Input | EntryKind::Note => causes.any(|cause| matched.contains(&cause)),
                EntryKind::Effect => false,
            };
            let process = &self.recording.lanes[entry.lane.0 as usize].process;
            if is_of_it && !self.things.is_foreign(process, entry) {
                self.found.entry(id).or_default();
            }
        }
    }

    /// Adds the ends of the processes that had something to do with it, as long as its story goes on.
    fn add_kills(&mut self) {
        let Some((last, _)) = self.found.last_key_value().map(|(id, tags)| (*id, tags)) else { return };
        let mut concerned = BTreeSet::new();
        let mut kills = Vec::new();
        for (id, entry) in entries(self.recording).take_while(|(id, _)| *id < last) {
            let lane = &self.recording.lanes[entry.lane.0 as usize];
            if self.found.get(&id).is_some_and(|tags| !tags.is_empty()) {
                concerned.insert(&lane.process);
            }
            if &*lane.owner == "process" && entry.kind == EntryKind::Fault && concerned.contains(&lane.process) {
                kills.push(id);
            }
        }
        for id in kills {
            self.found.entry(id).or_default();
        }
    }
}

impl Followed {
    /// The story in lines, see [`line()`]; then what became of it.
    #[must_use]
    pub fn lines(&self, recording: &Recording) -> Vec<String> {
        let mut lines: Vec<String> =
            self.entries.iter().map(|(id, tags)| line(recording, entry(recording, *id), tags)).collect();
        lines.extend(self.fate.iter().map(|end| format!("   ending {end}")));
        lines
    }
}

fn entries(recording: &Recording) -> impl Iterator<Item = (EntryId, &Entry)> {
    (0..).map(EntryId).zip(&recording.entries)
}

fn entry(recording: &Recording, id: EntryId) -> &Entry {
    &recording.entries[id.0 as usize]
}
