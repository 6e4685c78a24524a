//! One operation on the device, start to end.

use bytes::{Bytes, BytesMut};
use karst_core::disk::{DevicePos, DiskDone, DiskError, DiskOp, DiskResult, SECTOR};
use karst_core::machine::Rope;
use rustix::io::Errno;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use tracing::error;

const ALIGN: usize = SECTOR as usize;

/// Linux takes no more pieces in one call (IOV_MAX).
const PIECES: usize = 1024;

pub(super) fn perform(file: &File, len: u64, op: DiskOp) -> DiskResult {
    match op {
        DiskOp::Read { at, len: wanted } => {
            check(at, wanted, len);
            read(file, at, wanted).map(|bytes| DiskDone::Read(bytes.into())).map_err(|e| failed("read", at, wanted, e))
        }
        DiskOp::Write { at, data } => {
            check(at, data.len(), len);
            write(file, at, &aligned(data))
                .map(|()| DiskDone::Written)
                .map_err(|(errno, done)| failed("write", DevicePos(at.0 + done), 0, errno))
        }
    }
}

/// The WAL's own arithmetic, so a mistake in it is ours.
fn check(at: DevicePos, wanted: usize, len: u64) {
    assert!(at.0.is_multiple_of(SECTOR) && (wanted as u64).is_multiple_of(SECTOR), "the WAL works in whole sectors");
    assert!(at.0.checked_add(wanted as u64).is_some_and(|end| end <= len), "the WAL stays within its device");
}

fn read(file: &File, at: DevicePos, wanted: usize) -> Result<Bytes, Errno> {
    let mut into = aligned_buffer(wanted);
    let mut done = 0;
    while done < wanted {
        let mut rest = [IoSliceMut::new(&mut into[done..])];
        match rustix::io::preadv(file, &mut rest, at.0 + done as u64) {
            // Within the length that the file had when it was opened: somebody cut it.
            Ok(0) => return Err(Errno::IO),
            Ok(more) => done += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(into.freeze())
}

fn write(file: &File, at: DevicePos, data: &Rope) -> Result<(), (Errno, u64)> {
    let mut slices: Vec<IoSlice<'_>> = data.pieces().iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = slices.as_mut_slice();
    let mut done = 0;
    while !left.is_empty() {
        match rustix::io::pwritev(file, &left[..left.len().min(PIECES)], at.0 + done) {
            Ok(0) => return Err((Errno::IO, done)),
            Ok(more) => {
                done += more as u64;
                IoSlice::advance_slices(&mut left, more);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err((errno, done)),
        }
    }
    Ok(())
}

/// The data as O_DIRECT wants it: as it is, or one aligned copy.
fn aligned(data: Rope) -> Rope {
    let fits = |piece: &Bytes| piece.as_ptr().addr().is_multiple_of(ALIGN) && piece.len().is_multiple_of(ALIGN);
    if data.pieces().iter().all(fits) {
        return data;
    }
    let mut copy = aligned_buffer(data.len());
    let mut at = 0;
    for piece in data.pieces() {
        copy[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    }
    copy.freeze().into()
}

/// Zeros, the first at an aligned address.
pub(super) fn aligned_buffer(len: usize) -> BytesMut {
    let mut buffer = BytesMut::zeroed(len + ALIGN);
    let skip = buffer.as_ptr().addr().next_multiple_of(ALIGN) - buffer.as_ptr().addr();
    let mut from = buffer.split_off(skip);
    from.truncate(len);
    from
}

fn failed(what: &str, at: DevicePos, len: usize, errno: Errno) -> DiskError {
    error!(at = at.0, len, error = %errno, "the WAL could not {what}");
    match errno {
        Errno::NOSPC | Errno::DQUOT => DiskError::NoSpace,
        _ => DiskError::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unaligned_pieces_are_copied_and_aligned_ones_are_not() {
        let aligned_piece = aligned_buffer(2 * ALIGN).freeze();
        let kept = aligned(aligned_piece.clone().into());
        assert_eq!(kept.pieces()[0].as_ptr(), aligned_piece.as_ptr());

        let mut torn = Rope::default();
        torn.push(Bytes::from(vec![1; 100]));
        torn.push(Bytes::from(vec![2; ALIGN - 100]));
        let copied = aligned(torn.clone());
        assert_eq!(copied, torn);
        assert_eq!(copied.pieces().len(), 1);
        assert!(copied.pieces()[0].as_ptr().addr().is_multiple_of(ALIGN));
    }
}
