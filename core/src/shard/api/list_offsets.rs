//! ListOffsets: where a partition begins and ends.

use crate::kafka::ErrorCode;
use crate::machine::Effects;
use crate::shard::joins::Asked;
use crate::shard::{Effect, Shard};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

/// Asks for the high watermark.
const LATEST: i64 = -1;
/// Asks for the log start offset.
const EARLIEST: i64 = -2;

impl Shard {
    pub(in crate::shard) fn handle_list_offsets(
        &mut self,
        asked: Asked,
        request: &ListOffsetsRequest,
        out: &mut Effects<Effect>,
    ) {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let found = self.list_offset(topic.name.as_str(), wanted, asked.version);
                let response = ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
                match found {
                    Ok((offset, epoch)) => response.with_offset(offset).with_leader_epoch(epoch),
                    Err(code) => response.with_error_code(code.code()),
                }
            });
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        let response = ListOffsetsResponse::default().with_topics(topics.collect());
        self.answer(asked, &response, out);
    }

    fn list_offset(&self, topic: &str, wanted: &ListOffsetsPartition, version: i16) -> Result<(i64, i32), ErrorCode> {
        let stream = self.stream_named(topic, wanted.partition_index)?;
        let partition = self.led(stream, wanted.current_leader_epoch)?;
        let offset = match wanted.timestamp {
            LATEST => partition.high_watermark(),
            EARLIEST => self.start_of(stream),
            // Offsets by timestamp are not served. Clients take this for a log that has no timestamps, and go on;
            // other codes they ask again about until they time out.
            _ => return Err(ErrorCode::UnsupportedForMessageFormat),
        };
        // The answer has no leader epoch before version 4.
        let epoch = if version >= 4 { i32::try_from(partition.epoch.0).unwrap_or(i32::MAX) } else { -1 };
        Ok((i64::try_from(offset.0).unwrap_or(i64::MAX), epoch))
    }
}
