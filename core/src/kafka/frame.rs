//! Frames: what a connection's bytes are cut into, and the header that each request begins with.
//!
//! ```text
//!  0        4         6         8             12
//!  +--------+---------+---------+-------------+- - - - - - - - - - +- - - - - +- - - -+
//!  | length | API key | version | correlation | client id          | tagged   | body  |
//!  +--------+---------+---------+-------------+- - - - - - - - - - +- - - - - +- - - -+
//!            '------------------ length bytes, the frame --------------------------- '
//! ```
//! The length counts what follows it. The client id is a nullable string with a two-byte length in every version; the
//! tagged fields are there where the API's version is flexible (header version 2). Header version 0, without a client
//! id, was only ever used by an API between brokers, which is not served.

use super::reader::{Fault, Malformed, Prefix, Reader};
use alloc::collections::VecDeque;
use bytes::{Buf, Bytes, BytesMut};

/// Length of the length before a frame.
const PREFIX: usize = 4;
/// API key, version and correlation id: no request is shorter.
const LEAST: usize = 8;

/// Cuts a stream of chunks into frames. It copies each frame once, into a buffer of exactly its length that is
/// allocated when [`Framer::begin`] says so, which is when its bytes are paid for; until then chunks only wait.
#[derive(Debug)]
pub struct Framer {
    limit: usize,
    waiting: VecDeque<Bytes>,
    waiting_len: usize,
    assembling: Option<Assembling>,
}

#[derive(Debug)]
struct Assembling {
    len: usize,
    bytes: BytesMut,
}

/// What the first bytes of a frame say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its length.
    pub len: u32,
    /// What it asks for, if that is served.
    pub api_key: i16,
}

impl Framer {
    /// Takes frames up to `limit` bytes.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { limit: limit as usize, waiting: VecDeque::new(), waiting_len: 0, assembling: None }
    }

    /// Adds what was received.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.waiting_len += chunk.len();
            self.waiting.push_back(chunk);
        }
    }

    /// What the next frame's first bytes say, once they are here and unless it has begun.
    ///
    /// # Errors
    /// When its length is no frame's.
    pub fn announced(&self) -> Result<Option<Announced>, Malformed> {
        if self.assembling.is_some() {
            return Ok(None);
        }
        let Some(prefix) = self.peek::<PREFIX>() else { return Ok(None) };
        let length = i32::from_be_bytes(prefix);
        let legal = usize::try_from(length).is_ok_and(|len| (LEAST..=self.limit).contains(&len));
        if !legal {
            return Err(Malformed { field: "the frame", fault: Fault::Length(length.into()) });
        }
        let Some([.., key_high, key_low]) = self.peek::<{ PREFIX + 2 }>() else { return Ok(None) };
        Ok(Some(Announced { len: length.unsigned_abs(), api_key: i16::from_be_bytes([key_high, key_low]) }))
    }

    /// Allocates the frame that was announced.
    ///
    /// # Panics
    /// When none is.
    pub fn begin(&mut self, announced: Announced) {
        assert!(self.assembling.is_none(), "one frame at a time");
        let mut prefix = [0; PREFIX];
        self.take(PREFIX, |part, at| prefix[at..at + part.len()].copy_from_slice(part));
        assert_eq!(u32::from_be_bytes(prefix), announced.len, "only what is announced begins");
        let len = announced.len as usize;
        self.assembling = Some(Assembling { len, bytes: BytesMut::with_capacity(len) });
    }

    /// Copies what is here into the frame that has begun, and returns it when it is whole.
    pub fn fill(&mut self) -> Option<Bytes> {
        let Assembling { len, mut bytes } = self.assembling.take()?;
        self.take(len - bytes.len(), |part, _| bytes.extend_from_slice(part));
        if bytes.len() == len {
            return Some(bytes.freeze());
        }
        self.assembling = Some(Assembling { len, bytes });
        None
    }

    /// Bytes that are here and not part of a frame yet.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting_len
    }

    /// Bytes of the frame that has begun, unless none has.
    #[must_use]
    pub fn assembled(&self) -> Option<usize> {
        self.assembling.as_ref().map(|assembling| assembling.bytes.len())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.waiting_len = 0;
        self.assembling = None;
    }

    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        let mut out = [0; N];
        let mut bytes = self.waiting.iter().flat_map(|chunk| chunk.iter());
        for place in &mut out {
            *place = *bytes.next()?;
        }
        Some(out)
    }

    /// Takes up to `len` bytes, chunk by chunk, telling how many were taken before.
    fn take(&mut self, len: usize, mut each: impl FnMut(&[u8], usize)) {
        let mut taken = 0;
        while taken < len {
            let Some(chunk) = self.waiting.front_mut() else { break };
            let part = chunk.len().min(len - taken);
            each(&chunk[..part], taken);
            chunk.advance(part);
            taken += part;
            if chunk.is_empty() {
                self.waiting.pop_front();
            }
        }
        self.waiting_len -= taken;
    }
}

