//! ElectLeaders (KIP-183, KIP-460): a partition has one replica, which leads it whenever it can be led.

use super::LINE;
use crate::kafka::{ErrorCode, Refusal};
use crate::metadata::StreamState;
use crate::shard::Shard;
use crate::shard::api::str_bytes;
use alloc::vec::Vec;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use kafka_protocol::protocol::StrBytes;

/// Who is to lead, by Kafka's numbers.
#[derive(Clone, Copy)]
enum Election {
    /// The first of the replicas.
    Preferred,
    /// Any, also one that may lack records.
    Unclean,
}

impl Election {
    /// In version 0 there was one kind.
    fn of(version: i16, request: &ElectLeadersRequest) -> Option<Self> {
        match (version, request.election_type) {
            (0, _) | (_, 0) => Some(Self::Preferred),
            (_, 1) => Some(Self::Unclean),
            _ => None,
        }
    }

    /// What to say of a partition that has a leader, or has none.
    fn outcome(self, state: StreamState) -> Refusal {
        match (state, self) {
            (StreamState::Open(_), _) => ErrorCode::ElectionNotNeeded.because("the partition has its leader"),
            (StreamState::Closed, Self::Preferred) => ErrorCode::PreferredLeaderNotAvailable.into(),
            (StreamState::Closed, Self::Unclean) => ErrorCode::EligibleLeadersNotAvailable.into(),
        }
    }
}

impl Shard {
    pub(super) fn weigh_elections(&self, request: &ElectLeadersRequest) -> usize {
        let lines = match &request.topic_partitions {
            None => self.image.as_ref().map_or(0, |image| image.streams.len() + 4 * image.topics.len()),
            Some(topics) => topics.iter().map(|topic| 4 + topic.partitions.len()).sum(),
        };
        LINE * (1 + lines)
    }

    pub(super) fn elected(&self, version: i16, request: &ElectLeadersRequest) -> ElectLeadersResponse {
        let Some(election) = Election::of(version, request) else {
            return ElectLeadersResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
        };
        let results: Vec<_> = match &request.topic_partitions {
            None => self.elected_everywhere(election),
            Some(topics) => {
                let topic = |topic: &kafka_protocol::messages::elect_leaders_request::TopicPartitions| {
                    let partitions = topic.partitions.iter();
                    let results = partitions.map(|at| result(*at, self.election(&topic.topic, *at, election)));
                    let results = results.collect();
                    ReplicaElectionResult::default().with_topic(topic.topic.clone()).with_partition_result(results)
                };
                topics.iter().map(topic).collect()
            }
        };
        ElectLeadersResponse::default().with_replica_election_results(results)
    }

    fn election(&self, topic: &str, partition: i32, election: Election) -> Refusal {
        let image = self.image.as_ref().expect("requests come after the image");
        match self.stream_named(topic, partition) {
            Err(code) => code.because("no such topic or partition"),
            Ok(stream) => election.outcome(image.streams[&stream].state),
        }
    }

    /// Of all partitions: those that have their leader are not told, as in Kafka.
    fn elected_everywhere(&self, election: Election) -> Vec<ReplicaElectionResult> {
        let image = self.image.as_ref().expect("requests come after the image");
        let topics = image.names.iter().map(|(name, id)| {
            let partitions = (0..).zip(&image.topics[id].partitions);
            let results =
                partitions.map(|(at, partition)| (at, election.outcome(image.streams[&partition.stream].state)));
            let results = results.filter(|(_, outcome)| outcome.code != ErrorCode::ElectionNotNeeded);
            let results = results.map(|(at, outcome)| result(at, outcome)).collect();
            let topic = str_bytes(name.as_str()).into();
            ReplicaElectionResult::default().with_topic(topic).with_partition_result(results)
        });
        topics.collect()
    }
}

fn result(partition: i32, Refusal { code, why }: Refusal) -> PartitionResult {
    PartitionResult::default()
        .with_partition_id(partition)
        .with_error_code(code.code())
        .with_error_message(why.map(StrBytes::from_static_str))
}
