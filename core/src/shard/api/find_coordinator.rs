//! FindCoordinator: who coordinates a group. Transactions there are none, and clients are told so finally.
//!
//! librdkafka compresses with LZ4 only if a broker advertises it.

use super::{broker_id, str_bytes};
use crate::kafka::{ErrorCode, Refusal};
use crate::machine::Effects;
use crate::shard::joins::Asked;
use crate::shard::{Effect, Shard};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

/// The kind of a key that names a group.
const GROUP: i8 = 0;
/// A transactional id.
const TRANSACTION: i8 = 1;

/// From this version on, several keys are asked for at once.
const BATCHED: i16 = 4;

const NOBODY: BrokerId = BrokerId(-1);

/// Where a coordinator is.
struct Found {
    node: BrokerId,
    host: StrBytes,
    port: i32,
}

impl Shard {
    pub(in crate::shard) fn handle_find_coordinator(
        &mut self,
        asked: Asked,
        request: &FindCoordinatorRequest,
        out: &mut Effects<Effect>,
    ) {
        if request.key_type == GROUP {
            self.create_groups_topic(out);
        }
        let response = if asked.version >= BATCHED {
            let coordinators = request.coordinator_keys.iter().map(|key| {
                let answer = Coordinator::default().with_key(key.clone());
                match self.find_coordinator(asked, request.key_type, key) {
                    Ok(Found { node, host, port }) => answer.with_node_id(node).with_host(host).with_port(port),
                    Err(Refusal { code, why }) => answer
                        .with_node_id(NOBODY)
                        .with_port(-1)
                        .with_error_code(code.code())
                        .with_error_message(why.map(str_bytes)),
                }
            });
            FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
        } else {
            let answer = FindCoordinatorResponse::default();
            match self.find_coordinator(asked, request.key_type, &request.key) {
                Ok(Found { node, host, port }) => answer.with_node_id(node).with_host(host).with_port(port),
                Err(Refusal { code, why }) => {
                    let answer = answer.with_error_code(code.code()).with_node_id(NOBODY).with_port(-1);
                    if asked.version >= 1 { answer.with_error_message(why.map(str_bytes)) } else { answer }
                }
            }
        };
        self.answer(asked, &response, out);
    }

    fn find_coordinator(&self, asked: Asked, key_type: i8, key: &str) -> Result<Found, Refusal> {
        match key_type {
            GROUP => {}
            TRANSACTION => {
                // The only code that a transactional producer takes as final.
                let why = "this version of Karst has no transactions";
                return Err(ErrorCode::TransactionalIdAuthorizationFailed.because(why));
            }
            _ => return Err(ErrorCode::InvalidRequest.because("there are no keys of that type")),
        }
        match self.groups.coordinator.ready(key) {
            // Who is asked while it loads says so itself.
            Ok(_) | Err(ErrorCode::CoordinatorLoadInProgress) => {}
            Err(_) => {
                let why = "the log of consumer groups is not open yet";
                return Err(ErrorCode::CoordinatorNotAvailable.because(why));
            }
        }
        let unavailable = ErrorCode::CoordinatorNotAvailable.because("this broker does not serve yet");
        let me = self.me.ok_or(unavailable)?;
        let (host, port) = self.address_for(asked.conn, me.node);
        Ok(Found { node: broker_id(me.node), host, port })
    }
}
