//! OffsetForLeaderEpoch: where the records of a leader epoch end (KIP-101, KIP-320).
//!
//! Karst never truncates a log, so a client that compares this with what it has read finds that nothing is lost.

use crate::id::{Offset, StreamEpoch, StreamId};
use crate::kafka::ErrorCode;
use crate::machine::Effects;
use crate::shard::joins::Asked;
use crate::shard::{Effect, Shard};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

impl Shard {
    pub(in crate::shard) fn handle_offset_for_leader_epoch(
        &mut self,
        asked: Asked,
        request: &OffsetForLeaderEpochRequest,
        out: &mut Effects<Effect>,
    ) {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let response = EpochEndOffset::default()
                    .with_partition(wanted.partition)
                    .with_leader_epoch(-1)
                    .with_end_offset(-1);
                match self.offset_for_leader_epoch(topic.topic.as_str(), wanted) {
                    // An epoch that is not there yet has no end, which is no error.
                    Ok(None) => response,
                    Ok(Some((epoch, end))) => response.with_leader_epoch(epoch).with_end_offset(end),
                    Err(code) => response.with_error_code(code.code()),
                }
            });
            OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions.collect())
        });
        let response = OffsetForLeaderEpochResponse::default().with_topics(topics.collect());
        self.answer(asked, &response, out);
    }

    fn offset_for_leader_epoch(
        &self,
        topic: &str,
        wanted: &OffsetForLeaderPartition,
    ) -> Result<Option<(i32, i64)>, ErrorCode> {
        let stream = self.stream_named(topic, wanted.partition)?;
        let partition = self.led(stream, wanted.current_leader_epoch)?;
        let end = self.end_of_epoch(stream, wanted.leader_epoch, partition.high_watermark());
        Ok(end
            .map(|(epoch, end)| (i32::try_from(epoch.0).unwrap_or(i32::MAX), i64::try_from(end.0).unwrap_or(i64::MAX))))
    }

    /// The largest epoch with records up to that one, and where its durable records end. `None` for an epoch that is
    /// none or not there yet.
    pub(in crate::shard) fn end_of_epoch(
        &self,
        stream: StreamId,
        epoch: i32,
        high_watermark: Offset,
    ) -> Option<(StreamEpoch, Offset)> {
        let epoch = StreamEpoch(u32::try_from(epoch).ok()?);
        self.image.as_ref()?.streams.get(&stream)?.epochs.end_of(epoch, high_watermark)
    }
}
