//! A recording as data for the page: columns, each an array of small numbers, and every string once.
//!
//! ```text
//!   strings   ["client-1", "Start", ..]            everything below names a string by its place
//!   lanes     [[process, owner], ..]
//!   tags      [[key, name, low, high], ..]         each different tag once; a range is from low up to, without, high
//!   entries   event, at    what is added to the entry's before
//!             kind         a digit each: 0 input, 1 effect, 2 note, 3 fault
//!             back         how many entries before this one its cause is; 0 is none
//!             besides      [[entry, how many before it another cause is, ..], ..]: where there are several
//!             tags, tag    how many tags each has, and all of them in a row
//!             text, words  what it says of itself, and the same in words; as text if nobody has words for it
//!   samples   subject, curve, at (added), value
//!   bands     [[subject, label, from, to or null], ..]
//!   failure, steps, head   what is told in words
//! ```
//! Of a long recording only the end is encoded, and the story before it: causes that are left out are none; lanes without
//! entries are left out, too. Where its texts are too much for a browser to
//! open at once, all are cut to one length; words are not.

use super::chain::{Step, StepKind};
use super::{Heading, json};
use crate::failure::Failure;
use crate::recording::{Entry, EntryId, EntryKind, LaneId, Recording, Sample, Tag, TagValue};
use crate::time::SimTime;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes that all texts together may have, unless each is short: what a browser decodes within a second or so.
const TEXTS: usize = 12 << 20;

/// Where texts are cut, if they must be. Most are shorter than the last.
const CUTS: [usize; 5] = [2_000, 1_000, 600, 400, 300];

/// Encodes a recording from its entry number `first` on, and before that what the story tells.
pub(super) fn encode(recording: &Recording, heading: &Heading, story: &[Step], first: usize) -> String {
    let kept = kept(recording, story, first);
    let entries: Vec<&Entry> = kept.iter().map(|EntryId(id)| &recording.entries[*id as usize]).collect();
    let lanes: BTreeSet<LaneId> = entries.iter().map(|entry| entry.lane).collect();
    let cut = cut_for(&entries);
    let texts: Vec<Cow<'_, str>> = entries.iter().map(|entry| shortened(&entry.text, cut)).collect();
    let lanes: Vec<LaneId> = lanes.into_iter().collect();
    let mut data =
        Data { recording, entries: &entries, kept: &kept, lanes: &lanes, texts: &texts, strings: Strings::default() };
    let parts = [
        ("lanes", data.lanes()),
        ("entries", data.columns()),
        ("samples", data.samples()),
        ("bands", data.bands()),
        ("failure", data.failure()),
        ("steps", data.steps(story)),
        ("head", data.head(heading)),
        // Last, since the others add to them.
        ("tags", data.strings.tags()),
        ("strings", data.strings.strings()),
    ];
    let mut out = String::with_capacity(parts.iter().map(|(_, part)| part.len() + 16).sum());
    for (n, (name, part)) in parts.iter().enumerate() {
        out.push(if n == 0 { '{' } else { ',' });
        json::string(&mut out, name);
        out.push(':');
        out.push_str(part);
    }
    out.push('}');
    out
}

struct Data<'a> {
    recording: &'a Recording,
    entries: &'a [&'a Entry],
    /// Which entries of the recording these are, and which of its lanes have one; ascending.
    kept: &'a [EntryId],
    lanes: &'a [LaneId],
    /// What each says of itself.
    texts: &'a [Cow<'a, str>],
    strings: Strings<'a>,
}

/// What is shown: all from `first` on, and each step of the story before with the effects of its event.
fn kept(recording: &Recording, story: &[Step], first: usize) -> Vec<EntryId> {
    let total = recording.entries.len();
    let first = first.min(total);
    let early = story.iter().filter_map(|step| step.entry).map(|EntryId(id)| id as usize).filter(|id| *id < first);
    let parts = early.flat_map(|id| {
        let event = recording.entries[id].event;
        (id..first).take_while(move |part| recording.entries[*part].event == event)
    });
    let early: BTreeSet<usize> = parts.collect();
    let id = |place| EntryId(u32::try_from(place).expect("a run has far fewer than 2^32 entries"));
    early.into_iter().chain(first..total).map(id).collect()
}

/// The longest of the cuts with which all texts are few enough.
fn cut_for(entries: &[&Entry]) -> usize {
    let texts: BTreeSet<&str> = entries.iter().map(|entry| entry.text.as_str()).collect();
    let fits = |cut: &usize| texts.iter().map(|text| text.len().min(*cut)).sum::<usize>() <= TEXTS;
    CUTS.into_iter().find(fits).unwrap_or(CUTS[CUTS.len() - 1])
}

fn shortened(text: &str, cut: usize) -> Cow<'_, str> {
    if text.len() <= cut + '…'.len_utf8() {
        return text.into();
    }
    format!("{}…", &text[..text.floor_char_boundary(cut)]).into()
}

