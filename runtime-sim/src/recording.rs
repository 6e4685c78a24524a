//! What a run leaves for people, when it is asked to record: every event with its cause, as data.
//!
//! ```text
//!   entry 41  event 17  broker-1/shard   effect  Wal(Append ..)           cause: entry 40, the input of event 17
//!   entry 52  event 21  broker-1/wal     input   Mail(Append ..)          cause: entry 41, the effect that sent it
//!   entry 53  event 21  broker-1/wal     effect  Disk(Write ..)           cause: entry 52
//!   entry 60  event 26  broker-1/wal     input   Disk(Done ..)            cause: entry 53, the operation that it ends
//! ```
//! Entries, lanes, samples and bands are in the order of time. Following causes upwards ends at an entry without one: a
//! timer, the beginning, or a disturbance. Recording changes nothing of the run: its hash is the same.

pub mod words;

use crate::failure::Failure;
use crate::time::SimTime;
use core::fmt;
use std::sync::Arc;

/// Whether a run is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Record {
    /// It is not, which costs nothing.
    #[default]
    Nothing,
    /// From its beginning.
    Everything,
}

/// A whole run, or its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Everybody who did something, in order of appearance. [`Lane`]s are named by their place here.
    pub lanes: Vec<Lane>,
    /// Everything that happened.
    pub entries: Vec<Entry>,
    /// Curves below the picture: how numbers of the system grew.
    pub samples: Vec<Sample>,
    /// Epochs and terms: what was in force, from when to when.
    pub bands: Vec<Band>,
    /// What ended the run, if something did.
    pub failure: Option<Failure>,
}

/// A place in [`Recording::lanes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// A place in [`Recording::entries`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u32);

impl Recording {
    /// The cause of an entry: of several the one that has most in common with `of`, which the entry caused; the newest of
    /// those. So whoever goes from an answer back to its request does not end up at another one that came at once.
    #[must_use]
    pub fn cause_for(&self, id: EntryId, of: EntryId) -> Option<EntryId> {
        self.cause_among(id, of, |_| true)
    }

    /// The same, of those causes only.
    pub(crate) fn cause_among(&self, id: EntryId, of: EntryId, is_such: impl Fn(EntryId) -> bool) -> Option<EntryId> {
        let entry = |EntryId(id): EntryId| self.entries.get(id as usize);
        let tags = entry(of).map_or(&[][..], |of| &of.tags);
        let alike = |id: &EntryId| entry(*id).map_or(0, |one| one.tags.iter().filter(|tag| tags.contains(tag)).count());
        entry(id)?.causes().filter(|cause| is_such(*cause)).max_by_key(alike)
    }
}

impl Entry {
    /// Everything that caused it, oldest first.
    pub fn causes(&self) -> impl Iterator<Item = EntryId> {
        self.besides.iter().copied().chain(self.cause)
    }
}

/// Somebody who does things: an owner of a machine, a model, or the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The process: `broker-2`, `client-1`; `world` for what belongs to none.
    pub process: Arc<str>,
    /// The owner: `shard`, `session-4`, `disk`, `store`, `nemesis`.
    pub owner: Arc<str>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event's number, from 1. An input and the effects that it caused share one.
    pub event: u64,
    /// When.
    pub at: SimTime,
    /// Who.
    pub lane: LaneId,
    /// What kind of thing.
    pub kind: EntryKind,
    /// What, as it says of itself: its Debug text, cut where it gets long.
    pub text: String,
    /// The same as the rest of a sentence about the lane, such as `gets 2 durable batches from the wal`; `None` where
    /// nobody has words for it.
    pub words: Option<String>,
    /// Why.
    pub cause: Option<EntryId>,
    /// Why else, oldest first: whoever reads bytes of several sends at once does so because of each of them. The newest
    /// of all is `cause`.
    pub besides: Vec<EntryId>,
    /// What it is about.
    pub tags: Vec<Tag>,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A machine took an input.
    Input,
    /// A machine wanted something done.
    Effect,
    /// The world did something that is no fault.
    Note,
    /// A fault fired, or a disturbance began.
    Fault,
}

/// What an entry is about: a partition, a range of offsets, an object, a connection, a request.
///
/// An entry may be about several things, see [`Tag::groups`]: `stream=7 partition=orders-3 offset=15..20 stream=8
/// offset=3..4` names six records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Of what sort, such as `partition`, `offset`, `object`, `lsn`, `connection`, `request`.
    pub key: &'static str,
    /// Which one.
    pub value: TagValue,
}

/// Which one, or which ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagValue {
    /// By name.
    Name(Arc<str>),
    /// By number: from the first up to, and without, the second.
    Range(u64, u64),
}

/// A point of a curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What it is a number of, such as `orders-3`. Curves of one subject are drawn together.
    pub subject: Arc<str>,
    /// Which number, such as `durable`.
    pub curve: &'static str,
    /// From when on it holds.
    pub at: SimTime,
    /// The number.
    pub value: u64,
}

/// Something that was in force for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// Of what process or subject.
    pub subject: Arc<str>,
    /// What, such as `node epoch 3` or `term 2`.
    pub label: String,
    /// Since when.
    pub from: SimTime,
    /// Until when; `None` if it held at the end.
    pub to: Option<SimTime>,
}

impl Lane {
    /// As sentences call it: `broker-2's shard`, `client-1`, `the store`.
    #[must_use]
    pub fn title(&self) -> String {
        let Self { process, owner } = self;
        let is_alone = &**owner == "process" || owner == process || **owner == *kind_of(process);
        match &**process {
            "world" => format!("the {owner}"),
            _ if is_alone => process.to_string(),
            _ => format!("{process}'s {owner}"),
        }
    }

