//! What a client makes of answers.

use super::configs::{self, Wishes};
use super::leaders;
use super::wire::{next_frame, response_header};
use super::{Asked, Client, Effect, KnownTopic, Mode, Pending, Quality, Wish, Written};
use crate::oracle::{Aside, Growth, Judged, Observation, Outcome, Place, Reply, Trim};
use bytes::Bytes;
use kafka_protocol::messages::{
    AlterConfigsResponse, ApiKey, ApiVersionsResponse, CreatePartitionsResponse, CreateTopicsResponse,
    DeleteTopicsResponse, FetchResponse, IncrementalAlterConfigsResponse, ListOffsetsResponse, MetadataResponse,
    ProduceResponse,
};
use kafka_protocol::protocol::Decodable;
use karst_core::machine::{Effects, Now, Payload};

/// Kafka's codes for what does not exist: UNKNOWN_TOPIC_OR_PARTITION and UNKNOWN_TOPIC_ID.
const MISSING: [i16; 2] = [3, 100];

/// Kafka's OFFSET_OUT_OF_RANGE.
const OUT_OF_RANGE: i16 = 1;

/// Kafka's REQUEST_TIMED_OUT: whether the request took effect is unknown.
const REQUEST_TIMED_OUT: i16 = 7;

impl Client {
    pub(super) fn handle_received(&mut self, now: Now, bytes: &[u8], out: &mut Effects<Effect>) {
        self.received.extend_from_slice(bytes);
        while let Some(frame) = next_frame(&mut self.received) {
            if let Err(why) = self.handle_answer(now, frame, out) {
                out.push(Effect::Observe(Observation::Broken(why)));
            }
        }
        self.go_on(now, out);
    }

    /// The connection is gone: nobody knows what became of what was in flight.
    pub(super) fn forget_pending(&mut self, out: &mut Effects<Effect>) {
        for pending in std::mem::take(&mut self.pending) {
            out.push(Effect::Observe(Observation::Lost(pending.asked.kind())));
            match pending.asked {
                Asked::Produce(writes) => {
                    for Written { place, write, quality } in writes {
                        out.push(Effect::Observe(Observation::Ended(place, write, quality.unheard(), Aside(None))));
                    }
                }
                Asked::Sequenced(attempts) => self.forget_attempts(&attempts, out),
                Asked::ProducerId(wanted) => self.forget_producer_id(wanted),
                Asked::Grow(topic, _, Wish::Real(id)) => {
                    out.push(Effect::Observe(Observation::Grown(topic, id, Growth::Unknown)));
                }
                Asked::DeleteRecords(place, id, true) => {
                    out.push(Effect::Observe(Observation::Trimmed(place, id, Trim::Unknown)));
                }
                Asked::Change(change) | Asked::Replace(change) => configs::forget_change(change, out),
                _ => {}
            }
        }
    }

