//! The machine in a bucket that fails, with metadata that moves on, and a judge that knows every record.

use super::model::{Model, NODE};
use crate::compaction::{Compactor, Effect, Input, Mail, Rules, plan};
use crate::data_object::sample::{batch, range_of, sequenced};
use crate::data_object::{build, decode, decode_state, key, parse_key};
use crate::id::{CutNumber, Lsn, NodeEpoch, ObjectId, Offset, StreamId};
use crate::limits::Limits;
use crate::machine::{Effects, Instant, Machine, Now, OpId, Rng, WallTime};
use crate::mail::{Halt, Mail as Letter};
use crate::metadata::{
    Answer, CleanupPolicy, Command, Commit, CommitObject, CommitRange, Image, ObjectState, TopicConfigs,
};
use crate::node::{self, Asker};
use crate::producers::ProducerTable;
use crate::store::{
    Cause, ETag, Fatal, Key, Precondition, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult,
};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// How the world treats the compactor.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// Store requests out of 100 that fail in one of the ways that may pass.
    store: u64,
    /// Steps out of 100 at which a stream is trimmed, deleted, or written to.
    changes: u64,
}

struct World {
    compactor: Compactor,
    model: Model,
    rng: Rng,
    faults: Faults,
    now: u64,
    calls: Vec<(OpId, StoreCall)>,
    commands: VecDeque<Command>,
    questions: VecDeque<BTreeSet<ObjectId>>,
    objects: BTreeMap<Key, Bytes>,
    /// Puts that may still take effect.
    late: Vec<(Key, Bytes)>,
    offered: BTreeMap<Key, Bytes>,
    /// Every batch that was ever committed.
    written: BTreeMap<(StreamId, Offset), Bytes>,
    halts: Vec<Halt>,
    cuts: u64,
    sequences: BTreeMap<StreamId, i32>,
    largest: u64,
    /// What an object that is damaged should be.
    sound: Option<(Key, Bytes)>,
}

