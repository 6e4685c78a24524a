//! Configs of topics and of the broker: set, told, changed, and what they make of records.

use super::world::World;
use crate::kafka::batch::tests::{batch, records};
use crate::kafka::{
    Acks, Api, BatchHeader, BatchTime, CheckedBatch, Produce, ProducePartition, ProduceTopic, RequestBody,
};
use crate::limits::Limits;
use crate::machine::Payload;
use crate::metadata::{ByteLimit, Command, ConfigName, ConfigPatch, TopicConfigs};
use crate::session::RequestNumber;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, CreateTopicsRequest, CreateTopicsResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ProduceResponse,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn world() -> World {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 1);
    world
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn create(world: &mut World, version: i16, configs: &[(&str, Option<&str>)], validate_only: bool) -> RequestNumber {
    let config = |(name, value): &(&str, Option<&str>)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text))
    };
    let topic = CreatableTopic::default()
        .with_name(TopicName(text("made")))
        .with_num_partitions(1)
        .with_replication_factor(3)
        .with_configs(configs.iter().map(config).collect());
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(1_000)
        .with_validate_only(validate_only);
    world.ask(Api::CreateTopics, version, RequestBody::CreateTopics(request))
}

/// Name, value and source of everything in the answer to a question about a resource; or its error.
fn describe(world: &mut World, resource: (i8, &str)) -> Result<Told, (i16, String)> {
    describe_some(world, 4, resource, None)
}

fn describe_some(
    world: &mut World,
    version: i16,
    (kind, name): (i8, &str),
    keys: Option<&[&str]>,
) -> Result<Told, (i16, String)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource.clone(), resource])
        .with_include_synonyms(true)
        .with_include_documentation(version >= 3);
    let number = world.ask(Api::DescribeConfigs, version, RequestBody::DescribeConfigs(request));
    let response: DescribeConfigsResponse = world.answer(number, version);
    assert_eq!(response.results.len(), 1, "a resource is told once");
    let result = &response.results[0];
    assert_eq!((result.resource_type, result.resource_name.as_str()), (kind, name));
    if result.error_code != 0 {
        assert!(result.configs.is_empty());
        return Err((result.error_code, result.error_message.as_ref().map(ToString::to_string).unwrap_or_default()));
    }
    let line = |config: &kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult| {
        let first = config.synonyms.first().map(|first| first.source);
        assert!(first == Some(config.config_source) || (first.is_none() && config.config_source == 5));
        assert_eq!(config.documentation.as_ref().is_some_and(|text| !text.is_empty()), version >= 3);
        assert_eq!(config.config_type != 0, version >= 3);
        assert_eq!(config.read_only, kind == BROKER);
        (
            config.name.to_string(),
            config.value.as_ref().map(ToString::to_string).unwrap_or_default(),
            config.config_source,
        )
    };
    Ok(result.configs.iter().map(line).collect())
}

