//! Kafka's wire format.

use crate::machine::Payload;

/// A request, decoded.
#[derive(Clone, Debug, Hash)]
pub struct Request {
    /// The frame it came in.
    pub frame: Payload,
}
