//! Produce: record batches into the WAL, answered when they are durable, whatever `acks` says.

use super::record_errors::Rejection;
use super::{broker_id, kafka_id};
use crate::id::{Offset, StreamId, TopicId};
use crate::kafka::{Acks, CheckedBatch, CurrentLeader, ErrorCode, Produce, ProducePartition, ProduceTopic, Refusal};
use crate::machine::{Effects, Instant, Mark, Now, WallTime, sometimes};
use crate::metadata::TopicName;
use crate::producers::{ProducerId, Sequence, Sequenced};
use crate::session::Answer;
use crate::shard::appends::{Times, Waiting};
use crate::shard::debts::{Debts, Fate, Line};
use crate::shard::groups::Appender;
use crate::shard::joins::{Asked, Begun, Complete, Part};
use crate::shard::recompressions::AtOnce;
use crate::shard::{Effect, Shard};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::protocol::StrBytes;

/// What is remembered of a produce request until all its batches are durable.
#[derive(Debug)]
pub(in crate::shard) struct Produced {
    asked: Asked,
    acks: Acks,
    /// When it is answered at the latest, if ever.
    due: Option<Instant>,
    /// The request's topics, emptied of their records.
    topics: Vec<Skeleton>,
    /// What its batches say about their producers, in order; empty if it has no producer.
    sequenced: Vec<Option<SequencedPart>>,
}

/// A batch of an idempotent producer.
#[derive(Clone, Copy, Debug)]
struct SequencedPart {
    /// Which of the request's topics it is for.
    topic: usize,
    partition: i32,
    batch: Sequenced,
}

#[derive(Debug)]
struct Skeleton {
    topic: ProduceTopic,
    /// The topic's name if the request names it by its id, has a producer, and there is such a topic.
    name_of_id: Option<TopicName>,
    indexes: Vec<i32>,
}

/// What one partition of a produce request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) enum ProduceOutcome {
    /// Durable from this offset on, in a partition that starts at that one, and stamped with that time, if the broker
    /// stamps its records.
    Durable { base: Offset, start: Offset, appended_at: Option<WallTime> },
    /// Not appended.
    Failed(Refusal),
    /// Not appended, since its producer's order forbids it. The partition starts at that offset: Java's client acts by
    /// it, and only tries again where it is not told.
    OutOfPlace { refusal: Refusal, start: Offset },
    /// Not durable in time; it may become so.
    Late,
    /// Not appended, for some of its records.
    Rejected(Box<Rejection>),
    /// Nobody can say: the WAL failed.
    Unknown,
}

impl Shard {
    pub(in crate::shard) fn handle_produce(
        &mut self,
        now: Now,
        asked: Asked,
        request: Produce,
        out: &mut Effects<Effect>,
    ) {
        let conn = asked.conn;
        // As in Kafka, only who waits for all replicas waits for a time.
        let patience = if request.timeout.is_zero() { AT_ONCE } else { request.timeout };
        let due = (request.acks == Acks::All).then(|| now.mono.after(patience));
        let mut outcomes = Vec::new();
        let mut accepted: Vec<(usize, StreamId, CheckedBatch)> = Vec::new();
        let mut named = BTreeSet::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        let sequenced = sequenced_parts(&request.topics);
        for mut topic in request.topics {
            let partitions = core::mem::take(&mut topic.partitions);
            let indexes = partitions.iter().map(|partition| partition.index).collect();
            for partition in partitions {
                let outcome = match self.accept(request.acks, &topic, partition) {
                    Ok((stream, _)) if !named.insert(stream) => {
                        // One answer per partition: a second batch for it could not be told from the first.
                        let twice = ErrorCode::InvalidRequest.because("a partition is named twice");
                        Some(ProduceOutcome::Failed(twice))
                    }
                    Ok((stream, batch)) => match self.judge_records(now, stream, &batch) {
                        Ok(()) => {
                            accepted.push((outcomes.len(), stream, batch));
                            None
                        }
                        Err(rejection) => Some(ProduceOutcome::Rejected(rejection)),
                    },
                    Err(refusal) => Some(ProduceOutcome::Failed(refusal)),
                };
                outcomes.push(outcome);
            }
            let by_id = topic.name.is_none() && !sequenced.is_empty();
            let name_of_id = by_id.then(|| self.name_of(topic.id)).flatten();
            topics.push(Skeleton { topic, name_of_id, indexes });
        }
        let produced = Produced { asked, acks: request.acks, due, topics, sequenced };
        self.note_fates(&produced, outcomes.iter().map(Option::as_ref));
        match self.produces.begin(Appender::Client(produced), outcomes) {
            Begun::Complete(complete) => self.answer_produce(complete, out),
            Begun::Open(join) => {
                self.produces_due.extend(due.map(|due| ((due, asked), join)));
                let mut at_once = AtOnce::new(&self.limits);
                for (index, stream, batch) in accepted {
                    let recoding = self.recoding(stream, &batch);
                    let waiting = Waiting {
                        conn: Some(conn),
                        stream,
                        records: batch.header.record_count(),
                        sequenced: Sequenced::of(&batch.header),
                        times: Times::of(&batch, self.configs_of(stream).timestamp_type()),
                        batch: batch.bytes,
                        part: self.produces.part(join, index),
                        unpaid: 0,
                    };
                    self.enqueue(waiting, recoding, &mut at_once, out);
                }
                self.append_granted(now, out);
            }
        }
    }

