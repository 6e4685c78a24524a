//! How a broker runs, and where that is said.
//!
//! ```text
//!   defaults ──► file (--config, TOML) ──► environment (KARST_...) ──► command line     each overrides those before it
//!                         └─────────────────────┴──────────────────────────┘
//!                              one table of keys (`keys`): name, unit, range, place
//! ```
//! A key is `wal.size` in a file, `KARST_WAL_SIZE` in the environment and `--wal-size` on the command line. What is in
//! none of the three forms is refused, with the nearest key that there is. What is secret is never shown, and is not
//! taken from the command line, which everybody on the machine can read.

mod file;
pub mod keys;
mod layers;
mod page;
mod secret;
pub(crate) mod value;
mod wal_device;

#[cfg(test)]
mod tests;

pub use layers::{Layers, Loaded, Origin};
pub use page::{effective, reference};
pub use secret::Secret;
pub use wal_device::WalDevice;

use crate::store::Location;
use karst_core::id::NodeId;
use karst_core::limits::Limits;
use std::fmt;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Length of a new WAL where nothing else is asked.
pub const WAL_SIZE: u64 = 512 << 20;

/// How a broker runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything that it keeps.
    pub data_dir: PathBuf,
    /// Where it listens for Kafka clients: HOST:PORT.
    pub listen: String,
    /// Where clients reach it, if not there.
    pub advertise: Option<Endpoint>,
    /// Where it listens for who watches it, if anywhere: HOST:PORT.
    pub http: Option<String>,
    /// The bucket that it keeps objects in, if not a directory.
    pub bucket: Option<Location>,
    /// By what it proves its rights there, if not by what AWS programs find by themselves.
    pub credentials: Credentials,
    /// What its WAL is written to, if not a file in the data directory.
    pub wal_device: Option<WalDevice>,
    /// Length of a new WAL in bytes, if asked for.
    pub wal_size: Option<u64>,
    /// Its id in the cluster.
    pub node: NodeId,
    /// Threads for sockets.
    pub network_threads: u32,
    /// Threads for the object directory.
    pub store_threads: u32,
    /// How much longer each request to the object directory takes.
    pub store_delay: Duration,
    /// Whether machines check their invariants after every input.
    pub check_invariants: bool,
    /// What is logged.
    pub log: Targets,
    /// How it is written.
    pub log_format: LogFormat,
    /// What it allows itself and its clients.
    pub limits: Limits,
}

/// By what a broker proves its rights in a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Names the other one.
    pub access_key: Option<String>,
    /// The key itself.
    pub secret_key: Option<Secret>,
    /// With keys that end after a while.
    pub token: Option<Secret>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// A host and a port, as a client is told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What is wrong with what the operator asks. Its text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "karst-data".into(),
            listen: "127.0.0.1:9092".into(),
            advertise: None,
            http: Some("127.0.0.1:9644".into()),
            bucket: None,
            credentials: Credentials::default(),
            wal_device: None,
            wal_size: None,
            node: NodeId(0),
            network_threads: 2,
            store_threads: 4,
            store_delay: Duration::ZERO,
            check_invariants: false,
            log: Targets::new().with_default(LevelFilter::INFO),
            log_format: LogFormat::Human,
            limits: Limits { group_initial_rebalance_delay: Duration::ZERO, ..Limits::default() },
        }
    }
}

impl Config {
    /// Where the WAL is.
    #[must_use]
    pub fn wal(&self) -> WalDevice {
        self.wal_device.clone().unwrap_or_else(|| WalDevice::File(self.data_dir.join("wal")))
    }

    /// Whether it keeps anything on a disk of its own, the object store's aside.
    #[must_use]
    pub fn keeps_files(&self) -> bool {
        self.bucket.is_none() || self.wal() != WalDevice::Objects
    }

    /// Length of the WAL: of the one that is there, or else of the one that would be made; of one in the object store,
    /// what it may hold.
    #[must_use]
    pub fn wal_length(&self) -> u64 {
        let end = |mut device: File| device.seek(SeekFrom::End(0)).ok();
        let existing = self.wal().path().and_then(|path| File::open(path).ok()).and_then(end);
        existing.filter(|len| *len > 0).or(self.wal_size).unwrap_or(WAL_SIZE)
    }

    /// The object store's directory, where no bucket is named.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.data_dir.join("objects")
    }

    /// The object store, as administrators are told: `s3://BUCKET`, or a directory from the root on.
    #[must_use]
    pub fn store_name(&self) -> String {
        match &self.bucket {
            Some(location) => format!("s3://{}", location.bucket),
            None => {
                let objects = self.objects();
                std::path::absolute(&objects).unwrap_or(objects).display().to_string()
            }
        }
    }

    /// What the cluster is told, once it is known that the broker listens at `bound`. Where it listens everywhere that is
    /// the host's name, and its clients are told the address that they have connected to.
    #[must_use]
    pub fn advertised(&self, bound: SocketAddr) -> Endpoint {
        if let Some(asked) = &self.advertise {
            return asked.clone();
        }
        if bound.ip().is_unspecified() {
            return Endpoint { host: host_name(), port: bound.port() };
        }
        let host = self.listen.rsplit_once(':').map_or(self.listen.as_str(), |(host, _)| host);
        Endpoint { host: host.trim_matches(['[', ']']).into(), port: bound.port() }
    }

    /// What no key can say alone.
    fn check(&self) -> Result<(), UsageError> {
        // Against the WAL it is checked when its length is known.
        self.limits.check(u64::MAX).map_err(UsageError)?;
        let Credentials { access_key, secret_key, token } = &self.credentials;
        if access_key.is_some() != secret_key.is_some() || (token.is_some() && secret_key.is_none()) {
            return Err(UsageError(
                "s3.access.key.id and s3.secret.access.key belong together, and s3.session.token to both".into(),
            ));
        }
        if secret_key.is_some() && self.bucket.is_none() {
            return Err(UsageError("there are S3 credentials, and no object.store to use them for".into()));
        }
        Ok(())
    }
}

/// The name of this host, as far as it knows one.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".into() } else { name.into() }
}
