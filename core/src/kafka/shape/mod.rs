//! Whether a request's bytes have the shape of one, told before they are decoded.
//!
//! kafka-protocol's decoder allocates as many elements as a count on the wire says, so that eight bytes can end the
//! process. [`check`] therefore walks over the body first, by a table of shapes: it allocates nothing, believes a count
//! only if the rest of the frame can hold so many of the smallest such elements, adds up what decoding will allocate,
//! and must end exactly at the last byte. It goes no deeper than the tables nest.

mod tables;

use super::Api;
use super::reader::{Fault, Malformed, Prefix, Reader};
use kafka_protocol::protocol::Decodable;

/// Decoded, a request takes at most so many times its length ...
const FACTOR: usize = 8;
/// ... and so many bytes more: a short name takes ten times its length, and a request for some 16,000 topics with names
/// of five letters is one that people send.
const SMALL: usize = 256 << 10;

/// What a struct looks like on the wire.
#[derive(Debug)]
struct Shape {
    fields: &'static [Field],
}

/// One field of a struct.
#[derive(Debug)]
struct Field {
    name: &'static str,
    kind: Kind,
    /// First and last version that have it.
    versions: (i16, i16),
    place: Place,
}

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In its order among the others.
    InOrder,
    /// Among the tagged fields at the end of a flexible struct, if at all.
    Tagged(u32),
}

/// A field's type.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// So many bytes: numbers, booleans, UUIDs.
    Fixed(usize),
    /// A string.
    Text,
    /// A string or null.
    NullableText,
    /// Bytes.
    Bytes,
    /// Record batches or null.
    Records,
    /// A struct, which ends with tagged fields where the version is flexible.
    Struct(&'static Shape),
    /// A struct behind a byte that says 1, or another such byte alone.
    NullableStruct(&'static Shape),
    /// An array.
    Array(&'static Element),
    /// An array or null.
    NullableArray(&'static Element),
}

/// What an array is of.
#[derive(Debug)]
struct Element {
    /// Bytes that one takes in memory.
    size: usize,
    kind: Kind,
}

/// Walks over the body of a request that is about to be decoded. Returns how many bytes are left behind it: Kafka ignores
/// them, and librdkafka 2.16 sends some with Metadata version 13.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn check(api: Api, version: i16, body: &[u8]) -> Result<usize, Malformed> {
    walk(api, version, body).map(|walk| walk.reader.left())
}

/// Decodes a body. `check` has passed, so that what the decoder allocates is bounded.
///
/// # Errors
/// When it is not a request all the same, such as text that is not UTF-8.
pub(super) fn decode<R: Decodable>(version: i16, body: &bytes::Bytes) -> Result<R, Malformed> {
    let mut left = body.clone();
    R::decode(&mut left, version).ok().ok_or(Malformed { field: "the request", fault: Fault::Content })
}

fn walk(api: Api, version: i16, body: &[u8]) -> Result<Walk<'_>, Malformed> {
    let mut walk = Walk {
        reader: Reader::new(body),
        version,
        flexible: api.is_flexible(version),
        allowance: allowance(body.len()),
    };
    walk.fields(tables::of(api))?;
    Ok(walk)
}

/// Bytes that decoding a body of that length may allocate.
const fn allowance(length: usize) -> usize {
    length.saturating_mul(FACTOR).saturating_add(SMALL)
}

struct Walk<'a> {
    reader: Reader<'a>,
    version: i16,
    flexible: bool,
    /// Bytes that decoding may still allocate.
    allowance: usize,
}

