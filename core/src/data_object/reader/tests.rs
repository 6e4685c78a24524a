//! The reader against a store that fails.

mod ahead;

use super::*;
use crate::data_object::sample::{self, CLUSTER, range};
use crate::data_object::{Footer, StoredBatch, build, parse_key};
use crate::envelope::DecodeError;
use crate::id::{ConnId, ObjectId, Offset, StreamId};
use crate::machine::{Instant, WallTime};
use crate::store::{Cause, ETag, Fatal, Span, StoreError};
use crate::upload::CutRange;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use bytes::Bytes;

fn now(ms: u64) -> Now {
    Now { mono: Instant(ms * 1_000_000), ..Now::default() }
}

/// Objects, and how often the store fails.
struct Store {
    objects: BTreeMap<ObjectId, Bytes>,
    faults: u64,
    gets: Vec<Span>,
}

impl Store {
    fn get(&mut self, call: &StoreCall, rng: &mut Rng) -> StoreResult {
        let StoreOp::Get { key, span } = &call.op else { panic!("readers only get: {call:?}") };
        self.gets.push(*span);
        let object = parse_key(key).expect("the name of an object");
        let Some(whole) = self.objects.get(&object) else { return Err(StoreError::Missing) };
        let total = whole.len() as u64;
        let (from, to) = match *span {
            Span::Whole => (0, total),
            Span::Range { at, len } => (at.min(total), (at + len).min(total)),
            Span::Last { len } => (total.saturating_sub(len), total),
        };
        let mut body = whole[from as usize..to as usize].to_vec();
        if rng.chance(self.faults, 100) {
            match rng.below(6) {
                0 => return Err(StoreError::Throttled),
                1 => return Err(StoreError::Ambiguous(Cause::Timeout)),
                2 => return Err(StoreError::Ambiguous(Cause::CutOff)),
                3 => return Err(StoreError::Fatal(Fatal::NoSpace)),
                4 => body.truncate(rng.below(to - from) as usize),
                _ => {
                    let at = rng.below(to - from) as usize;
                    body[at] ^= 0x10;
                }
            }
        }
        Ok(StoreDone::Got { body: body.into(), etag: ETag(String::new()), total })
    }
}

struct World {
    reader: ObjectReader,
    store: Store,
    ops: OpIds,
    rng: Rng,
    now: u64,
    calls: Vec<(OpId, StoreCall)>,
    finished: Vec<Finished>,
}

impl World {
    fn new(seed: u64, tail: u64, faults: u64) -> Self {
        Self::within(&Limits::default(), seed, tail, faults)
    }

    fn within(limits: &Limits, seed: u64, tail: u64, faults: u64) -> Self {
        let rng = Rng::new(seed);
        let mut reader = ObjectReader::new(limits, rng.child("reader"));
        reader.tail = tail;
        let store = Store { objects: BTreeMap::new(), faults, gets: Vec::new() };
        Self { reader, store, ops: OpIds::default(), rng, now: 0, calls: vec![], finished: vec![] }
    }

    fn put(&mut self, object: ObjectId, ranges: &[CutRange], data_block: u32) {
        self.store.objects.insert(object, build(CLUSTER, object, data_block, ranges).body.to_bytes());
    }

    fn with(&mut self, act: impl FnOnce(&mut ObjectReader, Now, &mut OpIds, &mut Outcome)) {
        let mut out = Outcome::default();
        act(&mut self.reader, now(self.now), &mut self.ops, &mut out);
        self.reader.invariants();
        self.calls.append(&mut out.calls);
        self.finished.append(&mut out.finished);
    }

    fn read(&mut self, read: Read) {
        self.read_on(&[read], &[]);
    }

    /// Begins reads together, of streams that go on there.
    fn read_on(&mut self, reads: &[Read], following: &[Following]) {
        self.with(|reader, now, ops, out| {
            reads.iter().for_each(|read| reader.read(now, *read, following.to_vec(), out));
            reader.drive(now, ops, out);
        });
    }

    /// Completes one call, any of them, or lets time pass; `false` once nothing is left to do.
    fn step(&mut self) -> bool {
        if self.calls.is_empty() {
            let Some(due) = self.reader.deadline().filter(|_| !self.reader.is_idle()) else { return false };
            self.now = self.now.max(due.at.0.div_ceil(1_000_000));
            self.with(|reader, now, ops, out| reader.tick(now, ops, out));
            return true;
        }
        let at = self.rng.below(self.calls.len() as u64) as usize;
        let (op, call) = self.calls.swap_remove(at);
        let result = self.store.get(&call, &mut self.rng);
        assert!(self.reader.owns(op));
        self.with(|reader, now, ops, out| reader.handle(now, op, result, ops, out));
        assert!(!self.reader.owns(op));
        true
    }

