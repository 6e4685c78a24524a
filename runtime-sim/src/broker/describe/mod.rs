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
//! | `connection` | a connection, by the broker's process and number for it, such as `broker-1/3`: at both of its ends |
//! | `request` | one of the connection's requests, by the number that its client gave it: its correlation id |
//! | `number` | that request, as the broker calls it while it has it in hand |
//! | `op` | an operation that this owner asked for, and its completion |
//! | `topic`, `deleted-topic` | a topic |
//!
//! In words, a mail is a noun phrase: whoever sends it `sends the wal 2 batches to append`, and the wal `gets from the shard
//! 2 batches to append`. What is asked of disk and store is `asks the disk to`, so that its end can say what ended.
//!
//! Names come from aliases, see [`World::alias`](crate::exec::World::alias).

mod admin;
mod batch;
mod compaction;
mod compute;
mod groups;
mod kafka;
mod metadata;
mod node;
mod phrases;
mod session;
mod shard;
mod store;
mod upload;
mod wal;

pub use batch::batch_name;
pub use kafka::{batches, frame, frame_in_words};

use crate::recording::words::SENDER;
use crate::recording::{About, Describe};
use karst_core::controller;
use karst_core::machine::OpId;
use karst_core::mail::Mail;

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Session(conn, mail) => about.number("connection", conn.0).of(mail),
            Self::Shard(mail) => about.of(mail),
            Self::Wal(mail) => about.of(mail),
            Self::Uploader(mail) => about.of(mail),
            Self::Compactor(mail) => about.of(mail),
            Self::Controller(mail) => about.of(mail),
            Self::Node(mail) => about.of(mail),
        };
    }

    /// Of whoever sends it.
    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Session(conn, mail) => format!("sends session-{conn} {}", session::of_mail(mail)),
            Self::Shard(mail) => format!("sends the shard {}", shard::of_mail(mail)),
            Self::Wal(mail) => format!("sends the wal {}", wal::of_mail(mail)),
            Self::Uploader(mail) => format!("sends the uploader {}", upload::of_mail(mail)),
            Self::Compactor(mail) => format!("sends the compactor {}", compaction::of_mail(mail)),
            Self::Controller(mail) => format!("sends the controller {}", of_controller_mail(mail)),
            Self::Node(mail) => format!("sends the node {}", node::of_mail(mail)),
        })
    }
}

/// What a machine does when its deadline has come.
const TICK: &str = "wakes up at its deadline";

impl Describe for OpId {
    fn describe(&self, about: &mut About) {
        about.number("op", self.0);
    }
}

/// For machines that hear and send nothing but mail and calls of the object store.
macro_rules! mail_and_store {
    ($($machine:ident: $of_mail:path),*) => {
        $(impl Describe for karst_core::$machine::Input {
            fn describe(&self, about: &mut About) {
                match self {
                    Self::Mail(mail) => about.of(mail),
                    Self::Store(op, _) => about.of(op),
                    Self::Tick => about,
                };
            }

            fn words(&self) -> Option<String> {
                Some(match self {
                    Self::Mail(mail) => format!("gets{SENDER} {}", $of_mail(mail)),
                    Self::Store(_, result) => store::outcome(result),
                    Self::Tick => TICK.into(),
                })
            }
        }

        impl Describe for karst_core::$machine::Effect {
            fn describe(&self, about: &mut About) {
                match self {
                    Self::Mail(mail) => about.of(mail),
                    Self::Store(op, call) => about.of(op).of(call),
                };
            }

            fn words(&self) -> Option<String> {
                match self {
                    Self::Mail(mail) => mail.words(),
                    Self::Store(_, call) => Some(store::asks_the_store(call)),
                }
            }
        })*
    };
}

mail_and_store!(upload: upload::of_mail, compaction: compaction::of_mail, controller: of_controller_mail);

impl Describe for controller::Mail {
    fn describe(&self, about: &mut About) {
        if let Self::Command(sent) = self {
            about.of(&*sent.command);
        }
    }
}

fn of_controller_mail(mail: &controller::Mail) -> String {
    match mail {
        controller::Mail::Start { cluster } => {
            let whose = if cluster.is_some() { "its cluster's" } else { "whatever" };
            format!("the order to take over the metadata log of {whose} bucket")
        }
        controller::Mail::Command(sent) => metadata::of_command(sent),
    }
}
