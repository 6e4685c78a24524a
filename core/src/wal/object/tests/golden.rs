//! Versions 1 and 2, byte for byte: what was written once is read for ever.

use super::{SIZES, by_stream};
use crate::data_object;
use crate::id::{ClusterId, FeatureLevel, Lsn, NodeEpoch, NodeId, Offset, StreamEpoch, StreamId, WalUuid};
use crate::machine::WallTime;
use crate::metadata::WAL_DATA_LEVEL;
use crate::wal::object::format::{self, Content};
use crate::wal::tests::golden::append;
use crate::wal::tests::stamped;
use crate::wal::{Append, Life};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt::Write;

const BATCH: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wal/v1/object.hex"));
const DATA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wal/v2/object.hex"));
const SEAL: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wal/v1/seal.hex"));
const SEQ: Lsn = Lsn(345);

fn life() -> Life {
    Life {
        cluster: ClusterId(*b"golden cluster 1"),
        node: NodeId(5),
        epoch: NodeEpoch(12),
        uuid: WalUuid(*b"golden wal uuid."),
    }
}

/// Lines of 32 bytes.
fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(32) {
        let line: Vec<String> = chunk.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
        writeln!(text, "{}", line.join(" ")).expect("a string takes all");
    }
    text
}

fn from_hex(text: &str) -> Bytes {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

/// Three batches of two streams, one of them with a producer, in the layout of a data object.
fn two_streams() -> [Append; 3] {
    let batch = |stream, base: u64, len: usize, producer: i64| {
        let mut batch = vec![b'.'; len];
        batch[8..12].copy_from_slice(&(len as u32 - 12).to_be_bytes());
        batch[16] = 2;
        batch[17..21].copy_from_slice(b"crc.");
        batch[21..23].fill(0);
        batch[23..27].copy_from_slice(&6_u32.to_be_bytes());
        batch[35..43].copy_from_slice(&1_700_000_000_000_u64.to_be_bytes());
        batch[43..51].copy_from_slice(&producer.to_be_bytes());
        batch[51..53].copy_from_slice(&1_u16.to_be_bytes());
        batch[53..57].copy_from_slice(&(base as u32).to_be_bytes());
        batch[57..61].copy_from_slice(&7_u32.to_be_bytes());
        Append {
            stream: StreamId(stream),
            epoch: StreamEpoch(3),
            base: Offset(base),
            end: Offset(base + 7),
            max_timestamp: WallTime(1_700_000_000_000),
            batch: batch.into(),
        }
    };
    [batch(41, 100, 80, -1), batch(40, 0, 61, 9), batch(41, 107, 70, -1)]
}

#[test]
fn the_images_are_what_is_written_today() {
    let batch =
        to_hex(&format::build(&life(), SEQ, &[append(0, 61), append(1, 100)], FeatureLevel(1), SIZES).body.to_bytes());
    assert!(batch == BATCH, "the format changed; this is the image now:\n{batch}");
    let data = to_hex(&format::build(&life(), SEQ, &two_streams(), WAL_DATA_LEVEL, SIZES).body.to_bytes());
    assert!(data == DATA, "the format changed; this is the image now:\n{data}");
    let seal = to_hex(&format::seal(&life(), SEQ, NodeEpoch(13)).to_bytes());
    assert!(seal == SEAL, "the format changed; this is the image now:\n{seal}");
}

#[test]
fn the_images_are_read() {
    let records = [append(0, 61), append(1, 100)].iter().map(stamped).collect();
    assert_eq!(format::open(&life(), SEQ, &from_hex(BATCH)), Ok(Content::Records(records)));
    assert_eq!(format::open(&life(), SEQ, &from_hex(DATA)), Ok(Content::Records(by_stream(&two_streams()))));
    let id = data_object::id_in_wal(life().node, life().epoch, SEQ).expect("these are small");
    let blocks = data_object::decode(life().cluster, id, &from_hex(DATA)).expect("it is a data object as it is");
    assert_eq!(blocks.iter().map(|(_, batches)| batches.len()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(format::open(&life(), SEQ, &from_hex(SEAL)), Ok(Content::Seal(NodeEpoch(13))));
}
