//! Entries and images as bytes.
//!
//! ```text
//! number      big-endian, of its type's width
//! identity    16 bytes (cluster, topic, ring life, incarnation)
//! text        length u16, UTF-8
//! option      0, or 1 and the value
//! list        count u32, elements
//! map         count u32, (key, value) by ascending key
//!
//! record       0         4        5                           4 + length
//!              +---------+--------+--------+-- - - --+--------+
//!              | length  | needs  | field, field, ...         |
//!              | u32     | u8     |                           |
//!              +---------+--------+--------+-- - - --+--------+
//! ```
//! A record's length counts from `needs` on. **May skip**: a later version appends fields to a record, and a reader that
//! doesn't know them leaves them alone. This is the room for a broker's rack, a tenant, an object's bucket, encryption
//! key and compression, a stream's kind and newest state, a commit's reason. **Must understand**: `needs` is the version
//! of the record that a reader has to know, 1 in this version; above what the reader knows, the record can't be read at
//! all. An unknown tag (of a command, an answer, a state) can't be read either.
//!
//! The fields of each record stand in the order in which the `record!` and `tagged!` tables in this room name them.
//!
//! Decoding survives any bytes. No length or count is believed before it is bounded by the bytes that are there, and an
//! image is taken only if [`Image::check`](super::Image::check) finds nothing.

mod command;
mod configs;
mod image;
#[cfg(test)]
mod tests;

use crate::envelope::{DecodeError, Fields};
use crate::id::{
    ClusterId, CommandSeq, CutNumber, FeatureLevel, Incarnation, Lsn, NodeEpoch, NodeId, ObjectId, Offset,
    PartitionIndex, RecoveryNumber, Seq, StreamEpoch, StreamId, Term, TopicId, WalUuid,
};
use crate::machine::WallTime;
use crate::metadata::{ByteLimit, ConfigNames, Millis, Replicas};
use crate::producers::ProducerId;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// The record version that this build writes and the newest that it understands.
const NEEDS: u8 = 1;

/// Something that stands in a body.
pub(crate) trait Field: Sized {
    /// No encoding of it is shorter.
    const LEAST: usize;

    /// Writes it.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads it from the front of `from`.
    fn take(from: &mut Fields) -> Result<Self, DecodeError>;
}

/// Something whose encoding later versions may extend.
pub(crate) trait Record: Sized {
    /// Writes what this version knows.
    fn put_fields(&self, out: &mut Vec<u8>);

    /// Reads what this version knows; what is left then is skipped.
    fn take_fields(from: &mut Fields) -> Result<Self, DecodeError>;
}

impl<R: Record> Field for R {
    const LEAST: usize = 5;

    fn put(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0, 0, 0, 0, NEEDS]);
        self.put_fields(out);
        let len = u32::try_from(out.len() - at - 4).expect("formats bound their bodies far below 4 GiB");
        out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        let len = from.u32()? as usize;
        let outer = from.enter(len)?;
        let taken = match from.u8()? {
            0 => return Err(DecodeError::Malformed),
            NEEDS => R::take_fields(from)?,
            _ => return Err(DecodeError::Unsupported),
        };
        from.leave(outer);
        Ok(taken)
    }
}

/// A record of a struct's fields, in this order.
macro_rules! record {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl crate::metadata::codec::Record for $name {
            fn put_fields(&self, out: &mut alloc::vec::Vec<u8>) {
                $(crate::metadata::codec::Field::put(&self.$field, out);)*
            }

            fn take_fields(from: &mut crate::envelope::Fields) -> Result<Self, crate::envelope::DecodeError> {
                Ok(Self { $($field: crate::metadata::codec::Field::take(from)?),* })
            }
        }
    };
}

/// A record of an enum: the variant's tag (u8), then its fields in this order.
macro_rules! tagged {
    ($name:ident { $($tag:literal => $variant:ident $({ $($field:ident),* })? $(( $inner:ident ))?),* $(,)? }) => {
        impl crate::metadata::codec::Record for $name {
            fn put_fields(&self, out: &mut alloc::vec::Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $inner ))? => {
                        out.push($tag);
                        $($(crate::metadata::codec::Field::put($field, out);)*)?
                        $(crate::metadata::codec::Field::put($inner, out);)?
                    })*
                }
            }

            fn take_fields(from: &mut crate::envelope::Fields) -> Result<Self, crate::envelope::DecodeError> {
                Ok(match from.u8()? {
                    $($tag => {
                        $(let $inner = crate::metadata::codec::Field::take(from)?;)?
                        Self::$variant
                            $({ $($field: crate::metadata::codec::Field::take(from)?),* })?
                            $(( $inner ))?
                    })*
                    _ => return Err(crate::envelope::DecodeError::Unsupported),
                })
            }
        }
    };
}

