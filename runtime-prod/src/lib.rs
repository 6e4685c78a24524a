//! Karst's production shell: threads, sockets, disks and directories around the machines of `karst-core`.
//!
//! Nothing in here decides anything: it reads inputs from the world, hands them to machines, and performs the effects
//! that they ask for. What must be right for data to survive is in the core, where the simulated world tests it.
#![forbid(unsafe_code)]

pub mod admin;
pub mod bench;
pub mod broker;
mod client;
pub mod clock;
pub mod command;
mod compute;
pub mod config;
mod data_dir;
pub mod disk;
pub mod exit;
mod facts;
pub mod failure;
mod flags;
pub mod http;
pub mod inspect;
mod json;
pub mod lock;
pub mod log;
pub mod monitor;
pub mod net;
pub mod owner;
pub mod signals;
pub mod store;
pub mod wal_orders;

#[cfg(test)]
mod scratch;
