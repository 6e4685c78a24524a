//! DescribeCluster: which brokers there are (KIP-700, KIP-919).

use super::{broker_id, str_bytes};
use crate::id::NodeId;
use crate::kafka::{ErrorCode, Refusal, operations};
use crate::machine::Effects;
use crate::shard::joins::Asked;
use crate::shard::{Effect, Shard};
use alloc::format;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

/// The endpoints that brokers have for clients.
const BROKERS: i8 = 1;
/// Those of a quorum of controllers, which Karst does not have.
const CONTROLLERS: i8 = 2;

impl Shard {
    pub(in crate::shard) fn handle_describe_cluster(
        &mut self,
        asked: Asked,
        request: &DescribeClusterRequest,
        out: &mut Effects<Effect>,
    ) {
        let response = match check_endpoints(asked.version, request.endpoint_type) {
            Ok(()) if request.include_cluster_authorized_operations => {
                self.cluster(asked).with_cluster_authorized_operations(operations::ON_CLUSTER)
            }
            Ok(()) => self.cluster(asked),
            Err(Refusal { code, why }) => {
                DescribeClusterResponse::default().with_error_code(code.code()).with_error_message(why.map(str_bytes))
            }
        };
        self.answer(asked, &response, out);
    }

    fn cluster(&self, asked: Asked) -> DescribeClusterResponse {
        let image = self.image.as_ref().expect("requests come after the image");
        let brokers = image.nodes.keys().map(|id| {
            let (host, port) = self.address_for(asked.conn, *id);
            DescribeClusterBroker::default().with_broker_id(broker_id(*id)).with_host(host).with_port(port)
        });
        let me = self.me.map_or(NodeId(0), |me| me.node);
        let response = DescribeClusterResponse::default()
            .with_error_message(None)
            .with_cluster_id(str_bytes(&format!("{}", image.cluster)))
            .with_controller_id(broker_id(me))
            .with_brokers(brokers.collect());
        if asked.version >= 1 { response.with_endpoint_type(BROKERS) } else { response }
    }
}

/// Version 0 has no such field, and no error of its own for it.
fn check_endpoints(version: i16, endpoints: i8) -> Result<(), Refusal> {
    let (code, why) = match endpoints {
        BROKERS => return Ok(()),
        CONTROLLERS => {
            (ErrorCode::MismatchedEndpointType, "this is a broker's endpoint, and controllers are asked for")
        }
        _ => (ErrorCode::UnsupportedEndpointType, "there are no endpoints of that type"),
    };
    Err(if version == 0 { ErrorCode::InvalidRequest } else { code }.because(why))
}
