//! InitProducerId: a fresh id for an idempotent producer, with epoch 0. As in Kafka, a producer without transactional id
//! that names an id and epoch that it had gets a fresh one, too: it goes to a newer epoch by itself (KIP-360).

use crate::kafka::ErrorCode;
use crate::machine::Effects;
use crate::metadata::{Answer, Command};
use crate::node::Asker;
use crate::producers::ProducerId;
use crate::shard::joins::Asked;
use crate::shard::{Effect, PRODUCER_LEASE, Shard};
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// No id, or no epoch.
const NONE: i64 = -1;

impl Shard {
    pub(in crate::shard) fn handle_init_producer_id(
        &mut self,
        asked: Asked,
        request: &InitProducerIdRequest,
        out: &mut Effects<Effect>,
    ) {
        match refusal(asked.version, request) {
            Some(code) => self.answer_producer_id(asked, Err(code), out),
            None => self.give_producer_id(asked, out),
        }
    }

    /// The metadata's answer to the wish for a block of ids.
    pub(in crate::shard) fn handle_producer_lease(&mut self, answer: &Answer, out: &mut Effects<Effect>) {
        let block = match answer {
            Answer::LeasedProducers { first, count } => Some((*first, *count)),
            _ => None,
        };
        for asked in self.producer_ids.answered(block) {
            match block {
                Some(_) => self.give_producer_id(asked, out),
                // This broker may not change the cluster any more: the client asks the next one.
                None => self.answer_producer_id(asked, Err(ErrorCode::CoordinatorNotAvailable), out),
            }
        }
    }

    fn give_producer_id(&mut self, asked: Asked, out: &mut Effects<Effect>) {
        if let Some(id) = self.producer_ids.take() {
            return self.answer_producer_id(asked, Ok(id), out);
        }
        if self.producer_ids.wait(asked) {
            let lease = Command::LeaseProducers { count: self.limits.producer_lease };
            self.send_command(Asker::Shard(PRODUCER_LEASE), lease, out);
        }
    }

    fn answer_producer_id(&self, asked: Asked, id: Result<ProducerId, ErrorCode>, out: &mut Effects<Effect>) {
        let response = match id {
            Ok(ProducerId(id)) => InitProducerIdResponse::default()
                .with_producer_id(i64::try_from(id).unwrap_or(i64::MAX).into())
                .with_producer_epoch(0),
            Err(code) => InitProducerIdResponse::default()
                .with_error_code(code.code())
                .with_producer_id(NONE.into())
                .with_producer_epoch(-1),
        };
        self.answer(asked, &response, out);
    }
}

/// There are no transactions; clients take this answer for final. An id and an epoch are named together or not at all.
fn refusal(version: i16, request: &InitProducerIdRequest) -> Option<ErrorCode> {
    /// The first version that names them.
    const NAMES: i16 = 3;
    if request.transactional_id.is_some() {
        return Some(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let has_id = request.producer_id.0 != NONE;
    let has_epoch = i64::from(request.producer_epoch) != NONE;
    (version >= NAMES && has_id != has_epoch).then_some(ErrorCode::InvalidRequest)
}