    fn run(&mut self) -> Vec<Finished> {
        while self.step() {}
        core::mem::take(&mut self.finished)
    }
}

fn read(id: u64, object: ObjectId, stream: u64, offset: u64, max_bytes: u64) -> Read {
    let extent = Extent::Bytes(max_bytes);
    Read {
        id: ReadId(id),
        origin: Origin::Client(ConnId(id)),
        cluster: CLUSTER,
        object,
        stream: StreamId(stream),
        offset: Offset(offset),
        extent,
        room: u64::MAX,
    }
}

fn batches(got: ReadBatches) -> Vec<StoredBatch> {
    got.into_batches().collect()
}

/// The batches, if they are what the range has from the offset on, within the limit unless it is one only.
fn check(range: &CutRange, read: &Read, got: &[StoredBatch]) {
    let from = range.batches.partition_point(|batch| batch.end <= read.offset);
    assert!(!got.is_empty(), "{read:?} returns at least one batch");
    for (got, stored) in got.iter().zip(&range.batches[from..]) {
        assert_eq!((got.base, got.end, &got.batch), (stored.base, stored.end, &stored.batch));
    }
    assert!(got.len() <= range.batches.len() - from);
    let bytes: u64 = got.iter().map(|batch| batch.batch.len() as u64).sum();
    let Extent::Bytes(max_bytes) = read.extent else { panic!("{read:?}") };
    assert!(got.len() == 1 || bytes <= max_bytes, "{read:?} returned {bytes} bytes");
}

#[test]
fn every_offset_is_read_whatever_fails_in_between() {
    let mut failed = 0;
    for seed in 0..120 {
        let mut setup = Rng::new(seed).child("setup");
        let tail = setup.between(64, 900);
        let mut world = World::new(seed, tail, setup.below(25));
        let mut ranges = BTreeMap::new();
        for id in 1..=3 {
            let content: Vec<_> = (1..=3).map(|stream| range(stream, id * 1000, 12, &mut setup)).collect();
            world.put(ObjectId(id), &content, setup.between(1, 500) as u32);
            ranges.insert(ObjectId(id), content);
        }
        let mut reads = BTreeMap::new();
        for id in 0..60 {
            let object = ObjectId(setup.between(1, 3));
            let range = setup.pick(&ranges[&object]).unwrap();
            let offset = setup.between(range.start.0, range.end.0 - 1);
            let read = read(id, object, range.stream.0, offset, setup.below(2000));
            reads.insert(read.id, (read, range));
            world.read(read);
            for _ in 0..setup.below(4) {
                world.step();
            }
        }
        for done in world.run() {
            let (read, range) = reads.remove(&done.id).expect("each read finishes once");
            match done.result {
                Ok(got) => check(range, &read, &batches(got)),
                // Three damaged answers in a row are possible.
                Err(ReadError::Corrupt(_)) => failed += 1,
                Err(error) => panic!("{read:?}: {error}"),
            }
        }
        assert!(reads.is_empty(), "seed {seed}: {reads:?} never finished");
    }
    assert!(failed < 120, "{failed} of 7200 reads gave up");
}

#[test]
fn one_load_serves_all_who_wait_and_all_who_come_later() {
    let mut world = World::new(1, TAIL, 0);
    let object = ObjectId(9);
    let range = range(1, 0, 10, &mut Rng::new(4));
    world.put(object, core::slice::from_ref(&range), 100);
    for id in 0..10 {
        world.read(read(id, object, 1, id % range.end.0, 1000));
    }
    assert_eq!(world.calls.len(), 1, "one request for ten reads");
    assert_eq!(world.run().len(), 10);
    let tails = |world: &World| world.store.gets.iter().filter(|span| matches!(span, Span::Last { .. })).count();
    assert_eq!((tails(&world), world.store.gets.len()), (1, 2), "adjacent blocks are asked for together");
    world.read(read(10, object, 1, 3, 1000));
    assert_eq!(world.run().len(), 1);
    assert_eq!((tails(&world), world.store.gets.len()), (1, 2), "all is remembered");
}

