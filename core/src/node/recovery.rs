//! Reading back what earlier epochs of this node left in the WAL, and committing it.

use super::startup::refused;
use super::{Asker, Effect, Node, Phase, to};
use crate::id::{CutNumber, NodeEpoch, Offset, StreamEpoch, StreamId, WalUuid};
use crate::kafka::BatchHeader;
use crate::machine::{Effects, Mark, sometimes};
use crate::mail::{Halt, Mail as To};
use crate::metadata::{Answer, Command, CommitObject, Image, Recovery, StreamImage, StreamState, WalKind};
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
        let (found, upto, more) = match recovered {
            wal::Recovered::Part { records, upto, more } => (Found::Records(records), upto, more),
            wal::Recovered::Object { object, upto } => (Found::Object(object), upto, true),
            wal::Recovered::Damaged(why) => return self.halt(Halt::WalRefused(why), out),
            wal::Recovered::Unreadable(why) => return self.halt(Halt::WalUnreadable(why), out),
        };
        let image = self.image.as_ref().expect("a registered node has an image");
        let Phase::Recovering(Recoveries { current: Some(current), .. }) = &mut self.phase else {
            unreachable!("the WAL recovers when it is told to")
        };
        let mut ends = Ends { image, epoch: current.recovery.epoch, ends: &mut current.ends };
        let selected = match found {
            Found::Records(records) => select(&mut ends, records).map(|ranges| (ranges, None)),
            Found::Object(object) => adopt(&mut ends, object).map(|object| (Vec::new(), object)),
        };
        let (ranges, stored) = match selected {
            Ok(selected) => selected,
            Err(why) => return self.halt(Halt::WalRefused(why), out),
        };
        current.more = more;
        if ranges.is_empty() && stored.is_none() {
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
            stored,
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

/// What the WAL found.
enum Found {
    Records(Vec<Appended>),
    /// An object that is in the bucket already.
    Object(CommitObject),
}

/// Keeps the records of streams that are still open under the fenced epoch, from their committed end on. What is below
/// was committed before the crash, with a trim that did not reach the disk.
///
/// Records that were deleted before they were committed are kept as well where a producer wrote them: nobody reads them
/// any more, but their producer may send them again.
fn select(ends: &mut Ends<'_>, records: Vec<Appended>) -> Result<Vec<CutRange>, String> {
    let mut ranges: BTreeMap<StreamId, CutRange> = BTreeMap::new();
    for record in records {
        let stretch = Stretch {
            stream: record.stream,
            epoch: record.epoch,
            start: record.base,
            end: record.end,
            is_first: !ranges.contains_key(&record.stream),
            has_producer: has_producer(&record),
        };
        if ends.judge(&stretch)? == Verdict::Drop {
            continue;
        }
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

/// The object with those of its ranges that [`select`] would keep, if it would keep any.
fn adopt(ends: &mut Ends<'_>, mut object: CommitObject) -> Result<Option<CommitObject>, String> {
    let mut kept = Vec::with_capacity(object.ranges.len());
    for range in object.ranges {
        let stretch = Stretch {
            stream: range.stream,
            epoch: range.epoch,
            start: range.start,
            end: range.end,
            is_first: true,
            has_producer: range.producers.is_some(),
        };
        if ends.judge(&stretch)? == Verdict::Keep {
            kept.push(range);
        }
    }
    object.ranges = kept;
    sometimes!(Mark::WalObjectAdopted, !object.ranges.is_empty());
    Ok(Some(object).filter(|object| !object.ranges.is_empty()))
}

/// Where streams end once all that was found so far is committed.
struct Ends<'a> {
    image: &'a Image,
    /// Whose records these are.
    epoch: NodeEpoch,
    ends: &'a mut BTreeMap<StreamId, Offset>,
}

/// Some of a stream's records: a batch, or all that an object has.
struct Stretch {
    stream: StreamId,
    epoch: StreamEpoch,
    start: Offset,
    end: Offset,
    /// Whether nothing of its stream goes before it into the same cut.
    is_first: bool,
    /// Whether it says something of an idempotent producer.
    has_producer: bool,
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Keep,
    Drop,
}

impl Ends<'_> {
    /// Whether these records are to be committed. If so, their stream ends with them.
    fn judge(&mut self, found: &Stretch) -> Result<Verdict, String> {
        let stream = self.image.streams.get(&found.stream);
        sometimes!(Mark::RecoveredOfDeletedTopic, stream.is_none());
        let Some(stream) = stream else { return Ok(Verdict::Drop) };
        if stream.state != StreamState::Open(self.epoch) || stream.epoch != found.epoch {
            return Ok(Verdict::Drop);
        }
        sometimes!(Mark::RecoveredCommitted, found.end <= stream.end);
        let end = self.ends.entry(found.stream).or_insert_with(|| committed_end(stream));
        if found.end <= *end {
            return Ok(Verdict::Drop);
        }
        // Where the committed end is not known exactly, it lies at or below the start.
        let may_begin = *end < stream.start && found.start <= stream.start && found.is_first;
        // A trim may have passed the committed end and stopped inside a batch: that batch is kept whole.
        if (found.start > *end && !may_begin) || (found.start < *end && *end != stream.start) {
            return Err(format!(
                "the WAL continues stream {} at offset {}, but the committed records end at {}: acknowledged records \
                 are missing from the WAL",
                found.stream, found.start, end
            ));
        }
        *end = found.end;
        let is_deleted = found.end <= stream.start;
        if is_deleted && found.is_first && !found.has_producer {
            return Ok(Verdict::Drop);
        }
        sometimes!(Mark::RecoveredDeleted, is_deleted);
        Ok(Verdict::Keep)
    }
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
