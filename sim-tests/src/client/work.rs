//! What a client does while faults happen.

use super::batch::{self, Shape};
use super::times::SPREAD;
use super::{Asked, Client, Effect, Quality, Wish, Written, configs, pack};
use crate::oracle::{Aside, GrowthId, Observation, Place, WriteId};
use bytes::Bytes;
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, ListOffsetsRequest,
    ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use karst_core::machine::{Effects, Now, Payload};

/// From this version on, produce and fetch name topics by id.
const BY_ID: i16 = 13;
/// Kafka's MESSAGE_TOO_LARGE.
const TOO_LARGE: i16 = 10;

impl Client {
    /// Does the next operation if it is time.
    pub(super) fn work(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.pending.len() >= self.habits.in_flight {
            return;
        }
        let Some(operation) = self.slots.take(now) else { return };
        self.rng = operation;
        let shares = self.habits.shares;
        let all = [
            shares.produce,
            shares.fetch,
            shares.list,
            shares.metadata,
            shares.create,
            shares.delete,
            shares.grow,
            shares.trim,
            shares.configure,
            shares.sequenced,
        ];
        let mut drawn = self.rng.below(all.iter().sum());
        let chosen = all.iter().position(|share| match drawn.checked_sub(*share) {
            Some(left) => {
                drawn = left;
                false
            }
            None => true,
        });
        if self.topics.is_empty() && !matches!(chosen, Some(3)) {
            return self.create_or_ask(now, out);
        }
        if self.rng.chance(1, 300) {
            return self.send_garbage(out);
        }
        match chosen {
            Some(0) => self.produce(now, out),
            Some(1) => self.fetch(now, out),
            Some(2) => self.list_offsets(now, out),
            Some(4) => self.create_or_ask(now, out),
            Some(5) => self.delete(now, out),
            Some(6) => self.grow(now, out),
            Some(7) => self.delete_records(now, out),
            Some(8) => self.configure(now, out),
            Some(9) => self.produce_sequenced(now, out),
            _ => self.ask_metadata(now, out),
        }
    }

    /// Appends a batch each to one or a few partitions.
    fn produce(&mut self, now: Now, out: &mut Effects<Effect>) {
        let version = self.rng.between(3, 13) as i16;
        // Some don't wait long: what they wrote may become durable all the same.
        let mut patience = self.rng.child("patience");
        let timeout = if patience.chance(1, 12) { patience.below(20) as i32 } else { 10_000 };
        let mut request = ProduceRequest::default().with_timeout_ms(timeout);
        let mut writes: Vec<Written> = Vec::new();
        for _ in 0..self.rng.between(1, 3) {
            let Some(place) = self.any_place() else { continue };
            if writes.iter().any(|taken| taken.place == place) {
                continue;
            }
            let write = self.next_write();
            let (batch, quality) = self.draw_batch(write, version, now);
            out.push(Effect::Observe(Observation::Sent(place.clone(), write, Payload(batch.clone()))));
            let data = PartitionProduceData::default().with_index(place.partition).with_records(Some(batch));
            let topic = TopicProduceData::default().with_partition_data(vec![data]);
            let topic = if version >= BY_ID {
                topic.with_topic_id(uuid::Uuid::from_bytes(self.topics[&place.topic].id))
            } else {
                topic.with_name(topic_name(&place.topic))
            };
            request.topic_data.push(topic);
            writes.push(Written { place, write, quality });
        }
        let acks = *self.rng.pick(&[-1, -1, -1, -1, 1, 0]).expect("the list is not empty");
        request.acks = acks;
        if acks != 0 {
            return self.send(now, (ApiKey::Produce, version), &request, Asked::Produce(writes), out);
        }
        self.send_unanswered((ApiKey::Produce, version), &request, out);
        for Written { place, write, quality } in writes {
            out.push(Effect::Observe(Observation::Ended(place, write, quality.unheard(), Aside(None))));
        }
    }

    /// Records come out of order, as those of several sources do.
    pub(super) fn draw_times(&self, now: Now) -> Shape {
        let mut rng = self.rng.child("times");
        let times = if rng.chance(1, 2) { rng.next_u64() } else { 0 };
        Shape { records: 1, value: 8, timestamp: now.wall.0 - rng.below(SPREAD).cast_signed(), times, key: 0 }
    }

