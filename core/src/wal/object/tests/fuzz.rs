//! Whatever bytes are in the bucket, there is an answer.

use super::{SIZES, an_append, appends};
use crate::envelope::{DecodeError, Kind, seal};
use crate::id::{FeatureLevel, Lsn, NodeEpoch, NodeId};
use crate::machine::Rng;
use crate::metadata::WAL_DATA_LEVEL;
use crate::store::Key;
use crate::wal::Life;
use crate::wal::object::format::{self, Content};
use crate::wal::tests::a_life;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

#[test]
fn damage_is_an_error() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed).child("fuzz");
        let life = a_life(&mut rng);
        let lens = vec![100; rng.between(1, 4) as usize];
        let appends = appends(2, &lens, &mut rng);
        let level = [FeatureLevel(1), WAL_DATA_LEVEL][rng.below(2) as usize];
        let body = match rng.below(4) {
            0 => format::seal(&life, Lsn(5), NodeEpoch(7)),
            _ => format::build(&life, Lsn(5), &appends, level, SIZES).body,
        };
        let whole = body.to_bytes();
        for _ in 0..50 {
            let mut bytes = whole.to_vec();
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes.truncate(at),
                1 => bytes[at] ^= 1 << rng.below(8),
                _ => bytes.push(0),
            }
            assert!(format::read(&bytes.into()).is_err(), "seed {seed}");
        }
    }
}

/// With a checksum that fits, so that all that follows is looked at.
#[test]
fn content_that_makes_no_sense_is_an_error_or_read() {
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed).child("sealed");
        let life = a_life(&mut rng);
        let append = an_append(0, 0, rng.between(61, 99) as usize, &mut rng);
        let whole = format::build(&life, Lsn(5), &[append], FeatureLevel(1), SIZES).body.to_bytes();
        let mut body = whole[crate::envelope::HEAD..].to_vec();
        for _ in 0..rng.between(1, 4) {
            // Behind the identity.
            let at = 50 + rng.below(body.len() as u64 - 50) as usize;
            match rng.below(4) {
                0 => body.truncate(at),
                1 => body[at] = 0xff,
                2 => body[at] = 0,
                _ => body[at] = rng.next_u64() as u8,
            }
            if body.len() <= 50 {
                break;
            }
        }
        if let Ok((_, _, Content::Records(records))) = format::read(&seal(Kind::WalObject, 1, &body).into()) {
            assert!(records.iter().all(|record| record.base < record.end && record.batch.len() >= 16));
        }
    }
}

/// With checksums that fit, a directory that says what is not so is never believed.
#[test]
fn directories_that_lie_are_an_error_or_read() {
    let (mut read, mut peeked) = (0, 0);
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed).child("directory");
        let life = a_life(&mut rng);
        let appends = appends(2, &[100, 200, 300], &mut rng);
        let whole = format::build(&life, Lsn(5), &appends, WAL_DATA_LEVEL, SIZES).body.to_bytes();
        let len = u32::from_be_bytes(whole[8..12].try_into().expect("four bytes")) as usize;
        let mut body = whole[16..16 + len].to_vec();
        for _ in 0..rng.between(1, 3) {
            let at = 52 + rng.below(len as u64 - 52) as usize;
            body[at] = [0, 0xff, rng.next_u64() as u8][rng.below(3) as usize];
        }
        let mut bytes = seal(Kind::WalObject, 2, &body);
        bytes.extend_from_slice(&whole[16 + len..]);
        let bytes = Bytes::from(bytes);
        if let Ok((_, _, Content::Records(records))) = format::read(&bytes) {
            assert_eq!(records.len(), 3, "all, or nothing");
            read += 1;
        }
        let first = bytes.slice(..300);
        peeked += usize::from(format::peek(&life, Lsn(5), &first, bytes.len() as u64).is_ok());
        for cut in [0, 15, 71, 90] {
            assert_eq!(format::peek(&life, Lsn(5), &bytes.slice(..cut), bytes.len() as u64), Ok(None));
        }
    }
    assert!(read > 100 && peeked > 100, "{read} read, {peeked} peeked at");
}

#[test]
fn a_beginning_is_believed_only_if_it_is_the_right_one() {
    let mut rng = Rng::new(1);
    let life = a_life(&mut rng);
    let whole = format::build(&life, Lsn(5), &appends(2, &[100, 200], &mut rng), WAL_DATA_LEVEL, SIZES).body.to_bytes();
    let (first, total) = (whole.slice(..300), whole.len() as u64);
    let object = format::peek(&life, Lsn(5), &first, total).expect("it is sound").expect("it has a number");
    assert_eq!((object.size, object.ranges.len()), (total, 2));
    assert_eq!(format::peek(&life, Lsn(6), &first, total), Err(DecodeError::Foreign));
    assert_eq!(format::peek(&life, Lsn(5), &first, total - 1), Err(DecodeError::Malformed));
    let far = Life { node: NodeId(4096), ..life };
    let whole = format::build(&far, Lsn(5), &appends(2, &[100, 200], &mut rng), WAL_DATA_LEVEL, SIZES).body.to_bytes();
    assert_eq!(format::peek(&far, Lsn(5), &whole.slice(..300), whole.len() as u64), Ok(None), "it has no number");
    assert!(matches!(format::open(&far, Lsn(5), &whole), Ok(Content::Records(records)) if records.len() == 2));
}

#[test]
fn what_is_newer_is_said_to_be_so() {
    let mut rng = Rng::new(1);
    let whole = format::seal(&a_life(&mut rng), Lsn(5), NodeEpoch(7)).to_bytes();
    let mut body = whole[16..].to_vec();
    body[53] = 2;
    let newer = |version, body: &[u8]| format::read(&seal(Kind::WalObject, version, body).into());
    assert_eq!(newer(1, &body), Err(crate::envelope::DecodeError::Unsupported));
    assert_eq!(newer(3, &whole[16..]), Err(crate::envelope::DecodeError::Unsupported));
    // And what may be skipped is.
    let mut skipping = whole[16..].to_vec();
    skipping[55] = 3;
    skipping.splice(56..56, *b"new");
    assert_eq!(newer(1, &skipping).map(|read| read.2), Ok(Content::Seal(NodeEpoch(7))));
}

#[test]
fn arbitrary_bytes_are_an_error() {
    let mut rng = Rng::new(3);
    for _ in 0..20_000 {
        let noise: Vec<u8> = (0..rng.below(200)).map(|_| rng.next_u64() as u8).collect();
        assert!(format::read(&Bytes::from(noise)).is_err());
    }
}

#[test]
fn names_are_read_as_they_are_made_and_no_others() {
    for (node, epoch, seq) in [(0, 0, 0), (7, 12, 345), (u32::MAX, u64::MAX, u64::MAX)] {
        let key = format::key(NodeId(node), NodeEpoch(epoch), Lsn(seq));
        assert_eq!(format::parse_key(&key), Some((NodeId(node), NodeEpoch(epoch), Lsn(seq))));
        for other in
            [key.0.replacen('0', "", 1), key.0.clone() + "/", key.0.clone() + "0", key.0.replace("wal", "data")]
        {
            assert_eq!(format::parse_key(&Key(other.clone())).filter(|_| other != key.0), None, "{other}");
        }
    }
    assert_eq!(format::parse_key(&Key::from("wal/9999999999/00000000000000000000/00000000000000000000")), None);
}