pub(crate) use {record, tagged};

macro_rules! numbers {
    ($($name:ident($take:ident, $len:literal)),* $(,)?) => {
        $(impl Field for $name {
            const LEAST: usize = $len;

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0.to_be_bytes());
            }

            fn take(from: &mut Fields) -> Result<Self, DecodeError> {
                Ok(Self(from.$take()?))
            }
        })*
    };
}

numbers!(
    NodeId(u32, 4),
    NodeEpoch(u64, 8),
    StreamId(u64, 8),
    StreamEpoch(u32, 4),
    Offset(u64, 8),
    Lsn(u64, 8),
    ObjectId(u64, 8),
    CutNumber(u64, 8),
    Seq(u64, 8),
    Term(u64, 8),
    CommandSeq(u64, 8),
    PartitionIndex(u32, 4),
    RecoveryNumber(u64, 8),
    FeatureLevel(u16, 2),
    ProducerId(u64, 8),
    WallTime(i64, 8),
    Millis(i64, 8),
    ByteLimit(i64, 8),
    Replicas(u32, 4),
    ConfigNames(u64, 8),
);

macro_rules! identities {
    ($($name:ident),*) => {
        $(impl Field for $name {
            const LEAST: usize = 16;

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }

            fn take(from: &mut Fields) -> Result<Self, DecodeError> {
                Ok(Self(from.array()?))
            }
        })*
    };
}

identities!(ClusterId, TopicId, WalUuid, Incarnation);

macro_rules! plain {
    ($($name:ident, $len:literal);*) => {
        $(impl Field for $name {
            const LEAST: usize = $len;

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn take(from: &mut Fields) -> Result<Self, DecodeError> {
                from.$name()
            }
        })*
    };
}

plain!(u16, 2; u32, 4; u64, 8);

impl Field for String {
    const LEAST: usize = 2;

    fn put(&self, out: &mut Vec<u8>) {
        put_text(self, out);
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        let len = usize::from(from.u16()?);
        let bytes = from.bytes(len)?;
        core::str::from_utf8(&bytes).map(Into::into).map_err(|_| DecodeError::Malformed)
    }
}

/// Writes a text, cut off at 65,535 bytes: no name of ours is longer.
fn put_text(text: &str, out: &mut Vec<u8>) {
    let fits = (0..=text.len().min(usize::from(u16::MAX))).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    out.extend_from_slice(&u16::try_from(fits).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..fits]);
}

impl<T: Field> Field for Option<T> {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        match from.u8()? {
            0 => Ok(None),
            1 => T::take(from).map(Some),
            _ => Err(DecodeError::Malformed),
        }
    }
}

impl<R: Record> Record for Box<R> {
    fn put_fields(&self, out: &mut Vec<u8>) {
        R::put_fields(self, out);
    }

    fn take_fields(from: &mut Fields) -> Result<Self, DecodeError> {
        R::take_fields(from).map(Self::new)
    }
}

impl<T: Field> Field for Vec<T> {
    const LEAST: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        self.iter().for_each(|element| element.put(out));
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        let count = from.count(T::LEAST)?;
        // An element may take more room in memory than on disk: grow with what is really there.
        let mut elements = Self::with_capacity(count.min(256));
        for _ in 0..count {
            elements.push(T::take(from)?);
        }
        Ok(elements)
    }
}

impl<K: Field + Ord, V: Field> Field for BTreeMap<K, V> {
    const LEAST: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        let count = from.count(K::LEAST + V::LEAST)?;
        let mut map = Self::new();
        for _ in 0..count {
            let key = K::take(from)?;
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(DecodeError::Malformed);
            }
            map.insert(key, V::take(from)?);
        }
        Ok(map)
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    let count = u32::try_from(count).expect("formats bound their bodies far below 4 GiB");
    out.extend_from_slice(&count.to_be_bytes());
}
