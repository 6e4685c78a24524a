//! An idempotent producer, as clients have it: five batches of a partition in flight at most, each sent again until it
//! is acknowledged, and more often and in another order than a good client would. Now and then it begins a newer epoch,
//! or asks for a new id; and what it gave up then comes late, as if it had been on its way for long. Now and then it
//! hangs up on a batch, and sends it again at once on another connection. In one thing it is as good as all others: on a
//! new connection it sends what is not acknowledged in order, so that whoever drops the first must drop the second.
//!
//! When a topic is gone, the batches for one of its partitions go on elsewhere, in the middle of their sequence, as they
//! would in a topic of the same name that was created again. Names are used once in a run; but to the broker that is the
//! same, since every topic has streams of its own.
//!
//! A batch is one write, however often it is sent. What the broker may say to it follows from what it said before.

use super::batch::{self, Shape};
use super::configs;
use super::work::topic_name;
use super::{Asked, Client, Effect, Link, Mode, pack};
use crate::oracle::{Aside, Judged, Observation, Outcome, Place, WriteId};
use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use karst_core::machine::{Effects, Now, Payload};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// So many batches of a partition are not acknowledged at most: as many as a broker remembers.
const UNACKED: usize = 5;
/// So many that are acknowledged are sent again now and then.
const ACKED: usize = 8;
/// From this version on, topics are named by id.
const BY_ID: i16 = 13;
/// Kafka's error codes.
const OUT_OF_ORDER: i16 = 45;
const OLD_EPOCH: i16 = 47;
const TRANSACTIONAL_ID: i16 = 53;
/// Codes that say: later.
const AGAIN: [i16; 4] = [3, 6, 7, 100];
/// Codes that say: never, as the topic is configured.
const NEVER: [i16; 3] = [10, 32, 87];

/// Who a producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    id: i64,
    epoch: i16,
}

/// What an idempotent producer knows.
#[derive(Debug, Default)]
pub(super) struct Producer {
    identity: Option<Identity>,
    is_asked: bool,
    lines: BTreeMap<Place, Line>,
    /// The first batches that it gave up when it last began anew.
    given_up: BTreeMap<Place, Sequenced>,
    /// Where it wrote under its id.
    used: BTreeSet<Place>,
    /// Where it wrote under its epoch what goes on elsewhere.
    left: BTreeSet<Place>,
    /// It hung up on a batch for that partition, and is to send it again at once.
    hurried: Option<Place>,
}

/// Its batches for one partition, in their order.
#[derive(Debug, Default)]
struct Line {
    /// The sequence that is the first for that partition.
    begins: i32,
    next: i32,
    batches: VecDeque<Sequenced>,
}

#[derive(Debug)]
struct Sequenced {
    write: WriteId,
    batch: Bytes,
    first: i32,
    in_flight: u32,
    acked: bool,
    /// The number of the connection on which it was sent last.
    on: u64,
}

/// A batch on its way, perhaps not for the first time.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    place: Place,
    write: WriteId,
    identity: Identity,
    /// What comes before it was acknowledged when it was sent: a gap is none.
    follows: bool,
    /// Its producer has begun anew since.
    is_late: bool,
    /// It may still be on its way from the connection before.
    is_hurried: bool,
    /// It was acknowledged, and so many were sent after it that its offset may be forgotten.
    is_old: bool,
}

/// What an InitProducerId asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Id,
    /// One more id, for a producer that never writes.
    Spare,
    /// An id for transactions: to be refused.
    Transactions,
}

impl Line {
    fn unacked(&self) -> usize {
        self.batches.iter().filter(|batch| !batch.acked).count()
    }

    /// Whether a batch may be sent on that connection: what comes before it is acknowledged, or was sent there.
    fn may_send(&self, at: usize, on: u64) -> bool {
        at.checked_sub(1).is_none_or(|before| self.batches[before].acked || self.batches[before].on == on)
    }
}

