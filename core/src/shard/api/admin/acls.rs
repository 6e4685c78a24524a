//! DescribeAcls, CreateAcls and DeleteAcls: nothing is forbidden to anybody, and nothing can be, as in a Kafka without an
//! authorizer.

use crate::kafka::ErrorCode;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsResponse,
};
use kafka_protocol::protocol::StrBytes;

const CODE: i16 = ErrorCode::SecurityDisabled.code();

pub(super) fn described() -> DescribeAclsResponse {
    DescribeAclsResponse::default().with_error_code(CODE).with_error_message(why())
}

pub(super) fn created(request: &CreateAclsRequest) -> CreateAclsResponse {
    let result = |_| AclCreationResult::default().with_error_code(CODE).with_error_message(why());
    CreateAclsResponse::default().with_results(request.creations.iter().map(result).collect())
}

pub(super) fn deleted(request: &DeleteAclsRequest) -> DeleteAclsResponse {
    let result = |_| DeleteAclsFilterResult::default().with_error_code(CODE).with_error_message(why());
    DeleteAclsResponse::default().with_filter_results(request.filters.iter().map(result).collect())
}

fn why() -> Option<StrBytes> {
    Some(StrBytes::from_static_str("there is no access control: no authorizer is configured"))
}
