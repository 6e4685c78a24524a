//! The shard.

use crate::recording::{About, Describe};
use karst_core::shard::Mail;

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Opened(conn, _) | Self::Closed(conn) => {
                about.number("connection", conn.0);
            }
            Self::CreditWanted(conn, ..) | Self::CreditBack(conn, ..) => {
                about.number("connection", conn.0);
            }
            Self::Request(conn, numbered) => {
                about.number("connection", conn.0).of(numbered);
            }
            Self::Appended(batches) => batches.iter().for_each(|batch| batch.describe(about)),
            Self::Cut(marker) => {
                about.number("upto-lsn", marker.lsn.0);
            }
            Self::Entries(entries) => entries.iter().for_each(|entry| entry.describe(about)),
            _ => {}
        }
    }
}