    /// Requests whose time is up. What waits for room in the WAL is not appended; what is on its way may become durable.
    pub(in crate::shard) fn expire_produces(&mut self, now: Now, out: &mut Effects<Effect>) {
        while let Some((&(due, _), &join)) = self.produces_due.first_key_value()
            && due <= now.mono
        {
            sometimes!(Mark::ProduceLate);
            self.produces_due.pop_first();
            let mut gone = self.appends.forget_request(join);
            gone.extend(self.forget_recompressions(|waiting| waiting.part.join() == join));
            for waiting in gone {
                let outcome = ProduceOutcome::Failed(ErrorCode::RequestTimedOut.into());
                self.finish_part(waiting.part, outcome, out);
            }
            if let Some(complete) = self.produces.give_up(join, |_| ProduceOutcome::Late) {
                if let (Appender::Client(produced), outcomes) = &complete {
                    let late = |outcome: &&ProduceOutcome| **outcome == ProduceOutcome::Late;
                    self.note_fates(produced, outcomes.iter().map(|outcome| Some(outcome).filter(late)));
                }
                self.answer_produce(complete, out);
            }
            self.append_granted(now, out);
        }
    }

    /// What became of one batch of a request. Answers that if it was the last one.
    pub(in crate::shard) fn finish_part(&mut self, part: Part, outcome: ProduceOutcome, out: &mut Effects<Effect>) {
        self.note_fate(part, &outcome);
        if let Some(complete) = self.produces.finish(part, outcome) {
            self.answer_produce(complete, out);
        }
    }

    /// All batches are durable, or will never be, or the time is up.
    pub(in crate::shard) fn answer_produce(
        &mut self,
        (appender, outcomes): Complete<Appender, ProduceOutcome>,
        out: &mut Effects<Effect>,
    ) {
        let Produced { asked, acks, due, topics, .. } = match appender {
            Appender::Client(produced) => produced,
            Appender::Groups(id) => return self.groups.written(id, outcomes),
        };
        if let Some(due) = due {
            self.produces_due.remove(&(due, asked));
        }
        if outcomes.contains(&ProduceOutcome::Unknown) {
            let why = String::from("the WAL failed: whether the records are durable is unknown");
            return self.send_answer(asked, Answer::Close(why), out);
        }
        if acks == Acks::None {
            let is_refusal = |outcome: &ProduceOutcome| !matches!(outcome, ProduceOutcome::Durable { .. });
            let failed = outcomes.iter().any(is_refusal);
            // There is no answer to say it with: closing makes the client refresh its metadata, as Kafka does.
            let answer = if failed {
                Answer::Close(String::from("a produce request with acks=0 failed"))
            } else {
                Answer::Nothing
            };
            return self.send_answer(asked, answer, out);
        }
        let mut outcomes = outcomes.into_iter();
        let mut leaders = Vec::new();
        let topics = topics.into_iter().map(|skeleton| {
            let partitions = skeleton.indexes.iter().zip(outcomes.by_ref());
            let partitions = partitions.map(|(index, outcome)| {
                let leader = self.leader_of_refused(asked.version, &skeleton.topic, *index, &outcome);
                leaders.extend(leader);
                told(answer_partition(asked.version, *index, outcome), leader)
            });
            let response = TopicProduceResponse::default().with_partition_responses(partitions.collect());
            match skeleton.topic.name {
                Some(name) => response.with_name(name.into()),
                None => response.with_topic_id(kafka_id(skeleton.topic.id)),
            }
        });
        let response = ProduceResponse::default().with_responses(topics.collect());
        let endpoints = self.endpoints_of(asked.conn, leaders.into_iter()).into_iter().map(|endpoint| {
            let node = NodeEndpoint::default().with_node_id(broker_id(endpoint.node));
            node.with_host(endpoint.host).with_port(endpoint.port)
        });
        let response = response.with_node_endpoints(endpoints.collect());
        self.answer(asked, &response, out);
    }

