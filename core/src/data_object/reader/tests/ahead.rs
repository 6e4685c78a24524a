//! Blocks that are shared, kept, and read before they are wanted.

use super::*;

const STREAM: StreamId = StreamId(1);

/// A stream in objects, a batch of some hundred bytes in each block.
struct Stream {
    world: World,
    ranges: BTreeMap<ObjectId, CutRange>,
    batches: Vec<(Offset, Offset, ObjectId)>,
    reads: u64,
}

impl Stream {
    /// `each` batches in each object.
    fn new(limits: &Limits, objects: u64, each: u64) -> Self {
        let mut rng = Rng::new(7);
        let mut world = World::within(limits, 1, TAIL, 0);
        let (mut ranges, mut batches, mut next) = (BTreeMap::new(), Vec::new(), 0);
        for object in 1..=objects {
            let content = (0..each).map(|_| {
                let batch = sample::batch(1, 3, next, 1, 500, &mut rng);
                next += 1;
                batch
            });
            let range = sample::range_of(content.collect());
            batches.extend(range.batches.iter().map(|batch| (batch.base, batch.end, ObjectId(object))));
            world.put(ObjectId(object), core::slice::from_ref(&range), 1);
            ranges.insert(ObjectId(object), range);
        }
        Self { world, ranges, batches, reads: 0 }
    }

    /// A client asks for so many bytes from an offset on.
    fn ask(&mut self, client: u64, offset: u64, bytes: u64) -> ReadId {
        let (.., object) = self.batches[self.batches.partition_point(|(_, end, _)| end.0 <= offset)];
        self.reads += 1;
        let origin = Origin::Client(ConnId(client));
        let read = Read { origin, ..read(self.reads, object, STREAM.0, offset, bytes) };
        let following = self.ranges.range(object..).map(|(object, range)| Following {
            object: *object,
            bytes: range.batches.iter().map(|batch| batch.batch.len() as u64).sum(),
        });
        let following: Vec<Following> = following.collect();
        self.world.read_on(&[read], &following);
        read.id
    }

    /// What a read came to, if it has ended.
    fn answer(&mut self, id: ReadId) -> Option<Result<ReadBatches, ReadError>> {
        let at = self.world.finished.iter().position(|done| done.id == id)?;
        Some(self.world.finished.swap_remove(at).result)
    }

    /// Waits for it, everything coming in the order in which it was asked for. Returns where it ends, and for how many
    /// answers of the store it waited.
    fn wait(&mut self, id: ReadId) -> (u64, u32) {
        let mut waited = 0;
        loop {
            if let Some(result) = self.answer(id) {
                let got = batches(result.expect("the store answers"));
                return (got.last().expect("a batch at least").end.0, waited);
            }
            self.complete(|_| None);
            waited += 1;
        }
    }

    /// Completes the call that was made first, if not as it should be, then as is said.
    fn complete(&mut self, fail: impl FnOnce(&StoreCall) -> Option<StoreError>) {
        let (op, call) = self.world.calls.remove(0);
        let fair = self.world.store.get(&call, &mut Rng::new(0));
        let result = fail(&call).map_or(fair, Err);
        self.world.with(|reader, now, ops, out| reader.handle(now, op, result, ops, out));
    }

    /// Reads on until there, a batch or so at a time. Returns how often it waited.
    fn read_on(&mut self, client: u64, mut from: u64, to: u64) -> u32 {
        let mut waits = 0;
        while from < to {
            let id = self.ask(client, from, 1);
            let (next, waited) = self.wait(id);
            waits += u32::from(waited > 0);
            from = next;
        }
        waits
    }

    fn window(&self, client: u64) -> u64 {
        let key = CursorKey { stream: STREAM, origin: Origin::Client(ConnId(client)) };
        self.world.reader.cursors.get(key).map_or(0, |cursor| cursor.window)
    }
}

fn limits() -> Limits {
    Limits {
        data_block: 600,
        block_cache: 200_000,
        object_reads: 8,
        read_piece: 8_000,
        read_ahead: 20_000,
        ..Limits::default()
    }
}

#[test]
fn who_goes_on_waits_seldom_and_across_the_ends_of_objects() {
    for (ahead, most) in [(0, 1_000), (20_000, 40)] {
        let mut stream = Stream::new(&Limits { read_ahead: ahead, ..limits() }, 20, 10);
        let waits = stream.read_on(1, 0, 200);
        let stats = stream.world.reader.stats();
        assert!(waits <= most && (ahead > 0 || waits == 200), "{waits} waits with {ahead}");
        assert_eq!((stats.hits + stats.joined + stats.misses, stats.ahead_wasted), (200, 0), "{stats:?}");
        assert!(ahead == 0 || stats.requests < 70, "{} requests", stats.requests);
        let blocks = stream.world.store.gets.iter().filter_map(|span| match span {
            Span::Range { len, .. } => Some(*len),
            _ => None,
        });
        assert_eq!(blocks.sum::<u64>(), stats.bytes, "each block is asked for once");
    }
}

