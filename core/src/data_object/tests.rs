//! The format: what is written is read, and nothing else is.

use super::sample::{CLUSTER, batch, range, range_of, sequenced, stamped};
use super::*;
use crate::envelope::{HEAD, Kind, open, seal};
use crate::id::{Lsn, NodeEpoch, NodeId, Offset, StreamId};
use crate::machine::Rng;
use crate::metadata::{CommitState, StateKind};
use crate::producers::{ProducerId, ProducerTable};
use crate::store::Key;
use crate::upload::CutRange;
use alloc::format;
use alloc::string::String;
use alloc::vec;

const OBJECT: ObjectId = ObjectId(0x1234_5678);

fn ranges(rng: &mut Rng) -> Vec<CutRange> {
    let mut stream = rng.below(3);
    let mut ranges = Vec::new();
    for _ in 0..rng.between(1, 5) {
        let (start, batches) = (rng.below(1 << 40), rng.between(1, 12) as usize);
        ranges.push(range(stream, start, batches, rng));
        stream += rng.between(1, 1 << 20);
    }
    ranges
}

fn flat(decoded: &[(BlockEntry, Vec<StoredBatch>)]) -> Vec<(StreamId, StoredBatch)> {
    let all = |(entry, batches): &(BlockEntry, Vec<StoredBatch>)| {
        let stream = entry.stream;
        batches.iter().map(move |batch| (stream, batch.clone())).collect::<Vec<_>>()
    };
    decoded.iter().flat_map(all).collect()
}

fn expected(ranges: &[CutRange]) -> Vec<(StreamId, StoredBatch)> {
    let stored = |batch: &crate::wal::Appended| {
        let stored = StoredBatch {
            base: batch.base,
            end: batch.end,
            max_timestamp: batch.max_timestamp,
            batch: batch.batch.clone(),
        };
        (batch.stream, stored)
    };
    ranges.iter().flat_map(|range| range.batches.iter().map(stored)).collect()
}

#[test]
fn what_is_written_is_read() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let ranges = ranges(&mut rng);
        let data_block = rng.between(1, 600) as u32;
        let built = build(CLUSTER, OBJECT, data_block, &ranges);
        let bytes = built.body.to_bytes();
        assert!(bytes.ends_with(&built.tail));
        let decoded = decode(CLUSTER, OBJECT, &bytes).expect("it was just written");
        assert_eq!(flat(&decoded), expected(&ranges), "seed {seed}");
        for (entry, batches) in &decoded {
            let lens: Vec<usize> = batches.iter().map(|batch| batch.batch.len()).collect();
            let before_last: usize = lens[..lens.len() - 1].iter().sum();
            assert!(before_last < data_block as usize, "a block is closed at its size");
            assert_eq!(entry.max_timestamp, batches.iter().map(|batch| batch.max_timestamp).max().unwrap());
        }
        for (commit, range) in built.ranges.iter().zip(&ranges) {
            assert_eq!((commit.stream, commit.epoch), (range.stream, range.epoch));
            assert_eq!((commit.start, commit.end, commit.bytes), (range.start, range.end, range.bytes() as u64));
            assert_eq!(commit.max_timestamp, range.batches.iter().map(|batch| batch.max_timestamp).max().unwrap());
        }
        assert_eq!(built.ranges.len(), ranges.len());
    }
}

#[test]
fn batches_are_not_copied() {
    let mut rng = Rng::new(1);
    let ranges = vec![range(7, 100, 9, &mut rng)];
    let built = build(CLUSTER, OBJECT, 200, &ranges);
    for batch in &ranges[0].batches {
        let is_it = |piece: &Bytes| piece.as_ptr() == batch.batch.as_ptr() && piece.len() == batch.batch.len();
        assert!(built.body.pieces().iter().any(is_it), "the batch is a piece of the rope as it is");
    }
}

#[test]
#[should_panic(expected = "streams ascend")]
fn streams_out_of_order_are_refused() {
    let mut rng = Rng::new(1);
    let ranges = [range(8, 0, 1, &mut rng), range(7, 0, 1, &mut rng)];
    let _ = build(CLUSTER, OBJECT, 100, &ranges);
}

#[test]
#[should_panic(expected = "no gaps")]
fn a_gap_is_refused() {
    let mut rng = Rng::new(1);
    let batches = vec![batch(7, 1, 0, 2, 5, &mut rng), batch(7, 1, 3, 2, 5, &mut rng)];
    let _ = build(CLUSTER, OBJECT, 100, &[range_of(batches)]);
}

