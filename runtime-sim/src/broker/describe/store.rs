//! The bucket.

use crate::recording::{About, Describe};
use crate::store::{Applied, Change};
use bytes::Bytes;
use karst_core::data_object::{self, Footer, Index};
use karst_core::id::{ClusterId, ObjectId};
use karst_core::store::{Key, Span, StoreCall, StoreOp};

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
}

fn put(key: &Key, body: &Bytes, about: &mut About) {
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
