//! Batches that their topic wants in another codec.

use super::world::{CONN, World};
use crate::id::ConnId;
use crate::kafka::batch::tests::{CODECS, batch, compressed, records, seal};
use crate::kafka::batch::{HEADER, crc_matches};
use crate::kafka::{Acks, Api, BatchHeader, CheckedBatch, Codec, Produce, ProducePartition, ProduceTopic, RequestBody};
use crate::limits::Limits;
use crate::machine::Payload;
use crate::metadata::{Command, CompressionType, ConfigPatch, TopicConfigs};
use crate::session::RequestNumber;
use crate::shard::Mail;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

/// Records of a batch: it is 341 bytes long, uncompressed, and tells its number by its time.
const COUNT: u8 = 40;

/// A world whose topic has two partitions and wants that codec.
fn world(limits: Limits, into: CompressionType) -> World {
    let mut world = World::new(&limits);
    world.topic("orders", 2);
    want(&mut world, into);
    world.mail(Mail::Granted(1 << 20));
    world
}

fn want(world: &mut World, into: CompressionType) {
    let set = TopicConfigs { compression_type: Some(into), ..TopicConfigs::default() };
    let patch = ConfigPatch { set, ..ConfigPatch::default() };
    let id = world.id_of("orders");
    world.command(Command::ConfigureTopic { id, patch });
}

/// Nothing is done at once.
fn by_jobs() -> Limits {
    Limits { compute_inline: 1, ..Limits::default() }
}

/// A batch of that number.
fn numbered(codec: Codec, number: i64) -> Vec<u8> {
    let content = records(COUNT);
    let mut bytes = match codec {
        Codec::None => batch(COUNT.into(), &content),
        codec => compressed(codec, COUNT.into(), &content),
    };
    bytes[27..35].copy_from_slice(&number.to_be_bytes());
    bytes[35..43].copy_from_slice(&number.to_be_bytes());
    seal(&mut bytes);
    bytes
}

fn send(world: &mut World, conn: ConnId, partition: i32, bytes: Vec<u8>) -> RequestNumber {
    let mut checked = CheckedBatch::check(&bytes.into()).expect("a sound batch");
    checked.facts = checked.check_records(1 << 20).expect("sound records");
    let partitions = vec![ProducePartition { index: partition, records: Ok(checked) }];
    let name = Some(StrBytes::from_static_str("orders"));
    let topics = vec![ProduceTopic { name, id: Default::default(), partitions }];
    let produce = Produce { acks: Acks::All, timeout: Duration::from_secs(1), topics };
    world.ask_as(conn, Api::Produce, 9, RequestBody::Produce(produce))
}

/// The next job comes back.
fn compute(world: &mut World) {
    let (op, job) = world.jobs.pop_front().expect("a job is out");
    let outcome = job.run();
    world.computed(op, outcome);
}

fn code(world: &mut World, number: RequestNumber) -> i16 {
    let response: ProduceResponse = world.answer(number, 9);
    response.responses[0].partition_responses[0].error_code
}

/// Codec and number of a batch that went to the WAL.
fn told(batch: &Payload) -> (Codec, i64) {
    let header = BatchHeader::parse(batch).expect("a batch");
    assert!(crc_matches(batch) && header.record_count() == COUNT.into());
    (header.attributes.codec().expect("a codec"), header.max_timestamp)
}

/// All that went to the WAL since, in order.
fn written(world: &mut World) -> Vec<(Codec, i64)> {
    core::iter::from_fn(|| world.write_out()).map(|batch| told(&batch)).collect()
}

#[test]
fn what_is_small_is_stored_in_its_topics_codec_at_once() {
    for (into, codec) in [
        (CompressionType::Uncompressed, Codec::None),
        (CompressionType::Gzip, Codec::Gzip),
        (CompressionType::Snappy, Codec::Snappy),
        (CompressionType::Lz4, Codec::Lz4),
        (CompressionType::Zstd, Codec::Zstd),
    ] {
        let mut world = world(Limits::default(), into);
        for (number, from) in (1..).zip([Codec::None].into_iter().chain(CODECS)) {
            let sent = numbered(from, number);
            let asked = send(&mut world, CONN, 0, sent.clone());
            let stored = world.write_out().expect("it is taken");
            assert_eq!((told(&stored), code(&mut world, asked)), ((codec, number), 0), "{from:?} to {into:?}");
            assert_eq!(stored[..] == sent[..], from == codec, "what has the codec already stays as it came");
            assert_eq!(stored[HEADER - 18..HEADER], sent[HEADER - 18..HEADER], "producer, sequence and count stay");
        }
        assert!(world.shard.is_quiescent());
        want(&mut world, CompressionType::Producer);
        let sent = numbered(Codec::Lz4, 9);
        send(&mut world, CONN, 0, sent.clone());
        assert_eq!(world.write_out().expect("it is taken")[..], sent[..]);
    }
}

