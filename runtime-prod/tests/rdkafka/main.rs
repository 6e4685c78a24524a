//! The broker as an ordinary application meets it: through librdkafka, by the `rdkafka` crate. Other clients, and this one
//! at length, are in `tests/clients`.

mod administration;
mod broker;
mod groups;
mod records;

use broker::Broker;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Nothing is expected to take so long on a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A client of this broker. It is told to be quick when the broker is back, and quiet while it is away.
fn client<C: FromClientConfig>(broker: &Broker, settings: &[(&str, &str)]) -> C {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address());
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200").set("log_level", "2");
    settings.iter().for_each(|(name, value)| {
        config.set(*name, *value);
    });
    config.create().expect("settings that librdkafka knows")
}

fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    client(broker, &[])
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn create_topic(runtime: &Runtime, broker: &Broker, name: &str, partitions: i32) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let created = runtime.block_on(admin(broker).create_topics([&topic], &options()));
    assert_eq!(created, Ok(vec![Ok(name.to_owned())]));
}

/// Sends records `0..count` in turn to the partitions, and waits until each is acknowledged; their offsets.
fn produce(
    runtime: &Runtime,
    producer: &FutureProducer,
    topic: &str,
    partitions: i32,
    numbers: std::ops::Range<u32>,
) -> Vec<(i32, i64)> {
    let send = |number: u32| {
        let value = number.to_string();
        let partition = i32::try_from(number).expect("few") % partitions;
        let record = FutureRecord::<(), _>::to(topic).partition(partition).payload(&value);
        producer.send_result(record).expect("the queue has room")
    };
    let sent: Vec<_> = numbers.map(send).collect();
    let acknowledged = sent.into_iter().map(|delivery| {
        let delivered = runtime.block_on(delivery).expect("the producer lives");
        let delivery = delivered.expect("acknowledged");
        (delivery.partition, delivery.offset)
    });
    acknowledged.collect()
}

/// What `attempt` gives, as soon as it gives something.
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The error code of a call that must fail.
fn code<T: std::fmt::Debug>(result: KafkaResult<T>) -> RDKafkaErrorCode {
    let error: KafkaError = result.expect_err("refused");
    error.rdkafka_error_code().unwrap_or_else(|| panic!("{error:?} has no code"))
}
