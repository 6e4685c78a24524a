//! The contract between decisions and the world: sans-IO machines.
//!
//! A [`Machine`] stands exactly where an *owner* (a thread or a task) exists. Owners exchange owned, typed mail; inside
//! one owner everything is plain structs and plain calls. Five laws, each with a test in `machine/tests.rs` or, where
//! it is about all machines together, in the simulated world:
//!
//! 1. **Pure.** No IO, clock, thread or randomness inside: [`Now`] is an argument, an [`Rng`] is handed in at
//!    construction. Integers only.
//! 2. **Never waits.** [`Machine::handle`] returns. After every input [`Machine::invariants`] holds; the turn checks it
//!    when told to.
//! 3. **Effects are unordered**, but for sends to one connection and mail to one owner, which are FIFO. If B must
//!    follow A, the machine emits B on A's completion.
//! 4. **One effect, one completion.** Every fallible effect has an [`OpId`] and gets exactly one completion input, or
//!    the process dies. Retries, timeouts and back-off are the machine's policy, hence simulated. Heavy pure work is an
//!    effect, too: a [`Job`], which comes back as its [`Outcome`].
//! 5. **The world's failures are inputs; our mistakes are panics** that stop the node. Bytes from a client, a disk or
//!    the bucket are the world: no assertion may be reachable from them.

mod backoff;
mod compute;
mod effects;
mod inbox;
mod marks;
mod payload;
mod rng;
mod time;
mod turn;

pub use backoff::Backoff;
pub(crate) use compute::INLINE_RATIO;
pub use compute::{Job, Outcome};
pub use effects::{Effects, OpId, OpIds};
pub use inbox::Inbox;
pub use marks::Mark;
pub use payload::{Payload, Rope};
pub use rng::Rng;
pub use time::{Deadline, Instant, Now, WallTime};
pub use turn::{Check, Progress, Seen, Turn, TurnBudget};

pub(crate) use marks::sometimes;

use core::fmt::Debug;
use core::hash::Hash;

/// A deterministic state machine: all that can happen to it is an input, all that it wants done is an effect.
pub trait Machine {
    /// All that can happen to it: owned, so that it can be recorded and replayed.
    type Input: Debug + Hash;
    /// All that it wants done.
    type Effect: Debug + Hash;

    /// Takes one input and pushes what is to be done about it.
    fn handle(&mut self, now: Now, input: Self::Input, out: &mut Effects<Self::Effect>);

    /// The earliest moment at which it wants to be told the time, with the reason. The runtime answers with
    /// [`Machine::tick`] once that moment has come.
    fn deadline(&self) -> Option<Deadline>;

    /// The input by which the runtime says that the time has come.
    fn tick() -> Self::Input;

    /// Panics with what is broken, if anything is.
    fn invariants(&self);
}

#[cfg(test)]
mod tests;
