//! Between the queue and the bucket: into the WAL, durable, cut, committed.

use super::{Effect, Mode, Shard, to};
use crate::id::{ConnId, Lsn, NodeId, StreamId};
use crate::kafka::{BatchHeader, ErrorCode};
use crate::machine::{Deadline, Effects, Mark, Now, WallTime, sometimes};
use crate::mail::Mail as To;
use crate::metadata::Commit;
use crate::node;
use crate::shard::api::ProduceOutcome;
use crate::shard::partition::Partition;
use crate::upload::{self, Cut};
use crate::wal::{self, Append, Appended, CutMarker, CutReason};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

impl Shard {
    /// Gives offsets to what the WAL has granted room for, and sends it there.
    pub(super) fn append_granted(&mut self, now: Now, out: &mut Effects<Effect>) {
        let mut batches = Vec::new();
        while let Some(waiting) = self.appends.next() {
            let Some(partition) = self.partitions.get_mut(&waiting.stream) else {
                // The topic was deleted while the batch waited. Its grant is spent on the next one.
                self.appends.grant(wal::ring::cost(waiting.batch.len()));
                let outcome = ProduceOutcome::Failed(ErrorCode::UnknownTopicOrPartition.into());
                sometimes!(Mark::DeletedWhileWaiting);
                if let Some(complete) = self.produces.finish(waiting.part, outcome) {
                    self.answer_produce(complete, out);
                }
                continue;
            };
            let (batch, max_timestamp) = waiting.stamped(now.wall);
            let (base, end) = partition.append(waiting.records, waiting.part);
            batches.push(Append { stream: waiting.stream, epoch: partition.epoch, base, end, max_timestamp, batch });
        }
        sometimes!(Mark::AppendWaitedForRoom, !self.appends.is_empty());
        if !batches.is_empty() {
            out.push(to(To::Wal(wal::Mail::Append(batches))));
        }
        self.cut_when_drained(out);
    }

    /// A connection is gone: what of it waits for room in the WAL is not appended. Its credit is free again, so it may
    /// not go on taking memory.
    pub(super) fn forget_appends(&mut self, conn: ConnId, out: &mut Effects<Effect>) {
        for waiting in self.appends.forget(conn) {
            sometimes!(Mark::ClosedWithAppendsWaiting);
            let outcome = ProduceOutcome::Failed(ErrorCode::NotLeaderOrFollower.into());
            if let Some(complete) = self.produces.finish(waiting.part, outcome) {
                self.answer_produce(complete, out);
            }
        }
    }

    /// Durable: only now may anybody hear of it.
    pub(super) fn handle_appended(&mut self, now: Now, batches: Vec<Appended>, out: &mut Effects<Effect>) {
        let mut grown: BTreeMap<StreamId, u64> = BTreeMap::new();
        for appended in batches {
            let (stream, base, end) = (appended.stream, appended.base, appended.end);
            let bytes = appended.batch.0.len() as u64;
            // A deleted topic's batches are durable and nobody's.
            sometimes!(Mark::DurableAfterDelete, !self.partitions.contains_key(&stream));
            let Some(partition) = self.partitions.get_mut(&stream) else { continue };
            let part = partition.apply(base, end);
            let appended_at = append_time(&appended);
            self.cache.insert(now, appended);
            let outcome = ProduceOutcome::Durable { base, start: self.start_of(stream), appended_at };
            if let Some(complete) = self.produces.finish(part, outcome) {
                self.answer_produce(complete, out);
            }
            *grown.entry(stream).or_default() += bytes;
        }
        self.grow_fetches(now, &grown, out);
        if self.cache.bytes().uncut >= self.limits.cut_bytes {
            self.ask_for_cut(CutReason::Size, out);
        }
        self.cut_when_drained(out);
    }

