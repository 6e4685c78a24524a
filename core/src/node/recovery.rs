//! Reading back what earlier epochs of this node left in the WAL, and committing it.

use super::startup::refused;
use super::{Asker, Effect, Node, Phase, to};
use crate::id::{CutNumber, NodeEpoch, Offset, StreamId, WalUuid};
use crate::kafka::BatchHeader;
use crate::machine::{Effects, Mark, sometimes};
use crate::mail::{Halt, Mail as To};
use crate::metadata::{Answer, Command, Image, Recovery, StreamImage, StreamState, WalKind};
use crate::producers::Sequenced;
use crate::upload::{self, Cut, CutRange};
use crate::wal::{self, Appended};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The recoveries that a registration ordered, oldest first.
#[derive(Debug)]
pub(super) struct Recoveries {
    /// The ring on the disk.
    found: Option<WalUuid>,
    left: VecDeque<Recovery>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    recovery: Recovery,
    /// The last cut made of it.
    cut: CutNumber,
    /// Where each stream ends once the cuts made so far are committed.
    ends: BTreeMap<StreamId, Offset>,
    /// Whether the WAL has more than the part in hand.
    more: bool,
}

impl Recoveries {
    pub(super) fn new(found: Option<WalUuid>, recoveries: Vec<Recovery>) -> Self {
        Self { found, left: recoveries.into(), current: None }
    }
}

impl Node {
    pub(super) fn recover_next(&mut self, out: &mut Effects<Effect>) {
        let Phase::Recovering(recoveries) = &mut self.phase else { unreachable!("called while recovering") };
        let Some(recovery) = recoveries.left.pop_front() else { return self.format_wal(out) };
        let is_there = match recovery.kind {
            WalKind::Ring => recoveries.found == Some(recovery.wal),
            WalKind::Objects => self.wal == WalKind::Objects,
        };
        if !is_there {
            let place = match recovery.kind {
                WalKind::Ring => "which is not the one on this disk",
                WalKind::Objects => "which is in the bucket: start with --wal-device object: and stop in order once",
            };
            let why =
                format!("acknowledged records of epoch {} are in the WAL {}, {place}", recovery.epoch, recovery.wal);
            return self.halt(Halt::WalRefused(why), out);
        }
        tracing::info!(epoch = %recovery.epoch, from = %recovery.trim, "recovering the WAL");
        let current = Current { recovery, cut: recovery.last_cut, ends: BTreeMap::new(), more: false };
        recoveries.current = Some(current);
        let image = self.image.as_ref().expect("a registered node has an image");
        let (epoch, uuid) = (recovery.epoch, recovery.wal);
        let life = wal::Life { cluster: image.cluster, node: self.config.node, epoch, uuid };
        out.push(to(To::Wal(wal::Mail::Recover { life, by: self.epoch, from: recovery.trim })));
    }

    pub(super) fn handle_recovered(&mut self, recovered: wal::Recovered, out: &mut Effects<Effect>) {
        let (records, upto, more) = match recovered {
            wal::Recovered::Part { records, upto, more } => (records, upto, more),
            wal::Recovered::Damaged(why) => return self.halt(Halt::WalRefused(why), out),
            wal::Recovered::Unreadable(why) => return self.halt(Halt::WalUnreadable(why), out),
        };
        let image = self.image.as_ref().expect("a registered node has an image");
        let Phase::Recovering(Recoveries { current: Some(current), .. }) = &mut self.phase else {
            unreachable!("the WAL recovers when it is told to")
        };
        let ranges = match select(image, current.recovery.epoch, &mut current.ends, records) {
            Ok(ranges) => ranges,
            Err(why) => return self.halt(Halt::WalRefused(why), out),
        };
        current.more = more;
        if ranges.is_empty() {
            return self.recover_on(out);
        }
        current.cut = current.cut.next();
        out.push(to(To::Uploader(upload::Mail::Cut(Cut {
            cluster: image.cluster,
            epoch: current.recovery.epoch,
            recovery: Some(current.recovery.number),
            number: current.cut,
            lsn: upto,
            ranges,
        }))));
    }

    /// The part in hand is committed: the next one, or the end.
    pub(super) fn recover_on(&mut self, out: &mut Effects<Effect>) {
        let Phase::Recovering(Recoveries { current: Some(current), .. }) = &self.phase else {
            unreachable!("called while recovering")
        };
        if current.more {
            out.push(to(To::Wal(wal::Mail::RecoverMore)));
        } else {
            let number = current.recovery.number;
            self.commands.send(Asker::Node, Command::EndRecovery { number }, self.epoch, out);
        }
    }

    pub(super) fn handle_recovery_ended(&mut self, answer: Answer, out: &mut Effects<Effect>) {
        if answer != Answer::Done {
            return self.halt(refused(&answer, "ending the recovery of its WAL"), out);
        }
        self.recover_next(out);
    }
}

/// Keeps the records of streams that are still open under the fenced epoch, from their committed end on. What is below
/// was committed before the crash, with a trim that did not reach the disk.
///
/// Records that were deleted before they were committed are kept as well where a producer wrote them: nobody reads them
/// any more, but their producer may send them again.
fn select(
    image: &Image,
    epoch: NodeEpoch,
    ends: &mut BTreeMap<StreamId, Offset>,
    records: Vec<Appended>,
) -> Result<Vec<CutRange>, String> {
    let mut ranges: BTreeMap<StreamId, CutRange> = BTreeMap::new();
    for record in records {
        let stream = image.streams.get(&record.stream);
        sometimes!(Mark::RecoveredOfDeletedTopic, stream.is_none());
        let Some(stream) = stream else { continue };
        if stream.state != StreamState::Open(epoch) || stream.epoch != record.epoch {
            continue;
        }
        sometimes!(Mark::RecoveredCommitted, record.end <= stream.end);
        let end = ends.entry(record.stream).or_insert_with(|| committed_end(stream));
        if record.end <= *end {
            continue;
        }
        // Where the committed end is not known exactly, it lies at or below the start.
        let may_begin = *end < stream.start && record.base <= stream.start && !ranges.contains_key(&record.stream);
        // A trim may have passed the committed end and stopped inside a batch: that batch is kept whole.
        if (record.base > *end && !may_begin) || (record.base < *end && *end != stream.start) {
            return Err(format!(
                "the WAL continues stream {} at offset {}, but the committed records end at {}: acknowledged records \
                 are missing from the WAL",
                record.stream, record.base, end
            ));
        }
        let is_deleted = record.end <= stream.start;
        if is_deleted && !ranges.contains_key(&record.stream) && !has_producer(&record) {
            *end = record.end;
            continue;
        }
        sometimes!(Mark::RecoveredDeleted, is_deleted);
        *end = record.end;
        let range = ranges.entry(record.stream).or_insert_with(|| CutRange {
            stream: record.stream,
            epoch: record.epoch,
            start: record.base,
            end: record.base,
            batches: Vec::new(),
            producers: None,
        });
        range.end = record.end;
        range.batches.push(record);
    }
    Ok(ranges.into_values().collect())
}

/// Where the committed records of a stream end. Once a trim has passed that end nobody knows it any more; but what was
/// committed of a producer is known, and nothing else of what is deleted matters.
fn committed_end(stream: &StreamImage) -> Offset {
    if stream.ranges.is_empty() && stream.end == stream.start {
        stream.producers.last().map_or(Offset(0), |state| state.end)
    } else {
        stream.end
    }
}

fn has_producer(record: &Appended) -> bool {
    BatchHeader::parse(&record.batch).as_ref().and_then(Sequenced::of).is_some()
}
