//! The simulated world: machines of `karst-core` run under seeded faults, and any run can be replayed exactly.
//!
//! ```text
//!            exec: owners, processes, time        (on madsim's executor: ready owners run in a seeded order)
//!           /        |          |         \
//!       disk       store       net       clock    fault models: pure, simulated time only, tests of their own
//!           \        |          |         /
//!              time, fault, seed, report          what they share
//!
//!   experiment, plan, gate                        what a run is told
//!   trace, failure, recording                     what a run leaves
//!   shrink, follow, page, debug_text              what is made of a run that failed
//!   broker                                        Karst's machines on exec
//! ```
//! Same seed, same plan, same code: same [`exec::RunReport::hash`], in one process or two, on any thread, debug or
//! release. Nothing here iterates a map in random order, reads a real clock, or looks at an address.
#![forbid(unsafe_code)]

#[cfg(not(madsim))]
compile_error!(
    "the simulated world needs `--cfg madsim`, which .cargo/config.toml sets: an environment RUSTFLAGS replaces it"
);

#[cfg(madsim)]
pub mod broker;
pub mod clock;
pub mod debug_text;
pub mod disk;
#[cfg(madsim)]
pub mod exec;
pub mod experiment;
pub mod failure;
mod fates;
pub mod fault;
pub mod follow;
pub mod gate;
pub mod net;
pub mod page;
pub mod plan;
pub mod recording;
pub mod report;
pub mod seed;
pub mod shrink;
pub mod store;
pub mod time;
pub mod trace;
