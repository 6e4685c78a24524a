//! A whole block device as the WAL's: nobody else's, and nothing else on it.
//!
//! Opened with O_EXCL, the kernel lends a block device to one user at a time: a device that is mounted, part of a RAID or
//! of a volume, swapped to, or another broker's is refused, by whatever name it is called. One that holds something that
//! is not Karst's is refused, too: the first and the last [`LOOKED_AT`] bytes, where file systems, partition tables and
//! volume managers leave their marks, must be zeros, or begin as a Karst WAL does.

use super::io::aligned_buffer;
use super::{Device, OpenError, unusable};
use crate::lock;
use karst_core::disk::SECTOR;
use karst_core::envelope;
use karst_core::wal::ring::header::SLOTS;
use rustix::fs::{Mode, OFlags, ioctl_blksszget};
use rustix::io::{Errno, preadv, pwritev};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Seek, SeekFrom};
use std::path::Path;
use std::time::Instant;

/// How much at either end of a device is looked at, and blanked.
pub(super) const LOOKED_AT: u64 = 1 << 20;

/// What stands at the beginning and at the end of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing.
    Zeros,
    /// A Karst WAL, or what is left of one.
    Wal,
    /// Something else, of which this byte is the first one seen.
    Foreign(u64),
}

pub(super) fn open(path: &Path) -> Result<Device, OpenError> {
    let (file, len) = open_any(path)?;
    let content = content(&file, len).map_err(|error| unusable(path, "read", &error))?;
    if let Content::Foreign(at) = content {
        return Err(OpenError::Unusable(format!(
            "the block device {} holds something that is not a Karst WAL (byte {at} is not zero), and nothing was \
             changed: name another device, or, if what it holds may go, blank it first: karst wal blank --overwrite \
             --wal-device block:{0}",
            path.display()
        )));
    }
    Ok(Device { file, len })
}

/// The device whatever it holds, and its length in whole sectors.
pub(super) fn open_any(path: &Path) -> Result<(File, u64), OpenError> {
    let mut file = exclusively(path)?;
    let sector = ioctl_blksszget(&file).map_err(|errno| unusable(path, "asked for its sectors", &errno.into()))?;
    if sector == 0 || !SECTOR.is_multiple_of(sector.into()) {
        return Err(OpenError::Unusable(format!(
            "the block device {} has sectors of {sector} bytes, and a WAL needs {SECTOR} or a part of that: name another \
             device",
            path.display()
        )));
    }
    let len = file.seek(SeekFrom::End(0)).map_err(|error| unusable(path, "measured", &error))?;
    Ok((file, len - len % SECTOR))
}

/// A process that was just killed lets go of its device only when the kernel has taken it apart.
fn exclusively(path: &Path) -> Result<File, OpenError> {
    let flags = OFlags::RDWR | OFlags::DSYNC | OFlags::DIRECT | OFlags::EXCL | OFlags::CLOEXEC;
    let since = Instant::now();
    loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => return Ok(file.into()),
            Err(Errno::BUSY) if since.elapsed() < lock::PATIENCE => std::thread::sleep(lock::PAUSE),
            Err(Errno::BUSY) => {
                return Err(OpenError::Held(format!(
                    "the block device {} is in use: mounted, part of a RAID or of a volume, swapped to, or another \
                     broker's; see lsblk and fuser -v {0}",
                    path.display()
                )));
            }
            Err(errno) => return Err(unusable(path, "opened", &errno.into())),
        }
    }
}

/// What a device holds, as far as its two ends tell.
pub(super) fn content(file: &File, len: u64) -> io::Result<Content> {
    let head = read(file, 0, len.min(LOOKED_AT))?;
    let ring = (SLOTS * SECTOR) as usize;
    // A header slot, or the first block of a ring whose header was taken away.
    let head: &[u8] = &head;
    let ours = [0, SECTOR as usize, ring].into_iter().any(|at| head.get(at..).is_some_and(envelope::is_ours));
    if ours {
        return Ok(Content::Wal);
    }
    let tail = len.saturating_sub(LOOKED_AT);
    for (from, bytes) in [(0, head), (tail, &read(file, tail, len - tail)?)] {
        if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
            return Ok(Content::Foreign(from + at as u64));
        }
    }
    Ok(Content::Zeros)
}

/// Zeros at both ends: what was there is gone for whoever looks for it.
pub(super) fn blank(file: &File, len: u64) -> io::Result<()> {
    let zeros = aligned_buffer(usize::try_from(len.min(LOOKED_AT)).unwrap_or(0));
    for at in [len - zeros.len() as u64, 0] {
        let mut done = 0;
        while done < zeros.len() {
            done += pwritev(file, &[IoSlice::new(&zeros[done..])], at + done as u64)?;
        }
    }
    file.sync_all()
}

fn read(file: &File, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = aligned_buffer(usize::try_from(len).unwrap_or(0));
    let mut done = 0;
    while done < bytes.len() {
        match preadv(file, &mut [IoSliceMut::new(&mut bytes[done..])], at + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => done += more,
        }
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::fs::FileExt;

    const LEN: u64 = 4 * LOOKED_AT;
    const MAGIC: &[u8] = b"KRST";

    fn device(write: impl FnOnce(&File)) -> (Scratch, File) {
        let scratch = Scratch::new("block");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(scratch.path().join("x"));
        let file = file.expect("writable");
        file.set_len(LEN).expect("sparse");
        write(&file);
        (scratch, file)
    }

    #[test]
    fn only_zeros_and_karsts_own_pass() {
        for (at, bytes, expected) in [
            (0, &b""[..], Content::Zeros),
            // Where ext4, btrfs, a partition table's copy and an old kind of RAID say that they are there.
            (1080, &[0x53, 0xef], Content::Foreign(1080)),
            (65_600, b"_BHRfS_M", Content::Foreign(65_600)),
            (LEN - 512, b"EFI PART", Content::Foreign(LEN - 512)),
            (LEN - LOOKED_AT, &[1], Content::Foreign(LEN - LOOKED_AT)),
            (0, MAGIC, Content::Wal),
            (SECTOR, MAGIC, Content::Wal),
            (2 * SECTOR, MAGIC, Content::Wal),
            (3 * SECTOR, MAGIC, Content::Foreign(3 * SECTOR)),
        ] {
            let (_scratch, file) = device(|file| file.write_all_at(bytes, at).expect("writable"));
            assert_eq!(content(&file, LEN).expect("readable"), expected, "{at}");
            blank(&file, LEN).expect("writable");
            assert_eq!(content(&file, LEN).expect("readable"), Content::Zeros, "{at}");
            assert_eq!(file.metadata().expect("there").len(), LEN);
        }
    }

    #[test]
    fn a_device_may_be_smaller_than_what_is_looked_at() {
        let (_scratch, file) = device(|file| file.set_len(3 * SECTOR).expect("ours"));
        assert_eq!(content(&file, 3 * SECTOR).expect("readable"), Content::Zeros);
        blank(&file, 3 * SECTOR).expect("writable");
        assert_eq!(file.metadata().expect("there").len(), 3 * SECTOR);
    }

    #[test]
    fn what_is_no_block_device_has_no_sectors() {
        let (scratch, _file) = device(|_| {});
        let refused = open(&scratch.path().join("x"));
        assert!(matches!(&refused, Err(OpenError::Unusable(_))), "{refused:?}");
    }
}