#[test]
fn readers_side_by_side_ask_once_together() {
    let mut stream = Stream::new(&limits(), 4, 10);
    for offset in 0..40 {
        let ids: Vec<ReadId> = (0..10).map(|client| stream.ask(client, offset, 1)).collect();
        ids.into_iter().for_each(|id| _ = stream.wait(id));
    }
    let stats = stream.world.reader.stats();
    let objects: usize = stream.world.store.objects.values().map(Bytes::len).sum();
    assert!(stats.bytes < objects as u64, "{} bytes of {objects}", stats.bytes);
    assert!(stats.index_requests == 4 && stats.requests < 40, "{stats:?}");
}

#[test]
fn a_reader_that_goes_elsewhere_is_read_ahead_less_and_what_was_read_may_leave() {
    let mut stream = Stream::new(&limits(), 2, 50);
    stream.read_on(1, 0, 30);
    let window = stream.window(1);
    while !stream.world.calls.is_empty() {
        stream.complete(|_| None);
    }
    assert!(window >= 2 * 1_200 && stream.world.reader.stats().unread > 0);
    let id = stream.ask(1, 90, 1);
    assert_eq!(stream.window(1), window / 2);
    let stats = stream.world.reader.stats();
    assert!(stats.unread == 0 && stats.ahead_wasted > 0, "{stats:?}");
    stream.wait(id);
    let id = stream.ask(1, 90, 1);
    assert_eq!((stream.wait(id).1, stream.window(1)), (0, window / 2), "the same again is not elsewhere");
}

#[test]
fn what_is_wanted_goes_before_what_is_read_ahead() {
    let mut stream = Stream::new(&Limits { object_reads: 4, ..limits() }, 1, 100);
    stream.read_on(1, 0, 20);
    let ahead = stream.world.calls.len();
    assert!((1..=2).contains(&ahead), "half of the requests: {ahead}");
    // Two others find a place at once, and a third one none.
    for (client, offset) in [(2, 60), (3, 70), (4, 80)] {
        stream.ask(client, offset, 1);
    }
    assert_eq!(stream.world.calls.len(), 4.min(ahead + 3));
    let in_line = stream.world.reader.stats().in_line;
    stream.complete(|_| None);
    assert_eq!(stream.world.reader.stats().in_line, in_line.saturating_sub(1), "the next is one that is wanted");
}

#[test]
fn clients_take_turns() {
    let mut stream = Stream::new(&Limits { object_reads: 1, read_piece: 600, read_ahead: 0, ..limits() }, 1, 40);
    let id = stream.ask(9, 39, 1);
    stream.wait(id);
    let greedy: Vec<ReadId> = (0..20).map(|at| stream.ask(1, at, 1)).collect();
    let modest = stream.ask(2, 30, 1);
    let (_, waited) = stream.wait(modest);
    assert_eq!(waited, 2, "one that had left, and its own");
    greedy.into_iter().for_each(|id| _ = stream.wait(id));
}

#[test]
fn a_failed_load_fails_all_who_wait_and_is_asked_for_again_by_the_next() {
    let mut stream = Stream::new(&limits(), 1, 10);
    let id = stream.ask(1, 9, 1);
    stream.wait(id);
    let ids: Vec<ReadId> = (1..4).map(|client| stream.ask(client, 3, 1)).collect();
    assert_eq!(stream.world.calls.len(), 1);
    stream.complete(|_| Some(StoreError::Denied));
    for id in ids {
        assert_eq!(stream.answer(id), Some(Err(ReadError::Unavailable(StoreError::Denied))));
    }
    assert!(stream.world.reader.is_idle());
    let id = stream.ask(1, 3, 1);
    assert_eq!(stream.wait(id).0, 4);
}

#[test]
fn what_is_read_ahead_and_fails_is_asked_for_again_only_if_somebody_waits() {
    let mut stream = Stream::new(&limits(), 1, 60);
    stream.read_on(1, 0, 9);
    let before = stream.world.calls.len();
    assert!(before > 0, "something is read ahead");
    let unread = stream.world.reader.stats().unread;
    stream.complete(|_| Some(StoreError::Throttled));
    assert!(stream.world.reader.stats().unread <= unread);
    let window = stream.window(1);
    let id = stream.ask(1, 9, 1);
    while stream.answer(id).is_none() {
        match stream.world.calls.first() {
            Some(_) if stream.world.now == 0 => {
                stream.complete(|_| Some(StoreError::Throttled));
                stream.world.now = 1;
            }
            Some(_) => stream.complete(|_| None),
            None => assert!(stream.world.step()),
        }
    }
    assert!(stream.window(1) <= 2 * window);
}