#[test]
fn plans_begin_at_the_offset_and_end_at_the_limit() {
    let mut rng = Rng::new(5);
    let ranges = vec![range(1, 0, 5, &mut rng), range(4, 50, 40, &mut rng), range(9, 7, 5, &mut rng)];
    let bytes = build(CLUSTER, OBJECT, 200, &ranges).body.to_bytes();
    let footer = Footer::decode(CLUSTER, OBJECT, bytes.len() as u64, &bytes).unwrap();
    let index = Index::decode(OBJECT, &footer, &footer.index_in(0, &bytes).unwrap()).unwrap();
    let stream = StreamId(4);
    assert!(index.of(stream).len() > 5);
    for offset in ranges[1].start.0..ranges[1].end.0 {
        for max_bytes in [0, 1, 300, 700, 1 << 20] {
            let plan = index.plan(stream, Offset(offset), (max_bytes, u64::MAX)).unwrap();
            let first = plan.blocks[0];
            assert!(first.start.0 <= offset && offset < first.end.0);
            let all_but_last: u64 = plan.blocks[..plan.blocks.len() - 1].iter().map(|block| u64::from(block.len)).sum();
            assert!(plan.blocks.len() == 1 || all_but_last < max_bytes, "no block more than needed");
            let last = plan.blocks[plan.blocks.len() - 1];
            assert!(plan.len >= max_bytes || last.end == ranges[1].end, "no block less than needed");
            assert_eq!((plan.at, plan.len), (first.at, last.at + u64::from(last.len) - first.at));
        }
    }
    assert_eq!(index.plan(stream, ranges[1].end, (100, u64::MAX)), None);
    assert_eq!(index.plan(StreamId(5), Offset(0), (100, u64::MAX)), None);
}

#[test]
fn names_are_spread_and_unmistakable() {
    let mut prefixes = alloc::collections::BTreeSet::new();
    for id in (0..4096).chain([u64::MAX >> 1]) {
        let key = key(ObjectId(id));
        assert_eq!(parse_key(&key), Some(ObjectId(id)));
        assert!(key.0.starts_with(PREFIX));
        prefixes.insert(alloc::string::String::from(&key.0[..7]));
    }
    assert_eq!(prefixes.len(), 256);
    assert_eq!(key(ObjectId(1)).0, "data/91/0000000000000001", "names never change");
    let wrong =
        ["", "data/", "data/91", "data/92/0000000000000001", "data/91/000000000000001", "data/91/+00000000000001"];
    for name in
        wrong.into_iter().chain(["data/91/000000000000000A", "x/91/0000000000000001", "data/+1/0000000000000001"])
    {
        assert_eq!(parse_key(&Key::from(name)), None, "{name}");
    }
}

#[test]
fn objects_that_were_born_in_a_wal_are_found_where_they_are() {
    for (node, epoch, seq) in [(0, 1, 0), (7, 12, 345), (4095, (1 << 19) - 1, (1 << 32) - 1)] {
        let place = (NodeId(node), NodeEpoch(epoch), Lsn(seq));
        let id = id_in_wal(place.0, place.1, place.2).expect("it fits");
        assert_eq!(place_in_wal(id), Some(place));
        assert_eq!(key(id), crate::wal::object::format::key(place.0, place.1, place.2));
        assert_eq!((parse_key(&key(id)), parse_any_key(&key(id))), (None, Some(id)));
    }
    for (node, epoch, seq) in [(4096, 1, 0), (0, 1 << 19, 0), (0, 1, 1 << 32)] {
        assert_eq!(id_in_wal(NodeId(node), NodeEpoch(epoch), Lsn(seq)), None, "it would be another one's");
    }
    let leased = key(ObjectId(1));
    assert_eq!((parse_any_key(&leased), place_in_wal(ObjectId(1))), (Some(ObjectId(1)), None));
    let beyond = key(ObjectId(1)).0.replace("0000000000000001", "8000000000000001");
    assert_eq!(parse_key(&Key(beyond)), None);
}

#[test]
fn every_changed_byte_is_noticed() {
    let mut rng = Rng::new(3);
    let bytes = build(CLUSTER, OBJECT, 150, &[range(1, 5, 3, &mut rng), range(2, 9, 2, &mut rng)]).body.to_bytes();
    assert!(decode(CLUSTER, OBJECT, &bytes).is_ok());
    assert_eq!(Footer::decode(CLUSTER, OBJECT, bytes.len() as u64 + 1, &bytes), Err(DecodeError::Malformed));
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << rng.below(8);
        assert!(decode(CLUSTER, OBJECT, &changed.into()).is_err(), "byte {at}");
        assert!(decode(CLUSTER, OBJECT, &bytes.slice(..at)).is_err(), "cut at {at}");
        assert!(decode(CLUSTER, OBJECT, &bytes.slice(at + 1..)).is_err(), "begun after {at}");
    }
}

