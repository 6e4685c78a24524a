//! One thread through everything, in the smallest world there is: no faults, no network, a disk and a bucket that
//! answer at once. The simulated world does this with faults; here the order of things can be read.

mod world;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, ProduceResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use karst_core::id::{ClusterId, ConnId, TopicId, WalUuid};
use karst_core::kafka::{Acks, Api, CheckedBatch, Produce, ProducePartition, ProduceTopic, Request, RequestBody};
use karst_core::machine::{Payload, Rope};
use karst_core::mail::Halt;
use karst_core::node::Purpose;
use karst_core::session::Answer;
use karst_core::wal::object::format::SEAL_LEN;
use std::time::Duration;
use world::{Storage, World};

#[test]
fn records_survive_a_crash_a_clean_stop_and_both() {
    survive(Storage::new(1 << 20));
}

#[test]
fn without_a_disk_they_survive_as_well() {
    survive(Storage::new(0));
}

fn survive(mut storage: Storage) {
    let mut next = 0;
    for crash in [true, true, false, true, false, false] {
        let mut world = World::start(storage);
        if next == 0 {
            create_topic(&mut world);
        }
        assert_eq!(fetch_all(&mut world), expected(next));
        for _ in 0..40 {
            assert_eq!(produce(&mut world, next), i64::from(next));
            next += 1;
        }
        assert_eq!(fetch_all(&mut world), expected(next));
        storage = if crash { world.crash() } else { world.stop() };
    }
    let world = World::start(storage);
    assert!(world.committed_objects() > 0, "nothing ever reached the bucket");
}

#[test]
fn of_wals_in_the_bucket_only_seals_are_left() {
    let mut storage = Storage::new(0);
    for life in 0..4 {
        let mut world = World::start(storage);
        if life == 0 {
            create_topic(&mut world);
        }
        for number in 0..10 {
            produce(&mut world, 10 * life + number);
        }
        storage = world.crash();
        assert_eq!(storage.wal_objects().len(), 10 + life as usize, "what it has acknowledged, and seals");
    }
    let mut world = World::start(storage);
    assert_eq!(fetch_all(&mut world), expected(40));
    produce(&mut world, 40);
    world.pass(Duration::from_secs(120));
    assert_eq!(fetch_all(&mut world), expected(41));
    let storage = world.stop();
    assert_eq!(storage.wal_objects(), [SEAL_LEN; 4]);
    let mut world = World::start(storage);
    assert_eq!(fetch_all(&mut world), expected(41));
}

#[test]
fn a_wal_is_read_back_only_by_who_has_it() {
    // From the bucket to a disk: only after a stop in order.
    let mut world = World::start(Storage::new(0));
    create_topic(&mut world);
    produce(&mut world, 0);
    let mut storage = world.crash();
    storage.disk = vec![0; 1 << 20];
    let (halt, mut storage) = World::refuse(storage);
    assert!(matches!(&halt, Halt::WalRefused(why) if why.contains("in the bucket")), "{halt:?}");
    let blank = std::mem::take(&mut storage.disk);
    let mut world = World::start(storage);
    assert_eq!(fetch_all(&mut world), expected(1));
    produce(&mut world, 1);
    let mut storage = world.stop();
    storage.disk = blank;
    let mut world = World::start(storage);
    assert_eq!(fetch_all(&mut world), expected(2));
    // And back.
    produce(&mut world, 2);
    let mut storage = world.crash();
    let disk = std::mem::take(&mut storage.disk);
    let (halt, mut storage) = World::refuse(storage);
    assert!(matches!(&halt, Halt::WalRefused(why) if why.contains("not the one on this disk")), "{halt:?}");
    storage.disk = disk;
    let world = World::start(storage);
    let mut storage = world.stop();
    storage.disk.clear();
    let mut world = World::start(storage);
    assert_eq!(fetch_all(&mut world), expected(3));
}