fn limits() -> Limits {
    Limits {
        split: 600,
        data_block: 200,
        compaction_interval: Duration::from_millis(500),
        compaction_fan_in: 3,
        compaction_object: 3_000,
        compaction_bandwidth: 100_000,
        compaction_force_split: Duration::from_secs(60),
        ..Limits::default()
    }
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        let rng = Rng::new(seed);
        let mut model = Model::new(Rules::new(&limits()));
        let configs = TopicConfigs { cleanup_policy: Some(CleanupPolicy::NONE), ..TopicConfigs::default() };
        for partitions in [2, 1, 3] {
            model.topic(partitions, configs.clone());
        }
        let mut world = Self {
            compactor: Compactor::new(&limits(), rng.child("compactor")),
            model,
            rng: rng.child("world"),
            faults,
            now: 0,
            calls: Vec::new(),
            commands: VecDeque::new(),
            questions: VecDeque::new(),
            objects: BTreeMap::new(),
            late: Vec::new(),
            offered: BTreeMap::new(),
            written: BTreeMap::new(),
            halts: Vec::new(),
            cuts: 0,
            sequences: BTreeMap::new(),
            largest: 0,
            sound: None,
        };
        world.handle(Input::Mail(Mail::Begin));
        world
    }

    /// A cut of real batches, of some of which producers are known.
    fn cut(&mut self) {
        let streams: Vec<(StreamId, Offset)> =
            self.model.image.streams.iter().map(|(id, stream)| (*id, stream.end)).collect();
        let mut ranges = Vec::new();
        for (stream, end) in streams {
            if self.rng.chance(1, 3) {
                continue;
            }
            let mut at = end.0;
            let mut batches = Vec::new();
            for _ in 0..self.rng.between(1, 4) {
                let records = self.rng.between(1, 3) as u32;
                let len = self.rng.below(150) as usize;
                let mut next = batch(stream.0, 1, at, records, len, &mut self.rng);
                if stream.0 % 2 == 0 {
                    let first = self.sequences.entry(stream).or_default();
                    next = sequenced(&next, 9, 0, *first);
                    *first += records as i32;
                }
                at = next.end.0;
                self.written.insert((stream, next.base), next.batch.0.clone());
                batches.push(next);
            }
            ranges.push(range_of(batches));
        }
        if ranges.is_empty() {
            return;
        }
        let id = self.model.lease(1);
        let built = build(self.model.image.cluster, id, 200, &ranges);
        self.objects.insert(key(id), built.body.to_bytes());
        self.cuts += 1;
        let epoch_one = |range: &CommitRange| CommitRange { epoch: crate::id::StreamEpoch(1), ..range.clone() };
        let object =
            CommitObject { id, size: built.body.len() as u64, ranges: built.ranges.iter().map(epoch_one).collect() };
        let commit = Commit {
            epoch: NodeEpoch(1),
            recovery: None,
            number: CutNumber(self.cuts),
            lsn: Lsn(self.cuts),
            objects: [object].into(),
        };
        assert_eq!(self.model.send(Command::Commit(commit)), Answer::Done);
    }

    fn change(&mut self) {
        let streams: Vec<StreamId> = self.model.image.streams.keys().copied().collect();
        match self.rng.below(12) {
            0 if self.model.image.topics.len() > 1 => {
                let topics: Vec<_> = self.model.image.topics.keys().copied().collect();
                let id = *self.rng.pick(&topics).expect("two of them");
                assert_eq!(self.model.send(Command::DeleteTopic { id }), Answer::Done);
            }
            1..=4 => {
                let stream = *self.rng.pick(&streams).expect("one of them");
                let end = self.model.image.streams[&stream].end.0;
                self.model.trim(stream, Offset(self.rng.below(end + 1)));
            }
            5 => self.delete_destroyed(),
            _ => self.cut(),
        }
    }

    /// As the janitor does, at any time.
    fn delete_destroyed(&mut self) {
        for id in self.model.image.destroyed_by(WallTime(i64::MAX)).collect::<Vec<_>>() {
            self.objects.remove(&key(id));
        }
        self.model.forget_destroyed();
    }

    fn handle(&mut self, input: Input) {
        let now = Now { mono: Instant(self.now), wall: WallTime((self.now / 1_000_000) as i64) };
        self.model.now = now.wall.0;
        let mut out = Effects::default();
        self.compactor.handle(now, input, &mut out);
        self.compactor.invariants();
        self.largest = self.largest.max(self.compactor.held());
        for effect in out.drain() {
            match effect {
                Effect::Store(op, call) => {
                    if let StoreOp::Put { key, body, only_if } = &call.op {
                        assert_eq!(*only_if, Precondition::Absent);
                        let body = body.to_bytes();
                        let first = self.offered.entry(key.clone()).or_insert_with(|| body.clone());
                        assert!(*first == body, "the bytes of {key} are fixed at the first attempt");
                        let state = self.model.image.objects[&parse_key(key).expect("an object")].state;
                        assert!(matches!(state, ObjectState::Leased(..)), "{key} is {state:?}");
                    }
                    self.calls.push((op, call));
                }
                Effect::Mail(Letter::Node(node::Mail::Command(Asker::Compactor, command))) => {
                    self.commands.push_back(command);
                }
                Effect::Mail(Letter::Node(node::Mail::PlanCompaction(shunned))) => self.questions.push_back(shunned),
                Effect::Mail(Letter::Node(node::Mail::Failed(halt))) => self.halts.push(halt),
                other => panic!("a compactor does not say {other:?}"),
            }
        }
    }

    fn answer_command(&mut self) {
        let command = self.commands.pop_front().expect("a command waits");
        let answer = self.model.send(command);
        self.judge();
        self.handle(Input::Mail(Mail::Answered(answer)));
    }

    fn answer_question(&mut self) {
        let excluded = self.questions.pop_front().expect("a question waits");
        let now = WallTime((self.now / 1_000_000) as i64);
        let plan = plan(&self.model.image, NODE, now, &self.model.rules, &excluded);
        self.handle(Input::Mail(Mail::Planned(plan.map(alloc::boxed::Box::new))));
    }

    /// All that was committed and not deleted can be read, each record in one place.
    fn judge(&self) {
        let Image { cluster, streams, .. } = &self.model.image;
        for (id, stream) in streams {
            let mut tables = ProducerTable::default();
            for state in &stream.producers {
                let bytes =
                    self.objects[&key(state.object)].slice(state.at as usize..state.at as usize + state.len as usize);
                tables.follow(decode_state(state.object, *id, state.end, &bytes).expect("it is readable"));
            }
            for (start, range) in &stream.ranges {
                let sound = self.sound.iter().find(|(damaged, _)| *damaged == key(range.object));
                let bytes = sound.map_or_else(|| &self.objects[&key(range.object)], |(_, bytes)| bytes);
                let decoded = decode(*cluster, range.object, bytes).expect("it is readable");
                let blocks = decoded.into_iter().filter(|(entry, _)| entry.stream == *id);
                let batches = blocks.flat_map(|(_, batches)| batches);
                let mut at = *start;
                let mut bytes = 0;
                for batch in batches.filter(|batch| *start <= batch.base && batch.end <= range.end) {
                    assert_eq!(batch.base, at, "no gap in {id}");
                    assert_eq!(batch.batch.0, self.written[&(*id, batch.base)], "the record of {id} at {at}");
                    at = batch.end;
                    bytes += batch.batch.len() as u64;
                }
                assert_eq!((at, bytes), (range.end, range.bytes), "all of {id} from {start}");
            }
            if id.0 % 2 == 0 && stream.end > Offset(0) {
                let known = tables.producers.values().next().map(|state| state.last().base);
                let last =
                    self.written.range((*id, Offset(0))..(*id, stream.end)).next_back().map(|((_, base), _)| *base);
                assert_eq!(known, last, "what is known of the producer of {id}");
            }
        }
    }

    fn complete_any(&mut self) {
        let at = self.rng.below(self.calls.len() as u64) as usize;
        let (op, call) = self.calls.swap_remove(at);
        let result = self.store(&call);
        self.handle(Input::Store(op, result));
    }

    fn honest(&mut self, call: &StoreCall) -> StoreResult {
        let etag = ETag(String::new());
        match &call.op {
            StoreOp::Put { key, .. } if self.objects.contains_key(key) => Err(StoreError::Exists),
            StoreOp::Put { key, body, .. } => {
                self.objects.insert(key.clone(), body.to_bytes());
                Ok(StoreDone::Put { etag })
            }
            StoreOp::Get { key, span } => {
                let whole = self.objects.get(key).ok_or(StoreError::Missing)?;
                let len = whole.len();
                let (from, to) = match span {
                    Span::Last { len: wanted } => (len.saturating_sub(*wanted as usize), len),
                    Span::Range { at, len: wanted } => (*at as usize, (at + wanted) as usize),
                    Span::Whole => (0, len),
                };
                Ok(StoreDone::Got { body: whole.slice(from..to).into(), etag, total: len as u64 })
            }
            other => panic!("a compactor does not ask for {other:?}"),
        }
    }

    fn store(&mut self, call: &StoreCall) -> StoreResult {
        if !self.rng.chance(self.faults.store, 100) {
            return self.honest(call);
        }
        let cause = *self.rng.pick(&[Cause::Throttled, Cause::Server, Cause::Timeout, Cause::CutOff]).unwrap();
        match (self.rng.below(6), &call.op) {
            (0, _) => Err(StoreError::Ambiguous(cause)),
            (1, _) => {
                let _ = self.honest(call);
                Err(StoreError::Ambiguous(cause))
            }
            (2, StoreOp::Put { key, body, .. }) => {
                self.late.push((key.clone(), body.to_bytes()));
                Err(StoreError::Ambiguous(cause))
            }
            (3, StoreOp::Put { .. }) => Err(StoreError::Fatal(Fatal::NoSpace)),
            (4, StoreOp::Put { .. }) => Err(StoreError::Conflict),
            (2, _) => Err(StoreError::Corrupt),
            (3, _) => self.honest(call).map(|done| match done {
                StoreDone::Got { body, etag, total } => {
                    let mut bytes = body.to_vec();
                    let at = self.rng.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1;
                    StoreDone::Got { body: bytes.into(), etag, total }
                }
                other => other,
            }),
            (4, _) => self.honest(call).map(|done| match done {
                StoreDone::Got { body, etag, total } => {
                    let len = self.rng.below(body.len() as u64) as usize;
                    StoreDone::Got { body: body.slice(..len).into(), etag, total }
                }
                other => other,
            }),
            _ => Err(StoreError::Throttled),
        }
    }

    /// One thing happens, any of those that can.
    fn step(&mut self) {
        if self.rng.chance(self.faults.changes, 100) {
            return self.change();
        }
        let due = self.compactor.deadline();
        let mut can: Vec<u8> = Vec::new();
        can.extend((!self.calls.is_empty()).then_some(0));
        can.extend((!self.commands.is_empty()).then_some(1));
        can.extend((!self.questions.is_empty()).then_some(2));
        can.extend(due.map(|_| 3));
        can.extend((!self.late.is_empty()).then_some(4));
        match self.rng.pick(&can).expect("it is never stuck") {
            0 => self.complete_any(),
            1 => self.answer_command(),
            2 => self.answer_question(),
            3 => {
                self.now = self.now.max(due.expect("it is due").at.0);
                self.handle(Input::Tick);
            }
            _ => {
                let (key, body) = self.late.swap_remove(0);
                self.objects.entry(key).or_insert(body);
            }
        }
    }

    /// Until there is nothing to rewrite.
    fn rest(&mut self) {
        for _ in 0..100_000 {
            if !self.compactor.is_working() && self.commands.is_empty() && self.model.plan().is_none() {
                return;
            }
            self.step();
        }
        panic!("it does not come to rest: {:?}", self.model.plan());
    }

    /// Objects in the bucket that nobody needs and nobody will delete.
    fn orphans(&self) -> Vec<String> {
        let is_known = |key: &&Key| {
            let id = parse_key(key).expect("an object");
            let object = self.model.image.objects.get(&id).map(|object| object.state);
            matches!(object, Some(ObjectState::Live(_) | ObjectState::Destroyed(_)))
        };
        self.objects.keys().filter(|key| !is_known(key)).map(|key| format!("{key}")).collect()
    }
}

