//! How the process ends: one code per cause, so that a supervisor can tell them apart.

use crate::log;
use karst_core::mail::Halt;

/// The process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// Stopped as asked; everything is uploaded and the WAL is marked clean.
    pub const CLEAN: Self = Self(0);
    /// A command other than to be a broker could not be carried out.
    pub const FAILED: Self = Self(1);
    /// The command line, the environment or the configuration file makes no sense.
    pub const USAGE: Self = Self(2);
    /// Another broker uses the data directory.
    pub const IN_USE: Self = Self(64);
    /// The listen address is taken or can't be bound.
    pub const ADDRESS: Self = Self(65);
    /// The WAL is not this node's, is damaged, or could not be opened.
    pub const WAL_REFUSED: Self = Self(66);
    /// A write to the WAL failed.
    pub const WAL_POISONED: Self = Self(67);
    /// The object store refuses something, lacks something, or is full.
    pub const BUCKET: Self = Self(68);
    /// A newer registration of this node took over.
    pub const FENCED: Self = Self(69);
    /// A bug in Karst: an assertion failed. The WAL makes a restart safe.
    pub const PANIC: Self = Self(70);
    /// The object store breaks the contract on which everything rests: no cluster is safe on it.
    pub const STORE_UNFIT: Self = Self(72);
    /// Stopped as asked, before it served.
    pub const NOT_STARTED: Self = Self(71);
    /// A second signal arrived before the broker had stopped.
    pub const IMPATIENT: Self = Self(130);

    /// The table for `--help`.
    pub const TABLE: &str = "    0   stopped as asked, everything uploaded
    1   a command (bench, groups, inspect, status, topics, wal) could not be carried out, or found something amiss
    2   bad command line, environment or configuration file
    64  another broker uses the data directory
    65  an address to listen on, for Kafka or HTTP, is taken or cannot be bound
    66  the WAL is refused: not this node's, damaged, or unreadable
    67  a write to the WAL failed
    68  the data directory or the object store is unusable, lost, full, or cannot be reached at start
    69  fenced: a newer broker with this node id took over
    70  internal error (panic)
    71  stopped as asked before it served: the WAL may hold records
    72  the object store is unfit: it ignores conditions or is not consistent
    130 a second signal cut the shutdown short
";

    /// Ends the process, whatever its threads are doing.
    pub fn exit(self) -> ! {
        std::process::exit(i32::from(self.0))
    }
}

/// What a halted node tells its operator: the exit code, what happened, and what to do about it.
#[must_use]
pub fn explain(halt: &Halt) -> (Code, String) {
    match halt {
        Halt::Clean => (Code::CLEAN, "stopped: everything is uploaded and the WAL is clean".into()),
        Halt::NotStarted => (
            Code::NOT_STARTED,
            "stopped before it served: no record is lost. What the WAL holds is uploaded by the next start".into(),
        ),
        Halt::GivenUp => (Code::CLEAN, "the WAL is given up: the next start takes another".into()),
        Halt::Fenced(why) => (
            Code::FENCED,
            format!("fenced: {why}\nAnother broker runs under this node id or took over. Give each its own --node-id."),
        ),
        Halt::WalPoisoned(why) => (
            Code::WAL_POISONED,
            format!(
                "stopped because the WAL failed: {why}\nAcknowledged records are safe: they are uploaded, or are read back \
                 from the WAL at the next start. Check what it is on (of a disk: dmesg, free space), then start again."
            ),
        ),
        Halt::WalRefused(why) => (
            Code::WAL_REFUSED,
            format!(
                "the WAL is refused: {why}\nNothing that it holds, and no record, was changed. Check that --data-dir is this node's own and has not \
                 been restored from a copy."
            ),
        ),
        Halt::WalUnreadable(why) => (
            Code::WAL_REFUSED,
            format!(
                "the WAL cannot be read: {why}\nNothing was changed. Check the disk (dmesg), then start again; on a dying \
                 disk, copy the WAL file elsewhere first."
            ),
        ),
        Halt::Bucket(why) => (
            Code::BUCKET,
            format!(
                "the object store is unusable: {why}\nNothing was deleted. Keep both the bucket and the WAL: what is \
                 acknowledged is in one of them. Mend the store, then start again."
            ),
        ),
    }
}

/// Ends the process with [`Code::PANIC`] if it is dropped by a panic: an owner that is gone would leave the others
/// waiting for ever. The panic's own message is on standard error by then.
#[derive(Debug)]
pub struct PanicGuard {
    owner: &'static str,
}

impl PanicGuard {
    /// Guards the rest of the scope, which belongs to `owner`.
    #[must_use]
    pub const fn new(owner: &'static str) -> Self {
        Self { owner }
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error(&format!(
                "internal error in {}: the broker stops here. Acknowledged records are safe; please report the message \
                 above.",
                self.owner
            ));
            Code::PANIC.exit();
        }
    }
}
