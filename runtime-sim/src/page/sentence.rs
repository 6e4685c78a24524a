//! A step as a sentence: what somebody got, and what came of it.

use super::chain::OF_FEW;
use crate::debug_text::headline;
use crate::recording::{Entry, EntryKind, Recording, Tag, TagValue};

/// Characters of a Debug text within a sentence.
const TEXT: usize = 72;
/// Tags of a step that are told.
const TAGS: usize = 3;
/// Bytes of a tag that is told: longer ones are for machines.
const TAG: usize = 32;

/// What happened, and what of its effects matters, without the name of whom it happened to.
pub(super) fn sentence(recording: &Recording, entry: &Entry, effects: &[&Entry]) -> String {
    let mut sentence = first(recording, entry);
    for (n, effect) in effects.iter().enumerate() {
        sentence.push_str(if n + 1 == effects.len() { ", and " } else { ", " });
        match &effect.words {
            Some(words) => sentence.push_str(words),
            None => sentence.push_str(&format!("wants {}", headline(&effect.text, TEXT))),
        }
    }
    sentence
}

fn first(recording: &Recording, entry: &Entry) -> String {
    let cause = entry.cause.and_then(|cause| recording.entries.get(cause.0 as usize));
    let Some(words) = &entry.words else { return of_text(recording, entry, cause) };
    // Why a fault happened: somebody asked for what it hit, or the world says why.
    let why = cause.filter(|cause| entry.kind == EntryKind::Fault && cause.kind != EntryKind::Input);
    let why = why.and_then(|cause| Some((recording.lanes.get(cause.lane.0 as usize)?, cause.words.as_ref()?)));
    why.map_or_else(|| words.clone(), |(lane, why)| format!("{words}, as {} {why}", lane.title()))
}

/// What has no words says what it says of itself.
fn of_text(recording: &Recording, entry: &Entry, cause: Option<&Entry>) -> String {
    let what = headline(unquoted(&entry.text), TEXT);
    let sender = cause.filter(|cause| cause.lane != entry.lane);
    match (entry.kind, sender.and_then(|sender| recording.lanes.get(sender.lane.0 as usize))) {
        (EntryKind::Note | EntryKind::Fault, _) => what,
        (EntryKind::Effect, _) => format!("wants {what}"),
        (EntryKind::Input, Some(lane)) => format!("takes {what} from {}", lane.title()),
        (EntryKind::Input, None) if cause.is_some() => format!("hears {what}"),
        (EntryKind::Input, None) => format!("takes {what}"),
    }
}

/// A Debug text of a string, as the string.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// The tags by which the story's subject was recognised, in parentheses; without what the sentence says already.
pub(super) fn which_of(tags: &[Tag], sentence: &str) -> String {
    let has_alias = |at: usize| {
        let is_id = ["stream", "partition-id", "topic-id"].contains(&tags[at].key);
        is_id && tags.get(at + 1).is_some_and(|next| matches!(next.value, TagValue::Name(_)))
    };
    let is_told = |at: &usize| !has_alias(*at) && !OF_FEW.contains(&tags[*at].key);
    let told = (0..tags.len()).filter(is_told).map(|at| tags[at].in_words());
    let sentence = sentence.to_lowercase();
    let told = told.filter(|tag| tag.len() <= TAG && !sentence.contains(&tag.to_lowercase()));
    let all: Vec<String> = told.take(TAGS).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}