#[test]
fn a_damaged_wal_in_the_bucket_is_refused_until_it_is_given_up() {
    let mut world = World::start(Storage::new(0));
    create_topic(&mut world);
    produce(&mut world, 0);
    let cluster = world.cluster();
    let mut storage = world.crash();
    storage.damage_wal_object();
    let (halt, storage) = World::refuse(storage);
    let Halt::WalRefused(why) = halt else { panic!("{halt:?}") };
    let name = why.split("the WAL ").nth(1).and_then(|rest| rest.split(',').next()).expect("it names the WAL");
    let wal = WalUuid::parse(name).expect("its name");
    let (halt, storage) = World::end_of(storage, Purpose::GiveUp { cluster, wal });
    assert_eq!(halt, Halt::GivenUp);
    let mut world = World::start(storage);
    assert_eq!(fetch_all(&mut world), expected(0));
    world.pass(Duration::from_secs(120));
    assert_eq!(world.stop().wal_objects(), [], "what was given up goes");
}

#[test]
fn an_idle_broker_cuts_by_age_and_trims_its_wal() {
    let mut world = World::start(Storage::new(1 << 20));
    create_topic(&mut world);
    produce(&mut world, 0);
    assert_eq!(world.committed_objects(), 0);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.committed_objects(), 1);
    assert_eq!(fetch_all(&mut world), expected(1));
}

#[test]
fn a_broker_that_lost_its_bucket_changes_nothing() {
    for clean in [false, true] {
        let mut world = World::start(Storage::new(1 << 20));
        create_topic(&mut world);
        produce(&mut world, 0);
        let left = if clean { world.stop() } else { world.crash() };

        let lost = left.clone().with_bucket_of(&Storage::new(1 << 20));
        let (halt, after) = World::refuse(lost.clone());
        assert!(matches!(&halt, Halt::Bucket(why) if why.contains("the bucket is empty")), "{halt:?}");
        assert!(after.holds_what(&lost), "the bucket or the WAL was changed");

        let mut world = World::start(after.with_bucket_of(&left));
        assert_eq!(fetch_all(&mut world), expected(1));
    }
}

#[test]
fn a_broker_with_the_wal_of_another_cluster_changes_nothing() {
    let ours = World::start(Storage::new(1 << 20)).crash();
    let theirs = World::start(Storage::another(1 << 20)).crash();
    let mixed = ours.with_bucket_of(&theirs);
    let (halt, after) = World::refuse(mixed.clone());
    assert!(matches!(&halt, Halt::WalRefused(why) if why.contains("belong together")), "{halt:?}");
    assert!(after.holds_what(&mixed), "the bucket or the WAL was changed");
}

#[test]
fn a_lost_wal_is_given_up_by_the_name_that_the_refusal_tells() {
    let mut world = World::start(Storage::new(1 << 20));
    create_topic(&mut world);
    produce(&mut world, 0);
    world.pass(Duration::from_secs(60));
    assert_eq!((produce(&mut world, 1), world.committed_objects()), (1, 1), "the second is in the WAL only");
    let cluster = world.cluster();
    let left = world.crash();
    let lost = left.clone().with_disk_of(&Storage::new(1 << 20));
    let (halt, lost) = World::refuse(lost);
    let Halt::WalRefused(why) = halt else { panic!("{halt:?}") };
    let (_, name) = why.split_once("karst wal give-up ").expect("it says what can be done");
    let wal = WalUuid::parse(name).expect("it names the WAL");

    let refused = |storage: Storage, cluster, wal, why: &str| {
        let (halt, after) = World::end_of(storage.clone(), Purpose::GiveUp { cluster, wal });
        match &halt {
            Halt::WalRefused(said) | Halt::Bucket(said) if said.contains(why) => {}
            _ => panic!("not refused since {why:?}: {halt:?}"),
        }
        (storage, after)
    };
    refused(lost.clone(), cluster, WalUuid([7; 16]), name);
    refused(left.clone(), cluster, wal, "start the broker");
    let (before, after) = refused(Storage::new(1 << 20), cluster, wal, "the bucket is empty");
    assert!(after.holds_what(&before), "an empty bucket is not initialised");
    let (before, after) = refused(lost.clone(), ClusterId([7; 16]), wal, "belong together");
    assert!(after.holds_what(&before), "another cluster's bucket is not changed");

    let (halt, given_up) = World::end_of(lost, Purpose::GiveUp { cluster, wal });
    assert_eq!(halt, Halt::GivenUp);
    refused(given_up.clone(), cluster, wal, "was given up before");
    let mut world = World::start(given_up);
    assert_eq!(fetch_all(&mut world), expected(1));
    assert_eq!(produce(&mut world, 1), 1, "the offset is given again");
    world = World::start(world.crash());
    assert_eq!(fetch_all(&mut world), expected(2));
}

