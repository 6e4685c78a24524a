//! DescribeClientQuotas (KIP-546): there are none. What Kafka would refuse is refused, so that a tool's mistake shows.

use crate::kafka::{ErrorCode, Refusal};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// How an entity is matched, by Kafka's numbers: by its name, as the default one, or any.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

pub(super) fn described(request: &DescribeClientQuotasRequest) -> DescribeClientQuotasResponse {
    let response = DescribeClientQuotasResponse::default();
    match check(request) {
        Ok(()) => response.with_error_message(None).with_entries(Some(Vec::new())),
        Err(Refusal { code, why }) => response
            .with_error_code(code.code())
            .with_error_message(why.map(StrBytes::from_static_str))
            .with_entries(None),
    }
}

fn check(request: &DescribeClientQuotasRequest) -> Result<(), Refusal> {
    let invalid = |why| Err(ErrorCode::InvalidRequest.because(why));
    let mut kinds = BTreeSet::new();
    for component in &request.components {
        let kind = component.entity_type.as_str();
        if !kinds.insert(kind) {
            return invalid("an entity type appears more than once");
        }
        match kind {
            USER | CLIENT_ID | IP => {}
            "" => return invalid("an entity type is empty"),
            _ => return Err(ErrorCode::UnsupportedVersion.because("the entity types are user, client-id and ip")),
        }
        match (component.match_type, &component._match) {
            (EXACT, Some(_)) | (DEFAULT | ANY, None) => {}
            (EXACT, None) => return invalid("an exact match needs a name"),
            (DEFAULT | ANY, Some(_)) => return invalid("only an exact match has a name"),
            _ => return invalid("there is no such match type"),
        }
    }
    if kinds.contains(IP) && kinds.len() > 1 {
        return invalid("ip is not combined with other entity types");
    }
    Ok(())
}
