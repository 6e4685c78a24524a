//! DescribeProducers: who writes to partitions without duplicates, as far as it is durable (KIP-664).

use super::LINE;
use crate::kafka::{ErrorCode, Refusal};
use crate::producers::{ProducerId, ProducerState as State, Producers};
use crate::shard::Shard;
use alloc::vec::Vec;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use kafka_protocol::protocol::StrBytes;

/// An answer has no partition more once it has so many producers: a partition may have thousands, and a client may ask for
/// all partitions. It asks again for those that are left.
const MOST: usize = if cfg!(test) { 2 } else { 100_000 };

/// Whoever leads it: a request says nothing about leader epochs.
const ANY_EPOCH: i32 = -1;

impl Shard {
    pub(super) fn weigh_producers(&self, request: &DescribeProducersRequest) -> usize {
        let mut left = MOST;
        let partitions =
            request.topics.iter().flat_map(|topic| topic.partition_indexes.iter().map(move |at| (topic, at)));
        let lines = partitions.map(|(topic, at)| {
            let producers = self.producers_at(topic.name.as_str(), *at).map_or(0, Producers::count);
            let told = if left == 0 { 0 } else { producers };
            left = left.saturating_sub(producers);
            1 + told
        });
        LINE * lines.sum::<usize>()
    }

    pub(super) fn producers_of(&self, request: &DescribeProducersRequest) -> DescribeProducersResponse {
        let mut left = MOST;
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                let response = PartitionResponse::default().with_partition_index(*index);
                let found = self.producers_at(topic.name.as_str(), *index);
                let more = ErrorCode::NotLeaderOrFollower.because("the answer is full: ask for this partition again");
                match found.and_then(|producers| if left == 0 { Err(more) } else { Ok(producers) }) {
                    Ok(producers) => {
                        left = left.saturating_sub(producers.count());
                        let active: Vec<_> = producers.known().map(|(id, state)| described(id, state)).collect();
                        response.with_error_message(None).with_active_producers(active)
                    }
                    Err(Refusal { code, why }) => {
                        let why = why.map(StrBytes::from_static_str);
                        response.with_error_code(code.code()).with_error_message(why)
                    }
                }
            });
            TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        DescribeProducersResponse::default().with_topics(topics.collect())
    }

    fn producers_at(&self, topic: &str, index: i32) -> Result<&Producers, Refusal> {
        let partition = self.led(self.stream_named(topic, index)?, ANY_EPOCH)?;
        // They are read once the partition is opened; soon the client will find them.
        let loading = ErrorCode::NotLeaderOrFollower.because("the partition is being opened");
        partition.producers.as_ref().ok_or(loading)
    }
}

/// There are no transactions, so the fields about them say so.
fn described(id: ProducerId, state: &State) -> ProducerState {
    let id = i64::try_from(id.0).unwrap_or(i64::MAX);
    ProducerState::default()
        .with_producer_id(id.into())
        .with_producer_epoch(state.epoch.0.into())
        .with_last_sequence(i32::try_from(state.last().last.number()).unwrap_or(i32::MAX))
        .with_last_timestamp(state.timestamp.0)
        .with_coordinator_epoch(-1)
        .with_current_txn_start_offset(-1)
}
