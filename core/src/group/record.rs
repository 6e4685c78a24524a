//! What `__consumer_offsets` holds: Kafka's own keys and values, so that its tools read them.
//!
//! ```text
//!  key of an offset    version i16 (0 or 1) | group | topic | partition i32
//!  its value           version i16
//!                        3: offset i64 | leader epoch i32 | metadata | commit time i64
//!                        2: offset i64 | metadata | commit time i64                     (0 alike)
//!                        1: offset i64 | metadata | commit time i64 | expiry time i64
//!
//!  key of a group      version i16 (2) | group
//!  its value           version i16 (0 to 3) | protocol type | generation i32 | protocol? | leader?
//!                        | time of the state i64 (from 2 on) | count of members i32 | members
//!  a member            id | instance id? (from 3 on) | client id | client host
//!                        | rebalance timeout i32 (from 1 on) | session timeout i32 | subscription | assignment
//! ```
//! All numbers are big-endian. Texts are a length (i16) and UTF-8, those with `?` may be null (-1); subscriptions and
//! assignments are a length (i32) and bytes. Times are in milliseconds, timeouts too. A record without a value is a
//! tombstone. Offsets are written in version 3, or 1 if the client asked for an expiry; groups in version 3. The frame of
//! batch and records is the CRC's and Kafka's own, see [`crate::kafka::batch`].
//!
//! Where Karst says more than Kafka: a generation is written before anybody hears of it, with empty assignments. A group
//! whose members all have none is therefore one that waits for its leader's assignment.

use super::Name;
use crate::kafka::{Malformed, Prefix, Reader};
use crate::machine::WallTime;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};
use core::time::Duration;

/// A record of the log. No value: what the key stands for is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Offset { group: Name, topic: Name, partition: i32 },
    Group(Name),
}

/// An offset as it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OffsetValue {
    pub(crate) offset: i64,
    /// -1: unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Name,
    pub(crate) committed: WallTime,
    /// Set only by clients that ask for a retention of their own, which those of this decade don't.
    pub(crate) expires: Option<WallTime>,
}

/// A generation of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupValue {
    pub(crate) protocol_type: Name,
    pub(crate) generation: i32,
    pub(crate) protocol: Option<Name>,
    pub(crate) leader: Option<Name>,
    pub(crate) since: WallTime,
    pub(crate) members: Vec<MemberValue>,
}

/// A member in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberValue {
    pub(crate) id: Name,
    pub(crate) instance: Option<Name>,
    pub(crate) client: Name,
    pub(crate) host: Name,
    pub(crate) rebalance: Duration,
    pub(crate) session: Duration,
    pub(crate) subscription: Bytes,
    pub(crate) assignment: Bytes,
}

/// The version of the keys of groups.
const GROUP_KEY: i16 = 2;
/// The version of the keys of offsets that is written.
const OFFSET_KEY: i16 = 1;

impl Key {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Offset { group, topic, partition } => {
                out.put_i16(OFFSET_KEY);
                put_text(&mut out, group);
                put_text(&mut out, topic);
                out.put_i32(*partition);
            }
            Self::Group(group) => {
                out.put_i16(GROUP_KEY);
                put_text(&mut out, group);
            }
        }
        out.into()
    }

    /// `None` of a kind that is not known: Kafka skips those, too.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.i16("key version")? {
            0 | OFFSET_KEY => Some(Self::Offset {
                group: text(&mut reader, "group")?,
                topic: text(&mut reader, "topic")?,
                partition: reader.i32("partition")?,
            }),
            GROUP_KEY => Some(Self::Group(text(&mut reader, "group")?)),
            _ => None,
        })
    }

    /// What the keys of all offsets of a group begin with.
    pub(crate) fn offsets_of(group: &str) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(OFFSET_KEY);
        put_text(&mut out, group);
        out.into()
    }
}

