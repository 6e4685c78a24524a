//! Pieces of sentences that many owners need.

use crate::recording::Tag;
use crate::recording::words::name_of;
use karst_core::id::{Offset, StreamId};

/// So many of a list are told.
const MOST: usize = 3;

/// `1 batch`, `3 batches`.
pub(super) fn count(number: usize, one: &str) -> String {
    let many = match one {
        _ if number == 1 => one.to_owned(),
        _ if one.ends_with("ch") => format!("{one}es"),
        _ => match one.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{one}s"),
        },
    };
    format!("{number} {many}")
}

/// The first of them, and how many follow.
pub(super) fn list(all: impl IntoIterator<Item = String>) -> String {
    let mut all = all.into_iter();
    let first: Vec<String> = all.by_ref().take(MOST).collect();
    let more = all.count();
    let first = first.join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// The same behind a colon; nothing of an empty list.
pub(super) fn listed(all: impl IntoIterator<Item = String>) -> String {
    let list = list(all);
    if list.is_empty() { list } else { format!(": {list}") }
}

/// Records of a stream, up to and without `end`.
pub(super) fn records(stream: StreamId, start: Offset, end: Offset) -> String {
    format!("{} {}", stream_name(stream), range("offset", start.0, end.0))
}

/// A stream by its partition's name, if it has one.
pub(super) fn stream_name(stream: StreamId) -> String {
    name_of(&Tag::number("stream", stream.0))
}

/// `offset 15`, `offsets 15 to 19`: up to and without `end`.
pub(super) fn range(one: &str, start: u64, end: u64) -> String {
    match end.checked_sub(start) {
        Some(2..) => format!("{one}s {start} to {}", end - 1),
        _ => format!("{one} {start}"),
    }
}