    fn handle_answer(&mut self, now: Now, mut frame: Bytes, out: &mut Effects<Effect>) -> Result<(), String> {
        let pending = self.pending.pop_front().ok_or("an answer to no request")?;
        let Pending { correlation, version, asked, .. } = pending;
        let api = api_of(&asked);
        let answered = response_header(api, version, &mut frame)?;
        if answered != correlation {
            return Err(format!("the answer to {answered} came where that to {correlation} was due"));
        }
        let reply = Reply { request: correlation.unsigned_abs().into(), version, body: frame.clone() };
        out.push(Effect::Observe(Observation::Answered(asked.kind(), Aside(reply))));
        match asked {
            Asked::ApiVersions => decode::<ApiVersionsResponse>(frame, version).map(|_| ()),
            Asked::Metadata(question) => self.handle_metadata(&decode(frame, version)?, question, out),
            Asked::Produce(writes) => {
                let response = decode(frame, version)?;
                leaders::check_produced(version, &response)?;
                self.handle_produced(&response, writes, out)
            }
            Asked::Sequenced(attempts) => {
                let response = decode(frame, version)?;
                leaders::check_produced(version, &response)?;
                self.handle_sequenced(&response, &attempts, out)?;
                self.check_hurried(now, &attempts, out);
                Ok(())
            }
            Asked::ProducerId(wanted) => self.handle_producer_id(&decode(frame, version)?, wanted, out),
            Asked::Fetch(asked) => {
                let response = decode(frame, version)?;
                leaders::check_fetched(version, &response)?;
                self.handle_fetched(now, (response, version), asked, out)
            }
            Asked::List(place, question, which) => {
                self.handle_listed(now, &decode(frame, version)?, place, question, which, out)
            }
            Asked::Create(name, wishes) => {
                self.handle_created(now, (&decode(frame, version)?, version), (name, wishes), out)
            }
            Asked::Configs(topic, question) => Self::handle_described(&decode(frame, version)?, (topic, question), out),
            Asked::Change(change) => {
                let response: IncrementalAlterConfigsResponse = decode(frame, version)?;
                let answer = response.responses.first().ok_or("an empty answer to a change of configs")?;
                Self::handle_changed(change, answer.error_code, out)
            }
            Asked::Replace(change) => {
                let response: AlterConfigsResponse = decode(frame, version)?;
                let answer = response.responses.first().ok_or("an empty answer to a change of configs")?;
                Self::handle_changed(change, answer.error_code, out)
            }
            Asked::Delete(name) => {
                let response: DeleteTopicsResponse = decode(frame, version)?;
                let answer = response.responses.first().ok_or("an empty answer to delete-topics")?;
                expect_code("delete-topics", answer.error_code, &[0, 3, 7, 41, 100])?;
                self.topics.remove(&name);
                Ok(())
            }
            Asked::DeleteRecords(place, id, may_be) => {
                self.handle_records_deleted(&decode(frame, version)?, (place, id, may_be), out)
            }
            Asked::Time(place, puzzle) => self.handle_time(&decode(frame, version)?, (place, puzzle), out),
            Asked::Epoch(place, puzzle) => self.handle_epoch(&decode(frame, version)?, (place, puzzle), out),
            Asked::Size(place) => self.verify_sized(&decode(frame, version)?, &place),
            Asked::Grow(name, count, wish) => {
                self.handle_grown(now, &decode(frame, version)?, (name, count, wish), out)
            }
        }
    }

    fn handle_metadata(
        &mut self,
        response: &MetadataResponse,
        question: u64,
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        self.topics.clear();
        // What the broker keeps for itself is nobody's to write or delete.
        for topic in response.topics.iter().filter(|topic| !topic.is_internal) {
            let name = topic.name.as_ref().ok_or("a topic without a name")?;
            let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            if topic.error_code == 0 && partitions > 0 {
                let known = KnownTopic { id: *topic.topic_id.as_bytes(), partitions };
                self.topics.insert(name.as_str().to_owned(), known);
            }
        }
        let listed = self.topics.iter().map(|(name, topic)| (name.clone(), topic.partitions));
        out.push(Effect::Observe(Observation::Listed(question, listed.collect())));
        if let Mode::Verify(verify) = &mut self.mode {
            verify.begin(self.topics.iter().map(|(name, topic)| (name.clone(), topic.partitions)));
        }
        Ok(())
    }

    fn handle_produced(
        &mut self,
        response: &ProduceResponse,
        writes: Vec<Written>,
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let answers: Vec<_> = answers.collect();
        if answers.len() != writes.len() {
            return Err(format!("{} partitions were written, {} answered", writes.len(), answers.len()));
        }
        for (answer, Written { place, write, quality }) in answers.into_iter().zip(writes) {
            if answer.index != place.partition {
                return Err("partitions are answered in another order".into());
            }
            if quality != Quality::Good && answer.error_code == 0 {
                return Err(format!("write {} is damaged, lies or is too large, and was acknowledged", write.0));
            }
            if let Quality::Lies(error) = quality {
                expect_code("a batch that lies", answer.error_code, &[error, 3, 6, 7, 10, 32, 100])?;
            }
            if answer.error_code == 0
                && let Some(before) = self.acked.insert(place.clone(), answer.base_offset)
                && before >= answer.base_offset
            {
                return Err(format!("a write sent after one at offset {before} lies at {}", answer.base_offset));
            }
            expect_code("produce", answer.error_code, &[0, 2, 3, 6, 7, 10, 32, 87, 100])?;
            if quality == Quality::Good {
                let judged = Judged { code: answer.error_code, appended_at: answer.log_append_time_ms };
                out.push(Effect::Observe(Observation::Judged(place.clone(), write, judged)));
            }
            let outcome = match answer.error_code {
                0 => Outcome::Acked(answer.base_offset),
                REQUEST_TIMED_OUT => quality.unheard(),
                _ => Outcome::Failed,
            };
            out.push(Effect::Observe(Observation::Ended(place, write, outcome, Aside(Some(answer.error_code)))));
        }
        Ok(())
    }