impl Client {
    /// Sends the next batches, or some again.
    pub(super) fn produce_sequenced(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.rng.chance(1, 50) {
            self.begin_anew(out);
        }
        if self.rng.child("spare").chance(1, 15) {
            self.ask_spare_id(now, out);
        }
        let Some(identity) = self.producer.identity else { return self.ask_producer_id(now, out) };
        let version = self.rng.between(3, 13) as i16;
        // Some don't wait long: what waits for room in the WAL then is not appended, and must be once it is sent again.
        let mut patience = self.rng.child("patience");
        let timeout = if patience.chance(1, 12) { patience.below(20) as i32 } else { 10_000 };
        let mut request = ProduceRequest::default().with_timeout_ms(timeout).with_acks(-1);
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut hurried = self.producer.hurried.take().filter(|place| self.topics.contains_key(&place.topic));
        let is_hurried = hurried.is_some();
        for _ in 0..self.rng.between(1, 2) {
            let Some(place) = hurried.take().or_else(|| self.any_place()) else { continue };
            if attempts.iter().any(|taken| taken.place == place) || self.producer.left.contains(&place) {
                continue;
            }
            self.take_over(&place, out);
            self.producer.used.insert(place.clone());
            let at = match self.choose(&place) {
                Some(at) => {
                    let write = self.producer.lines[&place].batches[at].write;
                    out.push(Effect::Observe(Observation::SentAgain(place.clone(), write)));
                    at
                }
                None => self.add_batch(now, &place, identity, version, out),
            };
            let line = self.producer.lines.entry(place.clone()).or_default();
            let follows = line.batches[at].first == line.begins || (at > 0 && line.batches[at - 1].acked);
            let is_old = line.batches[at].acked && line.batches.len() - at > UNACKED;
            let sequenced = &mut line.batches[at];
            sequenced.in_flight += 1;
            sequenced.on = self.connections;
            let (batch, write) = (sequenced.batch.clone(), sequenced.write);
            request.topic_data.push(self.data_of(&place, batch, version));
            attempts.push(Attempt { place, write, identity, follows, is_late: false, is_hurried, is_old });
        }
        let hung_up_on = attempts.first().map(|attempt| attempt.place.clone());
        let late = attempts.iter().find_map(|attempt| self.producer.given_up.remove_entry(&attempt.place));
        self.send(now, (ApiKey::Produce, version), &request, Asked::Sequenced(attempts), out);
        if let Some((place, batch)) = late {
            self.send_late(now, (place, batch), identity, version, out);
        }
        if self.rng.child("hurry").chance(1, 25) {
            self.producer.hurried = hung_up_on;
            self.hang_up(now, out);
            let pause = Duration::from_micros(self.rng.child("hurry").below(300));
            self.link = Link::Down { retry_at: now.mono.after(pause) };
        }
    }

    /// A connection is there again: what it hung up on comes at once.
    pub(super) fn produce_again(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.producer.hurried.is_some() && matches!(self.mode, Mode::Work) && !self.topics.is_empty() {
            self.produce_sequenced(now, out);
        }
    }

    /// What was answered in a hurry must be there: asks how far the log goes.
    pub(super) fn check_hurried(&mut self, now: Now, attempts: &[Attempt], out: &mut Effects<Effect>) {
        let hurried = attempts.iter().find(|attempt| attempt.is_hurried && matches!(self.mode, Mode::Work));
        if let Some(Attempt { place, .. }) = hurried {
            self.list_offset_of(now, place.clone(), super::verify::LATEST, out);
        }
    }

    /// What an earlier epoch left behind comes after all.
    fn send_late(
        &mut self,
        now: Now,
        (place, late): (Place, Sequenced),
        identity: Identity,
        version: i16,
        out: &mut Effects<Effect>,
    ) {
        if !self.topics.contains_key(&place.topic) {
            return;
        }
        let Sequenced { write, batch, .. } = late;
        out.push(Effect::Observe(Observation::SentAgain(place.clone(), write)));
        let topics = vec![self.data_of(&place, batch, version)];
        let request = ProduceRequest::default().with_timeout_ms(10_000).with_acks(-1).with_topic_data(topics);
        let attempt =
            Attempt { place, write, identity, follows: false, is_late: true, is_hurried: false, is_old: true };
        self.send(now, (ApiKey::Produce, version), &request, Asked::Sequenced(vec![attempt]), out);
    }

