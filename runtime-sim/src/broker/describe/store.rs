//! The bucket.

use super::phrases::{count, listed, records};
use crate::recording::words::ASKED;
use crate::recording::{About, Describe};
use crate::store::{Applied, Change, Timeliness};
use bytes::Bytes;
use karst_core::data_object::{self, Footer, Index};
use karst_core::id::{ClusterId, ObjectId};
use karst_core::store::{Key, Precondition, Span, StoreCall, StoreDone, StoreOp, StoreResult};
use karst_core::wal::object::format::{self as wal_object, Content};

impl Describe for StoreCall {
    fn describe(&self, about: &mut About) {
        match &self.op {
            StoreOp::Put { key, body, .. } => put(key, &body.to_bytes(), about),
            StoreOp::Get { key, span } => {
                let Some(id) = data_object::parse_key(key) else { return };
                about.number("object", id.0);
                match span {
                    Span::Whole => about.range("bytes", 0, u64::MAX),
                    Span::Range { at, len } => about.range("bytes", *at, at.saturating_add(*len)),
                    Span::Last { len } => about.number("last", *len),
                };
            }
            StoreOp::Delete { key } => deleted(key, about),
            StoreOp::List { .. } => {}
        }
    }
}

impl Describe for Applied {
    fn describe(&self, about: &mut About) {
        match &self.change {
            Change::Put { key, body, .. } => put(key, body, about),
            Change::Deleted { key } => deleted(key, about),
        }
    }

    /// Of the store.
    fn words(&self) -> Option<String> {
        let late = if self.when == Timeliness::Late { ", late: whoever asked had given up waiting" } else { "" };
        Some(match &self.change {
            Change::Put { key, body, .. } => {
                format!("stores {}{late}{}", name(key), held(key, body))
            }
            Change::Deleted { key } => format!("deletes {}{late}", name(key)),
        })
    }
}

/// What somebody wants of the store.
pub(super) fn asks_the_store(StoreCall { op, .. }: &StoreCall) -> String {
    match op {
        StoreOp::Put { key, body, only_if: Precondition::Absent } => {
            format!("asks the store to write {}, which must not be there yet{}", name(key), held(key, &body.to_bytes()))
        }
        StoreOp::Put { key, body, only_if: Precondition::Is(_) } => {
            format!("asks the store to replace {}, unless somebody else did{}", name(key), held(key, &body.to_bytes()))
        }
        StoreOp::Get { key, span } => match span {
            Span::Whole => format!("asks the store to read {}", name(key)),
            Span::Range { at, len } => format!("asks the store to read {len} bytes of {} from {at} on", name(key)),
            Span::Last { len } => format!("asks the store to read the last {len} bytes of {}", name(key)),
        },
        StoreOp::Delete { key } => format!("asks the store to delete {}", name(key)),
        StoreOp::List { prefix, after: None, .. } => format!("asks the store to list what begins with {prefix}"),
        StoreOp::List { prefix, after: Some(after), .. } => {
            format!("asks the store to list what begins with {prefix} and follows {after}")
        }
    }
}

/// What somebody hears of it.
pub(super) fn outcome(result: &StoreResult) -> String {
    match result {
        Ok(StoreDone::Put { .. } | StoreDone::Deleted) => format!("hears \"done\" to its wish{ASKED}"),
        Ok(StoreDone::Got { body, total, .. }) => {
            format!("gets {} of {total} bytes to its wish{ASKED}", body.len())
        }
        Ok(StoreDone::Listed { found, more }) => {
            let rest = if *more { " of more" } else { "" };
            format!("gets {}{rest} to its wish{ASKED}", count(found.len(), "name"))
        }
        Err(error) => format!("hears \"{error}\" to its wish{ASKED}"),
    }
}

/// An object as people call it.
fn name(key: &Key) -> String {
    if let Some(id) = data_object::parse_key(key) {
        return format!("object {}", id.0);
    }
    if let Some((node, epoch, seq)) = wal_object::parse_key(key) {
        return format!("object {seq} of the log of node {node}, epoch {epoch}");
    }
    let numbered = |prefix| Some(u64::from_str_radix(key.0.strip_prefix(prefix)?.split('-').nth(1)?, 16));
    match (&*key.0, numbered("meta/segment/"), numbered("meta/snapshot/")) {
        ("meta/head", ..) => "the head of the metadata log".into(),
        (_, Some(Ok(last)), _) => format!("the segment of the metadata log up to entry {last}"),
        (_, _, Some(Ok(last))) => format!("the snapshot of the metadata at entry {last}"),
        _ => key.0.clone(),
    }
}

/// What is in a data object, or in one of the log.
fn held(key: &Key, body: &Bytes) -> String {
    match wal_object::parse_key(key).map(|_| wal_object::read(body)) {
        Some(Ok((.., Content::Records(all)))) => {
            return listed(all.iter().map(|batch| records(batch.stream, batch.base, batch.end)));
        }
        Some(Ok((.., Content::Seal(by)))) => return format!(", the seal of node epoch {by}"),
        Some(Err(_)) | None => {}
    }
    let index = data_object::parse_key(key).and_then(|id| index(id, body));
    let blocks = index.iter().flat_map(Index::entries);
    listed(blocks.map(|block| records(block.stream, block.start, block.end)))
}

fn put(key: &Key, body: &Bytes, about: &mut About) {
    if let Some(Ok((.., seq, Content::Records(all)))) = wal_object::parse_key(key).map(|_| wal_object::read(body)) {
        about.range("lsn", seq.0, seq.0 + 1);
        for batch in &all {
            batch.describe(about);
            about.range("lsn", seq.0, seq.0 + 1);
        }
        return;
    }
    let Some(id) = data_object::parse_key(key) else { return };
    about.number("object", id.0);
    for block in index(id, body).iter().flat_map(Index::entries) {
        about.number("stream", block.stream.0).range("offset", block.start.0, block.end.0);
        about.number("object", id.0).range("bytes", block.at, block.at + u64::from(block.len));
    }
}

fn deleted(key: &Key, about: &mut About) {
    if let Some(id) = data_object::parse_key(key) {
        about.number("object", id.0);
    }
}

/// What an object holds, if it is whole; the footer says whose it is 24 bytes before its end.
fn index(id: ObjectId, body: &Bytes) -> Option<Index> {
    let cluster = ClusterId(*body.last_chunk::<24>()?.first_chunk()?);
    let footer = Footer::decode(cluster, id, body.len() as u64, body).ok()?;
    Index::decode(id, &footer, &footer.index_in(0, body)?).ok()
}
