//! Which broker is asked: the one whose address is given, else the one that a broker started here would be.

use crate::config::{Config, Layers, UsageError, value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What is said about it.
pub(super) struct Whom {
    address: Option<String>,
    layers: Layers,
}

impl Whom {
    pub(super) const fn new(layers: Layers) -> Self {
        Self { address: None, layers }
    }

    /// The one at this address.
    pub(super) fn is(&mut self, address: String) {
        self.address = Some(address);
    }

    /// The one that is configured by this file.
    pub(super) fn file(&mut self, path: String) -> Result<(), UsageError> {
        value::not_empty(&path).map_err(|what| UsageError(format!("--config {what}")))?;
        self.layers.file(path.into());
        Ok(())
    }

    /// Where it listens for Kafka clients.
    pub(super) fn kafka(self) -> Result<String, UsageError> {
        self.at(|config| Some(config.listen))
    }

    /// Where it listens for who watches it.
    pub(super) fn http(self) -> Result<String, UsageError> {
        self.at(|config| config.http)
    }

    /// The configuration is read only where no address is given: who gives one need not have any.
    fn at(self, listener: impl FnOnce(Config) -> Option<String>) -> Result<String, UsageError> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let off =
            || UsageError("the broker is configured to have no HTTP listener (http is off): nobody to ask".into());
        listener(self.layers.load()?.config).map(|bound| reachable(&bound)).ok_or_else(off)
    }
}

/// Where who listens at that address is reached from this machine.
fn reachable(bound: &str) -> String {
    let Ok(address) = bound.parse::<SocketAddr>() else { return bound.into() };
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, address.port()).to_string()
}