/// The number by which a client finds the request of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationId(pub i32);

/// The part of a request header that every version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which API.
    pub api_key: i16,
    /// Which version of it.
    pub version: i16,
    /// Goes back with the answer.
    pub correlation: CorrelationId,
}

impl Header {
    /// The header of a frame, and where the client id begins.
    pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            api_key: reader.i16("API key")?,
            version: reader.i16("API version")?,
            correlation: CorrelationId(reader.i32("correlation id")?),
        })
    }
}

/// What the client of a frame calls itself; empty if it does not, or not in UTF-8.
pub(crate) fn client_id(frame: &[u8]) -> &str {
    let mut reader = Reader::new(frame);
    let id = reader.bytes("the header", LEAST).and_then(|_| reader.sized("client id", Prefix::Two));
    id.ok().flatten().and_then(|id| core::str::from_utf8(id).ok()).unwrap_or_default()
}

/// Passes the client id (at most 32 KiB, as its two-byte length allows) and, in a flexible header, its tagged fields.
pub(crate) fn skip_header_rest(reader: &mut Reader<'_>, header: HeaderKind) -> Result<(), Malformed> {
    reader.sized("client id", Prefix::Two)?;
    if header == HeaderKind::Flexible {
        for _ in 0..reader.varint("header tags")? {
            reader.varint("header tags")?;
            let len = reader.varint("header tags")?;
            reader.bytes("header tags", len as usize)?;
        }
    }
    Ok(())
}

/// How a header goes on after the client id or the correlation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderKind {
    /// Not at all: version 1 of a request's, version 0 of a response's.
    Plain,
    /// With tagged fields: version 2 of a request's, version 1 of a response's.
    Flexible,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn frames_of(framer: &mut Framer) -> Vec<Bytes> {
        let mut frames = Vec::new();
        loop {
            if let Some(announced) = framer.announced().expect("legal frames") {
                framer.begin(announced);
            }
            match framer.fill() {
                Some(frame) => frames.push(frame),
                None => return frames,
            }
        }
    }

    fn stream(bodies: &[&[u8]]) -> Vec<u8> {
        bodies
            .iter()
            .flat_map(|body| (body.len() as u32).to_be_bytes().into_iter().chain(body.iter().copied()))
            .collect()
    }

    #[test]
    fn frames_come_out_whole_wherever_the_stream_is_cut() {
        let bodies: [&[u8]; 3] = [b"\x00\x03\x00\x09abcd", b"\x00\x12\x00\x00efghijkl", b"\x00\x00\x00\x07mnopq"];
        let all = stream(&bodies);
        for first in 0..=all.len() {
            for second in first..=all.len() {
                let mut framer = Framer::new(100);
                let mut frames = Vec::new();
                for part in [&all[..first], &all[first..second], &all[second..]] {
                    framer.push(Bytes::copy_from_slice(part));
                    frames.extend(frames_of(&mut framer));
                }
                assert_eq!(frames, bodies, "cut at {first} and {second}");
                assert_eq!((framer.waiting(), framer.assembled()), (0, None));
            }
        }
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_allocated() {
        for length in [-1, i32::MIN, 0, 7, 101, i32::MAX] {
            let mut framer = Framer::new(100);
            framer.push(Bytes::copy_from_slice(&length.to_be_bytes()));
            assert_eq!(
                framer.announced(),
                Err(Malformed { field: "the frame", fault: Fault::Length(length.into()) }),
                "{length}"
            );
        }
        let mut framer = Framer::new(100);
        framer.push(Bytes::from_static(&[0, 0, 0, 100, 0]));
        assert_eq!(framer.announced(), Ok(None), "the API key is not here yet");
        framer.push(Bytes::from_static(&[18]));
        assert_eq!(framer.announced(), Ok(Some(Announced { len: 100, api_key: 18 })));
        assert_eq!(framer.assembled(), None);
    }
}
