//! What a broker needs before it starts: the WAL's device, the object store, room for connections.

use super::StartError;
use crate::config::{Config, WalDevice};
use crate::disk::{self, Device};
use crate::exit::Code;
use crate::http;
use crate::monitor::{Monitor, Phase, Progress};
use crate::net;
use crate::signals::GiveUp;
use crate::store::{self, Directory, Distant, Location, OpenError, S3, Submit, Workers};
use karst_core::limits::Limits;
use karst_core::machine::Rng;
use karst_core::store::probe::Unfit;
use karst_core::wal::Wal;
use rand::TryRngCore;
use rand::rngs::OsRng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::sync::Arc;
use tracing::{info, warn};
/// Lets others watch from now on, while all else is still to be done.
pub(super) fn watch(config: &Config, monitor: &Arc<Monitor>) -> Result<(), String> {
    let Some(address) = &config.http else { return Ok(()) };
    let listener = net::bind("--http", address).map_err(|error| error.to_string())?;
    let at = listener.local_addr().map_err(|error| error.to_string())?;
    http::start(listener, monitor.clone()).map_err(|error| format!("no HTTP listener: {error}"))?;
    info!("metrics, health and status: http://{at}/");
    Ok(())
}

/// What the WAL lies on.
pub(super) enum Place {
    /// A file or a block device.
    Device(Device),
    /// The object store, which holds so many bytes of it at most.
    Objects(u64),
}

impl Place {
    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Device(device) => device.len(),
            Self::Objects(capacity) => *capacity,
        }
    }

    /// The WAL on it.
    pub(super) fn wal(&self, limits: &Limits, rng: &Rng) -> Result<Wal, StartError> {
        let (wal, code) = match self {
            Self::Device(device) => (Wal::new(device.len(), limits), Code::WAL_REFUSED),
            Self::Objects(capacity) => (Wal::of_objects(*capacity, limits, rng.child("wal")), Code::USAGE),
        };
        wal.map_err(|error| StartError::new(code, error))
    }
}

pub(super) fn open_wal(config: &Config, monitor: &Monitor, give_up: &GiveUp) -> Result<Place, StartError> {
    if config.wal() == WalDevice::Objects {
        return Ok(Place::Objects(config.wal_length()));
    }
    open_device(config, monitor, give_up).map(Place::Device)
}

fn open_device(config: &Config, monitor: &Monitor, give_up: &GiveUp) -> Result<Device, StartError> {
    let len = config.wal_size.unwrap_or(crate::config::WAL_SIZE);
    let place = config.wal();
    if matches!(&place, WalDevice::File(path) if !path.exists()) {
        // Before a file is made that would be in the way of a better try.
        Wal::new(len, &config.limits).map_err(|error| StartError::new(Code::USAGE, error))?;
        monitor.enter(Phase::PreparingWal(Progress { done: 0, of: len }));
    }
    let tell = |progress| monitor.progress(progress);
    let device = Device::open(&place, len, give_up, &tell).map_err(|error| {
        let code = match error {
            disk::OpenError::Held(_) => Code::IN_USE,
            disk::OpenError::NoSpace(_) => Code::BUCKET,
            disk::OpenError::GivenUp(_) => Code::NOT_STARTED,
            disk::OpenError::Unusable(_) => Code::WAL_REFUSED,
        };
        StartError::new(code, error)
    })?;
    if let Some(asked) = config.wal_size.filter(|asked| asked.div_ceil(4096) * 4096 != device.len()) {
        warn!(
            asked,
            length = device.len(),
            "the WAL {place} keeps its length; to change that of a file, stop the broker in order and remove it",
        );
    }
    Ok(device)
}

/// The limits, as they hold with the WAL there.
pub(super) fn fit(place: &Place, config: &Config) -> Result<Limits, StartError> {
    let asked = config.limits.clone();
    let limits = match place {
        Place::Device(device) => Wal::fit(device.len(), asked.clone()),
        Place::Objects(capacity) => Ok(Wal::fit_objects(*capacity, asked.clone())),
    };
    let limits = limits.map_err(|error| StartError::new(Code::WAL_REFUSED, error))?;
    if limits.largest_batch < asked.largest_batch {
        info!(
            asked = asked.largest_batch,
            possible = limits.largest_batch,
            "record batches can't be as large as record.batch.max.bytes says: one must fit twice into the WAL, and into a \
             request (socket.request.max.bytes)"
        );
    } else {
        info!("topics may take record batches of up to {} bytes (record.batch.max.bytes)", limits.largest_batch);
    }
    Ok(limits)
}

pub(super) fn open_store(
    config: &Config,
    monitor: &Monitor,
    rng: &Rng,
    give_up: &GiveUp,
) -> Result<Arc<dyn Submit>, StartError> {
    if let Some(location) = &config.bucket {
        monitor.enter(Phase::ProbingStore);
        return Ok(Arc::new(open_bucket(location, config, rng.child("probe"), give_up)?));
    }
    // What a directory does is known; only others' stores are probed.
    let directory = Directory::open(&config.objects()).map_err(|error| {
        let code = match error {
            OpenError::Held(_) => Code::IN_USE,
            OpenError::Unusable(_) => Code::BUCKET,
        };
        StartError::new(code, error)
    })?;
    Ok(Arc::new(Workers::start(Distant::new(directory, config.store_delay), config.store_threads)))
}

pub(super) fn open_bucket(location: &Location, config: &Config, rng: Rng, give_up: &GiveUp) -> Result<S3, StartError> {
    let bucket = S3::open(location, &config.credentials).map_err(|error| StartError::new(Code::USAGE, error))?;
    let report = store::probe(&bucket, &config.limits, rng, give_up).map_err(|unfit| {
        let code = match unfit {
            Unfit::Flawed(_) => Code::STORE_UNFIT,
            Unfit::Refused(..) | Unfit::Unreachable(_) => Code::BUCKET,
            Unfit::GivenUp => Code::NOT_STARTED,
        };
        let latest = bucket.latest_failure().filter(|_| matches!(unfit, Unfit::Refused(..) | Unfit::Unreachable(_)));
        let detail = latest.map_or_else(String::new, |latest| format!("\nIt said last: {latest}"));
        StartError::new(code, format_args!("{location}: {unfit}{detail}"))
    })?;
    info!("the object store {location} is fit: {} swaps in {} ms", report.swaps, report.took.as_millis());
    bucket.look_at_versioning();
    Ok(bucket)
}

/// As many connections as the limits and the operating system allow; a file descriptor each, and some for ourselves.
pub(super) fn connections(limits: &Limits) -> usize {
    const OURS: u64 = 128;
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() { allowed.maximum } else { allowed.current };
    let possible = files.map_or(u64::MAX, |files| files.saturating_sub(OURS).max(1));
    let wanted = u64::from(limits.connections);
    if possible < wanted {
        warn!(possible, wanted, "fewer connections than wanted: raise the limit of open files (ulimit -n)");
    }
    usize::try_from(possible.min(wanted)).unwrap_or(usize::MAX)
}

pub(super) fn entropy() -> io::Result<u64> {
    OsRng.try_next_u64().map_err(io::Error::other)
}
