//! Fetch: from the log cache, or from objects, or later.

use super::millis;
use crate::data_object::{Extent, Origin, Read, ReadError, ReadId, key};
use crate::id::{ConnId, Offset, StreamId, TopicId};
use crate::kafka::{CurrentLeader, ErrorCode, FetchAnswer, FetchedPartition, FetchedTopic};
use crate::machine::{Effects, Mark, Now, Rope, sometimes};
use crate::metadata::CompressionType;
use crate::session::{Answer, Fee};
use crate::shard::fetches::{Fetch, Got, Step, WantedPartition, WantedTopic};
use crate::shard::found::Found;
use crate::shard::joins::Asked;
use crate::shard::{Effect, Pool, Shard, Unpaid};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};

/// From this version on, topics are named by id.
const BY_ID: i16 = 13;

/// From this version on, a client that believes in another leader is told who leads (KIP-951).
const LEADER: i16 = 16;

/// From this version on every client knows Zstandard.
const ZSTD: i16 = 10;

/// How often a fetch begins again because an object is gone, before the client is told to.
const RESTARTS: u32 = 3;

impl Shard {
    pub(in crate::shard) fn handle_fetch(
        &mut self,
        now: Now,
        asked: Asked,
        request: &FetchRequest,
        out: &mut Effects<Effect>,
    ) {
        if request.session_id != 0 {
            // No session is ever handed out: the client begins a full fetch (KIP-227).
            let answer = FetchAnswer { error: Some(ErrorCode::FetchSessionIdNotFound), ..FetchAnswer::default() };
            let body = answer.encode(asked.version).expect("an answer without topics has no names");
            return self.send_answer(asked, Answer::Body(body), out);
        }
        let mut topics: Vec<_> = request.topics.iter().map(|topic| self.wanted_topic(asked.version, topic)).collect();
        refuse_repeated(&mut topics);
        let fetch = Fetch {
            asked,
            topics,
            min_bytes: bytes(request.min_bytes),
            max_bytes: bytes(request.max_bytes).min(u64::from(self.limits.fetch)),
            // A client that vanished while it waits is noticed only when it is answered.
            due: now.mono.after(millis(request.max_wait_ms).min(self.limits.stalled_connection)),
            allowed: 0,
            held: 0,
            missing: None,
            restarts: 0,
            first: 0,
        };
        self.try_fetch(now, fetch, out);
    }

    /// These streams grew by so many bytes: who has waited for enough of them looks again.
    pub(in crate::shard) fn grow_fetches(
        &mut self,
        now: Now,
        grown: &BTreeMap<StreamId, u64>,
        out: &mut Effects<Effect>,
    ) {
        for fetch in self.fetches.grow(grown) {
            sometimes!(Mark::FetchWoken);
            self.try_fetch(now, fetch, out);
        }
    }

    /// A stream is gone: who waits for it looks again.
    pub(in crate::shard) fn wake_fetches(&mut self, now: Now, stream: StreamId, out: &mut Effects<Effect>) {
        for fetch in self.fetches.wake(stream) {
            self.try_fetch(now, fetch, out);
        }
    }

    pub(in crate::shard) fn expire_fetches(&mut self, now: Now, out: &mut Effects<Effect>) {
        for fetch in self.fetches.expire(now.mono) {
            sometimes!(Mark::FetchExpired);
            self.try_fetch(now, fetch, out);
        }
    }

    /// What was out for a connection that is gone has come back. With the last of it its credit is free.
    pub(in crate::shard) fn orphan_came_back(&mut self, now: Now, conn: ConnId, out: &mut Effects<Effect>) {
        if !self.lookups.has_orphan_of(conn) {
            let grants = self.credit.close(now.mono, conn);
            self.take_grants(now, grants, out);
        }
    }

    /// Answers if there is enough, or an error, or no time left; reads objects if it must; else waits for records.
    pub(in crate::shard) fn try_fetch(&mut self, now: Now, mut fetch: Fetch, out: &mut Effects<Effect>) {
        if fetch.held == 0 {
            let share = self.credit.share_of_answers().max(u64::from(self.limits.batch));
            fetch.allowed = fetch.max_bytes.min(share);
        }
        let steps = self.plan_fetch(&fetch);
        let known = |step: &Step| if let Step::Known(got) = step { Some(got.clone()) } else { None };
        let got: Vec<Got> = steps.iter().filter_map(known).collect();
        if got.len() < steps.len() {
            sometimes!(Mark::FetchFromBoth, got.iter().any(|got| got.bytes() > 0));
            return self.read_for(now, fetch, steps, out);
        }
        let found: u64 = got.iter().map(Got::bytes).sum();
        let failed = fetch.fails_with(&got);
        // A client that wants at least more than at most gets the latter, as in Kafka. And once enough has come, it gets
        // what its limits let through, though that may be less.
        let enough = fetch.min_bytes.min(fetch.allowed);
        let has_come = fetch.missing == Some(0) && found > 0;
        if found >= enough || has_come || failed || fetch.due <= now.mono || got.is_empty() {
            self.answer_fetched(now, fetch, got, out);
        } else {
            fetch.missing = Some(enough - found);
            let held = core::mem::take(&mut fetch.held);
            let conn = fetch.asked.conn;
            self.fetches.park(fetch);
            self.give_back_answer_credit(now, conn, held, out);
        }
    }