#[test]
fn no_read_takes_more_than_its_room_and_one_that_must_says_how_much() {
    let object = ObjectId(9);
    let mut rng = Rng::new(4);
    let lens = [40, 3_000, 50, 60, 2_000];
    let batches = (0..).zip(lens).map(|(base, len)| sample::batch(1, 3, base, 1, len, &mut rng)).collect();
    let range = sample::range_of(batches);
    let mut world = World::new(1, TAIL, 0);
    world.put(object, core::slice::from_ref(&range), 1);
    let mut told = |offset, extent, room| {
        world.read(Read { extent, room, ..read(0, object, 1, offset, 0) });
        let done = world.run().remove(0).result;
        done.map(|got| {
            let buffers = got.blocks.iter().map(|block| block.buffer).sum();
            (got.into_batches().count(), buffers)
        })
    };
    for extent in [Extent::Bytes(1), Extent::Bytes(1 << 20), Extent::Since(WallTime(0))] {
        let one = |got: Result<(usize, u64), ReadError>| got.map(|(count, buffer)| (count, buffer < 400));
        assert_eq!(one(told(0, extent, 400)), Ok((1, true)), "{extent:?}: what follows has no room");
        let Err(ReadError::TooLong(len)) = told(1, extent, 400) else { panic!("{extent:?}: there is no room") };
        assert!((3_000..3_200).contains(&len), "{len}");
        assert_eq!(told(1, extent, len - 1), Err(ReadError::TooLong(len)));
        assert_eq!(told(1, extent, len), Ok((1, len)));
    }
    assert_eq!(told(2, Extent::Bytes(1 << 20), 500).map(|(count, _)| count), Ok(2), "as many as there is room for");
}

#[test]
fn an_index_longer_than_the_tail_is_read_by_a_second_request() {
    let mut world = World::new(1, 100, 0);
    let object = ObjectId(9);
    let range = range(1, 0, 30, &mut Rng::new(4));
    world.put(object, core::slice::from_ref(&range), 1);
    let read = read(0, object, 1, 11, 1 << 20);
    world.read(read);
    let done = world.run();
    let got = batches(done[0].result.clone().unwrap());
    check(&range, &read, &got);
    assert_eq!(got.last().unwrap().end, range.end, "everything within the limit");
    assert_eq!(world.store.gets.len(), 3);
}

#[test]
fn an_index_within_the_tail_needs_no_second_request() {
    let object = ObjectId(9);
    let range = range(1, 0, 30, &mut Rng::new(4));
    let built = build(CLUSTER, object, 100, [&range]);
    let tail = built.tail.len() as u64;
    for (tail, gets) in [(1 << 20, 2), (tail, 2), (tail - 1, 3)] {
        let mut world = World::new(1, tail, 0);
        world.store.objects.insert(object, built.body.to_bytes());
        world.read(read(0, object, 1, 11, 1 << 20));
        assert!(world.run()[0].result.is_ok());
        assert_eq!(world.store.gets.len(), gets, "a tail of {tail} bytes");
    }
}

#[test]
fn a_missing_object_is_gone_for_all_at_once() {
    let mut world = World::new(1, TAIL, 0);
    for id in 0..3 {
        world.read(read(id, ObjectId(9), 1, 0, 1000));
    }
    let done = world.run();
    assert_eq!(done.len(), 3);
    assert!(done.iter().all(|done| done.result == Err(ReadError::Gone)));
    assert_eq!(world.store.gets.len(), 1);
}

#[test]
fn an_object_deleted_after_its_index_was_read_is_gone() {
    let mut world = World::new(1, TAIL, 0);
    let object = ObjectId(9);
    world.put(object, &[range(1, 0, 10, &mut Rng::new(4))], 100);
    world.read(read(0, object, 1, 0, 10));
    assert!(world.run()[0].result.is_ok());
    world.store.objects.clear();
    world.read(read(1, object, 1, 0, 10));
    assert!(world.run()[0].result.is_ok(), "what is remembered is right for ever");
    for id in 2..4 {
        world.read(read(id, object, 1, 5, 10));
        assert_eq!(world.run(), [Finished { id: ReadId(id), result: Err(ReadError::Gone) }]);
    }
    let last = world.store.gets.last().unwrap();
    assert!(matches!(last, Span::Last { .. }), "the index of a deleted object is forgotten: {last:?}");
}