    /// Everything applied so far, and not part of an earlier cut, goes to the bucket together.
    pub(super) fn handle_marker(&mut self, marker: CutMarker, out: &mut Effects<Effect>) {
        self.cut_asked = false;
        if self.mode == Mode::Drained {
            sometimes!(Mark::MarkerAfterLastCut);
            // The last cut is made; what a later marker could add belongs to deleted topics.
            return;
        }
        self.make_cut(marker.lsn, out);
        if self.mode == Mode::Draining && self.is_settled() {
            self.mode = Mode::Drained;
            out.push(to(To::Node(node::Mail::Drained(self.cut))));
        }
    }

    /// The commit of a cut is part of this replica, so fetches find its records in objects: the cache may let go.
    pub(super) fn commit_applied(&mut self, by: NodeId, commit: &Commit) {
        let mine = self.me.is_some_and(|me| me.node == by && me.epoch == commit.epoch) && commit.recovery.is_none();
        if mine && commit.number <= self.cut {
            self.cache.committed(commit.number);
        }
    }

    pub(super) fn drain(&mut self, out: &mut Effects<Effect>) {
        self.mode = Mode::Draining;
        self.groups.halt();
        self.cut_when_drained(out);
    }

    pub(super) fn handle_poisoned(&mut self, out: &mut Effects<Effect>) {
        if self.mode == Mode::Open {
            self.mode = Mode::Poisoned;
        }
        self.groups.halt();
        let waiting: Vec<_> = self.appends.abandon().map(|waiting| waiting.part).collect();
        for part in waiting {
            let outcome = ProduceOutcome::Failed(ErrorCode::NotLeaderOrFollower.into());
            if let Some(complete) = self.produces.finish(part, outcome) {
                self.answer_produce(complete, out);
            }
        }
        let in_flight: Vec<_> = self.partitions.values_mut().flat_map(Partition::poison).collect();
        sometimes!(Mark::PoisonedWithAppendsInFlight, !in_flight.is_empty());
        for part in in_flight {
            if let Some(complete) = self.produces.finish(part, ProduceOutcome::Unknown) {
                self.answer_produce(complete, out);
            }
        }
        self.cut_when_drained(out);
    }

    pub(super) fn cut_deadline(&self) -> Option<Deadline> {
        let oldest = self.cache.oldest_uncut().filter(|_| !self.cut_asked && self.mode == Mode::Open)?;
        Some(Deadline { at: oldest.after(self.limits.cut_age), reason: "cut records by age" })
    }

    pub(super) fn cut_by_age(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.cut_deadline().is_some_and(|due| due.at <= now.mono) {
            self.ask_for_cut(CutReason::Age, out);
        }
    }

    fn cut_when_drained(&mut self, out: &mut Effects<Effect>) {
        if self.mode == Mode::Draining && self.is_settled() {
            self.ask_for_cut(CutReason::Close, out);
        }
    }

    fn is_settled(&self) -> bool {
        self.appends.is_empty() && self.partitions.values().all(Partition::is_settled)
    }

    fn ask_for_cut(&mut self, reason: CutReason, out: &mut Effects<Effect>) {
        if !self.cut_asked {
            self.cut_asked = true;
            out.push(to(To::Wal(wal::Mail::Cut(reason))));
        }
    }

    fn make_cut(&mut self, lsn: Lsn, out: &mut Effects<Effect>) {
        let cluster = self.image.as_ref().expect("a shard that serves has an image").cluster;
        let me = self.me.expect("records are taken only once the broker serves");
        self.cut = self.cut.next();
        let ranges = self.cache.cut(self.cut);
        out.push(to(To::Uploader(upload::Mail::Cut(Cut {
            cluster,
            epoch: me.epoch,
            recovery: None,
            number: self.cut,
            lsn,
            ranges,
        }))));
    }
}

/// The time that the broker gave a batch's records, if it did.
fn append_time(appended: &Appended) -> Option<WallTime> {
    let header = BatchHeader::parse(&appended.batch)?;
    header.attributes.is_log_append_time().then(|| header.max_timestamp())
}