#[test]
fn a_partitions_batches_keep_their_order_and_no_other_waits() {
    let mut world = world(by_jobs(), CompressionType::Zstd);
    for (number, (partition, codec)) in
        (1..).zip([(0, Codec::None), (0, Codec::Zstd), (0, Codec::Gzip), (0, Codec::Zstd), (1, Codec::Zstd)])
    {
        send(&mut world, CONN, partition, numbered(codec, number));
    }
    assert_eq!(written(&mut world), [(Codec::Zstd, 5)], "of the other partition");
    assert_eq!(world.jobs.len(), 1, "one of a partition at a time");
    send(&mut world, CONN, 1, numbered(Codec::Lz4, 6));
    assert_eq!(world.jobs.len(), 2);
    world.jobs.swap(0, 1);
    compute(&mut world);
    assert_eq!(written(&mut world), [(Codec::Zstd, 6)], "jobs come back as they like");
    compute(&mut world);
    assert_eq!(written(&mut world), [(Codec::Zstd, 1), (Codec::Zstd, 2)], "the third has its job now");
    want(&mut world, CompressionType::Producer);
    send(&mut world, CONN, 0, numbered(Codec::Lz4, 7));
    assert_eq!(written(&mut world), []);
    compute(&mut world);
    assert_eq!(written(&mut world), [(Codec::Zstd, 3), (Codec::Zstd, 4), (Codec::Lz4, 7)], "as wanted when they came");
    assert!(world.jobs.is_empty() && world.shard.is_quiescent());
}

#[test]
fn what_is_too_large_in_its_topics_codec_is_refused() {
    for limits in [by_jobs(), Limits::default()] {
        let mut world = world(limits, CompressionType::Uncompressed);
        let id = world.id_of("orders");
        let largest = numbered(Codec::None, 1).len() as i64;
        for (most, expected) in [(largest, 0), (largest - 1, 10)] {
            let set = TopicConfigs { max_message_bytes: Some(crate::metadata::ByteLimit(most)), ..Default::default() };
            world.command(Command::ConfigureTopic { id, patch: ConfigPatch { set, ..ConfigPatch::default() } });
            let asked = send(&mut world, CONN, 0, numbered(Codec::Gzip, 1));
            let behind = send(&mut world, CONN, 0, numbered(Codec::None, 2));
            if !world.jobs.is_empty() {
                compute(&mut world);
            }
            let stored = written(&mut world);
            assert_eq!(code(&mut world, asked), expected);
            assert_eq!(code(&mut world, behind), if expected == 0 { 0 } else { 10 });
            assert_eq!(stored.len(), if expected == 0 { 2 } else { 0 });
        }
        assert!(world.shard.is_quiescent());
    }
}

#[test]
fn there_is_room_for_so_much_and_for_one_in_any_case() {
    // A job's copy, and what it may make: three times 341 bytes and a KiB.
    let mut world = world(Limits { recompression: 4_000, ..by_jobs() }, CompressionType::Gzip);
    for partition in [0, 1, 0, 1] {
        send(&mut world, CONN, partition, numbered(Codec::None, partition.into()));
    }
    assert_eq!(world.jobs.len(), 2, "one of each");
    let mut crowded = self::world(Limits { recompression: 10, ..by_jobs() }, CompressionType::Gzip);
    for partition in [0, 1, 1, 0] {
        send(&mut crowded, CONN, partition, numbered(Codec::None, partition.into()));
    }
    let mut order = Vec::new();
    while !crowded.jobs.is_empty() {
        assert_eq!(crowded.jobs.len(), 1, "one at a time");
        compute(&mut crowded);
        order.extend(written(&mut crowded).into_iter().map(|(_, number)| number));
    }
    assert_eq!(order, [0, 1, 0, 1], "lines take turns");
    assert!(crowded.shard.is_quiescent());
}