#[test]
fn a_block_larger_than_the_cache_goes_alone_and_is_not_kept() {
    let mut stream = Stream::new(&Limits { block_cache: 100, ..limits() }, 1, 10);
    let id = stream.ask(9, 9, 1);
    stream.wait(id);
    let ids: Vec<ReadId> = (0..5).map(|at| stream.ask(at, 2 * at, 1)).collect();
    assert_eq!(stream.world.calls.len(), 1);
    for id in ids {
        stream.wait(id);
        let stats = stream.world.reader.stats();
        assert!(stats.cached == 0 && stream.world.calls.len() <= 1, "{stats:?}");
    }
}

#[test]
fn who_is_not_served_for_long_is_told_so() {
    let mut stream = Stream::new(&Limits { object_reads: 1, ..limits() }, 1, 10);
    let first = stream.ask(1, 0, 1);
    let second = stream.ask(2, 5, 1);
    let (op, _) = stream.world.calls.remove(0);
    stream.world.now += 1;
    let timeout = Err(StoreError::Ambiguous(Cause::Timeout));
    stream.world.with(|reader, now, ops, out| reader.handle(now, op, timeout, ops, out));
    // Asked for again, and never answered.
    assert!(stream.world.step());
    let third = stream.ask(3, 7, 1);
    assert_eq!(stream.world.calls.len(), 1, "one index for all");
    assert!([first, second, third].iter().all(|id| stream.answer(*id).is_none()));
    stream.complete(|_| None);
    // The blocks of one have left; the others stand in line.
    assert_eq!(stream.world.calls.len(), 1);
    stream.world.now += 30_000;
    stream.world.with(|reader, now, ops, out| reader.tick(now, ops, out));
    let crowded = [first, second, third].map(|id| stream.answer(id) == Some(Err(ReadError::Crowded)));
    assert_eq!(crowded.iter().filter(|crowded| **crowded).count(), 2);
    assert_eq!(stream.world.reader.stats().crowded, 2);
}

#[test]
fn of_what_is_read_together_only_what_is_damaged_is_read_again() {
    let mut stream = Stream::new(&limits(), 1, 10);
    let id = stream.ask(9, 9, 1);
    stream.wait(id);
    stream.world.reader.requests = 0;
    let ids: Vec<ReadId> = (3..6).map(|at| stream.ask(at, at, 1)).collect();
    stream.world.reader.requests = 8;
    stream.world.read_on(&[], &[]);
    let [(op, StoreCall { op: StoreOp::Get { span: Span::Range { at, len }, .. }, .. })] = stream.world.calls[..]
    else {
        panic!("neighbours are asked for together: {:?}", stream.world.calls)
    };
    stream.world.calls.clear();
    let whole = &stream.world.store.objects[&ObjectId(1)];
    let mut body = whole[at as usize..(at + len) as usize].to_vec();
    body[len as usize / 2] ^= 1;
    let got = StoreDone::Got { body: body.into(), etag: ETag(String::new()), total: whole.len() as u64 };
    stream.world.with(|reader, now, ops, out| reader.handle(now, op, Ok(got), ops, out));
    let ended =
        |stream: &mut Stream, at: usize| stream.answer(ids[at]).map(|result| batches(result.unwrap())[0].base.0);
    assert_eq!([0, 1, 2].map(|at| ended(&mut stream, at)), [Some(3), None, Some(5)]);
    assert!(stream.world.step(), "after a pause");
    let StoreOp::Get { span: Span::Range { len: again, .. }, .. } = stream.world.calls[0].1.op else { panic!() };
    assert!(again < len / 2, "{again} of {len}");
    stream.complete(|_| None);
    assert_eq!(ended(&mut stream, 1), Some(4));
}

#[test]
fn what_was_read_ahead_for_who_left_gives_way() {
    let mut stream = Stream::new(&limits(), 2, 50);
    stream.read_on(1, 0, 20);
    stream.world.with(|reader, _, _, _| reader.forget(Origin::Client(ConnId(1))));
    while !stream.world.calls.is_empty() {
        stream.complete(|_| None);
    }
    let stats = stream.world.reader.stats();
    assert!(stats.cached > 0 && stats.unread == 0, "{stats:?}");
    // The same of one that does not come any more.
    stream.read_on(2, 50, 70);
    assert!(stream.world.reader.stats().unread > 0 || !stream.world.calls.is_empty());
    while !stream.world.calls.is_empty() {
        stream.complete(|_| None);
    }
    stream.world.now += 61_000;
    stream.world.with(|reader, now, ops, out| reader.tick(now, ops, out));
    assert_eq!((stream.world.reader.stats().unread, stream.window(2)), (0, 0));
}

