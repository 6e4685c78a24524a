//! Offsets by time, against a model that knows every record: in the log cache and in objects, compressed or not, with the
//! producer's times or the broker's, trimmed or not, while jobs and reads are under way.

use super::world::{CONN, World};
use crate::data_object::{build, parse_key};
use crate::id::{CutNumber, Lsn, NodeEpoch, ObjectId, Offset, PartitionIndex, StreamEpoch, StreamId};
use crate::kafka::batch::tests::{CODECS, seal, timed};
use crate::kafka::{Api, RequestBody};
use crate::limits::Limits;
use crate::machine::{Rng, WallTime};
use crate::metadata::{Command, Commit, CommitObject};
use crate::session::RequestNumber;
use crate::shard::Mail;
use crate::store::{ETag, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult};
use crate::wal::{Appended, CutMarker, CutReason};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

/// A partition, its bucket, and every record that it ever had.
pub(super) struct Partition {
    pub(super) world: World,
    pub(super) stream: StreamId,
    objects: BTreeMap<ObjectId, Bytes>,
    cuts: u64,
    /// Offset to time.
    records: BTreeMap<u64, i64>,
    start: u64,
}

impl Partition {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut world = World::new(limits);
        world.topic("orders", 1);
        let stream = world.stream("orders", PartitionIndex(0));
        world.command(Command::LeaseObjects { count: 100 });
        Self { world, stream, objects: BTreeMap::new(), cuts: 0, records: BTreeMap::new(), start: 0 }
    }

    fn end(&self) -> u64 {
        self.world.shard.high_watermark(self.stream).expect("it is open").0
    }

    /// Appends a batch.
    fn write(&mut self, rng: &mut Rng) {
        let (base, time) = (self.end(), 1_000 + rng.below(60) as i64);
        let deltas: Vec<i8> = (0..rng.between(1, 5)).map(|_| rng.below(20) as i8 - 10).collect();
        let codec = rng.chance(1, 2).then(|| *rng.pick(&CODECS).expect("some"));
        let mut batch = timed(codec, base, time, &deltas);
        batch[12..16].copy_from_slice(&1_i32.to_be_bytes());
        let mut times: Vec<i64> = deltas.iter().map(|delta| time + i64::from(*delta)).collect();
        let latest = times.iter().copied().max().expect("some");
        if rng.chance(1, 6) {
            batch[22] |= 1 << 3;
            seal(&mut batch);
            times.fill(latest);
        }
        self.records.extend((base..).zip(times));
        let end = Offset(base + deltas.len() as u64);
        self.world.append(
            "orders",
            Appended {
                stream: self.stream,
                epoch: StreamEpoch(1),
                base: Offset(base),
                end,
                max_timestamp: WallTime(latest),
                batch: batch.into(),
            },
        );
    }

    /// Everything since the last cut goes into an object.
    pub(super) fn cut(&mut self, data_block: u32) {
        self.cuts += 1;
        let lsn = Lsn(self.cuts * 100);
        self.world.mail(Mail::Cut(CutMarker { lsn, reason: CutReason::Size }));
        let cut = self.world.cuts.pop_front().expect("a cut");
        let mut objects = Vec::new();
        if !cut.ranges.is_empty() {
            let id = ObjectId(self.cuts);
            let built = build(cut.cluster, id, data_block, &cut.ranges);
            let body = built.body.to_bytes();
            objects.push(CommitObject { id, size: body.len() as u64, ranges: built.ranges });
            self.objects.insert(id, body);
        }
        let (epoch, number) = (NodeEpoch(1), CutNumber(self.cuts));
        self.world.command(Command::Commit(Commit { epoch, recovery: None, number, lsn, objects }));
    }

    fn trim(&mut self, start: u64) {
        self.start = self.start.max(start);
        let (stream, epoch) = (self.stream, StreamEpoch(1));
        self.world.command(Command::TrimStream { stream, epoch, start: Offset(start) });
    }

    fn ask(&mut self, version: i16, times: &[i64]) -> RequestNumber {
        let line = |time: &i64| ListOffsetsPartition::default().with_timestamp(*time);
        let partitions = times.iter().map(line).collect();
        let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(partitions);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        self.world.ask(Api::ListOffsets, version, RequestBody::ListOffsets(request))
    }

    fn answer(&mut self, number: RequestNumber, version: i16) -> (i16, i64, i64, i32) {
        let response: ListOffsetsResponse = self.world.answer(number, version);
        let line = &response.topics[0].partitions[0];
        (line.error_code, line.offset, line.timestamp, line.leader_epoch)
    }

    /// Does one of the things that the shard waits for; `false` if there is none.
    pub(super) fn step(&mut self, rng: &mut Rng) -> bool {
        let jobs = self.world.jobs.len() as u64;
        let all = jobs + self.world.calls.len() as u64;
        if all == 0 {
            return false;
        }
        if rng.below(all) < jobs {
            let (op, job) = self.world.jobs.pop_front().expect("counted");
            self.world.computed(op, job.run());
        } else {
            let (op, call) = self.world.calls.pop_front().expect("counted");
            let result = self.get(&call);
            self.world.stored(op, result);
        }
        true
    }

    fn get(&self, call: &StoreCall) -> StoreResult {
        let StoreOp::Get { key, span } = &call.op else { panic!("a shard only reads: {call:?}") };
        let whole = self.objects.get(&parse_key(key).expect("an object")).ok_or(StoreError::Missing)?;
        let total = whole.len() as u64;
        let (from, to) = match *span {
            Span::Whole => (0, total),
            Span::Range { at, len } => (at, at + len),
            Span::Last { len } => (total.saturating_sub(len), total),
        };
        let body = whole.slice(from as usize..to as usize).into();
        Ok(StoreDone::Got { body, etag: ETag(String::new()), total })
    }

    /// What a log of these records answers.
    fn expected(&self, time: i64) -> (i16, i64, i64, i32) {
        let readable = || self.records.range(self.start..).map(|(offset, time)| (*offset as i64, *time));
        let least = if time == -3 { readable().map(|(_, time)| time).max() } else { Some(time) };
        let found = least.and_then(|least| readable().find(|(_, time)| *time >= least));
        found.map_or((0, -1, -1, -1), |(offset, time)| (0, offset, time, 1))
    }
}

