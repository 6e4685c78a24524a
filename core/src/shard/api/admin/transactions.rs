//! ListTransactions and DescribeTransactions (KIP-664): there are none.

use super::LINE;
use crate::kafka::ErrorCode;
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse,
};
use kafka_protocol::protocol::StrBytes;

/// The states that Kafka knows.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

pub(super) fn weigh(request: &DescribeTransactionsRequest) -> usize {
    request.transactional_ids.iter().map(|id| LINE + id.len()).sum()
}

pub(super) fn described(request: &DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.iter().map(|id| {
        let code = if id.is_empty() { ErrorCode::InvalidRequest } else { ErrorCode::TransactionalIdNotFound };
        TransactionState::default().with_transactional_id(id.clone()).with_error_code(code.code())
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

pub(super) fn weigh_list(request: &ListTransactionsRequest) -> usize {
    LINE + request.state_filters.iter().map(|state| LINE + state.len()).sum::<usize>()
}

/// Whatever it filters by, nothing is left. What it takes for a state and is none it is told.
pub(super) fn listed(request: &ListTransactionsRequest) -> ListTransactionsResponse {
    let unknown = request.state_filters.iter().filter(|state| !STATES.contains(&state.as_str()));
    ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown.cloned().collect::<alloc::vec::Vec<StrBytes>>())
}
