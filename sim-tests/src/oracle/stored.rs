//! How a batch may be stored: as it was sent, or with its records in another codec, if its topic asked for that.

use super::Violation;
use super::configs::{stamp_of, stamped};
use crate::client::batch::{STAMPED, codec_of};
use bytes::Bytes;
use karst_core::kafka::batch::{HEADER, crc_matches};
use karst_core::kafka::{Codec, compression};

/// How an acknowledged batch may be stored.
#[derive(Clone, Debug)]
pub(super) struct Storing {
    /// In one of these.
    pub(super) codecs: Vec<Codec>,
    /// So long at most.
    pub(super) largest: usize,
}

/// How a batch is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    codec: Codec,
    len: usize,
}

/// Where the codec is in a batch's header.
const CODEC_AT: usize = 22;

impl Stored {
    /// What was read back for a batch that was sent; `None` if it is not that.
    pub(super) fn of(read: &Bytes, sent: &Bytes) -> Option<Self> {
        let stamp = stamp_of(read);
        let expected = if stamp < 0 { sent.clone() } else { stamped(sent, stamp) };
        let stored = Self { codec: codec_of(read)?, len: read.len() };
        let is_it = if stored.codec == codec_of(sent)? {
            unstamped(read) == unstamped(&expected)
        } else {
            crc_matches(read) && fields(read) == fields(&expected) && records_of(read)? == records_of(sent)?
        };
        is_it.then_some(stored)
    }

    /// Whether it may be stored so.
    pub(super) fn check(self, what: &str, storing: &Storing) -> Result<(), Violation> {
        let violation = |name| {
            Err(Violation::new(
                "config-not-honoured",
                format!("{what} is stored as {self:?}, while {name} demanded {storing:?}"),
            ))
        };
        if !storing.codecs.contains(&self.codec) {
            return violation("compression.type");
        }
        if self.len > storing.largest {
            return violation("max.message.bytes");
        }
        Ok(())
    }

    pub(super) fn len(self) -> u64 {
        self.len as u64
    }
}

/// What a batch may take in any codec.
pub(super) fn most_stored(sent: &Bytes) -> usize {
    records_of(sent).map_or(0, |records| HEADER + 100 + records.len() + records.len() / 4).max(sent.len())
}

/// What of a batch a broker leaves alone in any case: all but base offset and leader epoch. The CRC is among it, since
/// consumers look at it.
fn unstamped(batch: &Bytes) -> (&[u8], &[u8]) {
    (&batch[8..12], &batch[16..])
}

/// What of a header stays in another codec, after its CRC.
fn fields(batch: &Bytes) -> Option<[u8; HEADER - STAMPED]> {
    let mut fields: [u8; HEADER - STAMPED] = batch.get(STAMPED..HEADER)?.try_into().ok()?;
    fields[CODEC_AT - STAMPED] &= !0b111;
    Some(fields)
}

fn records_of(batch: &Bytes) -> Option<Vec<u8>> {
    let mut records = Vec::new();
    let outcome = compression::inflate(codec_of(batch)?, batch.get(HEADER..)?, u64::MAX, &mut |piece| {
        records.extend_from_slice(piece);
        Ok::<(), ()>(())
    });
    outcome.ok().map(|_| records)
}
