//! Karst's core: every state machine, every format, every decision, and no IO.
#![no_std]
#![forbid(unsafe_code)]
#![allow(missing_docs)]

extern crate alloc;

pub mod controller;
pub mod data_object;
pub mod disk;
pub mod envelope;
pub mod id;
pub mod kafka;
pub mod limits;
pub mod log_cache;
pub mod machine;
pub mod mail;
pub mod metadata;
pub mod node;
pub mod session;
pub mod shard;
pub mod store;
pub mod upload;
pub mod wal;