/// What is set for a topic.
fn set_of(world: &mut World, topic: &str) -> Vec<(String, String)> {
    let all = describe(world, (TOPIC, topic)).expect("it is there");
    assert_eq!(all.len(), ConfigName::COUNT);
    all.into_iter().filter(|(_, _, source)| *source == 1).map(|(name, value, _)| (name, value)).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// Name, value and source of configs.
type Told = Vec<(String, String, i8)>;

type Line<'a> = (&'a str, i8, Option<&'a str>);

fn change(world: &mut World, (kind, name): (i8, &str), lines: &[Line<'_>], validate_only: bool) -> RequestNumber {
    let config = |(name, operation, value): &Line<'_>| {
        incremental::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(lines.iter().map(config).collect());
    let request =
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(validate_only);
    world.ask(Api::IncrementalAlterConfigs, 1, RequestBody::IncrementalAlterConfigs(request))
}

fn changed(world: &mut World, number: RequestNumber) -> (i16, String) {
    let response: IncrementalAlterConfigsResponse = world.answer(number, 1);
    let line = &response.responses[0];
    (line.error_code, line.error_message.as_ref().map(ToString::to_string).unwrap_or_default())
}

fn replace(world: &mut World, version: i16, resources: &[&str], configs: &[(&str, Option<&str>)]) -> RequestNumber {
    let config = |(name, value): &(&str, Option<&str>)| {
        AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
    };
    let resource = |name: &&str| {
        AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_configs(configs.iter().map(config).collect())
    };
    let request = AlterConfigsRequest::default().with_resources(resources.iter().map(resource).collect());
    world.ask(Api::AlterConfigs, version, RequestBody::AlterConfigs(request))
}

fn replaced(world: &mut World, number: RequestNumber, version: i16) -> Vec<i16> {
    let response: AlterConfigsResponse = world.answer(number, version);
    response.responses.iter().map(|line| line.error_code).collect()
}

#[test]
fn a_topic_is_created_with_configs_and_tells_them() {
    for version in 2..=7 {
        let mut world = world();
        let configs = [("retention.ms", Some("5")), ("cleanup.policy", Some("compact")), ("retention.ms", Some("7"))];
        let number = create(&mut world, version, &configs, false);
        assert_eq!(world.answers.len(), 0, "not before it is durable");
        world.decide();
        let response: CreateTopicsResponse = world.answer(number, version);
        let topic = &response.topics[0];
        assert_eq!(topic.error_code, 0);
        let told = topic.configs.iter().flatten().filter(|config| config.config_source == 1).count();
        let all = topic.configs.iter().flatten().count();
        assert_eq!((told, all), if version >= 5 { (2, ConfigName::COUNT) } else { (0, 0) });
        let expected = owned(&[("cleanup.policy", "compact"), ("retention.ms", "7")]);
        assert_eq!(set_of(&mut world, "made"), expected);
    }
}

#[test]
fn a_topic_with_configs_that_can_not_be_is_not_created() {
    for (name, value, why) in [
        ("segment.size", Some("1"), "Unknown topic config name: segment.size"),
        ("segment.bytes", Some("1"), "Value must be at least 14"),
        ("retention.ms", None, "Null value not supported for topic configs: retention.ms"),
        ("retention.ms", Some("-2"), "Value must be at least -1"),
        ("max.message.bytes", Some("134217729"), "no more than 134217728"),
    ] {
        let mut world = world();
        for validate_only in [false, true] {
            let number = create(&mut world, 7, &[(name, value)], validate_only);
            let response: CreateTopicsResponse = world.answer(number, 7);
            assert_eq!(response.topics[0].error_code, 40);
            let said = response.topics[0].error_message.clone().expect("a reason");
            assert!(said.contains(why), "{said}");
        }
        assert_eq!(world.commands(), 0);
    }
    let mut world = world();
    let rehearsed = create(&mut world, 7, &[("retention.bytes", Some("9"))], true);
    let response: CreateTopicsResponse = world.answer(rehearsed, 7);
    assert_eq!((response.topics[0].error_code, world.commands()), (0, 0));
    assert_eq!(response.topics[0].configs.iter().flatten().filter(|config| config.config_source == 1).count(), 1);
}

#[test]
fn changes_are_applied_one_after_the_other_and_told_when_durable() {
    let mut world = world();
    let first = change(&mut world, (TOPIC, "orders"), &[("retention.ms", SET, Some("5"))], false);
    let lines = [("retention.bytes", SET, Some("9")), ("cleanup.policy", APPEND, Some("compact,delete"))];
    let second = change(&mut world, (TOPIC, "orders"), &lines, false);
    assert_eq!((world.answers.len(), set_of(&mut world, "orders")), (0, owned(&[])));
    world.decide();
    assert_eq!(changed(&mut world, first), (0, String::new()));
    assert_eq!(set_of(&mut world, "orders"), owned(&[("retention.ms", "5")]));
    world.decide();
    assert_eq!(changed(&mut world, second), (0, String::new()));
    let both = owned(&[("cleanup.policy", "compact,delete"), ("retention.bytes", "9"), ("retention.ms", "5")]);
    assert_eq!(set_of(&mut world, "orders"), both);
    let lines =
        [("retention.ms", DELETE, None), ("cleanup.policy", SUBTRACT, Some("delete,whatever")), ("x", DELETE, None)];
    let third = change(&mut world, (TOPIC, "orders"), &lines, false);
    world.decide();
    assert_eq!(changed(&mut world, third), (0, String::new()));
    assert_eq!(set_of(&mut world, "orders"), owned(&[("cleanup.policy", "compact"), ("retention.bytes", "9")]));
    for version in 0..=2 {
        let all = replace(&mut world, version, &["orders"], &[("min.insync.replicas", Some("2"))]);
        world.decide();
        assert_eq!(replaced(&mut world, all, version), [0]);
        assert_eq!(set_of(&mut world, "orders"), owned(&[("min.insync.replicas", "2")]), "the others are gone");
    }
    let rehearsed = change(&mut world, (TOPIC, "orders"), &[("retention.ms", SET, Some("5"))], true);
    assert_eq!((changed(&mut world, rehearsed), world.commands()), ((0, String::new()), 0));
}

#[test]
fn lists_without_effect_grow_and_shrink_all_the_same() {
    const LEADERS: &str = "leader.replication.throttled.replicas";
    let mut world = world();
    let mut list = |operation, value: &str| {
        let number = change(&mut world, (TOPIC, "orders"), &[(LEADERS, operation, Some(value))], false);
        if world.commands() > 0 {
            world.decide();
        }
        let (code, _) = changed(&mut world, number);
        (code, set_of(&mut world, "orders").pop().map(|(_, value)| value).unwrap_or_default())
    };
    assert_eq!(list(APPEND, "0:1,1:1"), (0, "0:1,1:1".into()));
    assert_eq!(list(APPEND, "1:1,2:1,2:1"), (0, "0:1,1:1,2:1".into()), "none twice");
    assert_eq!(list(SUBTRACT, "1:1,7:1,what"), (0, "0:1,2:1".into()), "what is not there is not missed");
    assert_eq!(list(APPEND, "*"), (40, "0:1,2:1".into()), "all, or some");
    assert_eq!(list(APPEND, "x"), (40, "0:1,2:1".into()));
    assert_eq!(list(SUBTRACT, "2:1,0:1"), (0, String::new()));
    assert_eq!(list(SUBTRACT, "*"), (0, String::new()));
    assert_eq!(list(SET, "*"), (0, "*".into()));
    assert_eq!(list(SUBTRACT, &"7:7,".repeat(2_000)).0, 40, "it is not worth a look");
    let followers = ("follower.replication.throttled.replicas", SUBTRACT, Some("1:1"));
    let rehearsed = change(&mut world, (TOPIC, "orders"), &[followers], true);
    assert_eq!(changed(&mut world, rehearsed), (0, String::new()));
}

#[test]
fn changes_that_can_not_be_are_refused_in_kafkas_words() {
    let mut world = world();
    let topic = (TOPIC, "orders");
    for (resource, lines, code, why) in [
        (topic, &[("segment.size", SET, Some("1"))][..], 40, "Unknown topic config name: segment.size"),
        (topic, &[("segment.ms", SET, Some("0"))], 40, "Value must be at least 1"),
        (
            topic,
            &[("max.compaction.lag.ms", SET, Some("5")), ("min.compaction.lag.ms", SET, Some("6"))],
            40,
            "conflict topic config setting min.compaction.lag.ms (6) > max",
        ),
        (
            topic,
            &[("retention.ms", APPEND, Some("1"))],
            40,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (topic, &[("x", SUBTRACT, Some("1"))], 40, "Can't SUBTRACT to key x because its type is not LIST."),
        (topic, &[("cleanup.policy", APPEND, Some("keep"))], 40, "one of: compact, delete"),
        (topic, &[("retention.ms", SET, None)], 42, "Null value not supported for : retention.ms"),
        (topic, &[("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)], 42, "duplicate config keys"),
        (topic, &[("retention.ms", 9, Some("1"))], 42, "Unknown operations type 9"),
        (topic, &[("compression.type", SET, Some("brotli"))], 40, "String must be one of: uncompressed, zstd"),
        (topic, &[("max.message.bytes", SET, Some("134217729"))], 40, "no more than 134217728, the largest batch"),
        ((TOPIC, "missing"), &[("retention.ms", SET, Some("1"))], 3, "The topic 'missing' does not exist."),
        ((TOPIC, "no name!"), &[("retention.ms", SET, Some("1"))], 17, "not legal"),
        ((BROKER, "1"), &[("log.retention.ms", SET, Some("1"))], 42, "Cannot update these configs dynamically"),
        ((BROKER, ""), &[("log.retention.ms", SET, Some("1"))], 42, "Cannot update these configs dynamically"),
        ((BROKER, "2"), &[], 42, "Unexpected broker id, expected 1, but received 2"),
        ((BROKER, "one"), &[], 42, "must be an integer"),
        ((8, "1"), &[], 42, "Unknown resource type 8"),
    ] {
        for validate_only in [false, true] {
            let number = change(&mut world, resource, lines, validate_only);
            let (found, said) = changed(&mut world, number);
            assert_eq!((found, said.contains(why)), (code, true), "{lines:?}: {said}");
        }
    }
    let twice = replace(&mut world, 2, &["orders", "orders", "missing"], &[]);
    assert_eq!((replaced(&mut world, twice, 2), world.commands()), (vec![42, 3], 0));
    let null = replace(&mut world, 2, &["orders"], &[("retention.ms", None)]);
    assert_eq!(replaced(&mut world, null, 2), [42]);
}

#[test]
fn resources_are_described_in_every_version() {
    let mut world = world();
    for version in 1..=4 {
        let all = describe_some(&mut world, version, (TOPIC, "orders"), None).expect("it is there");
        let names: Vec<&str> = all.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ConfigName::all().into_iter().map(ConfigName::name).collect::<Vec<_>>());
        let broker = describe_some(&mut world, version, (BROKER, "1"), None).expect("it is this one");
        assert!(broker.len() == 32 && broker.is_sorted(), "{}", broker.len());
        for (name, value) in [
            ("message.max.bytes", "1048588"),
            ("log.retention.check.interval.ms", "300000"),
            ("log.retention.ms", "604800000"),
            ("offsets.retention.minutes", "10080"),
            ("producer.id.expiration.ms", "86400000"),
            ("group.initial.rebalance.delay.ms", "3000"),
            ("compression.type", "producer"),
        ] {
            assert!(broker.contains(&(name.into(), value.into(), 5)), "{name}");
        }
        let two = ["retention.ms", "segment.size", "cleanup.policy"];
        let some = describe_some(&mut world, version, (TOPIC, "orders"), Some(&two)).expect("it is there");
        assert_eq!(some.len(), 2);
        assert_eq!(
            describe_some(&mut world, version, (TOPIC, "orders"), Some(&[])).map(|all| all.len()),
            Ok(ConfigName::COUNT)
        );
    }
    assert_eq!(describe(&mut world, (BROKER, "")), Ok(vec![]));
    for (resource, code) in
        [((TOPIC, "missing"), 3), ((TOPIC, ""), 17), ((BROKER, "7"), 42), ((BROKER, "x"), 42), ((16, "x"), 42)]
    {
        assert_eq!(describe(&mut world, resource).map_err(|(code, _)| code), Err(code), "{resource:?}");
    }
    assert!(world.shard.is_quiescent());
}

/// Sends a batch and, if it is taken, makes it durable. What its partition is answered, and what went to the WAL.
fn produce(world: &mut World, version: i16, bytes: Vec<u8>) -> (PartitionProduceResponse, Option<Payload>) {
    let checked = CheckedBatch::check(&Bytes::from(bytes)).expect("a sound batch");
    let partitions = vec![ProducePartition { index: 0, records: Ok(checked) }];
    let topics = vec![ProduceTopic { name: Some(text("orders")), id: Default::default(), partitions }];
    let produce = Produce { acks: Acks::All, timeout: Duration::from_secs(1), topics };
    world.mail(crate::shard::Mail::Granted(1 << 20));
    let number = world.ask(Api::Produce, version, RequestBody::Produce(produce));
    let appended = world.write_out();
    let response: ProduceResponse = world.answer(number, version);
    (response.responses[0].partition_responses[0].clone(), appended)
}

fn configure(world: &mut World, lines: &[Line<'_>]) {
    let number = change(world, (TOPIC, "orders"), lines, false);
    world.decide();
    assert_eq!(changed(world, number), (0, String::new()));
}

#[test]
fn a_batch_may_be_as_large_as_its_topic_allows() {
    let mut world = world();
    let bytes = batch(3, &records(3));
    let len = bytes.len().to_string();
    configure(&mut world, &[("max.message.bytes", SET, Some(&len))]);
    assert_eq!(produce(&mut world, 9, bytes.clone()).0.error_code, 0);
    let less = (bytes.len() - 1).to_string();
    configure(&mut world, &[("max.message.bytes", SET, Some(&less))]);
    assert_eq!(produce(&mut world, 9, bytes).0.error_code, 10);
}

#[test]
fn a_topic_may_allow_more_than_is_usual_but_not_more_than_the_broker_takes() {
    let bytes = batch(3, &records(3));
    let len = bytes.len() as u32;
    let taken = |usual: u32, largest: u32, topic: Option<u32>| {
        let limits = |largest_batch| Limits { batch: usual, largest_batch, ..Limits::default() };
        let mut world = World::new(&limits(largest));
        world.topic("orders", 1);
        if let Some(most) = topic {
            // It was configured by a broker that takes any size.
            let configs = TopicConfigs { max_message_bytes: Some(ByteLimit(most.into())), ..TopicConfigs::default() };
            let patch = ConfigPatch { set: configs, ..ConfigPatch::default() };
            let id = world.id_of("orders");
            world.command(Command::ConfigureTopic { id, patch });
        }
        match produce(&mut world, 9, bytes.clone()).0.error_code {
            0 => true,
            10 => false,
            other => panic!("error {other}"),
        }
    };
    assert!(taken(len, len, None) && !taken(len - 1, 2 * len, None), "what is usual holds where nothing is said");
    assert!(taken(len - 1, 2 * len, Some(len)) && !taken(len, 2 * len, Some(len - 1)), "else what the topic says");
    assert!(taken(1, len, Some(2 * len)) && !taken(1, len - 1, Some(2 * len)), "but no more than the broker takes");
}

#[test]
fn the_broker_stamps_what_it_is_told_to_stamp() {
    let mut world = world();
    let sent = batch(3, &records(3));
    let (answer, appended) = produce(&mut world, 9, sent.clone());
    let appended = appended.expect("it is taken");
    assert_eq!(answer.log_append_time_ms, -1);
    // Its header says 2000, and the latest of its records is of 1000.
    let header = BatchHeader::parse(&appended).expect("a batch");
    assert_eq!((header.max_timestamp, header.attributes.is_log_append_time()), (1_000, false));
    assert!(crate::kafka::batch::crc_matches(&appended));

    configure(&mut world, &[("message.timestamp.type", SET, Some("LogAppendTime"))]);
    for version in 3..=12 {
        let (answer, appended) = produce(&mut world, version, sent.clone());
        let appended = appended.expect("it is taken");
        let now = world.now.wall;
        assert_eq!((answer.error_code, answer.log_append_time_ms), (0, now.0));
        let expected = crate::kafka::batch::retimed(&sent, BatchTime::LogAppend(now));
        assert_eq!(*appended, *expected);
    }
    configure(&mut world, &[("message.timestamp.type", DELETE, None)]);
    let exact = crate::kafka::batch::retimed(&sent, BatchTime::Create(crate::machine::WallTime(1_000)));
    let (answer, appended) = produce(&mut world, 9, exact.to_vec());
    assert_eq!((answer.log_append_time_ms, appended), (-1, Some(exact)));
}

#[test]
fn records_are_refused_one_by_one() {
    let mut world = world();
    configure(&mut world, &[("cleanup.policy", SET, Some("compact"))]);
    for version in 3..=12 {
        let (answer, appended) = produce(&mut world, version, batch(2, &records(2)));
        assert_eq!((answer.error_code, answer.base_offset, appended), (87, -1, None));
        let named: Vec<i32> = answer.record_errors.iter().map(|record| record.batch_index).collect();
        assert_eq!(named, if version >= 8 { vec![0, 1] } else { vec![] });
        assert_eq!(answer.error_message.is_some(), version >= 8);
    }
    configure(&mut world, &[("cleanup.policy", DELETE, None), ("message.timestamp.before.max.ms", SET, Some("10"))]);
    let (answer, appended) = produce(&mut world, 9, batch(2, &records(2)));
    assert_eq!((answer.error_code, appended), (32, None));
    let why = answer.record_errors[0].batch_index_error_message.clone().expect("a reason");
    assert!(why.starts_with("Timestamp 1000 of message with offset 0 is out of range."), "{why}");
}

#[test]
fn old_records_go_when_it_is_time_to_look() {
    let mut world = world();
    world.write("orders", 0, &[3, 4, 5]);
    world.commit("orders", 0, &[(0, 7), (7, 12)]);
    configure(&mut world, &[("retention.bytes", SET, Some("1"))]);
    world.pass(Duration::from_secs(299));
    assert_eq!(world.commands(), 0);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.commands(), 1);
    assert!(!world.shard.is_quiescent());
    assert_eq!(
        world.next_command(),
        Some(&Command::TrimStream {
            stream: crate::id::StreamId(1),
            epoch: crate::id::StreamEpoch(1),
            start: crate::id::Offset(7),
        })
    );
    world.decide();
    assert!(world.shard.is_quiescent());
    world.pass(Duration::from_secs(300));
    assert_eq!(world.commands(), 0, "nothing is left that may go");
    configure(&mut world, &[("retention.ms", SET, Some("0")), ("retention.bytes", DELETE, None)]);
    world.now.wall.0 += 3_000_000;
    world.pass(Duration::from_secs(300));
    assert_eq!(world.commands(), 1, "five minutes have passed by both clocks");
    world.decide();
    assert!(world.shard.is_quiescent());
}

/// What Kafka Streams asks for, for the topics that it makes for itself; and Connect, for its own.
const MADE_BY_TOOLS: [&[(&str, &str)]; 5] = [
    // To repartition.
    &[
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.ms", "-1"),
        ("segment.bytes", "52428800"),
    ],
    // Changelogs: of a store, of a windowed one, and of a versioned one.
    &[("cleanup.policy", "compact"), ("message.timestamp.type", "CreateTime")],
    &[("cleanup.policy", "compact,delete"), ("message.timestamp.type", "CreateTime"), ("retention.ms", "172800000")],
    &[("cleanup.policy", "compact"), ("message.timestamp.type", "CreateTime"), ("min.compaction.lag.ms", "86500000")],
    // Connect's offsets and configs; MirrorMaker's.
    &[("cleanup.policy", "compact"), ("min.insync.replicas", "2"), ("unclean.leader.election.enable", "false")],
];

#[test]
fn tools_get_the_topics_that_they_ask_for() {
    for wanted in MADE_BY_TOOLS {
        let mut world = world();
        let configs: Vec<_> = wanted.iter().map(|(name, value)| (*name, Some(*value))).collect();
        let number = create(&mut world, 7, &configs, false);
        world.decide();
        let response: CreateTopicsResponse = world.answer(number, 7);
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
        assert_eq!(set_of(&mut world, "made"), owned(wanted));
    }
}
