//! `karst bench`: what a broker reaches and costs, beside what its disk can do.
//!
//! Machines are shared and noisy, so what counts is a ratio of two figures of one run: the broker's latency beside that
//! of raw writes to the same disk, taken in turns; its throughput beside the disk's own; its processor time beside the
//! client's, for a benchmark whose client is the limit measures the client.

mod batch;
mod broker;
mod child;
mod consume;
mod cpu;
mod disk;
mod machines;
mod null_world;
mod object_wal;
mod options;
mod produce;
mod reads;
mod report;
mod stats;
mod workdir;

pub use options::{Against, BrokerOptions, CoreOptions, DiskOptions, ObjectWalOptions, ReadsOptions, parse};

use crate::failure::Failure;
use std::fmt;
use std::io;

/// A benchmark to be run.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Of what.
    pub subject: Subject,
    /// How its figures are written.
    pub form: Form,
}

/// What is measured.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Nothing: the command is explained.
    Help,
    /// A directory's disk.
    Disk(DiskOptions),
    /// A broker, by a client over a socket.
    Broker(BrokerOptions),
    /// Consumers that are behind, of a broker whose object store is far away.
    Reads(ReadsOptions),
    /// A broker whose WAL is in an object store that is far away.
    ObjectWal(ObjectWalOptions),
    /// The core's machines, on one thread and without input or output.
    Core(CoreOptions),
}

/// How figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Tables for people.
    Table,
    /// One JSON object.
    Json,
}

impl Bench {
    /// Runs it, and returns what is to be printed.
    ///
    /// # Errors
    /// Says what could not be done.
    pub fn run(&self) -> Result<String, Failure> {
        let report = match &self.subject {
            Subject::Help => return Ok(options::HELP.into()),
            Subject::Disk(options) => disk::run(options)?,
            Subject::Broker(options) => broker::run(options)?,
            Subject::Reads(options) => reads::run(options)?,
            Subject::ObjectWal(options) => object_wal::run(options)?,
            Subject::Core(options) => machines::run(options)?,
        };
        Ok(match self.form {
            Form::Table => report.table(),
            Form::Json => report.json(),
        })
    }
}

/// Tells on standard error what takes its time.
fn progress(what: impl fmt::Display) {
    use io::Write;
    // Nobody needs to hear it.
    let _ = writeln!(io::stderr(), "karst bench: {what} ...");
}
