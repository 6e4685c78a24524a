//! The executor: owners of machines, grouped into processes, on madsim.
//!
//! ```text
//!   run(options, scenario)          a fresh thread, a fresh madsim runtime
//!     World                         time, timers, trace, failure
//!       Process                     one incarnation of a node: kill, pause, resume; its clock
//!         Owner<M>                  inbox -> Turn -> perform(effect); Address<Input> for others
//!         task                      an async part, such as a client
//!     Disk, Store, Net              the fault models, bound to the world's time
//! ```
//! madsim supplies the executor, which picks the next ready task at random from its seed, and virtual time. Its time is
//! diluted, since its shortest sleep is a millisecond: one simulated microsecond is one millisecond of madsim's. All
//! timers are in one queue of our own, and one task sleeps until the first of them: a sleep that is not yet over
//! adds to madsim's heap whenever it is looked at.
//!
//! Owners are plain local tasks, not tasks of madsim nodes: machines and their shells are `!Send`, which madsim's nodes
//! refuse, and a process here dies between two inputs, whereas a madsim node drops its tasks when they are next polled.
//! A process is a flag that its members look at before each step.

mod driver;
mod member;
mod options;
mod owner;
mod panics;
mod process;
mod recorder;
mod resources;
mod run;
mod stage;
mod task;
mod timers;
mod wire;
mod world;

#[cfg(test)]
mod tests;

pub use options::{End, Limits, Options, RunReport, Stop};
pub use owner::{Address, Owner};
pub use process::Process;
pub use resources::{Disk, Store};
pub use run::run;
pub use stage::{Point, breakpoint};
pub use task::Sleep;
pub use timers::TimerId;
pub use wire::{Connection, Net, NetHost};
pub use world::World;