#[test]
fn another_objects_parts_are_foreign() {
    let mut rng = Rng::new(3);
    let range = range(1, 5, 3, &mut rng);
    let mine = build(CLUSTER, OBJECT, 150, [&range]).body.to_bytes();
    let other = build(CLUSTER, OBJECT.next(), 150, [&range]).body.to_bytes();
    assert_eq!(mine.len(), other.len());
    assert_eq!(decode(CLUSTER, OBJECT, &other), Err(DecodeError::Foreign));
    let theirs = build(ClusterId([7; 16]), OBJECT, 150, [&range]).body.to_bytes();
    assert_eq!(theirs.len(), mine.len());
    assert_eq!(decode(CLUSTER, OBJECT, &theirs), Err(DecodeError::Foreign));
    assert_eq!(decode(ClusterId([7; 16]), OBJECT, &mine), Err(DecodeError::Foreign));
    let footer = Footer::decode(CLUSTER, OBJECT, mine.len() as u64, &mine).unwrap();
    assert_eq!(Index::decode(OBJECT, &footer, &footer.index_in(0, &other).unwrap()), Err(DecodeError::Foreign));
    let entry = decode(CLUSTER, OBJECT, &mine).unwrap()[0].0;
    assert_eq!(decode_block(OBJECT, &entry, &entry.block_in(0, &other).unwrap()), Err(DecodeError::Foreign));
    // The same object and offsets, other records: what a reused id would look like.
    let other = BlockEntry { crc: entry.crc ^ 1, ..entry };
    assert_eq!(decode_block(OBJECT, &other, &entry.block_in(0, &mine).unwrap()), Err(DecodeError::Foreign));
    let mut same_place = entry;
    same_place.start = Offset(4);
    assert_eq!(decode_block(OBJECT, &same_place, &entry.block_in(0, &mine).unwrap()), Err(DecodeError::Foreign));
}

/// Changes a body, and makes its envelope right again: what a checksum does not catch.
fn resealed(kind: Kind, part: &Bytes, rng: &mut Rng) -> Bytes {
    let (_, body) = open(kind, VERSION, part).expect("an intact part");
    let mut body = body.to_vec();
    for _ in 0..rng.between(1, 4) {
        let at = rng.below(body.len() as u64) as usize;
        match rng.below(6) {
            0 => body[at] = rng.next_u64() as u8,
            1 => body[at] = 0xff,
            2 => body[at] = body[at].wrapping_add(1),
            3 => body.truncate(at.max(1)),
            4 => body.insert(at, rng.next_u64() as u8),
            _ => body[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
        }
    }
    seal(kind, VERSION, &body).into()
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let mut rng = Rng::new(11);
    let bytes = build(CLUSTER, OBJECT, 1000, &[range(1, 5, 4, &mut rng), range(2, 9, 4, &mut rng)]).body.to_bytes();
    let total = bytes.len() as u64;
    let footer = Footer::decode(CLUSTER, OBJECT, total, &bytes).unwrap();
    let index = footer.index_in(0, &bytes).unwrap();
    let entry = Index::decode(OBJECT, &footer, &index).unwrap().entries()[1];
    assert_eq!(entry.batches, 4);
    let block = entry.block_in(0, &bytes).unwrap();
    let tail = bytes.slice(bytes.len() - Footer::LEN..);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let odd = resealed(Kind::Footer, &tail, &mut rng);
        if let Ok(footer) = Footer::decode(CLUSTER, OBJECT, total, &odd) {
            assert_eq!(footer.index_at + u64::from(footer.index_len) + Footer::LEN as u64, total);
            let _ = footer.index_in(0, &bytes).map(|index| Index::decode(OBJECT, &footer, &index));
        }
        let odd = resealed(Kind::IndexBlock, &index, &mut rng);
        let footer = Footer { index_len: odd.len() as u32, ..footer };
        if let Ok(index) = Index::decode(OBJECT, &footer, &odd) {
            accepted += 1;
            let follows = |one: &BlockEntry, next: &BlockEntry| {
                let ascends = one.stream < next.stream || (one.stream == next.stream && one.end <= next.start);
                ascends && one.at + u64::from(one.len) <= next.at
            };
            assert!(index.entries().is_sorted_by(follows));
            for entry in index.entries() {
                let _ = entry.block_in(0, &bytes).map(|block| decode_block(OBJECT, entry, &block));
                let _ = index.plan(entry.stream, entry.start, (u64::MAX, u64::MAX));
            }
        }
        let odd = resealed(Kind::DataBlock, &block, &mut rng);
        let crc = u32::from_be_bytes(odd[12..HEAD].try_into().unwrap());
        let entry = BlockEntry { len: odd.len() as u32, crc, ..entry };
        if let Ok(batches) = decode_block(OBJECT, &entry, &odd) {
            accepted += 1;
            assert!(batches.is_sorted_by(|one, next| one.end <= next.base));
            assert_eq!(batches.first().map(|batch| batch.base), Some(entry.start));
            assert_eq!(batches.last().map(|batch| batch.end), Some(entry.end));
        }
    }
    assert!(accepted > 100, "the mutations get past the checksum: {accepted}");
}

