//! Version 1, byte for byte: what was written once is read for ever.

use crate::id::{ClusterId, Lsn, NodeEpoch, NodeId, WalUuid};
use crate::wal::Life;
use crate::wal::object::format::{self, Content};
use crate::wal::tests::golden::append;
use crate::wal::tests::stamped;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt::Write;

const BATCH: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wal/v1/object.hex"));
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

#[test]
fn the_images_are_what_is_written_today() {
    let batch = to_hex(&format::build(&life(), SEQ, &[append(0, 61), append(1, 100)], 4096).body.to_bytes());
    assert!(batch == BATCH, "the format changed; this is the image now:\n{batch}");
    let seal = to_hex(&format::seal(&life(), SEQ, NodeEpoch(13)).to_bytes());
    assert!(seal == SEAL, "the format changed; this is the image now:\n{seal}");
}

#[test]
fn the_images_are_read() {
    let records = [append(0, 61), append(1, 100)].iter().map(stamped).collect();
    assert_eq!(format::open(&life(), SEQ, &from_hex(BATCH)), Ok(Content::Records(records)));
    assert_eq!(format::open(&life(), SEQ, &from_hex(SEAL)), Ok(Content::Seal(NodeEpoch(13))));
}