    /// What each partition gives, or needs.
    fn plan_fetch(&mut self, fetch: &Fetch) -> Vec<Step> {
        let mut left = fetch.allowed;
        let mut must_fit = false;
        let mut steps = Vec::new();
        for wanted in fetch.partitions() {
            // The first partition that has records gives at least one batch, however large, so that every consumer
            // gets on; later ones only what fits.
            let step = self.plan_partition(fetch, wanted, (left, must_fit));
            left = left.saturating_sub(match &step {
                Step::Known(got) => got.bytes(),
                Step::Reading { read, .. } => read.room,
            });
            must_fit |= !matches!(&step, Step::Known(got) if got.bytes() == 0);
            steps.push(step);
        }
        steps
    }

    /// Reads what the steps want, once there is credit for all that they may bring.
    fn read_for(&mut self, now: Now, fetch: Fetch, steps: Vec<Step>, out: &mut Effects<Effect>) {
        if fetch.held == 0 {
            let bytes = fetch.allowed + self.least_room(&fetch) + fetch.overhead();
            let conn = fetch.asked.conn;
            return self.want_answer_credit(now, conn, answer_fee(bytes), Unpaid::Fetch(fetch), out);
        }
        let reads: Vec<Read> = steps
            .iter()
            .filter_map(|step| if let Step::Reading { read, .. } = step { Some(*read) } else { None })
            .collect();
        self.fetches.read(fetch, steps);
        self.begin_reads(now, reads, out);
    }

    /// A read returns at least one batch, however little is asked for. Most are no longer than usual; of one that is, the
    /// read tells its length, and begins again when there is credit for that.
    fn least_room(&self, fetch: &Fetch) -> u64 {
        fetch.first.max(u64::from(self.limits.batch) + u64::from(self.limits.data_block))
    }

    fn plan_partition(&mut self, fetch: &Fetch, wanted: &WantedPartition, (left, must_fit): (u64, bool)) -> Step {
        let fail = |code| Step::Known(Got::Failed(code));
        let stream = match wanted.stream {
            Ok(stream) => stream,
            Err(code) => return fail(code),
        };
        let high_watermark = match self.led(stream, wanted.believed_epoch) {
            Ok(partition) => partition.high_watermark(),
            Err(code) => return fail(code),
        };
        let start = self.start_of(stream);
        if let Some(diverging) = self.diverging(stream, wanted, (start, high_watermark)) {
            return Step::Known(diverging);
        }
        let offset = match u64::try_from(wanted.offset).map(Offset) {
            Ok(offset) if offset >= start && offset <= high_watermark => offset,
            _ => return fail(ErrorCode::OffsetOutOfRange),
        };
        let nothing = Step::Known(Got::Records { high_watermark, start, records: Found::default() });
        let max_bytes = wanted.max_bytes.min(left);
        if offset == high_watermark || (must_fit && left == 0) {
            return nothing;
        }
        if self.cache.first(stream).is_some_and(|first| offset >= first) {
            let mut records = Found::default();
            for batch in self.cache.read(stream, offset, max_bytes) {
                // A slice of a block of the WAL, none of which is larger, or a buffer of its own.
                let buffer = u64::from(self.limits.wal_block).max(batch.batch.len() as u64);
                records.push(buffer, vec![batch.batch.0]);
            }
            if must_fit && records.len() > max_bytes {
                return nothing;
            }
            return Step::Known(Got::Records { high_watermark, start, records });
        }
        // The partition is open, so the image has its stream; a decoded image has no gap between start and committed
        // end; and the log cache lets go of nothing above that end.
        let image = self.image.as_ref().expect("partitions are led by the image");
        let (_, range) = image.streams[&stream].range_at(offset).expect("records are in the log cache or in objects");
        let (id, cluster) = (self.fetches.next_read(), image.cluster);
        let (extent, room) = (Extent::Bytes(max_bytes), max_bytes.max(self.least_room(fetch)));
        let origin = Origin::Client(fetch.asked.conn);
        let read = Read { id, origin, cluster, object: range.object, stream, offset, extent, room };
        Step::Reading { read, must_fit, high_watermark, start }
    }