#[test]
fn what_was_made_takes_room_until_the_wal_has_it() {
    let mut world = World::new(&Limits { recompression: 10, ..by_jobs() });
    world.topic("orders", 2);
    want(&mut world, CompressionType::Gzip);
    send(&mut world, CONN, 0, numbered(Codec::None, 1));
    send(&mut world, CONN, 1, numbered(Codec::None, 2));
    compute(&mut world);
    assert!(world.jobs.is_empty() && written(&mut world).is_empty(), "the WAL has granted nothing");
    world.mail(Mail::Granted(1 << 20));
    assert_eq!(written(&mut world), [(Codec::Gzip, 1)]);
    compute(&mut world);
    assert_eq!(written(&mut world), [(Codec::Gzip, 2)]);
}

#[test]
fn what_nobody_waits_for_any_more_is_not_appended() {
    const OTHER: ConnId = ConnId(2);
    let mut world = world(by_jobs(), CompressionType::Gzip);
    world.mail(Mail::Opened(OTHER, crate::shard::Arrival::default()));
    send(&mut world, OTHER, 0, numbered(Codec::None, 1));
    send(&mut world, OTHER, 0, numbered(Codec::Gzip, 2));
    let kept = send(&mut world, CONN, 0, numbered(Codec::Gzip, 3));
    send(&mut world, OTHER, 0, numbered(Codec::None, 4));
    world.mail(Mail::Closed(OTHER));
    assert_eq!(written(&mut world), [], "behind a job that is out still");
    compute(&mut world);
    assert_eq!((written(&mut world), code(&mut world, kept)), (vec![(Codec::Gzip, 3)], 0));
    assert!(world.jobs.is_empty() && world.shard.is_quiescent());

    let late = send(&mut world, CONN, 0, numbered(Codec::None, 5));
    world.pass(Duration::from_millis(500));
    let next = send(&mut world, CONN, 0, numbered(Codec::Zstd, 6));
    world.pass(Duration::from_millis(500));
    assert_eq!(code(&mut world, late), 7);
    compute(&mut world);
    compute(&mut world);
    assert_eq!((written(&mut world), code(&mut world, next)), (vec![(Codec::Gzip, 6)], 0));
    assert!(world.shard.is_quiescent());
}

#[test]
fn a_stop_waits_for_jobs_and_a_failed_wal_does_not() {
    let mut draining = world(by_jobs(), CompressionType::Gzip);
    send(&mut draining, CONN, 0, numbered(Codec::None, 1));
    draining.mail(Mail::Drain);
    compute(&mut draining);
    assert_eq!(written(&mut draining), [(Codec::Gzip, 1)]);

    let mut poisoned = world(by_jobs(), CompressionType::Gzip);
    let first = send(&mut poisoned, CONN, 0, numbered(Codec::None, 1));
    let second = send(&mut poisoned, CONN, 0, numbered(Codec::None, 2));
    poisoned.mail(Mail::WalPoisoned);
    assert_eq!((code(&mut poisoned, first), code(&mut poisoned, second)), (6, 6));
    compute(&mut poisoned);
    assert_eq!(written(&mut poisoned), []);
    assert!(poisoned.shard.is_quiescent());
}

#[test]
fn old_versions_of_fetch_are_refused_what_is_stored_by_zstandard() {
    let mut world = world(Limits::default(), CompressionType::Zstd);
    for (wanted, refused) in [(CompressionType::Zstd, 76), (CompressionType::Lz4, 0)] {
        want(&mut world, wanted);
        for version in 4..=12 {
            let partition = FetchPartition::default().with_partition_max_bytes(1_000);
            let topic = FetchTopic::default()
                .with_topic(TopicName(StrBytes::from_static_str("orders")))
                .with_partitions(vec![partition]);
            let request = FetchRequest::default().with_max_bytes(1_000).with_topics(vec![topic]);
            let asked = world.ask(Api::Fetch, version, RequestBody::Fetch(Box::new(request)));
            let response: FetchResponse = world.answer(asked, version);
            let expected = if version < 10 { refused } else { 0 };
            assert_eq!(response.responses[0].partitions[0].error_code, expected, "version {version}");
        }
    }
}