pub(super) fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("orders"))
}

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        compute_inline: rng.below(200) as u32,
        log_cache: *rng.pick(&[0, 300, 1 << 20]).expect("some"),
        block_cache: *rng.pick(&[0, 0, 300, 1 << 20]).expect("some"),
        // Where blocks and batches are usually small, some turn out to be large.
        batch: *rng.pick(&[200, 1 << 20]).expect("some"),
        data_block: 30,
        wal_block: 100,
        ..Limits::default()
    }
}

#[test]
fn every_time_is_answered_to_the_record_wherever_that_is() {
    let (mut from_objects, mut jobs) = (0, 0);
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let mut partition = Partition::new(&limits(&mut rng));
        let data_block = rng.between(1, 500) as u32;
        for _ in 0..rng.between(0, 14) {
            for _ in 0..rng.between(1, 5) {
                partition.write(&mut rng);
            }
            if rng.chance(2, 3) {
                partition.cut(data_block);
            }
            if rng.chance(1, 5) {
                partition.trim(rng.below(partition.end() + 1));
            }
        }
        for time in [0, -3].into_iter().chain(985..1_075) {
            let expected = partition.expected(time);
            let number = partition.ask(7, &[time]);
            while !partition.world.is_answered(number) {
                from_objects += partition.world.calls.len();
                jobs += partition.world.jobs.len();
                assert!(partition.step(&mut rng), "the shard waits for something");
            }
            assert_eq!(partition.answer(number, 7), expected, "time {time} with seed {seed}");
        }
        assert!(partition.world.shard.is_quiescent() && partition.world.credit_is_back());
    }
    assert!(from_objects > 1_000 && jobs > 1_000, "{from_objects} reads, {jobs} jobs");
}