    /// What a client that tells the epoch of what it has fetched last is answered, if the log does not have that (KIP-595).
    fn diverging(
        &self,
        stream: StreamId,
        wanted: &WantedPartition,
        (start, high_watermark): (Offset, Offset),
    ) -> Option<Got> {
        let last_epoch = u32::try_from(wanted.last_epoch).ok()?;
        let below = |offset: Offset| wanted.offset < i64::try_from(offset.0).unwrap_or(i64::MAX);
        let beyond = |offset: Offset| wanted.offset > i64::try_from(offset.0).unwrap_or(i64::MAX);
        match self.end_of_epoch(stream, wanted.last_epoch, high_watermark) {
            Some((epoch, end)) if epoch.0 >= last_epoch && !beyond(end) => None,
            Some((epoch, end)) if !below(start) => Some(Got::Diverging { high_watermark, start, epoch, end }),
            _ => Some(Got::Failed(ErrorCode::OffsetOutOfRange)),
        }
    }

    /// An object was replaced or deleted while it was read.
    pub(in crate::shard) fn fetch_again(&mut self, now: Now, fetch: Fetch, out: &mut Effects<Effect>) {
        if fetch.restarts <= RESTARTS {
            return self.try_fetch(now, fetch, out);
        }
        let got = fetch.partitions().map(|_| Got::Failed(ErrorCode::KafkaStorageError)).collect();
        self.answer_fetched(now, fetch, got, out);
    }

    /// Its first batch needs more credit.
    pub(in crate::shard) fn fetch_too_long(&mut self, now: Now, mut fetch: Fetch, out: &mut Effects<Effect>) {
        let held = core::mem::take(&mut fetch.held);
        let conn = fetch.asked.conn;
        self.give_back_answer_credit(now, conn, held, out);
        self.try_fetch(now, fetch, out);
    }

    /// Whether what a fetch wanted to read is in another object by now.
    pub(in crate::shard) fn was_replaced(&self, id: ReadId) -> bool {
        let (Some((_, read)), Some(image)) = (self.fetches.wanted_by(id), &self.image) else { return false };
        let range = image.streams.get(&read.stream).and_then(|stream| stream.range_at(read.offset));
        range.is_some_and(|(_, range)| range.object != read.object)
    }

    /// Tells the operator where to look. That an object is gone or holds other records is ordinary while it is being
    /// replaced, and worth a line once a fetch has looked at the metadata often enough.
    pub(in crate::shard) fn report_failed_read(&self, id: ReadId, error: ReadError) {
        let Some((fetch, read)) = self.fetches.wanted_by(id) else { return };
        if matches!(error, ReadError::TooLong(_) | ReadError::Crowded) {
            return;
        }
        if matches!(error, ReadError::Gone | ReadError::NotHeld) && fetch.restarts < RESTARTS {
            return;
        }
        let Some(image) = &self.image else { return };
        let Some(stream) = image.streams.get(&read.stream) else { return };
        let topic = image.topics.get(&stream.topic).map(|topic| topic.name.as_str());
        tracing::error!(
            object = %key(read.object),
            topic = topic.unwrap_or_default(),
            partition = stream.partition.0,
            offset = read.offset.0,
            "a fetch failed: {error}"
        );
    }

    pub(in crate::shard) fn answer_fetched(
        &mut self,
        now: Now,
        mut fetch: Fetch,
        mut got: Vec<Got>,
        out: &mut Effects<Effect>,
    ) {
        drop_what_does_not_fit(&mut got, fetch.allowed);
        let copied = self.limits.copied_records;
        let cost = fetch.overhead() + got.iter().map(|got| got.cost(copied)).sum::<u64>();
        let conn = fetch.asked.conn;
        let answer = if fetch.held >= cost {
            self.give_back_answer_credit(now, conn, fetch.held - cost, out);
            Answer::Paid(self.fetched_body(&fetch, got), answer_fee(cost))
        } else {
            self.give_back_answer_credit(now, conn, fetch.held, out);
            if cost <= u64::from(self.limits.idle_credit) {
                Answer::Paid(self.fetched_body(&fetch, got), answer_fee(0))
            } else if self.credit.take(conn, Pool::Answers, cost) {
                Answer::Paid(self.fetched_body(&fetch, got), answer_fee(cost))
            } else {
                // What was found is let go of, and found again when there is credit for as much.
                sometimes!(Mark::FetchUnpaid);
                fetch.allowed = got.iter().map(Got::bytes).sum::<u64>().max(u64::from(self.limits.batch));
                fetch.held = 0;
                return self.want_answer_credit(now, conn, answer_fee(cost), Unpaid::Fetch(fetch), out);
            }
        };
        self.send_answer(fetch.asked, answer, out);
    }

