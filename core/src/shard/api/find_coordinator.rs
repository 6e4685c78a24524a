//! FindCoordinator: there are no groups and no transactions, and clients are told so in the way they take best.
//!
//! It is served all the same: librdkafka compresses with LZ4 only if a broker advertises it.

use super::str_bytes;
use crate::kafka::ErrorCode;
use crate::machine::Effects;
use crate::shard::joins::Asked;
use crate::shard::{Effect, Shard};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

/// The kind of a key that names a group; any other is a transactional id or of a kind that came later.
const GROUP: i8 = 0;

/// From this version on, several keys are asked for at once.
const BATCHED: i16 = 4;

const NOBODY: BrokerId = BrokerId(-1);

impl Shard {
    pub(in crate::shard) fn handle_find_coordinator(
        &mut self,
        asked: Asked,
        request: &FindCoordinatorRequest,
        out: &mut Effects<Effect>,
    ) {
        let (code, why) = refusal(request.key_type);
        let response = if asked.version >= BATCHED {
            let coordinators = request.coordinator_keys.iter().map(|key| {
                Coordinator::default()
                    .with_key(key.clone())
                    .with_node_id(NOBODY)
                    .with_port(-1)
                    .with_error_code(code.code())
                    .with_error_message(Some(str_bytes(why)))
            });
            FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
        } else {
            let response =
                FindCoordinatorResponse::default().with_error_code(code.code()).with_node_id(NOBODY).with_port(-1);
            if asked.version >= 1 { response.with_error_message(Some(str_bytes(why))) } else { response }
        };
        self.answer(asked, &response, out);
    }
}

/// A consumer with a group id that assigns its partitions itself looks for a coordinator in the background: an error
/// that it takes for final would stop it. A transactional producer can't go on in any case.
fn refusal(key_type: i8) -> (ErrorCode, &'static str) {
    if key_type == GROUP {
        (ErrorCode::CoordinatorNotAvailable, "this version of Karst has no consumer groups: assign partitions")
    } else {
        (ErrorCode::TransactionalIdAuthorizationFailed, "this version of Karst has no transactions")
    }
}
