//! Karst under simulated faults: workloads, oracle, invariants, and the command that runs them.
//!
//! ```text
//!   cli ──► experiment ──► plan ──► world ──► runtime-sim's models and broker
//!                                     │
//!                                     ├── client   simulated Kafka clients
//!                                     └── oracle   what must be true of all that they see
//! ```
#![forbid(unsafe_code)]

#[cfg(not(madsim))]
compile_error!(
    "the simulation needs `--cfg madsim`, which .cargo/config.toml sets: an environment RUSTFLAGS replaces it"
);

pub mod cli;
pub mod client;
pub mod experiment;
mod json;
pub mod member;
pub mod oracle;
pub mod plan;
pub mod world;
