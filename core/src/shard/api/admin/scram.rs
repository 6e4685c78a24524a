//! DescribeUserScramCredentials (KIP-554): no user has any.

use super::LINE;
use crate::kafka::ErrorCode;
use alloc::collections::BTreeMap;
use kafka_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use kafka_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};
use kafka_protocol::protocol::StrBytes;

pub(super) fn weigh(request: &DescribeUserScramCredentialsRequest) -> usize {
    LINE + request.users.iter().flatten().map(|user| 2 * LINE + user.name.len()).sum::<usize>()
}

pub(super) fn described(request: &DescribeUserScramCredentialsRequest) -> DescribeUserScramCredentialsResponse {
    let mut named: BTreeMap<&StrBytes, u32> = BTreeMap::new();
    for user in request.users.iter().flatten() {
        *named.entry(&user.name).or_default() += 1;
    }
    let results = named.into_iter().map(|(user, times)| {
        let refusal = match times {
            1 => ErrorCode::ResourceNotFound.because("the user has no SCRAM credentials"),
            _ => ErrorCode::DuplicateResource.because("the user is named twice"),
        };
        DescribeUserScramCredentialsResult::default()
            .with_user(user.clone())
            .with_error_code(refusal.code.code())
            .with_error_message(refusal.why.map(StrBytes::from_static_str))
    });
    DescribeUserScramCredentialsResponse::default().with_error_message(None).with_results(results.collect())
}