    /// The body of the answer.
    fn fetched_body(&self, fetch: &Fetch, got: Vec<Got>) -> Rope {
        let copied = self.limits.copied_records;
        let mut got = got.into_iter();
        let mut leaders = Vec::new();
        let topics = fetch.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().zip(got.by_ref()).map(|(wanted, got)| {
                let leader = self.leader_for(fetch.asked.version, wanted, &got);
                leaders.extend(leader);
                FetchedPartition { leader, ..fetched(wanted, got, copied) }
            });
            FetchedTopic { name: topic.name.clone(), id: topic.id, partitions: partitions.collect() }
        });
        let topics = topics.collect();
        let endpoints = self.endpoints_of(fetch.asked.conn, leaders.into_iter());
        let answer = FetchAnswer { topics, endpoints, ..FetchAnswer::default() };
        answer.encode(fetch.asked.version).expect("names come from a request of the same version")
    }

    /// The leader that a client is told of which believes in another.
    fn leader_for(&self, version: i16, wanted: &WantedPartition, got: &Got) -> Option<CurrentLeader> {
        let is_told = matches!(got, Got::Failed(ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch))
            && version >= LEADER;
        self.leader_of(wanted.stream.ok().filter(|_| is_told)?)
    }

    /// Who asks in an old version may not know Zstandard (KIP-110).
    fn check_readable(&self, version: i16, stream: StreamId) -> Result<StreamId, ErrorCode> {
        let needs = self.configs_of(stream).compression_type();
        if version < ZSTD && needs == CompressionType::Zstd {
            return Err(ErrorCode::UnsupportedCompressionType);
        }
        Ok(stream)
    }

    fn wanted_topic(&self, version: i16, topic: &FetchTopic) -> WantedTopic {
        let id = TopicId(*topic.topic_id.as_bytes());
        let wanted = |partition: &FetchPartition| WantedPartition {
            index: partition.partition,
            stream: if version >= BY_ID {
                self.stream_of(id, partition.partition)
            } else {
                let stream = self.stream_named(topic.topic.as_str(), partition.partition);
                stream.and_then(|stream| self.check_readable(version, stream))
            },
            believed_epoch: partition.current_leader_epoch,
            last_epoch: partition.last_fetched_epoch,
            offset: partition.fetch_offset,
            max_bytes: bytes(partition.partition_max_bytes),
        };
        let partitions = topic.partitions.iter().map(wanted).collect();
        WantedTopic { name: topic.topic.0.clone(), id, partitions }
    }
}

/// Objects give whole batches where less was asked for. The first partition that has records keeps them, so that every
/// consumer gets on; others only what fits.
fn drop_what_does_not_fit(got: &mut [Got], max_bytes: u64) {
    let mut left = max_bytes;
    let mut is_first = true;
    for got in got {
        let Got::Records { records, .. } = got else { continue };
        let len = records.len();
        if len > left && !is_first {
            *records = Found::default();
        } else {
            left = left.saturating_sub(len);
            is_first &= len == 0;
        }
    }
}

/// A partition may be asked for once: each of its lines would be answered with a batch at least.
fn refuse_repeated(topics: &mut [WantedTopic]) {
    let mut seen = BTreeSet::new();
    for wanted in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if let Ok(stream) = wanted.stream
            && !seen.insert(stream)
        {
            wanted.stream = Err(ErrorCode::InvalidRequest);
        }
    }
}

/// One partition of the answer.
fn fetched(wanted: &WantedPartition, got: Got, copied: u32) -> FetchedPartition {
    match got {
        Got::Records { high_watermark, start, records } => FetchedPartition {
            index: wanted.index,
            high_watermark: Some(high_watermark),
            last_stable_offset: Some(high_watermark),
            log_start_offset: Some(start),
            records: records.leave(copied),
            ..FetchedPartition::default()
        },
        Got::Diverging { high_watermark, start, epoch, end } => FetchedPartition {
            index: wanted.index,
            high_watermark: Some(high_watermark),
            last_stable_offset: Some(high_watermark),
            log_start_offset: Some(start),
            diverging: Some((epoch, end)),
            ..FetchedPartition::default()
        },
        Got::Failed(code) => FetchedPartition { index: wanted.index, error: Some(code), ..FetchedPartition::default() },
    }
}

fn answer_fee(bytes: u64) -> Fee {
    Fee { pool: Pool::Answers, bytes }
}

fn bytes(wanted: i32) -> u64 {
    u64::try_from(wanted).unwrap_or(0)
}
