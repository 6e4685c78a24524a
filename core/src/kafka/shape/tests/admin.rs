//! Requests of administrators.

use super::*;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest as ProducingTopic;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeClientQuotasRequest, DescribeLogDirsRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    DescribeUserScramCredentialsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
    ListTransactionsRequest, ProducerId, TransactionalId,
};

/// Whether a body that passed the check is a request.
pub(super) fn decodes(api: Api, version: i16, body: &Bytes) -> bool {
    match api {
        Api::DescribeAcls => decode::<DescribeAclsRequest>(version, body).is_ok(),
        Api::CreateAcls => decode::<CreateAclsRequest>(version, body).is_ok(),
        Api::DeleteAcls => decode::<DeleteAclsRequest>(version, body).is_ok(),
        Api::DescribeLogDirs => decode::<DescribeLogDirsRequest>(version, body).is_ok(),
        Api::ElectLeaders => decode::<ElectLeadersRequest>(version, body).is_ok(),
        Api::AlterPartitionReassignments => decode::<AlterPartitionReassignmentsRequest>(version, body).is_ok(),
        Api::ListPartitionReassignments => decode::<ListPartitionReassignmentsRequest>(version, body).is_ok(),
        Api::DescribeClientQuotas => decode::<DescribeClientQuotasRequest>(version, body).is_ok(),
        Api::DescribeUserScramCredentials => decode::<DescribeUserScramCredentialsRequest>(version, body).is_ok(),
        Api::DescribeProducers => decode::<DescribeProducersRequest>(version, body).is_ok(),
        Api::DescribeTransactions => decode::<DescribeTransactionsRequest>(version, body).is_ok(),
        Api::ListTransactions => decode::<ListTransactionsRequest>(version, body).is_ok(),
        other => panic!("{other:?} is nobody's"),
    }
}

impl Maker {
    fn i8(&mut self) -> i8 {
        self.i16() as i8
    }

    fn partitions(&mut self) -> Vec<i32> {
        self.list(Self::i32)
    }

    pub(super) fn describe_acls(&mut self) -> DescribeAclsRequest {
        DescribeAclsRequest::default()
            .with_resource_type_filter(self.i8())
            .with_resource_name_filter(self.maybe(Self::text))
            .with_pattern_type_filter(self.i8())
            .with_principal_filter(self.maybe(Self::text))
            .with_host_filter(self.maybe(Self::text))
            .with_operation(self.i8())
            .with_permission_type(self.i8())
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn create_acls(&mut self) -> CreateAclsRequest {
        let creation = |m: &mut Self| {
            AclCreation::default()
                .with_resource_type(m.i8())
                .with_resource_name(m.text())
                .with_resource_pattern_type(m.i8())
                .with_principal(m.text())
                .with_host(m.text())
                .with_operation(m.i8())
                .with_permission_type(m.i8())
                .with_unknown_tagged_fields(m.tags())
        };
        CreateAclsRequest::default().with_creations(self.list(creation)).with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn delete_acls(&mut self) -> DeleteAclsRequest {
        let filter = |m: &mut Self| {
            DeleteAclsFilter::default()
                .with_resource_type_filter(m.i8())
                .with_resource_name_filter(m.maybe(Self::text))
                .with_pattern_type_filter(m.i8())
                .with_principal_filter(m.maybe(Self::text))
                .with_host_filter(m.maybe(Self::text))
                .with_operation(m.i8())
                .with_permission_type(m.i8())
                .with_unknown_tagged_fields(m.tags())
        };
        DeleteAclsRequest::default().with_filters(self.list(filter)).with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn describe_log_dirs(&mut self) -> DescribeLogDirsRequest {
        let topic = |m: &mut Self| {
            DescribableLogDirTopic::default()
                .with_topic(m.name())
                .with_partitions(m.partitions())
                .with_unknown_tagged_fields(m.tags())
        };
        DescribeLogDirsRequest::default()
            .with_topics(self.maybe(|m| m.list(topic)))
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn elect_leaders(&mut self) -> ElectLeadersRequest {
        let topic = |m: &mut Self| {
            TopicPartitions::default()
                .with_topic(m.name())
                .with_partitions(m.partitions())
                .with_unknown_tagged_fields(m.tags())
        };
        let request = ElectLeadersRequest::default()
            .with_topic_partitions(self.maybe(|m| m.list(topic)))
            .with_timeout_ms(self.i32())
            .with_unknown_tagged_fields(self.tags());
        if self.since(1) { request.with_election_type(self.i8()) } else { request }
    }

    pub(super) fn alter_partition_reassignments(&mut self) -> AlterPartitionReassignmentsRequest {
        let partition = |m: &mut Self| {
            ReassignablePartition::default()
                .with_partition_index(m.i32())
                .with_replicas(m.maybe(|m| m.list(|m| BrokerId(m.i32()))))
                .with_unknown_tagged_fields(m.tags())
        };
        let request = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(self.i32())
            .with_topics(self.list(|m| {
                ReassignableTopic::default()
                    .with_name(m.name())
                    .with_partitions(m.list(partition))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_unknown_tagged_fields(self.tags());
        if self.since(1) { request.with_allow_replication_factor_change(self.bool()) } else { request }
    }

    pub(super) fn list_partition_reassignments(&mut self) -> ListPartitionReassignmentsRequest {
        let topic = |m: &mut Self| {
            ListPartitionReassignmentsTopics::default()
                .with_name(m.name())
                .with_partition_indexes(m.partitions())
                .with_unknown_tagged_fields(m.tags())
        };
        ListPartitionReassignmentsRequest::default()
            .with_timeout_ms(self.i32())
            .with_topics(self.maybe(|m| m.list(topic)))
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn describe_client_quotas(&mut self) -> DescribeClientQuotasRequest {
        let component = |m: &mut Self| {
            ComponentData::default()
                .with_entity_type(m.text())
                .with_match_type(m.i8())
                .with_match(m.maybe(Self::text))
                .with_unknown_tagged_fields(m.tags())
        };
        DescribeClientQuotasRequest::default()
            .with_components(self.list(component))
            .with_strict(self.bool())
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn describe_user_scram_credentials(&mut self) -> DescribeUserScramCredentialsRequest {
        let user = |m: &mut Self| UserName::default().with_name(m.text()).with_unknown_tagged_fields(m.tags());
        DescribeUserScramCredentialsRequest::default()
            .with_users(self.maybe(|m| m.list(user)))
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn describe_producers(&mut self) -> DescribeProducersRequest {
        let topic = |m: &mut Self| {
            ProducingTopic::default()
                .with_name(m.name())
                .with_partition_indexes(m.partitions())
                .with_unknown_tagged_fields(m.tags())
        };
        DescribeProducersRequest::default().with_topics(self.list(topic)).with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn describe_transactions(&mut self) -> DescribeTransactionsRequest {
        DescribeTransactionsRequest::default()
            .with_transactional_ids(self.list(|m| TransactionalId(m.text())))
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn list_transactions(&mut self) -> ListTransactionsRequest {
        let request = ListTransactionsRequest::default()
            .with_state_filters(self.list(Self::text))
            .with_producer_id_filters(self.list(|m| ProducerId(m.i64())))
            .with_unknown_tagged_fields(self.tags());
        let request = if self.since(1) { request.with_duration_filter(self.i64()) } else { request };
        if self.since(2) { request.with_transactional_id_pattern(self.maybe(Self::text)) } else { request }
    }
}
