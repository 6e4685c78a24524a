//! Workloads, oracle and invariants for Karst's simulated world.

#[cfg(not(madsim))]
compile_error!("the simulation needs --cfg madsim, which .cargo/config.toml sets; an environment RUSTFLAGS replaces it");

pub mod client;
pub mod oracle;