#[test]
fn every_version_has_the_times_that_kafka_gave_it() {
    let mut rng = Rng::new(1);
    let mut partition = Partition::new(&Limits::default());
    (0..5).for_each(|_| partition.write(&mut rng));
    partition.trim(1);
    let end = partition.end() as i64;
    for version in 1..=10 {
        let epoch = if version >= 4 { 1 } else { -1 };
        let unsupported = (35, -1, -1, -1);
        let expected = [
            (-1, 1, (0, end, -1, epoch)),
            (-2, 1, (0, 1, -1, epoch)),
            (-3, 7, partition.expected(-3)),
            (-4, 8, (0, 1, -1, epoch)),
            (-5, 9, (0, -1, -1, -1)),
            (-6, i16::MAX, unsupported),
            (i64::MIN, i16::MAX, unsupported),
            (i64::MAX, 1, (0, -1, -1, -1)),
        ];
        for (time, since, expected) in expected {
            let number = partition.ask(version, &[time]);
            let expected = if version >= since { expected } else { unsupported };
            assert_eq!(partition.answer(number, version), expected, "{time} in version {version}");
        }
    }
}

#[test]
fn a_partition_that_is_named_twice_is_refused() {
    let mut partition = Partition::new(&Limits::default());
    let number = partition.ask(5, &[-1, 0]);
    let response: ListOffsetsResponse = partition.world.answer(number, 5);
    let codes: Vec<i16> = response.topics[0].partitions.iter().map(|line| line.error_code).collect();
    assert_eq!(codes, [42, 42]);
}

/// A partition all of whose records are in objects, the first of which a search for the latest reads.
fn in_objects() -> Partition {
    let mut rng = Rng::new(3);
    let mut partition = Partition::new(&Limits {
        log_cache: 0,
        compute_inline: 0,
        retention_check: Duration::MAX,
        ..Limits::default()
    });
    for _ in 0..3 {
        partition.write(&mut rng);
        partition.cut(100);
    }
    partition
}

#[test]
fn a_search_whose_time_is_up_is_answered_and_gives_everything_back() {
    let mut partition = in_objects();
    let number = partition.ask(7, &[0]);
    assert!(!partition.world.is_answered(number) && !partition.world.credit_is_back());
    partition.world.pass(Duration::from_secs(3_600));
    assert_eq!(partition.answer(number, 7), (7, -1, -1, -1));
    assert!(partition.world.credit_is_back());
    // The call that was out comes back to nobody.
    while partition.step(&mut Rng::new(1)) {}
    assert!(partition.world.shard.is_quiescent() && partition.world.credit_is_back());
}

#[test]
fn a_search_for_a_connection_that_is_gone_holds_its_credit_until_its_job_is_back() {
    let mut partition = in_objects();
    partition.ask(7, &[0]);
    while partition.world.jobs.is_empty() {
        assert!(partition.step(&mut Rng::new(1)));
    }
    partition.world.mail(Mail::Closed(CONN));
    assert!(!partition.world.shard.is_quiescent() && !partition.world.shard.credit_is_whole());
    assert!(partition.step(&mut Rng::new(1)));
    assert!(partition.world.shard.is_quiescent() && partition.world.shard.credit_is_whole());
    assert_eq!(partition.world.answers.len(), 0);
}

#[test]
fn an_object_that_is_gone_is_looked_for_again_but_not_for_ever() {
    let mut partition = in_objects();
    let objects = core::mem::take(&mut partition.objects);
    let number = partition.ask(7, &[0]);
    assert!(partition.step(&mut Rng::new(1)), "the object is missing");
    partition.objects = objects;
    while partition.step(&mut Rng::new(1)) {}
    assert_eq!(partition.answer(number, 7), partition.expected(0));
    partition.objects.clear();
    let number = partition.ask(7, &[-3]);
    while partition.step(&mut Rng::new(1)) {}
    assert_eq!(partition.answer(number, 7), (56, -1, -1, -1));
    assert!(partition.world.shard.is_quiescent() && partition.world.credit_is_back());
}