#[test]
fn noise_is_refused() {
    let mut rng = Rng::new(12);
    for _ in 0..2_000 {
        let noise: Vec<u8> = (0..rng.below(300)).map(|_| rng.next_u64() as u8).collect();
        assert!(decode(CLUSTER, OBJECT, &noise.into()).is_err());
    }
}

/// A block or index whose room holds these fields.
fn with_fields(kind: Kind, part: &Bytes, len_at: usize, fields: &[u8]) -> Bytes {
    let (_, body) = open(kind, VERSION, part).unwrap();
    let mut body = body.to_vec();
    body[len_at..len_at + 4].copy_from_slice(&(fields.len() as u32).to_be_bytes());
    body.splice(len_at + 4..len_at + 4, fields.iter().copied());
    seal(kind, VERSION, &body).into()
}

#[test]
fn unknown_fields_are_skipped_unless_they_must_be_understood() {
    let mut rng = Rng::new(3);
    let bytes = build(CLUSTER, OBJECT, 150, &[range(1, 5, 3, &mut rng)]).body.to_bytes();
    let footer = Footer::decode(CLUSTER, OBJECT, bytes.len() as u64, &bytes).unwrap();
    let index = footer.index_in(0, &bytes).unwrap();
    let entry = Index::decode(OBJECT, &footer, &index).unwrap().entries()[0];
    let block = entry.block_in(0, &bytes).unwrap();
    let try_both = |fields: &[u8]| {
        let index = with_fields(Kind::IndexBlock, &index, 12, fields);
        let footer = Footer { index_len: index.len() as u32, ..footer };
        let block = with_fields(Kind::DataBlock, &block, 36, fields);
        let crc = u32::from_be_bytes(block[12..HEAD].try_into().unwrap());
        let entry = BlockEntry { len: block.len() as u32, crc, ..entry };
        (Index::decode(OBJECT, &footer, &index).map(|_| ()), decode_block(OBJECT, &entry, &block).map(|_| ()))
    };
    assert_eq!(try_both(&[0, 1, 0, 0, 0, 3, 9, 9, 9, 0, 4, 0, 0, 0, 0]), (Ok(()), Ok(())));
    let unsupported = Err(DecodeError::Unsupported);
    assert_eq!(try_both(&[0, 1, 0, 0, 0, 1, 9, 0x80, 2, 0, 0, 0, 0]), (unsupported, unsupported));
    assert_eq!(try_both(&[0, 1, 0, 0, 0, 9, 9]), (Err(DecodeError::Short), Err(DecodeError::Short)));
    assert_eq!(fields::MUST_UNDERSTAND, 0x8000);
}

/// The cut that the golden object holds.
fn golden_ranges() -> Vec<CutRange> {
    let mut rng = Rng::new(2025);
    let first = vec![batch(5, 1, 0, 3, 10, &mut rng), batch(5, 1, 3, 1, 200, &mut rng), batch(5, 1, 4, 2, 0, &mut rng)];
    let second = vec![batch(0x1_0000_0007, 4, 5_000_000_000, 2, 17, &mut rng)];
    vec![range_of(first), range_of(second)]
}

#[test]
fn the_golden_object_is_read_and_written_the_same() {
    let golden = include_bytes!("../../../fixtures/object/v1/two-streams.object");
    let golden = Bytes::from_static(golden);
    let object = ObjectId(42);
    let ranges = golden_ranges();
    let decoded = decode(CLUSTER, object, &golden).expect("objects of version 1 are readable for ever");
    assert_eq!(flat(&decoded), expected(&ranges));
    let blocks: Vec<_> = decoded.iter().map(|(entry, _)| (entry.stream.0, entry.start.0, entry.end.0)).collect();
    assert_eq!(blocks, [(5, 0, 4), (5, 4, 6), (0x1_0000_0007, 5_000_000_000, 5_000_000_002)]);
    assert!(
        build(CLUSTER, object, 256, &ranges).body.to_bytes() == golden,
        "what is written of version 1 does not change"
    );
}

