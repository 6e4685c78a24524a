//! The names of what is followed, and how one is learned from another.

use super::{Query, Want};
use crate::recording::{Entry, Tag, TagValue};
use std::sync::Arc;

/// Names of one thing.
#[derive(Debug)]
pub(super) struct Things(Vec<Thing>);

/// One name: all of these tags together, perhaps within one process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thing {
    kind: Kind,
    origin: Origin,
    process: Option<Arc<str>>,
    wants: Vec<Want>,
}

/// What sort of name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Record,
    Batch,
    Write,
    Request,
    Object,
    /// Part of an object.
    Block,
    Lsn,
    Cut,
    Other,
}

/// Where a name is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Asked,
    Learned,
}

/// A name that an entry may tell: of this kind, by these keys, valid in one process only or everywhere.
struct Rule {
    kind: Kind,
    keys: &'static [&'static str],
    scope: Scope,
}

#[derive(Clone, Copy)]
enum Scope {
    Process,
    World,
}

const BATCH: Rule = Rule { kind: Kind::Batch, keys: &["partition", "batch"], scope: Scope::World };
const RECORD: Rule = Rule { kind: Kind::Record, keys: &["partition", "offset"], scope: Scope::World };
const WRITE: Rule = Rule { kind: Kind::Write, keys: &["partition", "write"], scope: Scope::World };
const BLOCK: Rule = Rule { kind: Kind::Block, keys: &["object", "bytes"], scope: Scope::World };
const OBJECT: Rule = Rule { kind: Kind::Object, keys: &["object"], scope: Scope::World };
const LSN: Rule = Rule { kind: Kind::Lsn, keys: &["lsn"], scope: Scope::Process };
const CUT: Rule = Rule { kind: Kind::Cut, keys: &["cut"], scope: Scope::Process };
const RECOVERY_CUT: Rule = Rule { kind: Kind::Cut, keys: &["recovery-cut"], scope: Scope::Process };
const REQUEST: Rule = Rule { kind: Kind::Request, keys: &["connection", "request"], scope: Scope::World };

impl Kind {
    /// What a name of this kind tells from the same group of tags. Narrow names tell wide ones, never the reverse: an
    /// object holds many records, and none of them is what its follower asked for.
    fn told(self, origin: Origin) -> &'static [Rule] {
        match (self, origin) {
            (Self::Record, Origin::Asked) => &[BATCH, BLOCK, OBJECT, LSN, CUT, RECOVERY_CUT],
            (Self::Record, Origin::Learned) => &[BLOCK, OBJECT, LSN, CUT, RECOVERY_CUT],
            (Self::Batch, Origin::Asked) => &[RECORD, WRITE],
            (Self::Batch, Origin::Learned) => &[WRITE],
            (Self::Write, Origin::Asked) => &[BATCH, WRITE],
            (Self::Object, Origin::Asked) => &[CUT],
            _ => &[],
        }
    }

    /// Whether an entry that names it is part of the story. The others only tell names, or how it ended.
    const fn is_followed(self) -> bool {
        !matches!(self, Self::Object | Self::Lsn)
    }
}