    /// The leader that a client is told of which asked another broker.
    fn leader_of_refused(
        &self,
        version: i16,
        topic: &ProduceTopic,
        index: i32,
        outcome: &ProduceOutcome,
    ) -> Option<CurrentLeader> {
        let ProduceOutcome::Failed(Refusal { code: ErrorCode::NotLeaderOrFollower, .. }) = outcome else { return None };
        if version < LEADER {
            return None;
        }
        self.leader_of(self.stream_in(topic, index).ok()?)
    }

    fn stream_in(&self, topic: &ProduceTopic, index: i32) -> Result<StreamId, ErrorCode> {
        match &topic.name {
            Some(name) => self.stream_named(name.as_str(), index),
            None => self.stream_of(topic.id, index),
        }
    }

    fn name_of(&self, topic: TopicId) -> Option<TopicName> {
        Some(self.image.as_ref()?.topics.get(&topic)?.name.clone())
    }

    /// What a batch's connection owes of its producer, from that sequence on.
    pub(in crate::shard) fn owed_before(&self, part: Part) -> Option<Sequence> {
        if self.debts.is_empty() {
            return None;
        }
        let Appender::Client(produced) = self.produces.request(part)? else { return None };
        let (line, batch) = produced.sequenced(part.index())?;
        self.debts.owed(produced.asked.conn, &line, batch.epoch)
    }

    fn note_fate(&mut self, part: Part, outcome: &ProduceOutcome) {
        let Some(Appender::Client(produced)) = self.produces.request(part) else { return };
        let conn = produced.asked.conn;
        if let Some(fated) = fate_of(produced, part.index(), outcome, &self.debts)
            && self.arrivals.is_open(conn)
        {
            let (line, batch, fate) = fated;
            self.debts.note(conn, line, &batch, fate);
        }
    }

    /// What became of the batches of a request, in order, as far as it is known now.
    fn note_fates<'a>(&mut self, produced: &Produced, outcomes: impl Iterator<Item = Option<&'a ProduceOutcome>>) {
        let conn = produced.asked.conn;
        if produced.sequenced.is_empty() || !self.arrivals.is_open(conn) {
            return;
        }
        for (at, outcome) in outcomes.enumerate() {
            if let Some((line, batch, fate)) = outcome.and_then(|known| fate_of(produced, at, known, &self.debts)) {
                self.debts.note(conn, line, &batch, fate);
            }
        }
    }

    fn accept(
        &self,
        acks: Acks,
        topic: &ProduceTopic,
        partition: ProducePartition,
    ) -> Result<(StreamId, CheckedBatch), Refusal> {
        if acks == Acks::Invalid {
            return Err(ErrorCode::InvalidRequiredAcks.into());
        }
        let stream = self.stream_in(topic, partition.index)?;
        self.led(stream, ANY_EPOCH)?;
        if self.groups.owns(stream) {
            return Err(ErrorCode::InvalidTopicException.because("the topic is the broker's own"));
        }
        if !self.takes_records() {
            return Err(ErrorCode::NotLeaderOrFollower.into());
        }
        let batch = partition.records?;
        let (len, usual) = (batch.bytes.len(), self.limits.batch as usize);
        if len > self.largest_batch(self.configs_of(stream)) {
            let is_beyond_all = len > self.limits.largest_batch as usize;
            sometimes!(Mark::BatchBeyondTopic, !is_beyond_all);
            sometimes!(Mark::BatchBeyondBroker, is_beyond_all);
            return Err(ErrorCode::MessageTooLarge.into());
        }
        sometimes!(Mark::LargeBatchTaken, len > usual);
        self.check_issued(&batch)?;
        Ok((stream, batch))
    }

    /// A producer's id is one that the cluster issued: nobody may write under an id that somebody will get.
    fn check_issued(&self, batch: &CheckedBatch) -> Result<(), Refusal> {
        let next = self.image.as_ref().map_or(ProducerId(0), |image| image.next_producer);
        match u64::try_from(batch.header.producer_id).map(ProducerId) {
            Ok(producer) if producer >= next => {
                Err(ErrorCode::UnknownProducerId.because("this cluster has not issued that producer id"))
            }
            _ => Ok(()),
        }
    }
}