impl<'a> Data<'a> {
    fn lanes(&mut self) -> String {
        written(|out| {
            json::array(out, self.lanes, |out, LaneId(lane)| {
                let lane = &self.recording.lanes[*lane as usize];
                json::numbers(out, [self.strings.id(&lane.process), self.strings.id(&lane.owner)]);
            });
        })
    }

    fn columns(&mut self) -> String {
        let Self { entries, kept, lanes, texts, strings, .. } = self;
        let (entries, texts): (&'a [&'a Entry], _) = (entries, *texts);
        let digits: String = entries.iter().map(|entry| digit(entry.kind)).collect();
        let before = |n: usize, cause: EntryId| {
            let cause = kept.binary_search(&cause).ok();
            cause.and_then(|cause| n.checked_sub(cause)).map_or(0, |back| back as u64)
        };
        let back = |(n, entry): (usize, &&Entry)| entry.cause.map_or(0, |cause| before(n, cause));
        let besides = entries.iter().enumerate().filter(|(_, entry)| !entry.besides.is_empty()).map(|(n, entry)| {
            let others = entry.besides.iter().map(|cause| before(n, *cause)).filter(|back| *back > 0);
            [n as u64].into_iter().chain(others).collect::<Vec<u64>>()
        });
        let besides: Vec<Vec<u64>> = besides.filter(|one| one.len() > 1).collect();
        let lane = |entry: &&Entry| lanes.binary_search(&entry.lane).map_or(0, |lane| lane as u64);
        written(|out| {
            json::object(
                out,
                &mut [
                    ("event", &mut |out| json::numbers(out, added(entries.iter().map(|entry| entry.event)))),
                    ("at", &mut |out| json::numbers(out, added(entries.iter().map(|entry| entry.at.0)))),
                    ("lane", &mut |out| json::numbers(out, entries.iter().map(lane))),
                    ("kind", &mut |out| json::string(out, &digits)),
                    ("back", &mut |out| json::numbers(out, entries.iter().enumerate().map(back))),
                    ("besides", &mut |out| {
                        json::array(out, &besides, |out, one| json::numbers(out, one.iter().copied()));
                    }),
                    ("tags", &mut |out| json::numbers(out, entries.iter().map(|entry| entry.tags.len() as u64))),
                ],
            );
            // These share the table of strings, which closures at once can't.
            out.pop();
            out.push_str(",\"text\":");
            json::numbers(out, texts.iter().map(|text| strings.id(text)));
            out.push_str(",\"words\":");
            let words = entries.iter().zip(texts).map(|(entry, text)| entry.words.as_deref().unwrap_or(text));
            json::numbers(out, words.map(|words| strings.id(words)));
            out.push_str(",\"tag\":");
            json::numbers(out, entries.iter().flat_map(|entry| &entry.tags).map(|tag| strings.tag(tag)));
            out.push('}');
        })
    }

    fn samples(&mut self) -> String {
        let kept = self.kept_samples();
        let strings = &mut self.strings;
        let subjects: Vec<u64> = kept.iter().map(|(_, sample)| strings.id(&sample.subject)).collect();
        let curves: Vec<u64> = kept.iter().map(|(_, sample)| strings.id(sample.curve)).collect();
        written(|out| {
            json::object(
                out,
                &mut [
                    ("subject", &mut |out| json::numbers(out, subjects.iter().copied())),
                    ("curve", &mut |out| json::numbers(out, curves.iter().copied())),
                    ("at", &mut |out| json::numbers(out, added(kept.iter().map(|(at, _)| at.0)))),
                    ("value", &mut |out| json::numbers(out, kept.iter().map(|(_, sample)| sample.value))),
                ],
            );
        })
    }

    /// Those of the time that is shown, and what each curve was when it begins.
    fn kept_samples(&self) -> Vec<(SimTime, &'a Sample)> {
        let begin = if self.left_out() == 0 {
            SimTime::ZERO
        } else {
            self.entries.first().map_or(SimTime::ZERO, |entry| entry.at)
        };
        let (before, within): (Vec<&Sample>, Vec<&Sample>) =
            self.recording.samples.iter().partition(|sample| sample.at < begin);
        let last: BTreeMap<(&str, &str), &Sample> =
            before.into_iter().map(|sample| ((&*sample.subject, sample.curve), sample)).collect();
        let earlier = last.into_values().map(|sample| (begin, sample));
        earlier.chain(within.into_iter().map(|sample| (sample.at, sample))).collect()
    }

    fn bands(&mut self) -> String {
        written(|out| {
            json::array(out, &self.recording.bands, |out, band| {
                out.push('[');
                for part in [self.strings.id(&band.subject), self.strings.id(&band.label), band.from.0] {
                    json::number(out, part);
                    out.push(',');
                }
                optional(out, band.to.map(|to| to.0));
                out.push(']');
            });
        })
    }

    fn failure(&self) -> String {
        let Some(failure) = &self.recording.failure else { return "null".into() };
        let Failure { invariant, process, component, message, site, at, event, .. } = failure;
        let entry = super::chain::failing_entry(self.recording, failure).and_then(|entry| self.place(entry));
        written(|out| {
            json::object(
                out,
                &mut [
                    ("invariant", &mut |out| json::string(out, invariant)),
                    ("process", &mut |out| json::string(out, process)),
                    ("component", &mut |out| json::string(out, component)),
                    ("message", &mut |out| json::string(out, message)),
                    ("site", &mut |out| match site {
                        Some(site) => json::string(out, site),
                        None => out.push_str("null"),
                    }),
                    ("at", &mut |out| json::number(out, at.0)),
                    ("event", &mut |out| json::number(out, *event)),
                    ("entry", &mut |out| optional(out, entry)),
                ],
            );
        })
    }

    fn steps(&self, story: &[Step]) -> String {
        written(|out| {
            json::array(out, story, |out, step| {
                let entry = step.entry.and_then(|entry| self.place(entry));
                let kind = match step.kind {
                    StepKind::Step => "step",
                    StepKind::Fault => "fault",
                    StepKind::Failure => "failure",
                };
                json::object(
                    out,
                    &mut [
                        ("entry", &mut |out| optional(out, entry)),
                        ("at", &mut |out| json::number(out, step.at.0)),
                        ("who", &mut |out| json::string(out, &step.who)),
                        ("words", &mut |out| json::string(out, &step.words)),
                        ("kind", &mut |out| json::string(out, kind)),
                    ],
                );
            });
        })
    }

    fn head(&self, heading: &Heading) -> String {
        let Heading { title, hash, events, at, plan, command, glossary } = heading;
        // What a model records after the last input belongs to the picture, too.
        let end = self.entries.last().map_or(*at, |last| last.at.max(*at));
        written(|out| {
            json::object(
                out,
                &mut [
                    ("title", &mut |out| json::string(out, title)),
                    ("hash", &mut |out| json::string(out, &format!("{hash:016x}"))),
                    ("events", &mut |out| json::number(out, *events)),
                    ("at", &mut |out| json::number(out, end.0)),
                    ("leftOut", &mut |out| json::number(out, self.left_out() as u64)),
                    ("plan", &mut |out| json::string(out, plan)),
                    ("command", &mut |out| json::string(out, command)),
                    ("glossary", &mut |out| {
                        json::array(out, glossary, |out, (term, meaning)| {
                            json::array(out, [term, meaning], |out, text| json::string(out, text));
                        });
                    }),
                ],
            );
        })
    }

    /// Where an entry is in the page, if it is.
    fn place(&self, entry: EntryId) -> Option<u64> {
        self.kept.binary_search(&entry).ok().map(|place| place as u64)
    }

    fn left_out(&self) -> usize {
        self.recording.entries.len() - self.kept.len()
    }
}

