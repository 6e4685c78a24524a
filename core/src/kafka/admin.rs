//! Requests of administrators that change nothing here: each is answered at once, of what the shard knows.

use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeClientQuotasRequest, DescribeLogDirsRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    DescribeUserScramCredentialsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
    ListTransactionsRequest,
};

/// What an administrator asks.
#[derive(Clone, Debug)]
pub enum AdminRequest {
    /// Who may do what.
    Acls(DescribeAclsRequest),
    /// Allow or forbid something.
    CreateAcls(CreateAclsRequest),
    /// Take that back.
    DeleteAcls(DeleteAclsRequest),
    /// What partitions take where they are stored.
    LogDirs(DescribeLogDirsRequest),
    /// Elect leaders.
    ElectLeaders(ElectLeadersRequest),
    /// Move partitions to other brokers.
    Reassign(AlterPartitionReassignmentsRequest),
    /// Which partitions are being moved.
    Reassignments(ListPartitionReassignmentsRequest),
    /// How much clients may do in a time.
    ClientQuotas(DescribeClientQuotasRequest),
    /// Which users have SCRAM passwords.
    ScramCredentials(DescribeUserScramCredentialsRequest),
    /// Who writes to partitions without duplicates.
    Producers(DescribeProducersRequest),
    /// What transactional producers are at.
    Transactions(DescribeTransactionsRequest),
    /// Which transactional producers there are.
    ListTransactions(ListTransactionsRequest),
}