/// An object of which three streams have producers: the batches tell of the first, the shard of the second.
fn golden_producers() -> Vec<CutRange> {
    let mut rng = Rng::new(2026);
    let one = batch(5, 1, 10, 3, 10, &mut rng);
    let two = batch(5, 1, 13, 2, 20, &mut rng);
    let first = vec![sequenced(&one, 7, 1, i32::MAX - 1), stamped(&sequenced(&two, 7, 1, 1), 1_700_000_000_000)];
    let first = range_of(first);
    let plain = range_of(vec![batch(6, 1, 0, 1, 5, &mut rng)]);
    let mut second = range_of(vec![sequenced(&batch(9, 2, 100, 1, 5, &mut rng), 8, 0, 4)]);
    let mut all = ProducerTable::default();
    let earlier = sequenced(&batch(9, 1, 90, 4, 5, &mut rng), 8, 0, 0);
    all.follow(ProducerTable::of([&earlier]));
    all.follow(ProducerTable::of(&second.batches));
    second.producers = Some(all);
    vec![first, plain, second]
}

#[test]
fn what_is_known_of_producers_is_written_and_read() {
    let (object, ranges) = (ObjectId(43), golden_producers());
    let built = build(CLUSTER, object, 256, &ranges);
    let body = built.body.to_bytes();
    let decoded = decode(CLUSTER, object, &body).expect("sound");
    assert_eq!(flat(&decoded), expected(&ranges));
    let states: Vec<_> = built.ranges.iter().map(|range| range.producers).collect();
    assert_eq!(states[1], None, "nobody wrote with sequences there");
    let (first, second) = (states[0].expect("of its batches"), states[2].expect("of the shard"));
    assert_eq!((first.kind, second.kind), (StateKind::Range, StateKind::Log));
    let block = |state: CommitState| body.slice(state.at as usize..state.at as usize + state.len as usize);
    let table = decode_state(object, StreamId(5), Offset(15), &block(first)).expect("sound");
    assert_eq!(table, ProducerTable::of(&ranges[0].batches));
    let times: Vec<_> = table.producers[&ProducerId(7)].batches.iter().map(|batch| batch.stamped).collect();
    assert_eq!(times, [None, Some(crate::machine::WallTime(1_700_000_000_000))]);
    let all = decode_state(object, StreamId(9), Offset(101), &block(second)).expect("sound");
    assert_eq!(Some(all), ranges[2].producers);
    for (object, stream, end) in [(42, 5, 15), (43, 6, 15), (43, 5, 14)] {
        let other = decode_state(ObjectId(object), StreamId(stream), Offset(end), &block(first));
        assert_eq!(other, Err(DecodeError::Foreign));
    }
    let golden = include_bytes!("../../../fixtures/object/v1/producers.object");
    let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(golden == &body[..], "what is written of version 1 does not change: {hex}");
}

#[test]
fn a_damaged_state_block_is_an_error() {
    let (object, ranges) = (ObjectId(43), golden_producers());
    let built = build(CLUSTER, object, 256, &ranges);
    let state = built.ranges[0].producers.expect("of its batches");
    let block = built.body.to_bytes().slice(state.at as usize..state.at as usize + state.len as usize);
    let decode = |bytes: &[u8]| decode_state(object, StreamId(5), Offset(15), &Bytes::copy_from_slice(bytes));
    for at in 0..block.len() {
        let mut damaged = block.to_vec();
        damaged[at] ^= 0x10;
        assert!(decode(&damaged).is_err(), "damaged at {at}");
        assert!(decode(&block[..at]).is_err(), "cut at {at}");
    }
    // With a checksum that matches: errors or a table that makes sense, whatever it says.
    let mut rng = Rng::new(3);
    for _ in 0..5_000 {
        let mut body = block[16..].to_vec();
        for _ in 0..rng.between(1, 3) {
            let at = rng.below(body.len() as u64) as usize;
            body[at] = rng.next_u64() as u8;
        }
        if let Ok(table) = decode(&seal(Kind::State, VERSION, &body)) {
            assert!(table.producers.values().all(|state| (1..=5).contains(&state.batches.len())));
        }
    }
}
