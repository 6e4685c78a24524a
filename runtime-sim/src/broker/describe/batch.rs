//! What a batch is called, from its client to the last object that holds it.

use karst_core::kafka::batch::{HEADER, OVERHEAD};
use karst_core::kafka::{BatchHeader, compression};

/// A name for what is in a batch: the checksum of its records as they are decompressed. It stays the same when the broker
/// stamps offset, epoch or time, and when it puts the records into another codec. `None` if it is no batch.
#[must_use]
pub fn batch_name(batch: &[u8]) -> Option<String> {
    let header = BatchHeader::parse(batch)?;
    let end = usize::try_from(header.length).ok().and_then(|length| length.checked_add(OVERHEAD));
    let records = end.and_then(|end| batch.get(HEADER..end));
    let content = records.zip(header.attributes.codec()).and_then(|(records, codec)| {
        let mut crc = 0;
        let take = &mut |piece: &[u8]| {
            crc = crc32c::crc32c_append(crc, piece);
            Ok::<(), ()>(())
        };
        compression::inflate(codec, records, LARGEST, take).is_ok().then_some(crc)
    });
    // What can't be read is refused, and never gets another name.
    Some(format!("{:08x}", content.unwrap_or(header.crc)))
}

/// No batch of a simulated client comes to more.
const LARGEST: u64 = 64 << 20;
