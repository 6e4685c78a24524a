//! The shapes against kafka-protocol's own encoder, and against bytes that mean harm.

mod admin;
mod groups;

use super::*;
use crate::machine::Rng;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AlterConfigsRequest, ApiVersionsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeTopicPartitionsRequest, FetchRequest, FindCoordinatorRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

/// Makes up requests that set every field that their version has.
struct Maker {
    rng: Rng,
    version: i16,
    flexible: bool,
}

impl Maker {
    fn since(&self, version: i16) -> bool {
        self.version >= version
    }

    fn i16(&mut self) -> i16 {
        self.rng.next_u64() as i16
    }

    fn i32(&mut self) -> i32 {
        self.rng.next_u64() as i32
    }

    fn i64(&mut self) -> i64 {
        self.rng.next_u64() as i64
    }

    fn bool(&mut self) -> bool {
        self.rng.chance(1, 2)
    }

    fn uuid(&mut self) -> uuid::Uuid {
        uuid::Uuid::from_u64_pair(self.rng.next_u64(), self.rng.next_u64())
    }

    fn text(&mut self) -> StrBytes {
        let len = *self.rng.pick(&[0, 1, 5, 126, 127, 128, 300]).expect("not empty");
        StrBytes::from_string("é".repeat(len / 2) + &"x".repeat(len % 2))
    }

    fn name(&mut self) -> TopicName {
        TopicName(self.text())
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.bool().then(|| make(self))
    }