#[test]
fn whatever_fails_records_stay_and_nothing_is_left_behind() {
    let (mut committed, mut abandoned) = (0, 0);
    for seed in 0..40 {
        let faults = Faults { store: seed % 5 * 16, changes: 3 };
        let mut world = World::new(seed, faults);
        for _ in 0..1_000 {
            world.step();
        }
        world.faults = Faults::default();
        world.rest();
        world.judge();
        while let Some((key, _)) = world.late.pop() {
            // Deleted by the scrubber if it comes so late.
            let id = parse_key(&key).expect("an object");
            assert!(world.model.image.objects.get(&id).is_none_or(|object| object.state != ObjectState::Live(0)));
        }
        assert_eq!(world.orphans(), Vec::<String>::new(), "seed {seed}");
        let totals = world.compactor.totals();
        committed += totals.committed;
        abandoned += totals.abandoned;
        assert!(totals.read > 0 && totals.written > 0, "seed {seed}: {totals:?}");
        assert!(world.largest <= 2 * limits().compaction_object, "seed {seed} held {} bytes", world.largest);
        assert!(world.halts.is_empty());
    }
    assert!(committed > 200 && abandoned > 20, "{committed} committed, {abandoned} abandoned");
}

#[test]
fn an_object_that_stays_unreadable_is_left_alone_and_the_others_are_rewritten() {
    let mut world = World::new(5, Faults::default());
    for _ in 0..9 {
        world.cut();
    }
    let rotten = world.objects.keys().nth(4).expect("nine of them").clone();
    let mut bytes = world.objects[&rotten].to_vec();
    bytes[40] ^= 1;
    let sound = world.objects.insert(rotten.clone(), bytes.into()).expect("it was there");
    world.sound = Some((rotten.clone(), sound));
    while world.compactor.totals().committed == 0 {
        world.step();
    }
    let id = parse_key(&rotten).expect("an object");
    assert!(matches!(world.model.image.objects[&id].state, ObjectState::Live(_)));
    assert!(world.compactor.totals().abandoned > 0);
}

#[test]
fn a_stop_ends_it_at_any_moment() {
    for seed in 0..40 {
        let mut world = World::new(seed, Faults { store: 10, changes: 0 });
        for _ in 0..6 {
            world.cut();
        }
        for _ in 0..seed {
            world.step();
        }
        world.handle(Input::Mail(Mail::Stop));
        assert_eq!((world.compactor.held(), world.compactor.deadline()), (0, None));
        let waiting = world.calls.len();
        while !world.calls.is_empty() {
            world.complete_any();
        }
        while !world.questions.is_empty() {
            world.answer_question();
        }
        while !world.commands.is_empty() {
            world.answer_command();
        }
        assert!(world.calls.is_empty(), "nothing is begun after {waiting} requests");
        world.judge();
    }
}

#[test]
fn it_keeps_to_its_bandwidth() {
    let mut world = World::new(3, Faults::default());
    for _ in 0..40 {
        world.cut();
    }
    world.rest();
    let totals = world.compactor.totals();
    let moved = totals.read + totals.written;
    let seconds = world.now as f64 / 1e9;
    assert!(moved > 20_000 && moved as f64 / seconds <= 110_000.0, "{moved} bytes in {seconds} s");
}