    /// The same, as somebody of that process says: its shard is `the shard`, its fourth session is `session-4`.
    #[must_use]
    pub fn title_within(&self, process: &str) -> String {
        if *self.process != *process {
            return self.title();
        }
        let is_numbered = self.owner.ends_with(|c: char| c.is_ascii_digit());
        if is_numbered { self.owner.to_string() } else { format!("the {}", self.owner) }
    }
}

/// `session-12` is a `session`.
pub(crate) fn kind_of(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-')
}

impl Tag {
    /// The keys that begin the next thing in an entry's tags; what precedes the first of them is about the whole entry.
    /// A partition directly behind a stream or an id is the same thing.
    pub const SUBJECTS: [&'static str; 4] = ["connection", "stream", "partition-id", "partition"];

    /// The key whose numbers are those of one process, and which the other end of a connection has to name as well: a
    /// recording has them as names with the process in front, such as `connection=broker-1/3`.
    pub const OF_PROCESS: &'static str = "connection";

    /// What one end of a connection calls a request while it has it in hand, and the key of the name that both ends
    /// know. A group of tags that has both tells the name: from then on it is recorded wherever the first is.
    pub const NUMBERED: (&'static str, &'static str) = ("number", "request");

    /// The key whose values mean something to one owner only.
    pub const OF_OWNER: &'static str = "op";

    /// The things that an entry is about: the tags of each.
    pub fn groups(tags: &[Self]) -> impl Iterator<Item = &[Self]> {
        tags.chunk_by(|before, tag| {
            let is_alias = ["stream", "partition-id"].contains(&before.key) && tag.key == "partition";
            is_alias || !Self::SUBJECTS.contains(&tag.key)
        })
    }

    /// For a sentence: `offset 17`, `offsets 15 to 19`, and a partition's name alone.
    #[must_use]
    pub fn in_words(&self) -> String {
        let key = match self.key {
            "lsn" => "LSN".into(),
            "upto-lsn" => "up to LSN".into(),
            "below-lsn" => "below LSN".into(),
            key => key.replace('-', " "),
        };
        match &self.value {
            TagValue::Name(name) if self.key == "partition" => name.to_string(),
            TagValue::Name(name) => format!("{key} {name}"),
            TagValue::Range(from, to) if *to <= from.saturating_add(1) => format!("{key} {from}"),
            TagValue::Range(from, to) if ["lsn", "bytes"].contains(&self.key) => format!("{key} {from} to {}", to - 1),
            TagValue::Range(from, to) => format!("{key}s {from} to {}", to - 1),
        }
    }

    /// By name.
    #[must_use]
    pub fn name(key: &'static str, name: impl Into<Arc<str>>) -> Self {
        Self { key, value: TagValue::Name(name.into()) }
    }

    /// By number.
    #[must_use]
    pub const fn number(key: &'static str, number: u64) -> Self {
        Self { key, value: TagValue::Range(number, number.saturating_add(1)) }
    }

    /// From a number up to, and without, another.
    #[must_use]
    pub const fn range(key: &'static str, from: u64, to: u64) -> Self {
        Self { key, value: TagValue::Range(from, to) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            TagValue::Name(name) => write!(f, "{}={name}", self.key),
            TagValue::Range(from, to) if *to == from.saturating_add(1) => write!(f, "{}={from}", self.key),
            TagValue::Range(from, to) => write!(f, "{}={from}..{to}", self.key),
        }
    }
}

/// Something that can say what it is about, and what it is. Asked only while a run is recorded.
pub trait Describe {
    /// Adds its tags.
    fn describe(&self, about: &mut About) {
        let _ = about;
    }

    /// What it is in words, for a person who has not read the code: the rest of a sentence about whom it happens to, or
    /// who does it, such as `gets 2 durable batches⟨sender⟩`. It may have places that are filled when the run is over,
    /// see [`words`]. Without words its Debug text must do.
    fn words(&self) -> Option<String> {
        None
    }
}

/// A number is about nothing: for the machines of tests and examples.
impl Describe for u64 {}

/// What is told in words already.
impl Describe for &str {
    fn words(&self) -> Option<String> {
        Some((*self).to_owned())
    }
}

/// The tags of an entry, as they gather.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About(pub Vec<Tag>);

impl About {
    /// It is about the one of that name.
    pub fn name(&mut self, key: &'static str, name: impl Into<Arc<str>>) -> &mut Self {
        self.0.push(Tag::name(key, name));
        self
    }

    /// It is about the one of that number.
    pub fn number(&mut self, key: &'static str, number: u64) -> &mut Self {
        self.0.push(Tag::number(key, number));
        self
    }

    /// It is about those from one number up to, and without, another.
    pub fn range(&mut self, key: &'static str, from: u64, to: u64) -> &mut Self {
        self.0.push(Tag::range(key, from, to));
        self
    }

    /// It is about all that this one is about.
    pub fn of(&mut self, other: &impl Describe) -> &mut Self {
        other.describe(self);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_grouped_by_what_they_are_about() {
        let all = [
            Tag::number("cut", 4),
            Tag::number("stream", 7),
            Tag::name("partition", "orders-3"),
            Tag::range("offset", 15, 20),
            Tag::number("stream", 8),
            Tag::range("offset", 3, 4),
            Tag::name("partition", "logs-0"),
        ];
        let groups: Vec<String> = Tag::groups(&all)
            .map(|group| group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            groups,
            ["cut=4", "stream=7 partition=orders-3 offset=15..20", "stream=8 offset=3", "partition=logs-0"]
        );
        assert_eq!(Tag::groups(&[]).count(), 0);
    }
}