#[test]
fn what_is_passed_leaves_before_what_others_come_to() {
    let mut stream = Stream::new(&Limits { block_cache: 20_000, read_ahead: 0, ..limits() }, 2, 50);
    // One stays behind; another goes on by itself elsewhere, through more than there is room for.
    let id = stream.ask(1, 0, 1);
    stream.wait(id);
    stream.read_on(2, 1, 6);
    let before = stream.world.reader.stats().misses;
    stream.read_on(1, 1, 6);
    assert_eq!(stream.world.reader.stats().misses, before, "what the first one comes to was kept");
    let key = |offset: usize| {
        let index = stream.world.reader.indexes.peek(ObjectId(1)).expect("it was read");
        BlockKey::of(ObjectId(1), &index.entries()[offset])
    };
    let (passed, next) = (key(2), key(5));
    stream.world.reader.blocks.shrink(3_000, Spare::All);
    let is_kept = |key| stream.world.reader.blocks.contains(key);
    assert!(!is_kept(passed) || is_kept(next));
}

#[test]
fn whatever_readers_do_and_the_store_fails_they_read_what_is_there() {
    let mut used = 0;
    for seed in 0..150 {
        let mut rng = Rng::new(seed).child("limits");
        let limits = Limits {
            data_block: rng.between(1, 1_500) as u32,
            block_cache: *rng.pick(&[0, 700, 3_000, 12_000, 100_000]).expect("some"),
            object_reads: rng.between(1, 6) as u32,
            read_piece: rng.between(1, 6_000) as u32,
            read_ahead: *rng.pick(&[0, 1_000, 10_000]).expect("some"),
            idle_reader: Duration::from_millis(rng.between(1, 10_000)),
            ..Limits::default()
        };
        let mut stream = Stream::new(&limits, rng.between(1, 5), rng.between(1, 20));
        stream.world.store.faults = rng.below(25);
        storm(&mut stream, &mut rng);
        used += stream.world.reader.stats().ahead_used;
    }
    assert!(used > 100_000, "{used} bytes were read ahead for something");
}

/// Clients that read on, go elsewhere, give up, and leave.
fn storm(stream: &mut Stream, rng: &mut Rng) {
    let end = stream.batches.len() as u64;
    let mut at: BTreeMap<u64, (u64, Option<ReadId>)> = (0..5).map(|client| (client, (rng.below(end), None))).collect();
    for _ in 0..400 {
        let client = rng.below(5);
        let (offset, asked) = at[&client];
        let answer = asked.and_then(|id| stream.answer(id));
        let next = match (asked, answer) {
            (Some(_), Some(Ok(got))) => {
                let got = batches(got);
                assert_eq!(got[0].base.0, offset, "a read begins where it was asked");
                assert!(got.windows(2).all(|pair| pair[0].end == pair[1].base), "and has no gap");
                for batch in &got {
                    let (.., object) = stream.batches[batch.base.0 as usize];
                    let stored = stream.ranges[&object].batches.iter().find(|stored| stored.base == batch.base);
                    assert_eq!(stored.map(|stored| &stored.batch), Some(&batch.batch));
                }
                (got.last().expect("a batch at least").end.0, None)
            }
            (Some(_), Some(Err(ReadError::Corrupt(_) | ReadError::Crowded | ReadError::Unavailable(_)))) => {
                (offset, None)
            }
            (Some(_), Some(Err(error))) => panic!("{error}"),
            (Some(id), None) if rng.chance(1, 20) => {
                stream.world.with(|reader, _, _, _| _ = reader.cancel(id));
                (offset, None)
            }
            (Some(id), None) => (offset, Some(id)),
            (None, _) => {
                if rng.chance(1, 30) {
                    stream.world.with(|reader, _, _, _| reader.forget(Origin::Client(ConnId(client))));
                }
                let from = if offset >= end || rng.chance(1, 10) { rng.below(end) } else { offset };
                (from, Some(stream.ask(client, from, rng.below(3_000))))
            }
        };
        at.insert(client, next);
        if rng.chance(2, 3) {
            stream.world.step();
        }
    }
    while stream.world.step() {}
    for (_, (_, asked)) in at {
        assert!(asked.is_none_or(|id| stream.answer(id).is_some()), "every read ends");
    }
    assert!(stream.world.reader.is_idle());
}
