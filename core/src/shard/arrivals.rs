//! Where clients come from, and where they have connected to.
//!
//! A broker that listens on every address of its host can't know which of them a client reaches, unless it is configured.
//! But each connection has arrived at one: that is what this client is told of this broker. What other brokers' clients
//! are told is in the metadata.

use super::Shard;
use super::api::str_bytes;
use crate::id::{ConnId, NodeId};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use kafka_protocol::protocol::StrBytes;

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Without brackets.
    pub host: String,
    /// Of Kafka's protocol.
    pub port: u16,
}

/// The two ends of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Arrival {
    /// The client's host, as Kafka writes it: `/127.0.0.1`.
    pub from: Arc<str>,
    /// What its client has connected to, if this broker listens everywhere.
    pub at: Option<Endpoint>,
}

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Arrivals(BTreeMap<ConnId, Arrival>);

impl Arrivals {
    pub(super) fn opened(&mut self, conn: ConnId, arrival: Arrival) {
        self.0.insert(conn, arrival);
    }

    /// Whether a connection is open.
    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        self.0.contains_key(&conn)
    }

    /// The host of a connection's client.
    pub(super) fn host(&self, conn: ConnId) -> Arc<str> {
        self.0.get(&conn).map(|arrival| arrival.from.clone()).unwrap_or_default()
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        self.0.remove(&conn);
    }
}

impl Shard {
    /// Where the client of a connection reaches a broker: host and port, as answers have them.
    pub(super) fn address_for(&self, conn: ConnId, node: NodeId) -> (StrBytes, i32) {
        let arrived = self.arrivals.0.get(&conn).and_then(|arrival| arrival.at.as_ref());
        let arrived = arrived.filter(|_| self.me.is_some_and(|me| me.node == node));
        let registered = self.image.as_ref().and_then(|image| image.nodes.get(&node));
        match (arrived, registered) {
            (Some(Endpoint { host, port }), _) => (str_bytes(host), i32::from(*port)),
            (None, Some(node)) => (str_bytes(&node.host), i32::from(node.port)),
            (None, None) => (StrBytes::new(), -1),
        }
    }
}