impl OffsetValue {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(if self.expires.is_some() { 1 } else { 3 });
        out.put_i64(self.offset);
        if self.expires.is_none() {
            out.put_i32(self.leader_epoch);
        }
        put_text(&mut out, &self.metadata);
        out.put_i64(self.committed.0);
        if let Some(expires) = self.expires {
            out.put_i64(expires.0);
        }
        out.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let version = version(&mut reader)?;
        Ok(Self {
            offset: reader.i64("offset")?,
            leader_epoch: if version >= 3 { reader.i32("leader epoch")? } else { -1 },
            metadata: text(&mut reader, "metadata")?,
            committed: WallTime(reader.i64("commit time")?),
            expires: if version == 1 {
                Some(reader.i64("expiry time")?).filter(|time| *time >= 0).map(WallTime)
            } else {
                None
            },
        })
    }
}

impl GroupValue {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(3);
        put_text(&mut out, &self.protocol_type);
        out.put_i32(self.generation);
        put_nullable(&mut out, self.protocol.as_ref());
        put_nullable(&mut out, self.leader.as_ref());
        out.put_i64(self.since.0);
        out.put_i32(i32::try_from(self.members.len()).expect("a group's members are bounded far below that"));
        for member in &self.members {
            put_text(&mut out, &member.id);
            put_nullable(&mut out, member.instance.as_ref());
            put_text(&mut out, &member.client);
            put_text(&mut out, &member.host);
            out.put_i32(millis(member.rebalance));
            out.put_i32(millis(member.session));
            put_bytes(&mut out, &member.subscription);
            put_bytes(&mut out, &member.assignment);
        }
        out.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let version = version(&mut reader)?;
        let mut value = Self {
            protocol_type: text(&mut reader, "protocol type")?,
            generation: reader.i32("generation")?,
            protocol: nullable(&mut reader, "protocol")?,
            leader: nullable(&mut reader, "leader")?,
            since: WallTime(if version >= 2 { reader.i64("time of the state")? } else { -1 }),
            members: Vec::new(),
        };
        // Each is read before there is room for the next, so that the count is not believed.
        for _ in 0..reader.i32("count of members")? {
            value.members.push(MemberValue::decode(&mut reader, version)?);
        }
        Ok(value)
    }
}

impl MemberValue {
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, Malformed> {
        let id = text(reader, "member id")?;
        let instance = if version >= 3 { nullable(reader, "instance id")? } else { None };
        let client = text(reader, "client id")?;
        let host = text(reader, "client host")?;
        let rebalance = if version >= 1 { Some(reader.i32("rebalance timeout")?) } else { None };
        let session = reader.i32("session timeout")?;
        Ok(Self {
            id,
            instance,
            client,
            host,
            // Version 0 had one timeout for both.
            rebalance: duration(rebalance.unwrap_or(session)),
            session: duration(session),
            subscription: bytes_of(reader, "subscription")?,
            assignment: bytes_of(reader, "assignment")?,
        })
    }
}

/// The version of a value, if it is one that can be read.
fn version(reader: &mut Reader<'_>) -> Result<i16, Malformed> {
    let version = reader.i16("value version")?;
    if (0..=3).contains(&version) { Ok(version) } else { Err(Malformed::version("the value", version)) }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_i16(i16::try_from(text.len()).expect("texts come from requests that bound them so, or from this log"));
    out.put_slice(text.as_bytes());
}

fn put_nullable(out: &mut Vec<u8>, text: Option<&Name>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.put_i16(-1),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_i32(i32::try_from(bytes.len()).expect("what members say is bounded by a request"));
    out.put_slice(bytes);
}

fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<Name, Malformed> {
    Ok(nullable(reader, field)?.unwrap_or_default())
}

fn nullable(reader: &mut Reader<'_>, field: &'static str) -> Result<Option<Name>, Malformed> {
    let Some(bytes) = reader.sized(field, Prefix::Two)? else { return Ok(None) };
    core::str::from_utf8(bytes).map(|text| Some(text.into())).map_err(|_| Malformed::content(field))
}

fn bytes_of(reader: &mut Reader<'_>, field: &'static str) -> Result<Bytes, Malformed> {
    Ok(reader.sized(field, Prefix::Four)?.map(Bytes::copy_from_slice).unwrap_or_default())
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn duration(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests;