    fn draw_batch(&mut self, write: WriteId, version: i16, now: Now) -> (Bytes, Quality) {
        let records = self.rng.between(1, u64::from(self.habits.records));
        // Within the limit on batches.
        let most = (8_000 / records - 20).min(u64::from(self.habits.value));
        let mut shape =
            Shape { records: records as u32, value: self.rng.between(8, most.max(8)) as u32, ..self.draw_times(now) };
        if self.habits.configured > 0 {
            let mut rng = self.rng.child("age");
            shape.timestamp -= configs::age(&mut rng);
            shape.key = if rng.chance(1, 2) { 1 } else { 0 };
        }
        if let Some(large) = self.draw_large(write, shape) {
            let is_allowed = large.len() <= self.habits.limits.largest as usize;
            return (large, if is_allowed { Quality::Good } else { Quality::Lies(TOO_LARGE) });
        }
        match self.rng.below(60) {
            0 => {
                shape.value = self.habits.limits.largest;
                shape.records = if self.habits.limits.may_be_raised() { 1 } else { shape.records };
                (batch::encode(write, shape, &mut self.rng), Quality::Bad)
            }
            1 => {
                let mut damaged = batch::encode(write, shape, &mut self.rng).to_vec();
                let covered = damaged.len() - batch::STAMPED;
                damaged[batch::STAMPED + self.rng.below(covered as u64) as usize] ^= 1 << self.rng.below(8);
                (damaged.into(), Quality::Bad)
            }
            2 => {
                let codec = pack::any_codec(version, &mut self.rng);
                let (lying, error) = pack::lie(write, shape, codec, self.habits.limits.largest, &mut self.rng);
                (lying, Quality::Lies(error))
            }
            3..30 => {
                let codec = pack::any_codec(version, &mut self.rng);
                (pack::encode(write, shape, codec, &mut self.rng), Quality::Good)
            }
            _ => (batch::encode(write, shape, &mut self.rng), Quality::Good),
        }
    }

    /// Bytes that are no request: the broker closes this connection, and does nothing else.
    fn send_garbage(&mut self, out: &mut Effects<Effect>) {
        let mut garbage: Vec<u8> = (0..self.rng.between(5, 60)).map(|_| self.rng.next_u64() as u8).collect();
        let length = u32::try_from(garbage.len() - 4).unwrap_or(u32::MAX);
        if self.rng.chance(1, 2) {
            // A sound length, so that what follows is looked at; but no API that there is, which might be answered.
            garbage[..4].copy_from_slice(&length.to_be_bytes());
            garbage[4] = 0x7f;
        }
        *self.asked.entry("garbage").or_default() += 1;
        out.push(Effect::Send(Bytes::from(garbage).into()));
    }

    /// Reads on from where it is, or from anywhere that it has been.
    fn fetch(&mut self, now: Now, out: &mut Effects<Effect>) {
        let version = self.rng.between(4, 18) as i16;
        let mut asked = Vec::new();
        let mut topics = Vec::new();
        for _ in 0..self.rng.between(1, 3) {
            let Some(place) = self.any_place() else { continue };
            if asked.iter().any(|(taken, _, _): &(Place, i64, u64)| *taken == place) {
                continue;
            }
            if self.rng.child("rewind").chance(self.habits.rewind, 100) {
                self.positions.remove(&place);
            }
            let position = self.positions.get(&place).copied().unwrap_or(0);
            let from = if self.rng.chance(1, 3) {
                self.rng.below(position.unsigned_abs() + 1).cast_signed()
            } else {
                position
            };
            let partition = FetchPartition::default()
                .with_partition(place.partition)
                .with_fetch_offset(from)
                .with_partition_max_bytes(self.rng.between(1, 20_000) as i32);
            let topic = FetchTopic::default().with_partitions(vec![partition]);
            topics.push(if version >= BY_ID {
                topic.with_topic_id(uuid::Uuid::from_bytes(self.topics[&place.topic].id))
            } else {
                topic.with_topic(topic_name(&place.topic))
            });
            let question = self.ask_high_watermark(&place, out);
            asked.push((place, from, question));
        }
        let request = FetchRequest::default()
            .with_max_wait_ms(self.rng.below(100) as i32)
            .with_min_bytes(self.rng.below(3) as i32)
            .with_max_bytes(self.rng.between(1, 60_000) as i32)
            .with_topics(topics);
        let request = if version >= 15 { request } else { request.with_replica_id((-1).into()) };
        self.send(now, (ApiKey::Fetch, version), &request, Asked::Fetch(asked), out);
    }

    fn list_offsets(&mut self, now: Now, out: &mut Effects<Effect>) {
        // Drawn apart, so that what else is drawn stays what it was.
        let mut times = self.rng.child("times");
        if times.chance(2, 3) {
            return self.ask_about_times(now, times, out);
        }
        if let Some(place) = self.any_place() {
            let which = if self.rng.chance(1, 2) { -1 } else { -2 };
            self.list_offset_of(now, place, which, out);
        }
    }

