//! What became of what was followed.

use super::things::Things;
use super::{entries, entry};
use crate::recording::{Entry, EntryId, EntryKind, Recording, TagValue};
use std::collections::BTreeSet;

/// What became of it, a sentence for each place in which it was.
pub(super) fn fate(recording: &Recording, things: &Things, found: impl Iterator<Item = EntryId>) -> Vec<String> {
    let found: BTreeSet<EntryId> = found.collect();
    let Some(first) = found.first() else { return vec!["nothing names it".into()] };
    let mut fate = Vec::new();
    fate.extend(in_log(recording, things));
    fate.extend(in_objects(recording, things));
    fate.extend(for_readers(recording, things));
    let end = recording.entries.last().map_or(0, |last| last.event);
    let last = found.last().unwrap_or(first);
    fate.push(format!("it was last heard of in event {} of {end}", entry(recording, *last).event));
    fate
}

fn in_log<'a>(recording: &'a Recording, things: &'a Things) -> impl Iterator<Item = String> + 'a {
    things.values("lsn").filter_map(move |(process, lsn)| {
        let (process, TagValue::Range(from, to)) = (process?, lsn) else { return None };
        let trims = |entry: &&Entry| {
            let is_there = recording.lanes[entry.lane.0 as usize].process == *process && entry.kind == EntryKind::Input;
            is_there && number(entry, "below-lsn").is_some_and(|below| below >= *to)
        };
        let trimmed = recording.entries.iter().find(trims);
        Some(match trimmed {
            Some(entry) => format!("LSN {from}..{to} of {process}: committed and trimmed in event {}", entry.event),
            None => format!("LSN {from}..{to} of {process}: still in its log at its end"),
        })
    })
}

fn in_objects<'a>(recording: &'a Recording, things: &'a Things) -> impl Iterator<Item = String> + 'a {
    let objects: BTreeSet<u64> = things.values("object").filter_map(|(_, value)| first(value)).collect();
    objects.into_iter().map(move |object| {
        let gone = recording.entries.iter().rev().find(|entry| {
            entry.kind == EntryKind::Note && number(entry, "object") == Some(object) && entry.text.contains("deleted")
        });
        match gone {
            Some(entry) => format!("object {object}: deleted from the bucket in event {}", entry.event),
            None => format!("object {object}: still in the bucket"),
        }
    })
}

fn for_readers<'a>(recording: &'a Recording, things: &'a Things) -> impl Iterator<Item = String> + 'a {
    let partition = things.values("partition").find_map(|(_, value)| match value {
        TagValue::Name(name) => Some(name.clone()),
        TagValue::Range(..) => None,
    });
    let offset = things.values("offset").find_map(|(_, value)| first(value));
    partition.into_iter().map(move |partition| {
        let topic = partition.rsplit_once('-').map_or(&*partition, |(topic, _)| topic);
        let deleted = entries(recording).find(|(_, entry)| {
            entry.kind == EntryKind::Input
                && entry.tags.iter().any(|tag| tag.key == "deleted-topic" && tag.value == TagValue::Name(topic.into()))
        });
        let trimmed = entries(recording).find(|(_, entry)| {
            let below = crate::recording::Tag::groups(&entry.tags).any(|group| {
                let is_its = |tag: &crate::recording::Tag| tag.value == TagValue::Name(partition.clone());
                let reaches = |tag: &crate::recording::Tag| {
                    tag.key == "below-offset" && offset.is_some_and(|offset| first(&tag.value) > Some(offset))
                };
                group.iter().any(is_its) && group.iter().any(reaches)
            });
            entry.kind == EntryKind::Input && below
        });
        match (deleted, trimmed) {
            (Some((_, entry)), _) => format!("{partition}: deleted with its topic, from event {} on", entry.event),
            (None, Some((_, entry))) => format!("{partition}: below the log start from event {} on", entry.event),
            (None, None) => format!("{partition}: not deleted"),
        }
    })
}

/// The number that an entry has under this key.
fn number(entry: &Entry, key: &str) -> Option<u64> {
    entry.tags.iter().filter(|tag| tag.key == key).find_map(|tag| first(&tag.value))
}

const fn first(value: &TagValue) -> Option<u64> {
    match value {
        TagValue::Range(from, _) => Some(*from),
        TagValue::Name(_) => None,
    }
}
