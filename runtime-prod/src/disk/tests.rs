use super::*;
use crate::scratch::Scratch;
use bytes::Bytes;
use karst_core::disk::{DevicePos, DiskDone, DiskError};
use karst_core::machine::{Rng, Rope};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

const SECTOR_LEN: usize = SECTOR as usize;

fn open(dir: &Scratch, len: u64) -> Device {
    Device::open(&WalDevice::File(dir.path().join("wal")), len, &GiveUp::default(), &|_| {})
        .expect("a fresh directory takes a WAL")
}

fn start(device: Device, depth: u32) -> (DiskQueue, mpsc::Receiver<(OpId, DiskResult)>) {
    let (tell, told) = mpsc::channel();
    let queue = device.start(depth, move |id, ended| drop(tell.send((id, ended.result))));
    (queue, told)
}

#[test]
fn a_new_file_is_zeros_of_whole_sectors_and_an_old_one_keeps_its_length() {
    let dir = Scratch::new("new");
    assert_eq!(open(&dir, 3 * SECTOR - 1).len(), 3 * SECTOR);
    let path = dir.path().join("wal");
    assert_eq!(std::fs::read(&path).expect("there"), vec![0; 3 * SECTOR_LEN]);
    assert!(!create::aside(&path).exists());
    assert_eq!(open(&dir, 9 * SECTOR).len(), 3 * SECTOR);
}

#[test]
fn a_creation_that_was_cut_short_is_begun_again() {
    let dir = Scratch::new("cut");
    let path = dir.path().join("wal");
    std::fs::write(create::aside(&path), vec![7; 9 * SECTOR_LEN]).expect("writable");
    assert_eq!(open(&dir, 2 * SECTOR).len(), 2 * SECTOR);
    assert_eq!(std::fs::read(&path).expect("there"), vec![0; 2 * SECTOR_LEN]);
}

#[test]
fn a_creation_that_fails_leaves_nothing_under_the_name() {
    let dir = Scratch::new("fails");
    let path = dir.path().join("wal");
    std::fs::create_dir(create::aside(&path)).expect("writable");
    assert!(matches!(
        Device::open(&WalDevice::File(path.clone()), 2 * SECTOR, &GiveUp::default(), &|_| {}),
        Err(OpenError::Unusable(_))
    ));
    assert!(!path.exists());
}

#[test]
fn a_creation_that_is_given_up_leaves_nothing() {
    let dir = Scratch::new("given-up");
    let path = dir.path().join("wal");
    std::fs::write(create::aside(&path), vec![7; 9 * SECTOR_LEN]).expect("writable");
    let give_up = GiveUp::default();
    give_up.ask();
    assert!(matches!(
        Device::open(&WalDevice::File(path.clone()), 2 * SECTOR, &give_up, &|_| {}),
        Err(OpenError::GivenUp(_))
    ));
    assert!(!path.exists() && !create::aside(&path).exists());
}

#[test]
fn a_file_that_has_no_room_is_refused_before_the_disk_is_full() {
    let dir = Scratch::new("room");
    let path = dir.path().join("wal");
    let begun = std::time::Instant::now();
    let refused = Device::open(&WalDevice::File(path.clone()), 1 << 50, &GiveUp::default(), &|_| {});
    assert!(matches!(&refused, Err(OpenError::NoSpace(what)) if what.contains("smaller --wal-size")), "{refused:?}");
    assert!(begun.elapsed().as_secs() < 5);
    assert!(!path.exists() && !create::aside(&path).exists());
}

#[test]
fn it_has_one_owner() {
    let dir = Scratch::new("owner");
    let held = open(&dir, SECTOR);
    let second = Device::open(&WalDevice::File(dir.path().join("wal")), SECTOR, &GiveUp::default(), &|_| {});
    assert!(matches!(&second, Err(OpenError::Held(what)) if what.contains("in use by another broker")), "{second:?}");
    drop(held);
    open(&dir, SECTOR);
}

#[test]
fn what_is_not_a_file_is_refused() {
    let dir = Scratch::new("kind");
    let refused = Device::open(&WalDevice::File(dir.path().into()), SECTOR, &GiveUp::default(), &|_| {});
    assert!(matches!(&refused, Err(OpenError::Unusable(what)) if what.contains("not a regular file")), "{refused:?}");
    let refused = Device::open(&WalDevice::File("/dev/null".into()), SECTOR, &GiveUp::default(), &|_| {});
    assert!(matches!(refused, Err(OpenError::Unusable(_))));
}

#[test]
fn parallel_writes_each_complete_once_and_are_read_back() {
    const SECTORS: u64 = 256;
    let dir = Scratch::new("parallel");
    let (queue, told) = start(open(&dir, SECTORS * SECTOR), 8);
    let mut rng = Rng::new(7);
    let mut expected = BTreeMap::new();
    let mut pending = BTreeSet::new();
    let mut at = 0;
    while at < SECTORS {
        let sectors = rng.between(1, 8.min(SECTORS - at));
        let bytes: Vec<u8> = (0..sectors * SECTOR).map(|_| rng.next_u64() as u8).collect();
        // In pieces that are cut anywhere: the shell mends that.
        let cut = rng.below(bytes.len() as u64) as usize;
        let whole = Bytes::from(bytes);
        let mut data = Rope::default();
        data.push(whole.slice(..cut));
        data.push(whole.slice(cut..));
        queue.submit(OpId(at), DiskOp::Write { at: DevicePos(at * SECTOR), data });
        assert!(pending.insert(OpId(at)));
        expected.insert(at, whole);
        at += sectors;
    }
    for _ in 0..expected.len() {
        let (id, result) = told.recv().expect("workers live");
        assert_eq!(result, Ok(DiskDone::Written));
        assert!(pending.remove(&id), "completed twice");
    }
    for (at, bytes) in &expected {
        queue.submit(OpId(*at), DiskOp::Read { at: DevicePos(at * SECTOR), len: bytes.len() });
    }
    for _ in 0..expected.len() {
        match told.recv().expect("workers live") {
            (OpId(at), Ok(DiskDone::Read(bytes))) => assert_eq!(bytes.0, expected[&at]),
            other => panic!("not read: {other:?}"),
        }
    }
    drop(queue);
    assert!(told.recv().is_err(), "the workers end, and complete nothing twice");
    let file = std::fs::read(dir.path().join("wal")).expect("there");
    assert!(expected.iter().all(|(at, bytes)| file[(at * SECTOR) as usize..].starts_with(bytes)));
}

#[test]
fn a_file_that_somebody_cut_is_an_error_not_a_panic() {
    let dir = Scratch::new("short");
    let (queue, told) = start(open(&dir, 4 * SECTOR), 1);
    let file = File::options().write(true).open(dir.path().join("wal")).expect("there");
    file.set_len(SECTOR).expect("regular files can be cut");
    queue.submit(OpId(1), DiskOp::Read { at: DevicePos(0), len: 4 * SECTOR_LEN });
    assert_eq!(told.recv(), Ok((OpId(1), Err(DiskError::Io))));
}