impl Produced {
    /// What one of its batches says about its producer, and where that is written to.
    fn sequenced(&self, at: usize) -> Option<(Line, Sequenced)> {
        let SequencedPart { topic, partition, batch } = (*self.sequenced.get(at)?)?;
        let Skeleton { topic, name_of_id, .. } = &self.topics[topic];
        Some((Line::of(topic, name_of_id.as_ref(), partition, batch.producer)?, batch))
    }
}

fn sequenced_parts(topics: &[ProduceTopic]) -> Vec<Option<SequencedPart>> {
    let parts = topics.iter().enumerate().flat_map(|(topic, of)| {
        of.partitions.iter().map(move |partition| {
            let batch = Sequenced::of(&partition.records.as_ref().ok()?.header)?;
            Some(SequencedPart { topic, partition: partition.index, batch })
        })
    });
    let parts: Vec<_> = parts.collect();
    if parts.iter().any(Option::is_some) { parts } else { Vec::new() }
}

/// What an outcome means for what is owed, if it means anything.
fn fate_of(produced: &Produced, at: usize, outcome: &ProduceOutcome, debts: &Debts) -> Option<(Line, Sequenced, Fate)> {
    if debts.is_empty() && matches!(outcome, ProduceOutcome::Durable { .. }) {
        return None;
    }
    let (line, batch) = produced.sequenced(at)?;
    let fate = match outcome {
        ProduceOutcome::Durable { .. } => Fate::Written,
        ProduceOutcome::Failed(refusal) | ProduceOutcome::OutOfPlace { refusal, .. } => {
            Fate::of_refused(refusal.code, &batch)
        }
        ProduceOutcome::Late => Fate::Deferred,
        ProduceOutcome::Rejected(_) => Fate::Denied,
        // Its connection ends.
        ProduceOutcome::Unknown => return None,
    };
    Some((line, batch, fate))
}

/// The client did not say which leader epoch it believes in.
const ANY_EPOCH: i32 = -1;

/// In Kafka the time of a request counts for its followers alone: a leader without any answers a produce with a timeout of
/// 0 as any other. Here time bounds the wait for room in the WAL, too: what this takes ordinarily, on a disk or in the
/// object store, is at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// From this version on, a client that believes in another leader is told who leads (KIP-951).
const LEADER: i16 = 10;

fn told(response: PartitionProduceResponse, leader: Option<CurrentLeader>) -> PartitionProduceResponse {
    let Some(leader) = leader else { return response };
    let said = LeaderIdAndEpoch::default().with_leader_id(leader.node_id().into()).with_leader_epoch(leader.epoch());
    response.with_current_leader(said)
}

fn answer_partition(version: i16, index: i32, outcome: ProduceOutcome) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
    match outcome {
        ProduceOutcome::Durable { base, start, appended_at } => {
            let response = response
                .with_base_offset(i64::try_from(base.0).unwrap_or(i64::MAX))
                .with_log_append_time_ms(appended_at.map_or(-1, |at| at.0));
            // The field came with version 5.
            if version >= 5 {
                response.with_log_start_offset(i64::try_from(start.0).unwrap_or(i64::MAX))
            } else {
                response
            }
        }
        ProduceOutcome::Late => refused(version, response, ErrorCode::RequestTimedOut.into(), -1),
        ProduceOutcome::Failed(refusal) => refused(version, response, refusal, -1),
        ProduceOutcome::OutOfPlace { refusal, start } => {
            refused(version, response, refusal, i64::try_from(start.0).unwrap_or(i64::MAX))
        }
        ProduceOutcome::Rejected(rejection) => {
            let response = response.with_error_code(rejection.code.code()).with_base_offset(-1);
            let response = if version >= 5 { response.with_log_start_offset(-1) } else { response };
            // The fields came with version 8 (KIP-467).
            if version >= 8 { rejection.explain(response) } else { response }
        }
        ProduceOutcome::Unknown => unreachable!("an unknown outcome closes the connection"),
    }
}

fn refused(
    version: i16,
    response: PartitionProduceResponse,
    Refusal { code, why }: Refusal,
    start: i64,
) -> PartitionProduceResponse {
    let response = response.with_error_code(code.code()).with_base_offset(-1);
    let response = if version >= 5 { response.with_log_start_offset(start) } else { response };
    // The field came with version 8.
    if version >= 8 { response.with_error_message(why.map(StrBytes::from_static_str)) } else { response }
}