    fn data_of(&self, place: &Place, batch: Bytes, version: i16) -> TopicProduceData {
        let data = PartitionProduceData::default().with_index(place.partition).with_records(Some(batch));
        let topic = TopicProduceData::default().with_partition_data(vec![data]);
        if version >= BY_ID {
            topic.with_topic_id(uuid::Uuid::from_bytes(self.topics[&place.topic].id))
        } else {
            topic.with_name(topic_name(&place.topic))
        }
    }

    /// Which batch to send again; `None` for a new one.
    fn choose(&mut self, place: &Place) -> Option<usize> {
        let line = self.producer.lines.get(place).filter(|line| !line.batches.is_empty())?;
        let any = self.rng.below(line.batches.len() as u64) as usize;
        let first = line.batches.iter().position(|batch| !batch.acked);
        let any = if line.may_send(any, self.connections) { any } else { first.unwrap_or(any) };
        if self.rng.chance(1, 6) {
            return Some(any);
        }
        let waiting = line.batches.iter().position(|batch| !batch.acked && batch.in_flight == 0);
        waiting.or((line.unacked() >= UNACKED).then_some(any))
    }

    fn add_batch(
        &mut self,
        now: Now,
        place: &Place,
        identity: Identity,
        version: i16,
        out: &mut Effects<Effect>,
    ) -> usize {
        let write = self.next_write();
        let records = self.rng.between(1, u64::from(self.habits.records));
        let most = (8_000 / records - 20).min(u64::from(self.habits.value));
        let value = self.rng.between(8, most.max(8)) as u32;
        let mut shape = Shape { records: records as u32, value, ..self.draw_times(now) };
        if self.habits.configured > 0 {
            let mut rng = self.rng.child("age");
            shape.timestamp -= configs::age(&mut rng);
            shape.key = u32::from(rng.chance(1, 2));
        }
        // It may be sent again in an older version than that of its first time.
        let codec = self.rng.chance(1, 3).then(|| pack::any_codec(version.min(6), &mut self.rng));
        let plain = match codec {
            Some(codec) => pack::encode(write, shape, codec, &mut self.rng),
            None => batch::encode(write, shape, &mut self.rng),
        };
        let (plain, records) = match self.draw_large(write, shape) {
            Some(large) if large.len() <= self.habits.limits.largest as usize => (large, 1),
            _ => (plain, records),
        };
        let line = self.producer.lines.entry(place.clone()).or_default();
        let batch = batch::sequenced(&plain, identity.id, identity.epoch, line.next);
        out.push(Effect::Observe(Observation::Sent(place.clone(), write, Payload(batch.clone()))));
        line.batches.push_back(Sequenced { write, batch, first: line.next, in_flight: 0, acked: false, on: 0 });
        line.next += records as i32;
        while line.batches.len() - line.unacked() > ACKED {
            line.batches.pop_front();
        }
        line.batches.len() - 1
    }

