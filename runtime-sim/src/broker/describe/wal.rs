//! The write-ahead log.

use super::kafka::crc;
use crate::recording::{About, Describe};
use bytes::{Buf, Bytes};
use karst_core::disk::{DiskOp, SECTOR};
use karst_core::id::{ClusterId, NodeEpoch, WalUuid};
use karst_core::kafka::BatchHeader;
use karst_core::wal::ring::LARGEST_BLOCK;
use karst_core::wal::ring::block::{self, Block, FragmentKind, Identity, Sight};
use karst_core::wal::ring::header::{Header, SLOTS};
use karst_core::wal::ring::record::RECORD_HEAD;
use karst_core::wal::{Append, Appended, Effect, Input, Mail, Recovered};

impl Describe for Input {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Disk(op, _) => about.of(op),
            Self::Tick => about,
        };
    }
}

impl Describe for Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Disk(op, disk) => about.of(op).of(disk),
        };
    }
}

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Append(batches) => batches.iter().for_each(|batch| batch.describe(about)),
            Self::Trim(lsn) => {
                about.number("below-lsn", lsn.0);
            }
            _ => {}
        }
    }
}

impl Describe for Append {
    fn describe(&self, about: &mut About) {
        about.number("stream", self.stream.0).range("offset", self.base.0, self.end.0);
        name_batch(&self.batch, about);
    }
}

impl Describe for Appended {
    fn describe(&self, about: &mut About) {
        about.number("stream", self.stream.0).range("offset", self.base.0, self.end.0);
        name_batch(&self.batch, about);
    }
}

impl Describe for Recovered {
    fn describe(&self, about: &mut About) {
        if let Self::Part { records, .. } = self {
            records.iter().for_each(|record| record.describe(about));
        }
    }
}

impl Describe for DiskOp {
    fn describe(&self, about: &mut About) {
        let Self::Write { at, data } = self else { return };
        let bytes = data.to_bytes();
        if at.0 < SLOTS * SECTOR {
            if let Ok(header) = Header::decode(&bytes) {
                about.number("below-lsn", header.trim.0);
            }
        } else if let Some(block) = whole_block(&bytes) {
            describe_block(&block, about);
        }
    }
}

fn name_batch(batch: &[u8], about: &mut About) {
    if let Some(header) = BatchHeader::parse(batch) {
        about.name("batch", crc(&header));
    }
}

/// A block of whichever life.
fn whole_block(bytes: &Bytes) -> Option<Block> {
    let mut identity = bytes.get(16..56)?;
    let (mut cluster, mut uuid) = ([0; 16], [0; 16]);
    identity.copy_to_slice(&mut cluster);
    identity.copy_to_slice(&mut uuid);
    let identity = Identity::new(ClusterId(cluster), WalUuid(uuid), NodeEpoch(identity.get_u64()));
    match block::sight(bytes, 0, &identity, LARGEST_BLOCK) {
        Sight::Block(block) => Some(block),
        Sight::Nothing | Sight::Incomplete => None,
    }
}

/// The block's place in the log, and what records begin in it.
fn describe_block(block: &Block, about: &mut About) {
    let (from, to) = (block.lsn().0, block.end().0);
    about.range("lsn", from, to);
    let mut fragments = block.fragments();
    while let Ok(Some((kind, mut bytes))) = fragments.next() {
        if matches!(kind, FragmentKind::Full | FragmentKind::First) && bytes.len() >= RECORD_HEAD {
            let batch = bytes.split_off(RECORD_HEAD);
            let stream = bytes.get_u64();
            let _epoch = bytes.get_u32();
            about.number("stream", stream).range("offset", bytes.get_u64(), bytes.get_u64()).range("lsn", from, to);
            name_batch(&batch, about);
        }
    }
}