    fn handle_fetched(
        &mut self,
        now: Now,
        (response, version): (FetchResponse, i16),
        asked: Vec<(Place, i64, u64)>,
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let answers: Vec<_> = response.responses.into_iter().flat_map(|topic| topic.partitions).collect();
        if response.error_code == 0 && answers.len() != asked.len() {
            return Err(format!("{} partitions were fetched, {} answered", asked.len(), answers.len()));
        }
        for (answer, (place, from, question)) in answers.into_iter().zip(asked) {
            // An old version is refused what is stored by Zstandard because its topic says so.
            let known: &[i16] = if version < 10 { &[0, 1, 3, 6, 56, 76, 100] } else { &[0, 1, 3, 6, 56, 100] };
            expect_code("fetch", answer.error_code, known)?;
            if MISSING.contains(&answer.error_code) {
                out.push(Effect::Observe(Observation::Missing(place.clone(), question)));
            }
            if answer.error_code != 0 {
                self.positions.remove(&place);
                self.verify_failed();
                if answer.error_code == OUT_OF_RANGE {
                    out.push(Effect::Observe(Observation::OutOfRange(place.clone(), question, from)));
                    self.find_start(now, place, out);
                }
                continue;
            }
            // Version 4 does not tell it.
            if answer.log_start_offset >= 0 {
                let start = answer.log_start_offset;
                out.push(Effect::Observe(Observation::LogStart(place.clone(), question, start)));
            }
            out.push(Effect::Observe(Observation::Served(place.clone(), question, from)));
            let hw = Observation::HighWatermark(place.clone(), question, answer.high_watermark);
            out.push(Effect::Observe(hw));
            let records = answer.records.unwrap_or_default();
            if let Some(next) = end_of(&records) {
                if next > answer.high_watermark {
                    return Err(format!("records up to {next} above the high watermark {}", answer.high_watermark));
                }
                self.positions.insert(place.clone(), next);
                self.verify_fetched(&place, next, records.len());
                out.push(Effect::Observe(Observation::Read(place, from, Payload(records))));
            }
        }
        Ok(())
    }

    /// The records from there on are deleted: goes on where the log begins.
    fn find_start(&mut self, now: Now, place: Place, out: &mut Effects<Effect>) {
        if matches!(self.mode, Mode::Work) {
            self.list_offset_of(now, place, super::verify::EARLIEST, out);
        }
    }

    fn handle_listed(
        &mut self,
        _now: Now,
        response: &ListOffsetsResponse,
        place: Place,
        question: u64,
        which: i64,
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let answer = response.topics.first().and_then(|topic| topic.partitions.first());
        let answer = answer.ok_or("an empty answer to list-offsets")?;
        expect_code("list-offsets", answer.error_code, &[0, 3, 6])?;
        if answer.error_code == 0 {
            if which == super::verify::LATEST {
                self.learn_epoch(&place, answer.leader_epoch)?;
                let hw = Observation::HighWatermark(place.clone(), question, answer.offset);
                out.push(Effect::Observe(hw));
            } else {
                out.push(Effect::Observe(Observation::LogStart(place.clone(), question, answer.offset)));
                let position = self.positions.entry(place.clone()).or_default();
                *position = answer.offset.max(*position);
            }
            self.verify_listed(&place, which, answer.offset);
        } else {
            if MISSING.contains(&answer.error_code) {
                out.push(Effect::Observe(Observation::Missing(place, question)));
            }
            self.verify_failed();
        }
        Ok(())
    }

