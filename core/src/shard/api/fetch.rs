//! Fetch: from the log cache, or from objects, or later.

use super::millis;
use crate::data_object::{Outcome, Read};
use crate::id::{Offset, StreamId, TopicId};
use crate::kafka::{ErrorCode, FetchAnswer, FetchedPartition, FetchedTopic};
use crate::machine::{Effects, Now, OpId, Rope};
use crate::session::Answer;
use crate::shard::fetches::{Ended, Fetch, Got, Step, WantedPartition, WantedTopic};
use crate::shard::joins::Asked;
use crate::shard::{Effect, Shard};
use crate::store::StoreResult;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};

/// From this version on, topics are named by id.
const BY_ID: i16 = 13;

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
            restarts: 0,
        };
        self.try_fetch(now, fetch, out);
    }

    /// These streams grew, or are gone: who waits for them looks again.
    pub(in crate::shard) fn wake_fetches(&mut self, now: Now, streams: &[StreamId], out: &mut Effects<Effect>) {
        for fetch in self.fetches.wake(streams) {
            self.try_fetch(now, fetch, out);
        }
    }

    pub(in crate::shard) fn expire_fetches(&mut self, now: Now, out: &mut Effects<Effect>) {
        for fetch in self.fetches.expire(now.mono) {
            self.try_fetch(now, fetch, out);
        }
    }

    pub(in crate::shard) fn handle_store(
        &mut self,
        now: Now,
        op: OpId,
        result: StoreResult,
        out: &mut Effects<Effect>,
    ) {
        let mut outcome = Outcome::default();
        self.reader.handle(now, op, result, &mut self.ops, &mut outcome);
        self.take_outcome(now, outcome, out);
    }

    pub(in crate::shard) fn tick_reader(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.reader.deadline().is_some_and(|due| due.at <= now.mono) {
            let mut outcome = Outcome::default();
            self.reader.tick(now, &mut self.ops, &mut outcome);
            self.take_outcome(now, outcome, out);
        }
    }

    /// Answers if there is enough, or an error, or no time left; reads objects if it must; else waits for records.
    fn try_fetch(&mut self, now: Now, fetch: Fetch, out: &mut Effects<Effect>) {
        let mut outcome = Outcome::default();
        let mut left = fetch.max_bytes;
        let mut found = 0;
        let mut reads = false;
        let mut failed = false;
        let mut steps = Vec::new();
        let wanted: Vec<WantedPartition> = fetch.partitions().copied().collect();
        for wanted in &wanted {
            // The first partition that has records gives at least one batch, however large, so that every consumer
            // gets on; later ones only what fits.
            let step = self.plan_partition(now, wanted, left, found > 0 || reads, &mut outcome);
            match &step {
                Step::Known(Got::Records { records, .. }) => {
                    found += records.len() as u64;
                    left = left.saturating_sub(records.len() as u64);
                }
                Step::Known(Got::Failed(_)) => failed = true,
                Step::Reading { .. } => {
                    reads = true;
                    // A read returns at least one batch, however little is asked for.
                    left = left.saturating_sub(wanted.max_bytes.max(u64::from(self.limits.batch)));
                }
            }
            steps.push(step);
        }
        if reads {
            self.fetches.read(fetch, steps);
        } else if found >= fetch.min_bytes || failed || fetch.due <= now.mono || wanted.is_empty() {
            let got = steps.into_iter().filter_map(|step| match step {
                Step::Known(got) => Some(got),
                Step::Reading { .. } => None,
            });
            let got = got.collect();
            self.answer_fetched(&fetch, got, out);
        } else {
            self.fetches.park(fetch);
        }
        self.take_outcome(now, outcome, out);
    }

    fn plan_partition(
        &mut self,
        now: Now,
        wanted: &WantedPartition,
        left: u64,
        must_fit: bool,
        outcome: &mut Outcome,
    ) -> Step {
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
        let offset = match u64::try_from(wanted.offset).map(Offset) {
            Ok(offset) if offset >= start && offset <= high_watermark => offset,
            _ => return fail(ErrorCode::OffsetOutOfRange),
        };
        let nothing = Step::Known(Got::Records { high_watermark, start, records: Rope::default() });
        let max_bytes = wanted.max_bytes.min(left);
        if offset == high_watermark || (must_fit && left == 0) {
            return nothing;
        }
        if self.cache.first(stream).is_some_and(|first| offset >= first) {
            let mut records = Rope::default();
            for batch in self.cache.read(stream, offset, max_bytes) {
                records.push(batch.batch.0);
            }
            if must_fit && records.len() as u64 > max_bytes {
                return nothing;
            }
            return Step::Known(Got::Records { high_watermark, start, records });
        }
        let image = self.image.as_ref().expect("partitions are led by the image");
        let Some((_, range)) = image.streams.get(&stream).and_then(|stream| stream.range_at(offset)) else {
            tracing::error!(%stream, %offset, "neither the log cache nor the metadata knows these records");
            return fail(ErrorCode::KafkaStorageError);
        };
        let read = self.fetches.next_read();
        let read_of = Read { id: read, object: range.object, stream, offset, max_bytes };
        self.reader.read(now, read_of, &mut self.ops, outcome);
        Step::Reading { read, high_watermark, start }
    }

    fn take_outcome(&mut self, now: Now, outcome: Outcome, out: &mut Effects<Effect>) {
        for (op, call) in outcome.calls {
            out.push(Effect::Store(op, call));
        }
        for finished in outcome.finished {
            match self.fetches.finish(finished.id, finished.result) {
                Some(Ended::Complete(fetch, got)) => self.answer_fetched(&fetch, got, out),
                Some(Ended::Again(fetch)) if fetch.restarts <= RESTARTS => self.try_fetch(now, fetch, out),
                Some(Ended::Again(fetch)) => {
                    let got = fetch.partitions().map(|_| Got::Failed(ErrorCode::KafkaStorageError)).collect();
                    self.answer_fetched(&fetch, got, out);
                }
                None => {}
            }
        }
    }

    fn answer_fetched(&mut self, fetch: &Fetch, mut got: Vec<Got>, out: &mut Effects<Effect>) {
        drop_what_does_not_fit(&mut got, fetch.max_bytes);
        let mut got = got.into_iter();
        let topics = fetch.topics.iter().map(|topic| FetchedTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partitions.iter().zip(got.by_ref()).map(|(wanted, got)| fetched(wanted, got)).collect(),
        });
        let answer = FetchAnswer { topics: topics.collect(), ..FetchAnswer::default() };
        let body = answer.encode(fetch.asked.version).expect("names come from a request of the same version");
        self.answer_paid(fetch.asked, body, out);
    }

    fn wanted_topic(&self, version: i16, topic: &FetchTopic) -> WantedTopic {
        let id = TopicId(*topic.topic_id.as_bytes());
        let wanted = |partition: &FetchPartition| WantedPartition {
            index: partition.partition,
            stream: if version >= BY_ID {
                self.stream_of(id, partition.partition)
            } else {
                self.stream_named(topic.topic.as_str(), partition.partition)
            },
            believed_epoch: partition.current_leader_epoch,
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
        let len = records.len() as u64;
        if len > left && !is_first {
            *records = Rope::default();
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

fn fetched(wanted: &WantedPartition, got: Got) -> FetchedPartition {
    match got {
        Got::Records { high_watermark, start, records } => FetchedPartition {
            index: wanted.index,
            high_watermark: Some(high_watermark),
            last_stable_offset: Some(high_watermark),
            log_start_offset: Some(start),
            records,
            ..FetchedPartition::default()
        },
        Got::Failed(code) => FetchedPartition { index: wanted.index, error: Some(code), ..FetchedPartition::default() },
    }
}

fn bytes(wanted: i32) -> u64 {
    u64::try_from(wanted).unwrap_or(0)
}
