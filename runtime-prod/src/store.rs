//! Object stores: the one contract of `karst_core::store`, kept by real things.
//!
//! ```text
//!   machine ──Effect::Store(op, call)──► Submit ──Input::Store(op, result)──► machine
//!                                          ├── Workers ──► Directory: a thread per call, which may block
//!                                          └── S3: a task per call
//!                                          at the call's deadline: Ambiguous(Timeout), and nothing after it
//! ```

mod body;
mod directory;
mod distant;
mod durability;
mod key_path;
mod listing;
mod probing;
mod reader;
mod s3;
mod workers;

pub use directory::{Directory, OpenError};
pub use distant::Distant;
pub use probing::probe;
pub use reader::Reader;
pub use s3::{Location, S3};
pub use workers::Workers;

use karst_core::store::{StoreCall, StoreOp, StoreResult};

/// Told how a call ended, once.
pub type Completion = Box<dyn FnOnce(StoreResult) + Send>;

/// A store that takes calls.
pub trait Submit: Send + Sync + 'static {
    /// Does `call` and tells `done` how it ended, at its deadline at the latest. Does not wait for it.
    fn submit(&self, call: StoreCall, done: Completion);
}

/// Something that can do store operations, one at a time on the caller's thread, as many threads as call.
pub trait Backend: Send + Sync + 'static {
    /// Does one to its end, however long that takes.
    fn perform(&self, op: &StoreOp) -> StoreResult;
}