fn create_topic(world: &mut World) {
    let topic = CreatableTopic::default().with_name(name()).with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
    let answer = ask(world, Api::CreateTopics, 5, RequestBody::CreateTopics(request));
    let response: CreateTopicsResponse = decode(answer, 5);
    assert_eq!(response.topics[0].error_code, 0);
}

fn produce(world: &mut World, value: u32) -> i64 {
    let records = CheckedBatch::check(&batch(value));
    let partition = ProducePartition { index: 0, records };
    let topic = ProduceTopic { name: Some(name().0), id: TopicId([0; 16]), partitions: vec![partition] };
    let request = Produce { acks: Acks::All, timeout: Duration::from_secs(1), topics: vec![topic] };
    let response: ProduceResponse = decode(ask(world, Api::Produce, 9, RequestBody::Produce(request)), 9);
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0);
    partition.base_offset
}

/// The values of all records, each checked to lie at its offset.
fn fetch_all(world: &mut World) -> Vec<u32> {
    let mut values = Vec::new();
    loop {
        let partition = FetchPartition::default().with_fetch_offset(values.len() as i64).with_partition_max_bytes(300);
        let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![partition]);
        let request = FetchRequest::default().with_max_bytes(10_000).with_topics(vec![topic]);
        let response: FetchResponse = decode(ask(world, Api::Fetch, 12, RequestBody::Fetch(Box::new(request))), 12);
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let mut records = partition.records.clone().unwrap_or_default();
        if records.is_empty() {
            assert_eq!(partition.high_watermark, values.len() as i64);
            return values;
        }
        while !records.is_empty() {
            let one = records.split_to(batch(0).len());
            assert_eq!(i64::from_be_bytes(one[..8].try_into().unwrap()), values.len() as i64);
            values.push(u32::from_be_bytes(one[67..71].try_into().unwrap()));
        }
    }
}

fn expected(count: u32) -> Vec<u32> {
    (0..count).collect()
}

fn ask(world: &mut World, api: Api, version: i16, body: RequestBody) -> Rope {
    match world.ask(ConnId(1), Request { api, version, frame: Payload::default(), body }) {
        Answer::Body(body) | Answer::Paid(body, _) => body,
        other => panic!("not answered: {other:?}"),
    }
}

fn decode<T: Decodable>(answer: Rope, version: i16) -> T {
    T::decode(&mut answer.to_bytes(), version).expect("answers decode")
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("orders"))
}

/// A batch of one record without key, whose value is that number.
fn batch(value: u32) -> Bytes {
    let mut covered = BytesMut::new();
    covered.put_i16(0);
    covered.put_i32(0);
    covered.put_i64(1_000);
    covered.put_i64(1_000);
    covered.put_i64(-1);
    covered.put_i16(-1);
    covered.put_i32(-1);
    covered.put_u32(1);
    // Length, attributes, timestamp, offset, null key, value length, value, no headers; varints are zig-zag.
    covered.put_slice(&[20, 0, 0, 0, 1, 8]);
    covered.put_u32(value);
    covered.put_slice(&[0]);
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(covered.len() as i32 + 9);
    batch.put_i32(-1);
    batch.put_u8(2);
    batch.put_u32(crc32c::crc32c(&covered));
    batch.put_slice(&covered);
    batch.freeze()
}
