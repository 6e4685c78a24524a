//! What the disk can do by itself: synchronous direct writes into a file that was written before.

use super::report::{Report, Unit};
use super::stats::{Latencies, megabytes};
use super::workdir::WorkDir;
use super::{DiskOptions, progress};
use crate::config::WalDevice;
use crate::disk::Device;
use crate::failure::Failure;
use crate::signals::GiveUp;
use bytes::BytesMut;
use karst_core::machine::Rng;
use karst_core::wal::ring::aligned;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LEN: u64 = 256 << 20;
const DEPTH: usize = 8;
const KIB: usize = 1 << 10;

/// The least that a sync write moves.
pub(super) const SMALLEST: usize = 4 * KIB;

pub(super) fn run(options: &DiskOptions) -> Result<Report, Failure> {
    let dir = WorkDir::create(&options.dir)?;
    let disk = RawDisk::create(dir.path())?;
    let mut report = Report::new("disk");
    report.section(format!("disk of {}: O_DIRECT, O_DSYNC, sequential", options.dir.display()));
    progress("4 KiB writes, one at a time");
    let latencies = disk.latencies(options.during)?;
    report.add("disk.4k.median", "4 KiB, one at a time: median", latencies.median(), Unit::Micros);
    report.add("disk.4k.p99", "4 KiB, one at a time: p99", latencies.p99(), Unit::Micros);
    for (key, what, len) in [("disk.64k.rate", "64 KiB", 64 * KIB), ("disk.1m.rate", "1 MiB", KIB * KIB)] {
        progress(format_args!("{what} writes, {DEPTH} at a time"));
        report.add(key, format!("{what}, {DEPTH} at a time"), disk.rate(len, options.during)?, Unit::Megabytes);
    }
    Ok(report)
}

/// A file on the disk to be measured. It goes with its directory.
#[derive(Debug)]
pub(super) struct RawDisk {
    device: Device,
    next: AtomicU64,
}

impl RawDisk {
    pub(super) fn create(dir: &Path) -> Result<Self, Failure> {
        progress("preparing a file");
        let device =
            Device::open(&WalDevice::File(dir.join("disk")), LEN, &GiveUp::default(), &|_| {}).map_err(Failure::new)?;
        Ok(Self { device, next: AtomicU64::new(0) })
    }

    /// One sync write behind the one before. Returns how long it took.
    pub(super) fn write(&self, data: &[u8]) -> Result<Duration, Failure> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) * data.len() as u64 % LEN;
        let begun = Instant::now();
        let written = rustix::io::pwrite(self.device.file(), data, at).map_err(std::io::Error::from)?;
        if written != data.len() {
            return Err(Failure::new("the disk took only a part of a write"));
        }
        Ok(begun.elapsed())
    }

    fn latencies(&self, during: Duration) -> Result<Latencies, Failure> {
        let data = content(SMALLEST);
        let mut latencies = Latencies::default();
        let begun = Instant::now();
        while begun.elapsed() < during {
            latencies.add(self.write(&data)?);
        }
        Ok(latencies)
    }

    /// Several at a time, in 10^6 bytes a second.
    pub(super) fn rate(&self, len: usize, during: Duration) -> Result<f64, Failure> {
        let data = content(len);
        let over = AtomicBool::new(false);
        let begun = Instant::now();
        let writes: u64 = std::thread::scope(|scope| {
            let write = || {
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    self.write(&data)?;
                    count += 1;
                }
                Ok(count)
            };
            let threads: Vec<_> = (0..DEPTH).map(|_| scope.spawn(write)).collect();
            std::thread::sleep(during);
            over.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum::<Result<u64, Failure>>()
        })?;
        Ok(megabytes(writes * len as u64, begun.elapsed()))
    }
}

/// Bytes at an aligned address that no disk can shrink.
pub(super) fn content(len: usize) -> BytesMut {
    let mut rng = Rng::new(len as u64);
    let mut content = aligned(len);
    while content.len() < len {
        content.extend_from_slice(&rng.next_u64().to_be_bytes());
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn it_measures_and_leaves_nothing_behind() {
        let dir = Scratch::new("bench-disk");
        let options = DiskOptions { dir: dir.path().into(), during: Duration::from_millis(20) };
        let table = run(&options).expect("the temporary directory can be measured").table();
        assert!(table.contains("4 KiB, one at a time: median") && table.contains("1 MiB, 8 at a time"), "{table}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
    }
}
