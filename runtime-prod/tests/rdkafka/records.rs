//! Records: with each codec, read by assignment, and through kill -9.

use super::{PATIENCE, client, code, create_topic, eventually, produce, runtime};
use crate::broker::Broker;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn reader(broker: &Broker) -> BaseConsumer {
    let settings = [("group.id", "nobody"), ("enable.auto.commit", "false"), ("auto.offset.reset", "error")];
    client(broker, &[&settings[..], &[("check.crcs", "true")]].concat())
}

fn assign(consumer: &BaseConsumer, topic: &str, from: &[(i32, Offset)]) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in from {
        list.add_partition_offset(topic, *partition, *offset).expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
}

/// The next record. Errors of the connection pass.
fn next<T>(consumer: &BaseConsumer, take: impl Fn(&BorrowedMessage<'_>) -> T) -> T {
    eventually("a record", || consumer.poll(PATIENCE / 100)?.ok().map(|message| take(&message)))
}

/// The numbers that [`produce`] sent, in partition 0 up to `count` records.
fn numbers(consumer: &BaseConsumer, count: usize) -> Vec<(i32, i64, u32)> {
    let one = |message: &BorrowedMessage<'_>| {
        let value = message.payload_view::<str>().expect("a value").expect("text").parse().expect("a number");
        (message.partition(), message.offset(), value)
    };
    (0..count).map(|_| next(consumer, one)).collect()
}

#[test]
fn each_codec_comes_back_as_it_was_sent() {
    let (runtime, broker) = (runtime(), Broker::start());
    create_topic(&runtime, &broker, "codecs", 5);
    let text = "again and again ".repeat(200);
    for (partition, codec) in (0..).zip(CODECS) {
        let producer: FutureProducer = client(&broker, &[("compression.type", codec), ("linger.ms", "20")]);
        let mut sent = Vec::new();
        for n in 0..20 {
            let headers = OwnedHeaders::new()
                .insert(Header { key: "twice", value: Some("1") })
                .insert(Header { key: "null", value: None::<&str> })
                .insert(Header { key: "twice", value: Some("2") });
            let (key, value) = (format!("{codec} {n}"), format!("{n} {text}"));
            let record = FutureRecord::to("codecs").partition(partition).key(&key).payload(&value);
            sent.push(producer.send_result(record.headers(headers).timestamp(1_000 + n)).expect("room"));
        }
        for (offset, delivery) in (0..).zip(sent) {
            let delivery = runtime.block_on(delivery).expect("the producer lives").expect("acknowledged");
            assert_eq!((delivery.partition, delivery.offset), (partition, offset));
        }
        let consumer = reader(&broker);
        assign(&consumer, "codecs", &[(partition, Offset::Beginning)]);
        for n in 0..20_i64 {
            next(&consumer, |message| {
                assert_eq!((message.partition(), message.offset()), (partition, n));
                assert_eq!(message.key(), Some(format!("{codec} {n}").as_bytes()));
                assert_eq!(message.payload(), Some(format!("{n} {text}").as_bytes()));
                assert_eq!(message.timestamp().to_millis(), Some(1_000 + n));
                let headers = message.headers().expect("three");
                let headers: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
                assert_eq!(headers, [("twice", Some(&b"1"[..])), ("null", None), ("twice", Some(b"2"))]);
            });
        }
    }
}

#[test]
fn partitions_are_read_from_anywhere() {
    let (runtime, broker) = (runtime(), Broker::start());
    create_topic(&runtime, &broker, "anywhere", 2);
    produce(&runtime, &client(&broker, &[]), "anywhere", 2, 0..200);
    let consumer = reader(&broker);
    assert_eq!(consumer.fetch_watermarks("anywhere", 1, PATIENCE), Ok((0, 100)));
    assign(&consumer, "anywhere", &[(0, Offset::Offset(90)), (1, Offset::OffsetTail(5))]);
    let mut found = numbers(&consumer, 15);
    found.sort_unstable();
    let expected = (90..100).map(|n| (0, n)).chain((95..100).map(|n| (1, n)));
    let value = |(partition, offset): (i32, i64)| u32::try_from(2 * offset + i64::from(partition)).expect("small");
    assert_eq!(found, expected.map(|at| (at.0, at.1, value(at))).collect::<Vec<_>>());
    consumer.seek("anywhere", 0, Offset::Offset(7), PATIENCE).expect("sought");
    assert_eq!(numbers(&consumer, 1), [(0, 7, 14)]);
    assign(&consumer, "anywhere", &[(0, Offset::Offset(101))]);
    let beyond = eventually("an answer", || consumer.poll(PATIENCE / 100)).map(|message| message.offset());
    assert_eq!(code(beyond), RDKafkaErrorCode::AutoOffsetReset);
}

#[test]
fn an_idempotent_producer_and_a_reader_go_on_through_kills() {
    let (runtime, mut broker) = (runtime(), Broker::start());
    create_topic(&runtime, &broker, "killed", 2);
    let settings = [("enable.idempotence", "true"), ("retry.backoff.ms", "20"), ("batch.num.messages", "20")];
    let producer: FutureProducer = client(&broker, &settings);
    let consumer = reader(&broker);
    assign(&consumer, "killed", &[(0, Offset::Beginning), (1, Offset::Beginning)]);
    let mut acknowledged = BTreeMap::new();
    let mut seen = Vec::new();
    for round in 0..3 {
        let first = round * 1_000;
        // Half of it is acknowledged before the broker dies, and the rest is on its way.
        acknowledged.extend((first..).zip(produce(&runtime, &producer, "killed", 2, first..first + 500)));
        let going: Vec<_> = (first + 500..first + 1_000)
            .map(|number| {
                let value = number.to_string();
                let partition = i32::try_from(number % 2).expect("small");
                let record = FutureRecord::<(), _>::to("killed").partition(partition).payload(&value);
                producer.send_result(record).expect("the queue has room")
            })
            .collect();
        broker.kill_and_start();
        for (number, delivery) in (first + 500..).zip(going) {
            let delivered = runtime.block_on(delivery).expect("the producer lives").expect("acknowledged");
            acknowledged.insert(number, (delivered.partition, delivered.offset));
        }
        seen.extend(numbers(&consumer, 1_000));
    }
    for partition in 0..2 {
        let mine: Vec<_> = seen.iter().filter(|(at, ..)| *at == partition).collect();
        let offsets: Vec<i64> = mine.iter().map(|(_, offset, _)| *offset).collect();
        assert_eq!(offsets, (0..1_500).collect::<Vec<_>>(), "the reader misses nothing, and reads nothing again");
        let values: Vec<u32> = mine.iter().map(|(.., value)| *value).collect();
        let sent: Vec<u32> = (0..3_000).filter(|number| number % 2 == partition.cast_unsigned()).collect();
        assert_eq!(values, sent, "each record once, in order");
    }
    for (number, (partition, offset)) in acknowledged {
        // librdkafka reports no offset of a batch of which it only heard that it was there before.
        let found = seen.iter().find(|(.., value)| *value == number).expect("acknowledged");
        assert!(offset < 0 || (found.0, found.1) == (partition, offset), "{number}: {found:?}, not {offset}");
    }
}

#[test]
fn a_transactional_id_is_refused_for_good() {
    let broker = Broker::start();
    let producer: FutureProducer = client(&broker, &[("transactional.id", "me"), ("log_level", "0")]);
    let refused = producer.init_transactions(PATIENCE);
    assert_eq!(code(refused), RDKafkaErrorCode::TransactionalIdAuthorizationFailed);
}
