//! The write-ahead log.

use super::batch_name;
use super::phrases::{count, listed, records};
use super::shard::why_cut;
use crate::recording::words::{ASKED, SENDER};
use crate::recording::{About, Describe};
use bytes::{Buf, Bytes};
use karst_core::disk::{DiskDone, DiskOp, DiskResult, SECTOR};
use karst_core::id::{ClusterId, NodeEpoch, Offset, StreamId, WalUuid};
use karst_core::wal::record::RECORD_HEAD;
use karst_core::wal::ring::LARGEST_BLOCK;
use karst_core::wal::ring::block::{self, Block, FragmentKind, Identity, Sight};
use karst_core::wal::ring::header::{Header, SLOTS};
use karst_core::wal::{Append, Appended, Effect, Input, Mail, Recovered};

impl Describe for Input {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Disk(op, _) | Self::Store(op, _) => about.of(op),
            Self::Tick => about,
        };
    }

    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Mail(mail) => format!("gets{SENDER} {}", of_mail(mail)),
            Self::Disk(_, result) => outcome(result),
            Self::Store(_, result) => super::store::outcome(result),
            Self::Tick => super::TICK.into(),
        })
    }
}

impl Describe for Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Disk(op, disk) => about.of(op).of(disk),
            Self::Store(op, call) => about.of(op).of(call),
        };
    }

    fn words(&self) -> Option<String> {
        match self {
            Self::Mail(mail) => mail.words(),
            Self::Disk(_, disk) => Some(asks_the_disk(disk)),
            Self::Store(_, call) => Some(super::store::asks_the_store(call)),
        }
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
    if let Some(name) = batch_name(batch) {
        about.name("batch", name);
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
    for Begun { stream, start, end, batch } in begun(block) {
        about.number("stream", stream.0).range("offset", start.0, end.0).range("lsn", from, to);
        name_batch(&batch, about);
    }
}

/// A record whose beginning is in a block.
struct Begun {
    stream: StreamId,
    start: Offset,
    end: Offset,
    /// As much of it as is there.
    batch: Bytes,
}

fn begun(block: &Block) -> Vec<Begun> {
    let mut found = Vec::new();
    let mut fragments = block.fragments();
    while let Ok(Some((kind, mut bytes))) = fragments.next() {
        if matches!(kind, FragmentKind::Full | FragmentKind::First) && bytes.len() >= RECORD_HEAD {
            let batch = bytes.split_off(RECORD_HEAD);
            let stream = StreamId(bytes.get_u64());
            let _epoch = bytes.get_u32();
            found.push(Begun { stream, start: Offset(bytes.get_u64()), end: Offset(bytes.get_u64()), batch });
        }
    }
    found
}

pub(super) fn of_mail(mail: &Mail) -> String {
    match mail {
        Mail::Inspect => "the order to read the log's header".into(),
        Mail::Recover { life, from, .. } => {
            format!("the order to read back what is in the log of node epoch {} from LSN {} on", life.epoch.0, from.0)
        }
        Mail::RecoverMore => "the order to read back the next part of the log".into(),
        Mail::Format { life, .. } => format!("the order to begin the log of node epoch {}", life.epoch.0),
        Mail::Append(batches) => {
            let all = batches.iter().map(|batch| records(batch.stream, batch.base, batch.end));
            format!("{} to append{}", count(batches.len(), "batch"), listed(all))
        }
        Mail::Cut(reason) => format!("the order to mark a place to cut at, as {}", why_cut(*reason)),
        Mail::Trim(lsn) => format!("the news that all below LSN {} is committed and may be forgotten", lsn.0),
        Mail::Close => "the order to mark the log as empty".into(),
    }
}

/// A batch that is durable.
pub(super) fn durable(batch: &Appended) -> String {
    records(batch.stream, batch.base, batch.end)
}

pub(super) fn of_recovered(recovered: &Recovered) -> String {
    match recovered {
        Recovered::Part { records, upto, more } => {
            let rest = if *more { "there may be more" } else { "nothing follows" };
            let all = listed(records.iter().map(durable));
            format!("{} read back up to LSN {}, and {rest}{all}", count(records.len(), "batch"), upto.0)
        }
        Recovered::Object { object, upto } => {
            let all = listed(object.ranges.iter().map(|range| records(range.stream, range.start, range.end)));
            format!("object {} of the log, which may become data as it is, up to LSN {}{all}", upto.0 - 1, upto.0)
        }
        Recovered::Damaged(why) => format!("the news that the log is damaged: {why}"),
        Recovered::Unreadable(why) => format!("the news that the log can't be read: {why}"),
    }
}

fn asks_the_disk(op: &DiskOp) -> String {
    match op {
        DiskOp::Read { at, len } => format!("asks the disk to read {len} bytes at {}", at.0),
        DiskOp::Write { at, data } => {
            let bytes = data.to_bytes();
            let block = if at.0 < SLOTS * SECTOR { None } else { whole_block(&bytes) };
            let what = match (Header::decode(&bytes), block) {
                (Ok(header), _) if at.0 < SLOTS * SECTOR => {
                    format!("a header that says: all below LSN {} is committed", header.trim.0)
                }
                (_, Some(block)) => {
                    let found = begun(&block);
                    let all = listed(found.iter().map(|found| records(found.stream, found.start, found.end)));
                    format!(
                        "a block of {len} bytes, {}{all}",
                        format_args!("from LSN {} up to {}", block.lsn().0, block.end().0),
                        len = bytes.len()
                    )
                }
                _ => count(bytes.len(), "byte"),
            };
            format!("asks the disk to write {what}")
        }
    }
}

fn outcome(result: &DiskResult) -> String {
    match result {
        Ok(DiskDone::Read(_)) => format!("hears \"done\" to its wish{ASKED}"),
        Ok(DiskDone::Written) => format!("hears \"done, and durable\" to its wish{ASKED}"),
        Err(error) => format!("hears \"{error}\" to its wish{ASKED}"),
    }
}
