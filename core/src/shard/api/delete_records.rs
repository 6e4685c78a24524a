//! DeleteRecords: a partition's log start moves up. Answered when that is durable.

use super::millis;
use crate::id::Offset;
use crate::kafka::ErrorCode;
use crate::machine::{Effects, Mark, Now, sometimes};
use crate::metadata::Command;
use crate::shard::joins::Asked;
use crate::shard::topics::{TopicOutcome, TopicRequest, TopicStep};
use crate::shard::{Effect, Shard};
use alloc::vec::Vec;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

/// Asks for everything up to the high watermark to go.
const HIGH_WATERMARK: i64 = -1;
/// Where a partition begins after an error.
const NOWHERE: i64 = -1;

/// Whoever leads it: a request says nothing about leader epochs.
const ANY_EPOCH: i32 = -1;

impl Shard {
    pub(in crate::shard) fn handle_delete_records(
        &mut self,
        now: Now,
        asked: Asked,
        request: DeleteRecordsRequest,
        out: &mut Effects<Effect>,
    ) {
        let lines = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |line| (topic, line)));
        let steps = lines.map(|(topic, line)| {
            let refused = |code| TopicStep::Known(TopicOutcome::refused(code, "the answer has no room for a reason"));
            self.plan_trim(topic, line).unwrap_or_else(refused)
        });
        let steps = steps.collect();
        let due = now.mono.after(millis(request.timeout_ms));
        self.begin_topics(now, asked, TopicRequest::Trim(request), steps, due, out);
    }

    pub(in crate::shard) fn answer_delete_records(
        &mut self,
        asked: Asked,
        request: &DeleteRecordsRequest,
        outcomes: Vec<TopicOutcome>,
        out: &mut Effects<Effect>,
    ) {
        let mut outcomes = outcomes.into_iter();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().zip(outcomes.by_ref()).map(|(line, outcome)| {
                let result = DeleteRecordsPartitionResult::default().with_partition_index(line.partition_index);
                match outcome {
                    TopicOutcome::Trimmed(stream, start) => {
                        // Another request may have moved it on meanwhile, or deleted the topic.
                        let low = self.known_start(stream).map_or(start, |known| known.max(start));
                        result.with_low_watermark(i64::try_from(low.0).unwrap_or(i64::MAX))
                    }
                    TopicOutcome::Refused(code, _) => result.with_error_code(code.code()).with_low_watermark(NOWHERE),
                    TopicOutcome::Done | TopicOutcome::Created(_) => unreachable!("a trim is known by its start"),
                }
            });
            DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        let response = DeleteRecordsResponse::default().with_topics(topics.collect());
        self.answer(asked, &response, out);
    }

    /// What moves a partition's start to the offset that a line of the request names.
    fn plan_trim(&self, topic: &DeleteRecordsTopic, line: &DeleteRecordsPartition) -> Result<TopicStep, ErrorCode> {
        let stream = self.stream_named(topic.name.as_str(), line.partition_index)?;
        let partition = self.led(stream, ANY_EPOCH)?;
        if self.groups.owns(stream) {
            return Err(ErrorCode::InvalidTopicException);
        }
        // What is compacted only keeps the last record of each key (KIP-107).
        let policy = self.configs_of(stream).cleanup_policy();
        if policy.compact.is_on() && !policy.delete.is_on() {
            sometimes!(Mark::TrimForbidden);
            return Err(ErrorCode::PolicyViolation);
        }
        let end = partition.high_watermark();
        let start = match line.offset {
            HIGH_WATERMARK => end,
            offset => u64::try_from(offset).map(Offset).map_err(|_| ErrorCode::OffsetOutOfRange)?,
        };
        if start > end {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let trimmed = TopicOutcome::Trimmed(stream, start);
        if start <= self.start_of(stream) {
            return Ok(TopicStep::Known(trimmed));
        }
        Ok(TopicStep::Command(Command::TrimStream { stream, epoch: partition.epoch, start }, trimmed))
    }
}