impl Walk<'_> {
    fn fields(&mut self, shape: &'static Shape) -> Result<(), Malformed> {
        for field in shape.fields {
            if field.place == Place::InOrder && field.is_in(self.version) {
                self.value(field.name, field.kind)?;
            }
        }
        if self.flexible { self.tags(shape) } else { Ok(()) }
    }

    fn value(&mut self, name: &'static str, kind: Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(len) => self.reader.bytes(name, len).map(|_| ()),
            Kind::Text | Kind::Bytes => match self.reader.sized(name, self.prefix(kind))? {
                Some(_) => Ok(()),
                None => Err(Malformed { field: name, fault: Fault::Length(-1) }),
            },
            Kind::NullableText | Kind::Records => self.reader.sized(name, self.prefix(kind)).map(|_| ()),
            Kind::Struct(shape) => self.fields(shape),
            // The decoder takes anything but 1 for null.
            Kind::NullableStruct(shape) if self.reader.bytes(name, 1)? == [1] => self.fields(shape),
            Kind::NullableStruct(_) => Ok(()),
            Kind::Array(element) => match self.reader.length(name, self.prefix(kind))? {
                Some(count) => self.elements(name, count, element),
                None => Err(Malformed { field: name, fault: Fault::Length(-1) }),
            },
            Kind::NullableArray(element) => match self.reader.length(name, self.prefix(kind))? {
                Some(count) => self.elements(name, count, element),
                None => Ok(()),
            },
        }
    }

    fn elements(&mut self, name: &'static str, count: u32, element: &'static Element) -> Result<(), Malformed> {
        let least = self.least(element.kind).max(1);
        if u64::from(count) * least as u64 > self.reader.left() as u64 {
            return Err(Malformed { field: name, fault: Fault::Count(count) });
        }
        // Below the frame's length, so it fits.
        let count = count as usize;
        self.charge(name, count.saturating_mul(element.size))?;
        for _ in 0..count {
            self.value(name, element.kind)?;
        }
        Ok(())
    }

    /// The tagged fields that end a flexible struct.
    fn tags(&mut self, shape: &'static Shape) -> Result<(), Malformed> {
        const TAGS: &str = "tagged fields";
        let count = self.reader.varint(TAGS)?;
        // A tag and a length, at least.
        if u64::from(count) * 2 > self.reader.left() as u64 {
            return Err(Malformed { field: TAGS, fault: Fault::Count(count) });
        }
        self.charge(TAGS, unknown_tags_size(count as usize))?;
        for _ in 0..count {
            let tag = self.reader.varint(TAGS)?;
            let len = self.reader.varint(TAGS)? as usize;
            match shape.fields.iter().find(|field| field.place == Place::Tagged(tag)) {
                // The decoder believes the type and not the length, so they must agree.
                Some(field) if field.is_in(self.version) => {
                    let before = self.reader.left();
                    self.value(field.name, field.kind)?;
                    if before - self.reader.left() != len {
                        return Err(Malformed { field: field.name, fault: Fault::Tag(tag) });
                    }
                }
                Some(field) => return Err(Malformed { field: field.name, fault: Fault::Tag(tag) }),
                None => {
                    self.reader.bytes(TAGS, len)?;
                }
            }
        }
        Ok(())
    }

    fn charge(&mut self, name: &'static str, bytes: usize) -> Result<(), Malformed> {
        let left = self.allowance.checked_sub(bytes);
        self.allowance = left.ok_or(Malformed { field: name, fault: Fault::Memory })?;
        Ok(())
    }

    /// How the length or count of this kind is written.
    fn prefix(&self, kind: Kind) -> Prefix {
        match kind {
            _ if self.flexible => Prefix::Compact,
            Kind::Text | Kind::NullableText => Prefix::Two,
            _ => Prefix::Four,
        }
    }

    /// The fewest bytes that a value of this kind takes on the wire.
    fn least(&self, kind: Kind) -> usize {
        match kind {
            Kind::Fixed(len) => len,
            Kind::NullableStruct(_) => 1,
            Kind::Struct(shape) => {
                let present = shape.fields.iter().filter(|f| f.place == Place::InOrder && f.is_in(self.version));
                present.map(|field| self.least(field.kind)).sum::<usize>() + usize::from(self.flexible)
            }
            _ => match self.prefix(kind) {
                Prefix::Compact => 1,
                Prefix::Two => 2,
                Prefix::Four => 4,
            },
        }
    }
}

/// What the decoder's map of unknown tagged fields takes at most: nodes of eleven entries of 36 bytes, each but the
/// first at least half full, and the nodes above them.
const fn unknown_tags_size(count: usize) -> usize {
    if count == 0 { 0 } else { 512 * (1 + count / 5) }
}

impl Field {
    fn is_in(&self, version: i16) -> bool {
        (self.versions.0..=self.versions.1).contains(&version)
    }
}

#[cfg(test)]
mod tests;