    fn handle_created(
        &mut self,
        now: Now,
        (response, version): (&CreateTopicsResponse, i16),
        (name, wishes): (String, Wishes),
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let answer = response.topics.first().ok_or("an empty answer to create-topics")?;
        expect_code("create-topics", answer.error_code, &[0, 7, 36, 41])?;
        if answer.error_code == 0 {
            configs::check_created(answer, &wishes, version)?;
            out.push(Effect::Observe(Observation::Created(name)));
            self.ask_metadata(now, out);
        }
        Ok(())
    }

    fn handle_grown(
        &mut self,
        now: Now,
        response: &CreatePartitionsResponse,
        (name, count, wish): (String, i32, Wish),
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let answer = response.results.first().ok_or("an empty answer to create-partitions")?;
        let code = answer.error_code;
        expect_code("create-partitions", code, &[0, 3, 7, 37, 39, 41])?;
        match wish {
            Wish::Real(id) => {
                let outcome = match code {
                    0 => Growth::Done,
                    REQUEST_TIMED_OUT => Growth::Unknown,
                    _ => Growth::Refused,
                };
                out.push(Effect::Observe(Observation::Grown(name.clone(), id, outcome)));
            }
            Wish::Impossible if code == 0 => {
                return Err(format!("the topic {name} can't grow to {count} partitions, and it was acknowledged"));
            }
            Wish::Impossible | Wish::Rehearsed => return Ok(()),
        }
        if code == 0 {
            // What is acknowledged is open: it may be written to at once.
            if let Some(known) = self.topics.get_mut(&name) {
                known.partitions = known.partitions.max(count);
            }
            self.ask_metadata(now, out);
        }
        Ok(())
    }
}

fn api_of(asked: &Asked) -> ApiKey {
    match asked {
        Asked::ApiVersions => ApiKey::ApiVersions,
        Asked::Metadata(_) => ApiKey::Metadata,
        Asked::Produce(_) | Asked::Sequenced(_) => ApiKey::Produce,
        Asked::ProducerId(_) => ApiKey::InitProducerId,
        Asked::Fetch(_) => ApiKey::Fetch,
        Asked::List(..) => ApiKey::ListOffsets,
        Asked::Create(..) => ApiKey::CreateTopics,
        Asked::Configs(..) => ApiKey::DescribeConfigs,
        Asked::Change(_) => ApiKey::IncrementalAlterConfigs,
        Asked::Replace(_) => ApiKey::AlterConfigs,
        Asked::Delete(_) => ApiKey::DeleteTopics,
        Asked::Grow(..) => ApiKey::CreatePartitions,
        Asked::DeleteRecords(..) => ApiKey::DeleteRecords,
        Asked::Time(..) => ApiKey::ListOffsets,
        Asked::Epoch(..) => ApiKey::OffsetForLeaderEpoch,
        Asked::Size(_) => ApiKey::DescribeLogDirs,
    }
}

fn decode<T: Decodable>(mut frame: Bytes, version: i16) -> Result<T, String> {
    let decoded = T::decode(&mut frame, version).map_err(|error| error.to_string())?;
    if frame.is_empty() { Ok(decoded) } else { Err(format!("{} bytes follow the answer", frame.len())) }
}

/// Codes that a broker may answer with, whatever faults there are; any other is a mistake.
fn expect_code(api: &str, code: i16, legal: &[i16]) -> Result<(), String> {
    if legal.contains(&code) { Ok(()) } else { Err(format!("{api} was answered with error {code}")) }
}

/// The offset after the last whole batch.
fn end_of(records: &Bytes) -> Option<i64> {
    let mut end = None;
    let mut rest = &records[..];
    while let Some(header) = rest.get(..61) {
        let base = i64::from_be_bytes(header[..8].try_into().ok()?);
        let length = usize::try_from(i32::from_be_bytes(header[8..12].try_into().ok()?)).ok()?;
        let last_delta = i32::from_be_bytes(header[23..27].try_into().ok()?);
        let Some(after) = rest.get(12 + length..) else { break };
        end = Some(base + i64::from(last_delta) + 1);
        rest = after;
    }
    end
}