#[test]
fn what_is_not_in_the_object_is_not_held() {
    let mut world = World::new(1, TAIL, 0);
    let object = ObjectId(9);
    let range = range(5, 100, 10, &mut Rng::new(4));
    world.put(object, core::slice::from_ref(&range), 100);
    for (id, (stream, offset)) in [(5, 99), (5, range.end.0), (4, 100), (6, 100)].into_iter().enumerate() {
        world.read(read(id as u64, object, stream, offset, 10));
    }
    let done = world.run();
    assert_eq!(done.len(), 4);
    assert!(done.iter().all(|done| done.result == Err(ReadError::NotHeld)), "{done:?}");
}

#[test]
fn damage_that_stays_is_reported() {
    let object = ObjectId(9);
    let range = range(1, 0, 10, &mut Rng::new(4));
    for part in ["block", "index", "footer"] {
        let mut world = World::new(1, TAIL, 0);
        world.put(object, core::slice::from_ref(&range), 100);
        let mut bytes = world.store.objects[&object].to_vec();
        let at = match part {
            "block" => 80,
            "index" => bytes.len() - Footer::LEN - 10,
            _ => bytes.len() - 1,
        };
        bytes[at] ^= 1;
        world.store.objects.insert(object, bytes.into());
        world.read(read(0, object, 1, 0, 10));
        let done = world.run();
        assert_eq!(done[0].result, Err(ReadError::Corrupt(DecodeError::Checksum)), "{part}");
        assert!((3..=4).contains(&world.store.gets.len()), "a few attempts: {:?}", world.store.gets);
    }
}

#[test]
fn a_store_that_never_answers_ends_the_read() {
    let mut world = World::new(1, TAIL, 0);
    let object = ObjectId(9);
    world.put(object, &[range(1, 0, 10, &mut Rng::new(4))], 100);
    world.read(read(0, object, 1, 0, 10));
    let mut asked = 0;
    while world.finished.is_empty() {
        if let Some((op, call)) = world.calls.pop() {
            asked += 1;
            world.now += call.within.as_millis() as u64;
            let timeout = Err(StoreError::Ambiguous(Cause::Timeout));
            world.with(|reader, now, ops, out| reader.handle(now, op, timeout, ops, out));
        } else {
            world.step();
        }
    }
    let unavailable = ReadError::Unavailable(StoreError::Ambiguous(Cause::Timeout));
    assert_eq!(world.finished, [Finished { id: ReadId(0), result: Err(unavailable) }]);
    assert!((2..=4).contains(&asked), "{asked} attempts");
    assert!(world.reader.is_idle());
}

#[test]
fn denied_is_not_asked_twice() {
    let mut world = World::new(1, TAIL, 0);
    world.read(read(0, ObjectId(9), 1, 0, 10));
    let (op, _) = world.calls.pop().unwrap();
    world.with(|reader, now, ops, out| reader.handle(now, op, Err(StoreError::Denied), ops, out));
    let denied = ReadError::Unavailable(StoreError::Denied);
    assert_eq!(world.finished, [Finished { id: ReadId(0), result: Err(denied) }]);
}

#[test]
fn a_cancelled_read_never_finishes() {
    let object = ObjectId(9);
    for steps in 0..3 {
        for faults in [0, 100] {
            let mut world = World::new(1, TAIL, faults);
            world.put(object, &[range(1, 0, 10, &mut Rng::new(4))], 100);
            world.read(read(0, object, 1, 0, 10));
            for _ in 0..steps {
                world.step();
            }
            let before = world.finished.len();
            world.reader.cancel(ReadId(0));
            world.reader.invariants();
            world.store.faults = 0;
            assert_eq!(world.run().len(), before, "{steps} steps, {faults} faults");
            assert!(world.reader.is_idle());
        }
    }
}

#[test]
fn indexes_used_longest_ago_are_forgotten() {
    let mut world = World::new(1, TAIL, 0);
    world.reader.indexes = IndexCache::new(3);
    let content = [range(1, 0, 1, &mut Rng::new(4))];
    for id in 1..=4 {
        world.put(ObjectId(id), &content, 1);
    }
    let mut tails = |object| {
        world.store.gets.clear();
        world.reader.blocks.shrink(0, Spare::All);
        world.read(read(0, ObjectId(object), 1, 0, 10));
        assert!(world.run()[0].result.is_ok());
        world.store.gets.len() == 2
    };
    assert_eq!([1, 2, 3].map(&mut tails), [true; 3]);
    assert!(!tails(1), "three fit");
    assert!(tails(4), "a fourth is loaded, and 2 leaves");
    assert_eq!([1, 3, 4].map(&mut tails), [false; 3]);
    assert!(tails(2));
}
