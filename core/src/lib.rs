//! Karst's core: every state machine, every format, every decision, and no IO.
//!
//! A broker is a handful of machines that exchange mail. Each stands where an owner (a thread in production, a task in
//! simulation) exists; inside one owner everything is plain structs and plain calls. The shells perform effects and
//! carry mail, and hold no decision.
//!
//! ```text
//!  clients          ┌─────────── produce, fetch, topics ──────────┐
//!  ───────► session ┤                                             ▼
//!  ◄─────── session ┤◄── answers, credit ─────────────────────  shard ──► reads of objects
//!           session ┘                                            │  ▲
//!                                     appends, within grants     │  │ durable batches, cut markers
//!                                                                ▼  │
//!                                       trim ┌────────────────►  wal ◄──► disk
//!                                            │                   cuts: shard ─► uploader
//!            bucket ◄── data objects ──── uploader
//!                                            │ commits
//!                                            ▼
//!            bucket ◄── head ── controller ◄── node: commands, registration, recovery, start and stop
//!                                   └── entries ──► node ──► shard: the same fold everywhere
//! ```
//!
//! Where to read on: [`machine`] (the contract and its five laws), [`mail`] (who says what to whom), then the smallest
//! machine, [`wal`], the one in the middle, [`shard`], and the one that doubts the bucket, [`store::probe`]. Formats are
//! drawn in [`envelope`], [`wal::ring`], [`data_object`] and [`metadata`].
//!
//! The crate is `no_std`: a clock, a thread, a file, a socket or a randomly seeded map in here does not compile.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod compaction;
pub mod controller;
pub mod data_object;
pub mod disk;
pub mod envelope;
mod group;
pub mod id;
pub mod kafka;
pub mod limits;
pub mod log_cache;
pub mod machine;
pub mod mail;
pub mod metadata;
pub mod node;
pub mod producers;
pub mod session;
pub mod shard;
pub mod store;
pub mod upload;
pub mod wal;
