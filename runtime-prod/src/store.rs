//! Object stores: the one contract of `karst_core::store`, kept by real things.
//!
//! ```text
//!   machine ──Effect::Store(op, call)──► Workers ──► Backend::perform (may block) ──Input::Store(op, result)──► machine
//!                                           └── at the call's deadline: Ambiguous(Timeout), and nothing after it
//! ```

mod body;
mod directory;
mod durability;
mod key_path;
mod listing;
mod workers;

pub use directory::{Directory, OpenError};
pub use workers::{Completion, Workers};

use karst_core::store::{StoreOp, StoreResult};

/// Something that can do store operations, one at a time on the caller's thread, as many threads as call.
pub trait Backend: Send + Sync + 'static {
    /// Does one to its end, however long that takes.
    fn perform(&self, op: &StoreOp) -> StoreResult;
}