    fn list<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.rng.below(4)).map(|_| make(self)).collect()
    }

    fn tags(&mut self) -> BTreeMap<i32, Bytes> {
        let count = if self.flexible && self.rng.chance(1, 3) { self.rng.below(15) } else { 0 };
        (0..count).map(|at| (100 + at as i32, Bytes::from(vec![9; self.rng.below(200) as usize]))).collect()
    }

    fn produce(&mut self) -> ProduceRequest {
        ProduceRequest::default()
            .with_transactional_id(self.maybe(|m| TransactionalId(m.text())))
            .with_acks(self.i16())
            .with_timeout_ms(self.i32())
            .with_topic_data(self.list(|m| {
                let topic = TopicProduceData::default()
                    .with_partition_data(m.list(|m| {
                        PartitionProduceData::default()
                            .with_index(m.i32())
                            .with_records(m.maybe(|m| m.text().into_bytes()))
                            .with_unknown_tagged_fields(m.tags())
                    }))
                    .with_unknown_tagged_fields(m.tags());
                if m.since(13) { topic.with_topic_id(m.uuid()) } else { topic.with_name(m.name()) }
            }))
            .with_unknown_tagged_fields(self.tags())
    }

    fn fetch(&mut self) -> FetchRequest {
        let mut request = FetchRequest::default()
            .with_max_wait_ms(self.i32())
            .with_min_bytes(self.i32())
            .with_max_bytes(self.i32())
            .with_isolation_level(1)
            .with_topics(self.list(Self::fetch_topic))
            .with_unknown_tagged_fields(self.tags());
        if self.since(7) {
            request = request.with_session_id(self.i32()).with_session_epoch(self.i32()).with_forgotten_topics_data(
                self.list(|m| {
                    let topic = ForgottenTopic::default()
                        .with_partitions(m.list(Self::i32))
                        .with_unknown_tagged_fields(m.tags());
                    if m.since(13) { topic.with_topic_id(m.uuid()) } else { topic.with_topic(m.name()) }
                }),
            );
        }
        if self.since(11) {
            request = request.with_rack_id(self.text());
        }
        if self.since(12) {
            request = request.with_cluster_id(self.maybe(Self::text));
        }
        if !self.since(15) {
            request = request.with_replica_id(BrokerId(self.i32()));
        } else if self.bool() {
            let state = ReplicaState::default()
                .with_replica_id(BrokerId(self.i32()))
                .with_replica_epoch(self.i64())
                .with_unknown_tagged_fields(self.tags());
            request = request.with_replica_state(state);
        }
        request
    }

    fn fetch_topic(&mut self) -> FetchTopic {
        let topic = FetchTopic::default()
            .with_partitions(self.list(|m| {
                let mut partition = FetchPartition::default()
                    .with_partition(m.i32())
                    .with_fetch_offset(m.i64())
                    .with_partition_max_bytes(m.i32())
                    .with_unknown_tagged_fields(m.tags());
                if m.since(5) {
                    partition = partition.with_log_start_offset(m.i64());
                }
                if m.since(9) {
                    partition = partition.with_current_leader_epoch(m.i32());
                }
                if m.since(12) {
                    partition = partition.with_last_fetched_epoch(m.i32());
                }
                if m.since(17) && m.bool() {
                    partition = partition.with_replica_directory_id(m.uuid());
                }
                if m.since(18) && m.bool() {
                    partition = partition.with_high_watermark(m.i64());
                }
                partition
            }))
            .with_unknown_tagged_fields(self.tags());
        if self.since(13) { topic.with_topic_id(self.uuid()) } else { topic.with_topic(self.name()) }
    }

    fn list_offsets(&mut self) -> ListOffsetsRequest {
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(self.i32()))
            .with_topics(self.list(|m| {
                ListOffsetsTopic::default()
                    .with_name(m.name())
                    .with_partitions(m.list(|m| {
                        let epoch = if m.since(4) { m.i32() } else { -1 };
                        ListOffsetsPartition::default()
                            .with_partition_index(m.i32())
                            .with_current_leader_epoch(epoch)
                            .with_timestamp(m.i64())
                            .with_unknown_tagged_fields(m.tags())
                    }))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_unknown_tagged_fields(self.tags());
        let request = if self.since(2) { request.with_isolation_level(1) } else { request };
        if self.since(10) { request.with_timeout_ms(self.i32()) } else { request }
    }

    fn metadata(&mut self) -> MetadataRequest {
        let topics = self.list(|m| {
            let topic = MetadataRequestTopic::default()
                .with_name(if m.since(10) { m.maybe(Self::name) } else { Some(m.name()) })
                .with_unknown_tagged_fields(m.tags());
            if m.since(10) { topic.with_topic_id(m.uuid()) } else { topic }
        });
        let topics = if self.since(1) { self.maybe(|_| topics) } else { Some(topics) };
        MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(!self.since(4) || self.bool())
            .with_include_cluster_authorized_operations((8..=10).contains(&self.version) && self.bool())
            .with_include_topic_authorized_operations(self.since(8) && self.bool())
            .with_unknown_tagged_fields(self.tags())
    }

    fn find_coordinator(&mut self) -> FindCoordinatorRequest {
        let request = FindCoordinatorRequest::default().with_unknown_tagged_fields(self.tags());
        if self.since(4) {
            return request.with_key_type(self.i16() as i8).with_coordinator_keys(self.list(Self::text));
        }
        let request = request.with_key(self.text());
        if self.since(1) { request.with_key_type(self.i16() as i8) } else { request }
    }

    fn api_versions(&mut self) -> ApiVersionsRequest {
        let request = ApiVersionsRequest::default().with_unknown_tagged_fields(self.tags());
        if !self.since(3) {
            return request;
        }
        request.with_client_software_name(self.text()).with_client_software_version(self.text())
    }

    fn create_topics(&mut self) -> CreateTopicsRequest {
        CreateTopicsRequest::default()
            .with_topics(self.list(|m| {
                CreatableTopic::default()
                    .with_name(m.name())
                    .with_num_partitions(m.i32())
                    .with_replication_factor(m.i16())
                    .with_assignments(m.list(|m| {
                        CreatableReplicaAssignment::default()
                            .with_partition_index(m.i32())
                            .with_broker_ids(m.list(|m| BrokerId(m.i32())))
                            .with_unknown_tagged_fields(m.tags())
                    }))
                    .with_configs(m.list(|m| {
                        CreatableTopicConfig::default()
                            .with_name(m.text())
                            .with_value(m.maybe(Self::text))
                            .with_unknown_tagged_fields(m.tags())
                    }))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_timeout_ms(self.i32())
            .with_validate_only(self.bool())
            .with_unknown_tagged_fields(self.tags())
    }

    fn delete_topics(&mut self) -> DeleteTopicsRequest {
        let request =
            DeleteTopicsRequest::default().with_timeout_ms(self.i32()).with_unknown_tagged_fields(self.tags());
        if !self.since(6) {
            return request.with_topic_names(self.list(Self::name));
        }
        request.with_topics(self.list(|m| {
            DeleteTopicState::default()
                .with_name(m.maybe(Self::name))
                .with_topic_id(m.uuid())
                .with_unknown_tagged_fields(m.tags())
        }))
    }

    fn delete_records(&mut self) -> DeleteRecordsRequest {
        let partition = |m: &mut Self| {
            DeleteRecordsPartition::default()
                .with_partition_index(m.i32())
                .with_offset(m.i64())
                .with_unknown_tagged_fields(m.tags())
        };
        DeleteRecordsRequest::default()
            .with_topics(self.list(|m| {
                DeleteRecordsTopic::default()
                    .with_name(m.name())
                    .with_partitions(m.list(partition))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_timeout_ms(self.i32())
            .with_unknown_tagged_fields(self.tags())
    }

    fn create_partitions(&mut self) -> CreatePartitionsRequest {
        let assignment = |m: &mut Self| {
            CreatePartitionsAssignment::default()
                .with_broker_ids(m.list(|m| BrokerId(m.i32())))
                .with_unknown_tagged_fields(m.tags())
        };
        CreatePartitionsRequest::default()
            .with_topics(self.list(|m| {
                CreatePartitionsTopic::default()
                    .with_name(m.name())
                    .with_count(m.i32())
                    .with_assignments(m.maybe(|m| m.list(assignment)))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_timeout_ms(self.i32())
            .with_validate_only(self.bool())
            .with_unknown_tagged_fields(self.tags())
    }

    fn init_producer_id(&mut self) -> InitProducerIdRequest {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(self.maybe(|m| m.text().into()))
            .with_transaction_timeout_ms(self.i32())
            .with_unknown_tagged_fields(self.tags());
        if self.version >= 3 { request.with_producer_id(self.i64().into()).with_producer_epoch(7) } else { request }
    }

    fn offset_for_leader_epoch(&mut self) -> OffsetForLeaderEpochRequest {
        let request = OffsetForLeaderEpochRequest::default()
            .with_topics(self.list(|m| {
                OffsetForLeaderTopic::default()
                    .with_topic(m.name())
                    .with_partitions(m.list(|m| {
                        OffsetForLeaderPartition::default()
                            .with_partition(m.i32())
                            .with_current_leader_epoch(m.i32())
                            .with_leader_epoch(m.i32())
                            .with_unknown_tagged_fields(m.tags())
                    }))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_unknown_tagged_fields(self.tags());
        if self.since(3) { request.with_replica_id(BrokerId(self.i32())) } else { request }
    }

    fn describe_cluster(&mut self) -> DescribeClusterRequest {
        let mut request = DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(self.bool())
            .with_unknown_tagged_fields(self.tags());
        if self.since(1) {
            request.endpoint_type = self.i16() as i8;
        }
        if self.since(2) {
            request.include_fenced_brokers = self.bool();
        }
        request
    }

    fn describe_topic_partitions(&mut self) -> DescribeTopicPartitionsRequest {
        let cursor = |m: &mut Self| {
            Cursor::default()
                .with_topic_name(m.name())
                .with_partition_index(m.i32())
                .with_unknown_tagged_fields(m.tags())
        };
        DescribeTopicPartitionsRequest::default()
            .with_topics(
                self.list(|m| TopicRequest::default().with_name(m.name()).with_unknown_tagged_fields(m.tags())),
            )
            .with_response_partition_limit(self.i32())
            .with_cursor(self.maybe(cursor))
    }

    fn describe_configs(&mut self) -> DescribeConfigsRequest {
        let request = DescribeConfigsRequest::default()
            .with_resources(self.list(|m| {
                DescribeConfigsResource::default()
                    .with_resource_type(m.i16() as i8)
                    .with_resource_name(m.text())
                    .with_configuration_keys(m.maybe(|m| m.list(Self::text)))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_include_synonyms(self.bool())
            .with_unknown_tagged_fields(self.tags());
        if self.since(3) { request.with_include_documentation(self.bool()) } else { request }
    }

    fn alter_configs(&mut self) -> AlterConfigsRequest {
        let config = |m: &mut Self| {
            AlterableConfig::default()
                .with_name(m.text())
                .with_value(m.maybe(Self::text))
                .with_unknown_tagged_fields(m.tags())
        };
        AlterConfigsRequest::default()
            .with_resources(self.list(|m| {
                AlterConfigsResource::default()
                    .with_resource_type(m.i16() as i8)
                    .with_resource_name(m.text())
                    .with_configs(m.list(config))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_validate_only(self.bool())
            .with_unknown_tagged_fields(self.tags())
    }

    fn incremental_alter_configs(&mut self) -> IncrementalAlterConfigsRequest {
        let config = |m: &mut Self| {
            incremental::AlterableConfig::default()
                .with_name(m.text())
                .with_config_operation(m.i16() as i8)
                .with_value(m.maybe(Self::text))
                .with_unknown_tagged_fields(m.tags())
        };
        IncrementalAlterConfigsRequest::default()
            .with_resources(self.list(|m| {
                incremental::AlterConfigsResource::default()
                    .with_resource_type(m.i16() as i8)
                    .with_resource_name(m.text())
                    .with_configs(m.list(config))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_validate_only(self.bool())
            .with_unknown_tagged_fields(self.tags())
    }

    fn body(&mut self, api: Api) -> Bytes {
        let mut out = BytesMut::new();
        let version = self.version;
        let written = match api {
            Api::Produce => self.produce().encode(&mut out, version),
            Api::Fetch => self.fetch().encode(&mut out, version),
            Api::ListOffsets => self.list_offsets().encode(&mut out, version),
            Api::Metadata => self.metadata().encode(&mut out, version),
            Api::FindCoordinator => self.find_coordinator().encode(&mut out, version),
            Api::ApiVersions => self.api_versions().encode(&mut out, version),
            Api::CreateTopics => self.create_topics().encode(&mut out, version),
            Api::DeleteTopics => self.delete_topics().encode(&mut out, version),
            Api::DeleteRecords => self.delete_records().encode(&mut out, version),
            Api::InitProducerId => self.init_producer_id().encode(&mut out, version),
            Api::CreatePartitions => self.create_partitions().encode(&mut out, version),
            Api::OffsetForLeaderEpoch => self.offset_for_leader_epoch().encode(&mut out, version),
            Api::DescribeCluster => self.describe_cluster().encode(&mut out, version),
            Api::DescribeTopicPartitions => self.describe_topic_partitions().encode(&mut out, version),
            Api::DescribeConfigs => self.describe_configs().encode(&mut out, version),
            Api::AlterConfigs => self.alter_configs().encode(&mut out, version),
            Api::IncrementalAlterConfigs => self.incremental_alter_configs().encode(&mut out, version),
            Api::JoinGroup => self.join_group().encode(&mut out, version),
            Api::SyncGroup => self.sync_group().encode(&mut out, version),
            Api::Heartbeat => self.heartbeat().encode(&mut out, version),
            Api::LeaveGroup => self.leave_group().encode(&mut out, version),
            Api::OffsetCommit => self.offset_commit().encode(&mut out, version),
            Api::OffsetFetch => self.offset_fetch().encode(&mut out, version),
            Api::OffsetDelete => self.offset_delete().encode(&mut out, version),
            Api::ListGroups => self.list_groups().encode(&mut out, version),
            Api::DescribeGroups => self.describe_groups().encode(&mut out, version),
            Api::DeleteGroups => self.delete_groups().encode(&mut out, version),
            Api::ConsumerGroupHeartbeat => self.consumer_group_heartbeat().encode(&mut out, version),
            Api::DescribeAcls => self.describe_acls().encode(&mut out, version),
            Api::CreateAcls => self.create_acls().encode(&mut out, version),
            Api::DeleteAcls => self.delete_acls().encode(&mut out, version),
            Api::DescribeLogDirs => self.describe_log_dirs().encode(&mut out, version),
            Api::ElectLeaders => self.elect_leaders().encode(&mut out, version),
            Api::AlterPartitionReassignments => self.alter_partition_reassignments().encode(&mut out, version),
            Api::ListPartitionReassignments => self.list_partition_reassignments().encode(&mut out, version),
            Api::DescribeClientQuotas => self.describe_client_quotas().encode(&mut out, version),
            Api::DescribeUserScramCredentials => self.describe_user_scram_credentials().encode(&mut out, version),
            Api::DescribeProducers => self.describe_producers().encode(&mut out, version),
            Api::DescribeTransactions => self.describe_transactions().encode(&mut out, version),
            Api::ListTransactions => self.list_transactions().encode(&mut out, version),
        };
        written.expect("only what the version has is set");
        out.freeze()
    }
}

/// Requests of every API and version that is served, with what they are.
fn requests(seed: u64, each: usize) -> Vec<(Api, i16, Bytes)> {
    let mut all = Vec::new();
    for api in Api::all() {
        let (first, last) = api.served();
        for version in first..=last {
            let rng = Rng::new(seed ^ (version as u64) << 8 ^ api.key() as u64);
            let mut maker = Maker { rng, version, flexible: api.is_flexible(version) };
            all.extend((0..each).map(|_| (api, version, maker.body(api))));
        }
    }
    all
}

/// Decodes what passed the check: with an unsound check, this is what would end the process.
fn decode_anything(api: Api, version: i16, body: &Bytes) -> bool {
    match api {
        Api::Produce => decode::<ProduceRequest>(version, body).is_ok(),
        Api::Fetch => decode::<FetchRequest>(version, body).is_ok(),
        Api::ListOffsets => decode::<ListOffsetsRequest>(version, body).is_ok(),
        Api::Metadata => decode::<MetadataRequest>(version, body).is_ok(),
        Api::FindCoordinator => decode::<FindCoordinatorRequest>(version, body).is_ok(),
        Api::ApiVersions => decode::<ApiVersionsRequest>(version, body).is_ok(),
        Api::CreateTopics => decode::<CreateTopicsRequest>(version, body).is_ok(),
        Api::DeleteTopics => decode::<DeleteTopicsRequest>(version, body).is_ok(),
        Api::DeleteRecords => decode::<DeleteRecordsRequest>(version, body).is_ok(),
        Api::InitProducerId => decode::<InitProducerIdRequest>(version, body).is_ok(),
        Api::CreatePartitions => decode::<CreatePartitionsRequest>(version, body).is_ok(),
        Api::OffsetForLeaderEpoch => decode::<OffsetForLeaderEpochRequest>(version, body).is_ok(),
        Api::DescribeCluster => decode::<DescribeClusterRequest>(version, body).is_ok(),
        Api::DescribeTopicPartitions => decode::<DescribeTopicPartitionsRequest>(version, body).is_ok(),
        Api::DescribeConfigs => decode::<DescribeConfigsRequest>(version, body).is_ok(),
        Api::AlterConfigs => decode::<AlterConfigsRequest>(version, body).is_ok(),
        Api::IncrementalAlterConfigs => decode::<IncrementalAlterConfigsRequest>(version, body).is_ok(),
        _ => groups::decodes(api, version, body),
    }
}

#[test]
fn the_walk_ends_at_the_last_byte_of_everything_that_kafka_protocol_writes() {
    for (api, version, body) in requests(1, 60) {
        assert_eq!(check(api, version, &body), Ok(0), "{api:?} {version} {body:?}");
        assert!(decode_anything(api, version, &body), "{api:?} {version} {body:?}");
    }
}

#[test]
fn a_byte_less_is_refused_and_a_byte_more_is_left() {
    for (api, version, body) in requests(2, 3) {
        for len in 0..body.len() {
            assert!(check(api, version, &body[..len]).is_err(), "{api:?} {version} cut at {len}");
        }
        let longer = [&body[..], &[0]].concat();
        assert_eq!(check(api, version, &longer), Ok(1), "{api:?} {version}");
    }
}

#[test]
fn what_passes_decodes_in_bounds_however_a_frame_is_damaged() {
    const HARMFUL: [&[u8]; 8] = [
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff],
        &[0xff, 0xff, 0xff, 0x7f],
        &[0x00, 0xff, 0xff, 0xff],
        &[0],
        &[0x80],
    ];
    let mut rng = Rng::new(3);
    let mut passed = 0;
    for (api, version, body) in requests(3, 10) {
        for _ in 0..20 {
            let mut damaged = body.to_vec();
            for _ in 0..rng.between(1, 3) {
                let at = rng.below(damaged.len() as u64 + 1) as usize;
                let harm = *rng.pick(&HARMFUL).expect("not empty");
                let upto = if rng.chance(1, 2) { (at + harm.len()).min(damaged.len()) } else { at };
                damaged.splice(at..upto, harm.iter().copied());
            }
            let damaged = Bytes::from(damaged);
            if check(api, version, &damaged).is_ok() {
                passed += 1;
                decodes_within_what_the_walk_counts(api, version, &damaged);
            }
        }
    }
    assert!(passed > 100, "the damage never reaches the decoder: {passed}");
}

#[test]
fn nothing_takes_more_memory_than_the_walk_counts() {
    let mut most = 0;
    for (api, version, body) in requests(4, 40) {
        most = most.max(decodes_within_what_the_walk_counts(api, version, &body));
    }
    assert!(most > 1000, "all of them are small: {most}");
}

/// Counts what the decoder allocates, and returns it.
fn decodes_within_what_the_walk_counts(api: Api, version: i16, body: &Bytes) -> u64 {
    let walked = walk(api, version, body).expect("it passes");
    let counted = allowance(body.len()) - walked.allowance;
    // Bytes allocate when they are shared for the first time.
    let _shared = body.clone();
    let mut decoded = false;
    let taken = allocation_counter::measure(|| decoded = decode_anything(api, version, body));
    // An error has a text, and perhaps a backtrace.
    let most = counted as u64 + if decoded { 0 } else { 64 << 10 };
    assert!(taken.bytes_max <= most, "{api:?} {version} takes {} bytes, and {counted} are counted", taken.bytes_max);
    taken.bytes_max
}

#[test]
fn counts_that_the_frame_cannot_hold_are_refused() {
    let topics = |count: i32| [&count.to_be_bytes()[..], &[0; 20]].concat();
    for count in [i32::MAX, 1 << 24, 11] {
        let refused = check(Api::Metadata, 0, &topics(count));
        assert_eq!(refused, Err(Malformed { field: "topics", fault: Fault::Count(count as u32) }));
    }
    assert_eq!(check(Api::Metadata, 0, &topics(10)), Ok(0));
    let negative = check(Api::Metadata, 0, &topics(-2));
    assert_eq!(negative, Err(Malformed { field: "topics", fault: Fault::Length(-2) }));
    assert_eq!(check(Api::Metadata, 0, &(-1_i32).to_be_bytes()), Ok(0), "null is all topics");
    let null = check(Api::ListOffsets, 1, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(null, Err(Malformed { field: "topics", fault: Fault::Length(-1) }));
    let long = check(Api::Metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0x1f]);
    assert_eq!(long, Err(Malformed { field: "topics", fault: Fault::Number }));
}

#[test]
fn elements_and_tags_that_swell_when_decoded_are_refused() {
    // A topic without name and id is two bytes and becomes 72 or more; a tagged field is two and becomes a tree's node.
    let empty_topics = |count: u32| {
        let mut body = BytesMut::new();
        varint(&mut body, count + 1);
        body.put_bytes(0, 2 * count as usize);
        body.put_slice(&[0, 0, 0, 0]);
        body.freeze()
    };
    let refused = check(Api::Metadata, 9, &empty_topics(100_000)[..]);
    assert_eq!(refused, Err(Malformed { field: "topics", fault: Fault::Memory }));
    let tagged_topics = |count: u32| {
        let mut body = BytesMut::new();
        varint(&mut body, count + 1);
        for _ in 0..count {
            body.put_slice(&[0, 1, 100, 0]);
        }
        body.put_slice(&[0, 0, 0, 0]);
        body.freeze()
    };
    let refused = check(Api::Metadata, 9, &tagged_topics(4_000)[..]);
    assert_eq!(refused, Err(Malformed { field: "tagged fields", fault: Fault::Memory }));

    for body in [empty_topics(4000), tagged_topics(470)] {
        assert_eq!(check(Api::Metadata, 9, &body), Ok(0));
        let taken = decodes_within_what_the_walk_counts(Api::Metadata, 9, &body) as usize;
        assert!(taken <= allowance(body.len()), "{taken} bytes for {}", body.len());
        assert!(taken > SMALL / 2, "the bound is not put to the test: {taken}");
    }
}

#[test]
fn many_topics_with_ordinary_names_are_not_refused() {
    let names: Vec<MetadataRequestTopic> = (0..10_000)
        .map(|at| {
            let name: String = alloc::format!("t{at:04}");
            MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(name))))
        })
        .collect();
    for version in [1, 9, 13] {
        let mut body = BytesMut::new();
        let request = MetadataRequest::default().with_topics(Some(names.clone()));
        request.encode(&mut body, version).expect("what the version has");
        assert_eq!(check(Api::Metadata, version, &body), Ok(0), "version {version}");
    }
}

#[test]
fn a_tagged_field_must_be_as_long_as_it_says() {
    let body = |tail: &[u8]| {
        let mut out = BytesMut::new();
        FetchRequest::default().encode(&mut out, 15).expect("what the version has");
        [&out[..out.len() - 1], tail].concat()
    };
    assert_eq!(check(Api::Fetch, 15, &body(&[1, 0, 3, 3, b'a', b'b'])), Ok(0));
    let wrong = check(Api::Fetch, 15, &body(&[1, 0, 2, 3, b'a', b'b']));
    assert_eq!(wrong, Err(Malformed { field: "cluster_id", fault: Fault::Tag(0) }));
    let too_early = |version| {
        let mut out = BytesMut::new();
        FetchRequest::default().encode(&mut out, version).expect("what the version has");
        let state = [&out[..out.len() - 1], &[1, 1, 13], &[0; 13][..]].concat();
        check(Api::Fetch, version, &state)
    };
    assert_eq!(too_early(15), Ok(0));
    assert_eq!(too_early(14), Err(Malformed { field: "replica_state", fault: Fault::Tag(1) }));
}

fn varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