    /// What goes on in this partition, if something does: it was for one that is gone.
    fn take_over(&mut self, place: &Place, out: &mut Effects<Effect>) {
        if self.producer.used.contains(place) || !self.rng.child("moves").chance(3, 4) {
            return;
        }
        let lines = self.producer.lines.iter();
        let gone = lines.filter(|(from, line)| !self.topics.contains_key(&from.topic) && line.next > 0);
        let Some(from) = gone.map(|(from, _)| from.clone()).next() else { return };
        let mut line = self.producer.lines.remove(&from).expect("it was just found");
        // What lies before one that is acknowledged is written, whatever was answered.
        let written = line.batches.iter().rposition(|batch| batch.acked).map_or(0, |at| at + 1);
        for batch in line.batches.drain(..written).filter(|batch| !batch.acked) {
            out.push(Effect::Observe(Observation::Ended(from.clone(), batch.write, Outcome::Unknown, Aside(None))));
        }
        line.begins = line.batches.front().map_or(line.next, |batch| batch.first);
        for batch in &mut line.batches {
            (batch.in_flight, batch.on) = (0, 0);
            out.push(Effect::Observe(Observation::Ended(from.clone(), batch.write, Outcome::Unknown, Aside(None))));
            let payload = Payload(batch.batch.clone());
            out.push(Effect::Observe(Observation::Sent(place.clone(), batch.write, payload)));
        }
        self.producer.left.insert(from);
        self.producer.lines.insert(place.clone(), line);
    }

    /// A newer epoch, or a new id: what was not acknowledged is given up, though it may still be on its way.
    fn begin_anew(&mut self, out: &mut Effects<Effect>) {
        for (place, line) in std::mem::take(&mut self.producer.lines) {
            for batch in line.batches.into_iter().filter(|batch| !batch.acked).rev() {
                out.push(Effect::Observe(Observation::Ended(
                    place.clone(),
                    batch.write,
                    Outcome::Unknown,
                    Aside(None),
                )));
                self.producer.given_up.insert(place.clone(), batch);
            }
        }
        let bumped = self.producer.identity.filter(|identity| identity.epoch < i16::MAX && self.rng.chance(2, 3));
        self.producer.identity = bumped.map(|identity| Identity { epoch: identity.epoch + 1, ..identity });
        self.producer.left.clear();
        if bumped.is_none() {
            self.producer.used.clear();
        }
    }

    fn ask_producer_id(&mut self, now: Now, out: &mut Effects<Effect>) {
        let version = self.rng.between(0, 5) as i16;
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(10_000);
        if self.rng.chance(1, 10) {
            let id = TransactionalId(StrBytes::from_static_str("transactions"));
            let request = request.with_transactional_id(Some(id));
            let asked = Asked::ProducerId(Wanted::Transactions);
            return self.send(now, (ApiKey::InitProducerId, version), &request, asked, out);
        }
        if std::mem::replace(&mut self.producer.is_asked, true) {
            return self.ask_metadata(now, out);
        }
        let named = if version >= 3 && self.rng.chance(1, 4) { (77, 5) } else { (-1, -1) };
        let request = request.with_producer_id(named.0.into()).with_producer_epoch(named.1);
        self.send(now, (ApiKey::InitProducerId, version), &request, Asked::ProducerId(Wanted::Id), out);
    }

    fn ask_spare_id(&mut self, now: Now, out: &mut Effects<Effect>) {
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(10_000);
        let request = request.with_producer_id((-1).into()).with_producer_epoch(-1);
        self.send(now, (ApiKey::InitProducerId, 4), &request, Asked::ProducerId(Wanted::Spare), out);
    }

    pub(super) fn handle_producer_id(
        &mut self,
        response: &InitProducerIdResponse,
        wanted: Wanted,
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        /// Kafka's COORDINATOR_NOT_AVAILABLE.
        const LATER: i16 = 15;
        let code = response.error_code;
        if wanted == Wanted::Transactions {
            return if code == TRANSACTIONAL_ID {
                Ok(())
            } else {
                Err(format!("transactions were answered with {code}"))
            };
        }
        if wanted == Wanted::Id {
            self.producer.is_asked = false;
        }
        match code {
            0 if response.producer_epoch == 0 && response.producer_id.0 >= 0 => {
                let id = response.producer_id.0;
                out.push(Effect::Observe(Observation::ProducerId(id)));
                if wanted == Wanted::Id {
                    self.producer.identity = Some(Identity { id, epoch: 0 });
                }
                Ok(())
            }
            LATER => Ok(()),
            _ => Err(format!("init-producer-id was answered with error {code}, id {}", response.producer_id.0)),
        }
    }

