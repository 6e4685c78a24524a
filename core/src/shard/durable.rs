//! Between the queue and the bucket: into the WAL, durable, cut, committed.

use super::{Effect, Mode, Shard, to};
use crate::id::{ConnId, Lsn, NodeId, Offset, StreamEpoch, StreamId};
use crate::kafka::{BatchHeader, ErrorCode};
use crate::machine::{Deadline, Effects, Mark, Now, sometimes};
use crate::mail::Mail as To;
use crate::metadata::Commit;
use crate::node;
use crate::producers::{ProducerTable, Verdict};
use crate::shard::api::ProduceOutcome;
use crate::shard::appends::Waiting;
use crate::shard::partition::Partition;
use crate::upload::{self, Cut, CutRange};
use crate::wal::{self, Append, Appended, CutMarker, CutReason};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

impl Shard {
    /// Gives offsets to what the WAL has granted room for, and sends it there.
    pub(super) fn append_granted(&mut self, now: Now, out: &mut Effects<Effect>) {
        let mut batches = Vec::new();
        while let Some(waiting) = self.appends.next() {
            match self.judge(now, &waiting) {
                Judgement::Append { epoch, base, end } => {
                    let (batch, max_timestamp) = waiting.stamped(now.wall);
                    batches.push(Append { stream: waiting.stream, epoch, base, end, max_timestamp, batch });
                }
                // Its grant is spent on the next one.
                Judgement::Wait => self.appends.grant(wal::cost(waiting.batch.len())),
                Judgement::Known(outcome) => {
                    self.appends.grant(wal::cost(waiting.batch.len()));
                    self.finish_part(waiting.part, outcome, out);
                }
            }
        }
        self.begin_recompressions(out);
        sometimes!(Mark::AppendWaitedForRoom, !self.appends.is_empty());
        if !batches.is_empty() {
            out.push(to(To::Wal(wal::Mail::Append(batches))));
        }
        self.cut_when_drained(out);
    }

    /// What the next batch before the WAL comes to. All before it have their offsets, so here is where a producer's
    /// order is looked at.
    fn judge(&mut self, now: Now, waiting: &Waiting) -> Judgement {
        let owed = self.owed_before(waiting.part);
        let Some(partition) = self.partitions.get_mut(&waiting.stream) else {
            sometimes!(Mark::DeletedWhileWaiting);
            return Judgement::Known(ProduceOutcome::Failed(ErrorCode::UnknownTopicOrPartition.into()));
        };
        if let Some(sequenced) = &waiting.sequenced {
            let Some(producers) = &mut partition.producers else {
                sometimes!(Mark::ProducersAwaited);
                let loading = ErrorCode::NotLeaderOrFollower.because("the partition's producers are being loaded");
                return Judgement::Known(ProduceOutcome::Failed(loading));
            };
            match producers.check(now, sequenced, owed) {
                Verdict::Append => {}
                Verdict::InFlight(base) => {
                    if partition.wait(base, waiting.part) {
                        return Judgement::Wait;
                    }
                    let many = ErrorCode::NotLeaderOrFollower.because("many wait for the same batch");
                    return Judgement::Known(ProduceOutcome::Failed(many));
                }
                Verdict::Durable(base, appended_at) => {
                    let start = self.start_of(waiting.stream);
                    return Judgement::Known(ProduceOutcome::Durable { base, start, appended_at });
                }
                Verdict::Refused(refusal) => {
                    let start = self.start_of(waiting.stream);
                    return Judgement::Known(ProduceOutcome::OutOfPlace { refusal, start });
                }
            }
        }
        let (base, end) = partition.append(waiting.records, waiting.sequenced, waiting.part);
        Judgement::Append { epoch: partition.epoch, base, end }
    }

    /// A connection is gone: what of it waits for room in the WAL is not appended. Its credit is free again, so it may
    /// not go on taking memory.
    pub(super) fn forget_appends(&mut self, now: Now, conn: ConnId, out: &mut Effects<Effect>) {
        let mut gone = self.appends.forget(conn);
        gone.extend(self.forget_recompressions(|waiting| waiting.conn == Some(conn)));
        for waiting in gone {
            sometimes!(Mark::ClosedWithAppendsWaiting);
            let outcome = ProduceOutcome::Failed(ErrorCode::NotLeaderOrFollower.into());
            self.finish_part(waiting.part, outcome, out);
        }
        self.append_granted(now, out);
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
            let appended_at = BatchHeader::parse(&appended.batch).and_then(|header| header.append_time());
            let parts = partition.apply(now, (base, end), (appended.max_timestamp, appended_at));
            self.cache.insert(now, appended);
            let outcome = ProduceOutcome::Durable { base, start: self.start_of(stream), appended_at };
            for part in parts {
                self.finish_part(part, outcome.clone(), out);
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
        let mut waiting: Vec<_> = self.appends.abandon().map(|waiting| waiting.part).collect();
        waiting.extend(self.abandon_recompressions().map(|waiting| waiting.part));
        for part in waiting {
            let outcome = ProduceOutcome::Failed(ErrorCode::NotLeaderOrFollower.into());
            self.finish_part(part, outcome, out);
        }
        let in_flight: Vec<_> = self.partitions.values_mut().flat_map(Partition::poison).collect();
        sometimes!(Mark::PoisonedWithAppendsInFlight, !in_flight.is_empty());
        for part in in_flight {
            self.finish_part(part, ProduceOutcome::Unknown, out);
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
        self.appends.is_empty() && self.recompressions.is_empty() && self.partitions.values().all(Partition::is_settled)
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
        let mut ranges = self.cache.cut(self.cut);
        for range in &mut ranges {
            range.producers = self.producers_at_cut(range);
        }
        out.push(to(To::Uploader(upload::Mail::Cut(Cut {
            cluster,
            epoch: me.epoch,
            recovery: None,
            number: self.cut,
            lsn,
            ranges,
            stored: None,
        }))));
    }

    /// All that is known of a partition's producers, if it is time to say all of it: at the end of what is applied, which
    /// is the end of the cut.
    fn producers_at_cut(&mut self, range: &CutRange) -> Option<ProducerTable> {
        let partition = self.partitions.get_mut(&range.stream)?;
        assert_eq!(partition.high_watermark(), range.end, "a cut takes all that is applied");
        let is_due = partition.cut(self.limits.producer_states as usize);
        sometimes!(Mark::ProducersWritten, is_due);
        is_due.then(|| partition.producers.as_ref().expect("a producer wrote, so all are known").table())
    }
}

/// What a batch comes to when the WAL has room for it.
enum Judgement {
    /// It goes there.
    Append { epoch: StreamEpoch, base: Offset, end: Offset },
    /// It is on its way there already.
    Wait,
    /// It does not.
    Known(ProduceOutcome),
}
