//! Kafka's wire format: frames, headers, requests and their checks, record batch headers, responses, error codes.
//!
//! ```text
//!  bytes -> frame -> header -> api (is it served?) -> shape (may it be decoded?) -> request -> batch (CRC, counts)
//! ```
//! Nothing in here panics on bytes from a client or allocates more than they pay for.

mod admin;
pub mod api;
pub mod batch;
pub mod compression;
pub mod error;
pub mod frame;
pub(crate) mod operations;
mod reader;
pub mod request;
pub mod response;
mod shape;

pub use admin::AdminRequest;
pub use api::Api;
pub(crate) use batch::Flaw;
pub use batch::{Attributes, Batch, BatchHeader, BatchTime, Batches, CheckedBatch, Codec, RecordFacts};
pub use error::{ErrorCode, Refusal};
pub use reader::{Fault, Malformed};
pub(crate) use reader::{Prefix, Reader};
pub use request::{Acks, GroupRequest, Produce, ProducePartition, ProduceTopic, Request, RequestBody};
pub use response::{CurrentLeader, EncodeError, FetchAnswer, FetchedPartition, FetchedTopic, LeaderEndpoint, encode};

#[cfg(test)]
pub(crate) mod testing;
