//! An object's bytes on their way into a new file.
//!
//! Large bodies go past the page cache: copying them into it costs more than all that the broker does with them before,
//! and they would push out what is read from it. They are copied into one aligned buffer instead, which stays warm.

use karst_core::disk::SECTOR;
use karst_core::machine::Rope;
use karst_core::wal::ring::aligned;
use rustix::fs::{OFlags, fcntl_setfl};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of one write past the page cache.
const CHUNK: usize = 1 << 20;

/// Makes the file, which must not exist, and returns when it is on stable storage. Its name may not be.
pub(super) fn write_new(path: &Path, body: &Rope) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    if body.len() < CHUNK || !write_direct(&mut file, body)? {
        write_cached(&mut file, body)?;
    }
    file.sync_all()
}

/// Whether the file system has O_DIRECT. If it has not, nothing is written.
fn write_direct(file: &mut File, body: &Rope) -> io::Result<bool> {
    if fcntl_setfl(&*file, OFlags::DIRECT).is_err() {
        return Ok(false);
    }
    match write_chunks(file, body) {
        Ok(()) => Ok(true),
        // Some file systems refuse only now.
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            fcntl_setfl(&*file, OFlags::empty())?;
            file.set_len(0)?;
            file.rewind()?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn write_chunks(file: &File, body: &Rope) -> io::Result<()> {
    let mut chunk = aligned(CHUNK);
    let mut at = 0;
    for mut piece in body.pieces().iter().map(|piece| &piece[..]) {
        while !piece.is_empty() {
            let (next, rest) = piece.split_at(piece.len().min(CHUNK - chunk.len()));
            chunk.extend_from_slice(next);
            piece = rest;
            if chunk.len() == CHUNK {
                file.write_all_at(&chunk, at)?;
                at += CHUNK as u64;
                chunk.clear();
            }
        }
    }
    if !chunk.is_empty() {
        chunk.resize(chunk.len().next_multiple_of(SECTOR as usize), 0);
        file.write_all_at(&chunk, at)?;
    }
    file.set_len(body.len() as u64)
}

fn write_cached(file: &mut File, body: &Rope) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = body.pieces().iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use bytes::Bytes;

    #[test]
    fn every_length_comes_back_as_it_was() {
        let dir = Scratch::new("body");
        let sector = SECTOR as usize;
        for len in [0, 1, sector, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + sector - 1, 3 * CHUNK + sector] {
            let all: Vec<u8> = (0..len).map(|at| (at * 31 / 7) as u8).collect();
            for cut in [len.max(1), 1000, 300_001] {
                let mut body = Rope::default();
                all.chunks(cut).for_each(|piece| body.push(Bytes::copy_from_slice(piece)));
                let path = dir.path().join(format!("{len}-{cut}"));
                write_new(&path, &body).expect("the temporary directory can be written");
                assert!(std::fs::read(&path).expect("written") == all, "{len} bytes in pieces of {cut}");
                let again = write_new(&path, &body).expect_err("taken");
                assert_eq!(again.kind(), ErrorKind::AlreadyExists);
            }
        }
    }
}