/// Strings and tags, each once.
#[derive(Default)]
struct Strings<'a> {
    ids: BTreeMap<&'a str, u64>,
    texts: Vec<&'a str>,
    tag_ids: BTreeMap<&'a Tag, u64>,
    all_tags: Vec<&'a Tag>,
}

impl<'a> Strings<'a> {
    fn id(&mut self, text: &'a str) -> u64 {
        *self.ids.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() as u64 - 1
        })
    }

    fn tag(&mut self, tag: &'a Tag) -> u64 {
        *self.tag_ids.entry(tag).or_insert_with(|| {
            self.all_tags.push(tag);
            self.all_tags.len() as u64 - 1
        })
    }

    fn tags(&mut self) -> String {
        let all = core::mem::take(&mut self.all_tags);
        written(|out| {
            json::array(out, all, |out, tag| {
                let (name, low, high): (Option<&'a Arc<str>>, _, _) = match &tag.value {
                    TagValue::Name(name) => (Some(name), None, None),
                    TagValue::Range(low, high) => (None, Some(*low), Some(*high)),
                };
                let name = name.map(|name| self.id(name));
                json::array(out, [Some(self.id(tag.key)), name, low, high], optional);
            });
        })
    }

    fn strings(&self) -> String {
        written(|out| json::array(out, &self.texts, |out, text| json::string(out, text)))
    }
}

fn digit(kind: EntryKind) -> char {
    match kind {
        EntryKind::Input => '0',
        EntryKind::Effect => '1',
        EntryKind::Note => '2',
        EntryKind::Fault => '3',
    }
}

/// What each adds to the one before. They never go back: entries are in the order of time.
fn added(values: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    let mut before = 0;
    values.map(move |value| {
        let added = value.saturating_sub(before);
        before = before.max(value);
        added
    })
}

fn optional(out: &mut String, number: Option<u64>) {
    match number {
        Some(number) => json::number(out, number),
        None => out.push_str("null"),
    }
}

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}