    pub(super) fn list_offset_of(&mut self, now: Now, place: Place, which: i64, out: &mut Effects<Effect>) {
        let version = self.rng.between(1, 10) as i16;
        let partition = ListOffsetsPartition::default().with_partition_index(place.partition).with_timestamp(which);
        let topic = ListOffsetsTopic::default().with_name(topic_name(&place.topic)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let question = self.ask_high_watermark(&place, out);
        self.send(now, (ApiKey::ListOffsets, version), &request, Asked::List(place, question, which), out);
    }

    fn create_or_ask(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.created >= self.habits.topics {
            return self.ask_metadata(now, out);
        }
        self.created += 1;
        // A name that nobody else uses, ever: so a topic that is gone can't be mistaken for a new one.
        let name = format!("t{}-{}", self.id, self.created);
        let partitions = self.rng.between(1, u64::from(self.habits.partitions)) as i32;
        let topic = CreatableTopic::default()
            .with_name(topic_name(&name))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let wishes = self.draw_configs();
        let topic = topic.with_configs(configs::creatable(&wishes));
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        out.push(Effect::Observe(Observation::Creating(name.clone(), partitions)));
        self.tell_configs(&name, &wishes, out);
        let version = self.rng.between(2, 7) as i16;
        self.send(now, (ApiKey::CreateTopics, version), &request, Asked::Create(name, wishes), out);
    }

    fn delete(&mut self, now: Now, out: &mut Effects<Effect>) {
        // The last topic stays, so that there is something to do.
        if self.topics.len() < 2 {
            return self.ask_metadata(now, out);
        }
        let at = self.rng.below(self.topics.len() as u64) as usize;
        let Some(name) = self.topics.keys().nth(at).cloned() else { return };
        let id = self.topics.remove(&name).map(|topic| topic.id);
        out.push(Effect::Observe(Observation::Deleting(name.clone())));
        let version = self.rng.between(1, 6) as i16;
        let request = DeleteTopicsRequest::default().with_timeout_ms(10_000);
        let request = match id {
            Some(id) if version >= 6 && self.rng.chance(1, 2) => request.with_topics(vec![
                DeleteTopicState::default().with_topic_id(uuid::Uuid::from_bytes(id)).with_name(None),
            ]),
            _ if version >= 6 => {
                request.with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name(&name)))])
            }
            _ => request.with_topic_names(vec![topic_name(&name)]),
        };
        self.send(now, (ApiKey::DeleteTopics, version), &request, Asked::Delete(name), out);
    }

    /// More partitions for a topic; now and then a number or an assignment that can't be, or just a question whether
    /// it would be possible.
    fn grow(&mut self, now: Now, out: &mut Effects<Effect>) {
        let at = self.rng.below(self.topics.len() as u64) as usize;
        let Some((name, known)) = self.topics.iter().nth(at) else { return };
        let (name, has) = (name.clone(), known.partitions);
        let more = self.rng.between(1, 3) as i32;
        let most = i32::try_from(self.habits.grown).unwrap_or(i32::MAX);
        let kind = self.rng.below(12);
        let (count, wish) = match kind {
            // It has as many or more, and never fewer again.
            0 => (self.rng.between(0, has.unsigned_abs().into()) as i32, Wish::Impossible),
            1 => (has.saturating_add(more), Wish::Impossible),
            _ if has.saturating_add(more) > most => return self.ask_metadata(now, out),
            2 => (has + more, Wish::Rehearsed),
            _ => (has + more, Wish::Real(GrowthId(self.next_question()))),
        };
        let assignment = |broker: i32| CreatePartitionsAssignment::default().with_broker_ids(vec![broker.into()]);
        let assignments = match kind {
            // Nobody is broker 99.
            1 => Some(vec![assignment(99); more.unsigned_abs() as usize]),
            _ => None,
        };
        if let Wish::Real(id) = wish {
            out.push(Effect::Observe(Observation::Growing(name.clone(), id, count)));
        }
        let topic = CreatePartitionsTopic::default()
            .with_name(topic_name(&name))
            .with_count(count)
            .with_assignments(assignments);
        // Some don't wait: what they asked for happens all the same, or not.
        let timeout = if self.rng.chance(1, 8) { self.rng.below(30) as i32 } else { 10_000 };
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(timeout)
            .with_validate_only(wish == Wish::Rehearsed);
        let version = self.rng.between(0, 3) as i16;
        self.send(now, (ApiKey::CreatePartitions, version), &request, Asked::Grow(name, count, wish), out);
    }

    /// Names a question, unlike any other in the run.
    pub(super) fn next_question(&mut self) -> u64 {
        self.questions += 1;
        (u64::from(self.id) << 32) | self.questions
    }

    pub(super) fn ask_high_watermark(&mut self, place: &Place, out: &mut Effects<Effect>) -> u64 {
        let question = self.next_question();
        out.push(Effect::Observe(Observation::Asked(place.clone(), question)));
        question
    }

    pub(super) fn any_place(&mut self) -> Option<Place> {
        let at = self.rng.below(self.topics.len() as u64) as usize;
        let (name, topic) = self.topics.iter().nth(at)?;
        let partition = self.rng.below(u64::from(topic.partitions.unsigned_abs())) as i32;
        Some(Place { topic: name.clone(), partition })
    }

    pub(super) fn next_write(&mut self) -> WriteId {
        self.writes += 1;
        WriteId((u64::from(self.id) << 32) | self.writes)
    }
}

pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