impl Things {
    pub(super) fn of(query: &Query) -> Self {
        let has = |keys: &[&str]| keys.iter().all(|key| query.wants.iter().any(|want| want.key == *key));
        let kind = match () {
            () if has(&["offset"]) => Kind::Record,
            () if has(&["batch"]) => Kind::Batch,
            () if has(&["write"]) => Kind::Write,
            () if has(&["connection", "request"]) => Kind::Request,
            () if has(&["object"]) => Kind::Object,
            () => Kind::Other,
        };
        let Query { process, wants } = query.clone();
        Self(vec![Thing { kind, origin: Origin::Asked, process, wants }])
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The tags of an entry that are about what is followed; other names of it are learned.
    pub(super) fn recognise(&mut self, process: &Arc<str>, entry: &Entry) -> Vec<Tag> {
        let (mut asked, mut by_others): (Vec<Tag>, Vec<Tag>) = (Vec::new(), Vec::new());
        let mut learned = Vec::new();
        for (group, section) in sections(&entry.tags).flat_map(|part| Tag::groups(part).map(move |group| (group, part)))
        {
            for thing in self.0.iter().filter(|thing| thing.is_in(process, group)) {
                if thing.origin == Origin::Asked {
                    add_new(&mut asked, group);
                } else if thing.kind.is_followed() {
                    add_new(&mut by_others, group);
                }
                learned.extend(thing.kind.told(thing.origin).iter().filter_map(|rule| rule.name(process, group)));
                // A request and its batches are different things of one entry.
                let beside = match (thing.kind, thing.origin) {
                    (Kind::Batch, _) => REQUEST,
                    (Kind::Request, Origin::Asked) => BATCH,
                    _ => continue,
                };
                learned.extend(Tag::groups(section).filter_map(|group| beside.name(process, group)));
            }
        }
        learned.into_iter().for_each(|thing| self.add(thing));
        // What is about many things says most by the part that was asked for.
        if asked.is_empty() { by_others } else { asked }
    }

    /// Whether it is something that clients make: it has no history before its name first appears.
    pub(super) fn is_born(&self) -> bool {
        matches!(self.0[0].kind, Kind::Record | Kind::Batch | Kind::Write)
    }

    /// A request that leads to it is part of the story. Returns whether the entry names one. Of several that came at once
    /// nobody knows which it was, unless it is known already.
    pub(super) fn learn_who_asked(&mut self, process: &Arc<str>, entry: &Entry) -> bool {
        let mut asked: Vec<Thing> = Tag::groups(&entry.tags).filter_map(|group| REQUEST.name(process, group)).collect();
        asked.dedup();
        match asked.len() {
            0 => false,
            1 => {
                asked.into_iter().for_each(|thing| self.add(thing));
                true
            }
            _ => asked.iter().any(|thing| self.knows(thing)),
        }
    }

    /// Whether an entry names a request that is known, or nothing but one request is followed.
    pub(super) fn names_request(&self, entry: &Entry) -> bool {
        if self.0[0].kind == Kind::Request {
            return true;
        }
        let mut requests = self.0.iter().filter(|thing| thing.kind == Kind::Request);
        requests.any(|thing| Tag::groups(&entry.tags).any(|group| thing.has_all_in(group)))
    }

    /// Whether an entry names requests, and none that is known.
    pub(super) fn is_another_request(&self, process: &Arc<str>, entry: &Entry) -> bool {
        let mut named = Tag::groups(&entry.tags).filter(|group| REQUEST.name(process, group).is_some()).peekable();
        let is_known =
            |group: &[Tag]| self.0.iter().any(|thing| thing.kind == Kind::Request && thing.is_in(process, group));
        named.peek().is_some() && !named.any(is_known)
    }

    /// Whether an entry is about something else: it names things of the kinds that are followed, and none of these.
    pub(super) fn is_foreign(&self, process: &Arc<str>, entry: &Entry) -> bool {
        const TELLING: [&str; 10] = [
            "offset",
            "from",
            "batch",
            "object",
            "cut",
            "recovery-cut",
            "lsn",
            "upto-lsn",
            "below-lsn",
            "below-offset",
        ];
        let mut groups =
            Tag::groups(&entry.tags).filter(|group| group.iter().any(|tag| TELLING.contains(&tag.key))).peekable();
        groups.peek().is_some() && !groups.any(|group| self.fits(process, group))
    }

    /// Everything that this thing's names say, of that key.
    pub(super) fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (Option<&'a Arc<str>>, &'a TagValue)> {
        self.0.iter().flat_map(move |thing| {
            let wants = thing.wants.iter().filter(move |want| want.key == key);
            wants.map(|want| (thing.process.as_ref(), &want.value))
        })
    }

    /// Whether each tag of a group, as far as names of that sort are known, is one of them.
    fn fits(&self, process: &Arc<str>, group: &[Tag]) -> bool {
        group.iter().all(|tag| match tag.key {
            "object" | "cut" | "recovery-cut" | "lsn" => self.names(process, tag),
            "partition" | "offset" | "batch" => self.names(process, tag) || self.values(tag.key).next().is_none(),
            "upto-lsn" | "below-lsn" | "below-offset" => false,
            _ => true,
        })
    }

    /// Whether a tag is part of one of these names.
    fn names(&self, process: &Arc<str>, tag: &Tag) -> bool {
        self.0.iter().any(|thing| thing.holds_in(process) && thing.wants.iter().any(|want| want.is(tag)))
    }

    fn add(&mut self, thing: Thing) {
        if !self.knows(&thing) {
            self.0.push(thing);
        }
    }

    fn knows(&self, thing: &Thing) -> bool {
        self.0.iter().any(|known| (&known.process, &known.wants) == (&thing.process, &thing.wants))
    }
}

/// An entry may be about several requests: the tags of each, which begin with its connection, and what precedes them.
fn sections(tags: &[Tag]) -> impl Iterator<Item = &[Tag]> {
    tags.chunk_by(|_, tag| tag.key != Tag::OF_PROCESS)
}

/// Adds the tags of a group, but for the number of an operation, that are not there yet.
fn add_new(tags: &mut Vec<Tag>, group: &[Tag]) {
    for tag in group.iter().filter(|tag| tag.key != "op") {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
}

impl Thing {
    fn holds_in(&self, process: &Arc<str>) -> bool {
        self.process.as_ref().is_none_or(|only| only == process)
    }

    fn is_in(&self, process: &Arc<str>, group: &[Tag]) -> bool {
        self.holds_in(process) && self.has_all_in(group)
    }

    fn has_all_in(&self, group: &[Tag]) -> bool {
        self.wants.iter().all(|want| group.iter().any(|tag| want.is(tag)))
    }
}

impl Want {
    pub(super) fn is(&self, tag: &Tag) -> bool {
        self.key == tag.key
            && match (&self.value, &tag.value) {
                (TagValue::Name(one), TagValue::Name(other)) => one == other,
                (TagValue::Range(from, to), TagValue::Range(first, end)) => from < end && first < to,
                // A name may be all digits.
                (TagValue::Range(from, _), TagValue::Name(name)) => name.parse() == Ok(*from),
                (TagValue::Name(_), TagValue::Range(..)) => false,
            }
    }
}

impl Rule {
    /// The name in a group, if the group has all of it.
    fn name(&self, process: &Arc<str>, group: &[Tag]) -> Option<Thing> {
        let tag = |key: &&str| group.iter().find(|tag| tag.key == *key);
        let wants =
            self.keys.iter().map(|key| tag(key).map(|tag| Want { key: tag.key.to_owned(), value: tag.value.clone() }));
        let process = match self.scope {
            Scope::Process => Some(process.clone()),
            Scope::World => None,
        };
        Some(Thing { kind: self.kind, origin: Origin::Learned, process, wants: wants.collect::<Option<_>>()? })
    }
}
