//! What the entries of a broker are about, for [recordings](crate::recording).
//!
//! | key | names |
//! |-----|-------|
//! | `stream`, `partition` | a partition's log; the stream's number or the partition's name, such as `orders-3` |
//! | `partition-id` | a partition by its topic's id, where a request has nothing else |
//! | `offset` | records of the stream before it |
//! | `from` | the offset from which a fetch reads that stream |
//! | `batch` | the record batch with this CRC: known before it has offsets |
//! | `lsn` | bytes of the write-ahead log of this process |
//! | `upto-lsn` | a cut of that log: everything below this is in it, or in an earlier one |
//! | `below-lsn` | everything in that log below this is committed and forgotten |
//! | `below-offset` | everything in that stream below this is gone for readers |
//! | `object` | a data object |
//! | `bytes` | that part of the object |
//! | `cut`, `recovery-cut` | a cut of this process, or one of what it recovers |
//! | `connection`, `request` | a connection of this process, and one of the connection's requests |
//! | `correlation` | that request, as the client calls it |
//! | `op` | an operation that this owner asked for, and its completion |
//! | `topic`, `deleted-topic` | a topic |
//!
//! Names come from aliases, see [`World::alias`](crate::exec::World::alias).

mod kafka;
mod metadata;
mod session;
mod shard;
mod store;
mod upload;
mod wal;

pub use kafka::{batches, frame};

use crate::recording::{About, Describe};
use karst_core::controller;
use karst_core::machine::OpId;
use karst_core::mail::Mail;
use karst_core::node;

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Session(conn, mail) => about.number("connection", conn.0).of(mail),
            Self::Shard(mail) => about.of(mail),
            Self::Wal(mail) => about.of(mail),
            Self::Uploader(mail) => about.of(mail),
            Self::Controller(mail) => about.of(mail),
            Self::Node(mail) => about.of(mail),
        };
    }
}

impl Describe for OpId {
    fn describe(&self, about: &mut About) {
        about.number("op", self.0);
    }
}

/// For machines that hear and send nothing but mail and calls of the object store.
macro_rules! mail_and_store {
    ($($machine:ident),*) => {
        $(impl Describe for karst_core::$machine::Input {
            fn describe(&self, about: &mut About) {
                match self {
                    Self::Mail(mail) => about.of(mail),
                    Self::Store(op, _) => about.of(op),
                    Self::Tick => about,
                };
            }
        }

        impl Describe for karst_core::$machine::Effect {
            fn describe(&self, about: &mut About) {
                match self {
                    Self::Mail(mail) => about.of(mail),
                    Self::Store(op, call) => about.of(op).of(call),
                };
            }
        })*
    };
}

mail_and_store!(upload, controller);

impl Describe for karst_core::shard::Input {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Store(op, _) | Self::Computed(op, _) => about.of(op),
            Self::Tick => about,
        };
    }
}

impl Describe for karst_core::shard::Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Store(op, call) => about.of(op).of(call),
            Self::Compute(op, _) => about.of(op),
        };
    }
}

impl Describe for controller::Mail {
    fn describe(&self, about: &mut About) {
        if let Self::Command(sent) = self {
            about.of(&*sent.command);
        }
    }
}

impl Describe for node::Input {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Store(op, _) => about.of(op),
            Self::Start | Self::Stop | Self::Tick => about,
        };
    }
}

impl Describe for node::Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Store(op, call) => about.of(op).of(call),
            Self::Ready | Self::Halt(_) => about,
        };
    }
}

impl Describe for node::Mail {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Entries(entries) => entries.iter().for_each(|entry| entry.describe(about)),
            Self::Command(_, command) => command.describe(about),
            Self::WalRecovered(recovered) => recovered.describe(about),
            Self::CutCommitted(number) | Self::Drained(number) => {
                about.number("cut", number.0);
            }
            _ => {}
        }
    }
}