    pub(super) fn handle_sequenced(
        &mut self,
        response: &ProduceResponse,
        attempts: &[Attempt],
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let answers: Vec<_> = response.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
        if answers.len() != attempts.len() {
            return Err(format!("{} partitions were written, {} answered", attempts.len(), answers.len()));
        }
        let mut begins_anew = false;
        for (answer, attempt) in answers.into_iter().zip(attempts) {
            if answer.index != attempt.place.partition {
                return Err("partitions are answered in another order".into());
            }
            begins_anew |= NEVER.contains(&answer.error_code);
            // However often it is sent, the broker tells the same time of it.
            if NEVER.contains(&answer.error_code) || answer.error_code == 0 {
                let judged = Judged { code: answer.error_code, appended_at: answer.log_append_time_ms };
                out.push(Effect::Observe(Observation::Judged(attempt.place.clone(), attempt.write, judged)));
            }
            let is_wrong = match answer.error_code {
                0 => {
                    self.acknowledged(attempt, answer.base_offset, out);
                    continue;
                }
                OLD_EPOCH if attempt.is_late => false,
                OUT_OF_ORDER => !attempt.is_old && (attempt.follows || self.follows(attempt)),
                code => !AGAIN.contains(&code) && !NEVER.contains(&code),
            };
            if self.landed(attempt).is_none() {
                // It was refused, and is not sent again, since what came before it was refused for good.
                let code = Aside(Some(answer.error_code));
                out.push(Effect::Observe(Observation::Unheard(attempt.place.clone(), attempt.write, code)));
            }
            if is_wrong {
                let (code, write) = (answer.error_code, attempt.write);
                out.push(Effect::Observe(Observation::ProducerRefused(attempt.place.clone(), write, code)));
            }
            begins_anew |= is_wrong && self.producer.identity == Some(attempt.identity);
        }
        if begins_anew {
            // A batch that may never be written leaves a gap, and so does a broker that has forgotten the producer, and
            // then takes again what was written before: it begins a new epoch.
            self.begin_anew(out);
        }
        Ok(())
    }

    /// Whether what comes before it is acknowledged by now. Answers come in order: it was when the broker looked.
    fn follows(&self, attempt: &Attempt) -> bool {
        let Some(line) = self.producer.lines.get(&attempt.place) else { return false };
        let at = line.batches.iter().position(|batch| batch.write == attempt.write);
        at.and_then(|at| at.checked_sub(1)).is_some_and(|before| line.batches[before].acked)
    }

    /// Nothing will be heard of it.
    pub(super) fn forget_attempts(&mut self, attempts: &[Attempt], out: &mut Effects<Effect>) {
        for attempt in attempts {
            self.landed(attempt);
            out.push(Effect::Observe(Observation::Unheard(attempt.place.clone(), attempt.write, Aside(None))));
        }
    }

    /// Whoever asked for an id asks again.
    pub(super) fn forget_producer_id(&mut self, wanted: Wanted) {
        self.producer.is_asked &= wanted != Wanted::Id;
    }

    fn acknowledged(&mut self, attempt: &Attempt, base: i64, out: &mut Effects<Effect>) {
        let (place, write) = (attempt.place.clone(), attempt.write);
        let is_first = self.landed(attempt).is_some_and(|batch| !std::mem::replace(&mut batch.acked, true));
        out.push(Effect::Observe(if is_first {
            Observation::Ended(place, write, Outcome::Acked(base), Aside(None))
        } else {
            Observation::AckedAgain(place, write, base)
        }));
    }

    /// An attempt has ended. Its batch, if that is not given up.
    fn landed(&mut self, attempt: &Attempt) -> Option<&mut Sequenced> {
        let line = self.producer.lines.get_mut(&attempt.place)?;
        let batch = line.batches.iter_mut().find(|batch| batch.write == attempt.write)?;
        batch.in_flight = batch.in_flight.saturating_sub(1);
        Some(batch)
    }
}
