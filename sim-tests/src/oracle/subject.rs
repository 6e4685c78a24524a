//! What a violation is about, by the tags with which recordings name it.

use super::{Place, WriteId};
use karst_runtime_sim::recording::Tag;

/// A record, of a partition by its name.
pub(super) fn record(partition: &str, offset: i64) -> Vec<Tag> {
    vec![Tag::name("partition", partition), Tag::number("offset", u64::try_from(offset).unwrap_or(0))]
}

/// A write to a partition of that name.
pub(super) fn write(partition: &str, id: WriteId) -> Vec<Tag> {
    vec![Tag::name("partition", partition), Tag::number("write", id.0)]
}

/// A partition, with all that happens to it.
pub(crate) fn partition(place: &Place) -> Vec<Tag> {
    vec![Tag::name("partition", place.to_string())]
}

/// A topic: what is asked for it, and of it.
pub(super) fn topic(name: &str) -> Vec<Tag> {
    vec![Tag::name("topic", name)]
}

/// A consumer group.
pub(crate) fn group(name: &str) -> Vec<Tag> {
    vec![Tag::name("group", name)]
}
