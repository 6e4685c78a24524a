"""What the tests do with confluent-kafka (librdkafka), again and again."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker import Failed, check, equal


def producer(broker, **options):
    """A producer that is not idempotent. Option names with `_` for `.`."""
    return Producer(_config(broker, {"acks": "all", "enable.idempotence": False, "linger.ms": 5}, options))


def consumer(broker, **options):
    """A consumer for assign(): no group is joined, nothing is committed."""
    defaults = {
        "group.id": "assigned-only",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "check.crcs": True,
        "enable.partition.eof": False,
        "fetch.message.max.bytes": 4 << 20,
    }
    return Consumer(_config(broker, defaults, options))


def admin(broker):
    return AdminClient(_config(broker, {}, {}))


def create_topic(broker, name, partitions=1, replicas=1, config=None):
    """Creates it and returns when a client sees all of it."""
    client = admin(broker)
    future = client.create_topics([NewTopic(name, partitions, replicas, config=config or {})], request_timeout=30)[name]
    future.result(60)
    deadline = time.monotonic() + 30
    while True:
        topic = client.list_topics(name, timeout=30).topics.get(name)
        led = topic and [p for p in topic.partitions.values() if p.leader >= 0]
        if led and len(led) == partitions:
            return
        check(time.monotonic() < deadline, f"topic {name} has no leaders 30 s after it was created")
        time.sleep(0.05)


def refused(future, code, *texts):
    """What was asked for must fail with this error, and its message must hold these texts."""
    try:
        future.result(30)
    except KafkaException as error:
        equal(error.args[0].name(), KafkaError(code).name(), "error")
        for text in texts:
            check(text in error.args[0].str(), f"{error.args[0].str()!r} does not say {text!r}")
        return
    check(False, f"should have failed with {KafkaError(code).name()}")


def produce_all(broker, topic, records, timeout=60, **options):
    """Produces (partition, key, value, headers) and returns the offsets, in order, once all are acknowledged."""
    client = producer(broker, **options)
    acked = [None] * len(records)
    failed = []

    def delivered(index):
        def report(error, message):
            if error:
                failed.append(str(error))
            else:
                acked[index] = message.offset()
        return report

    for index, (partition, key, value, headers) in enumerate(records):
        while True:
            try:
                client.produce(topic, value, key, partition, on_delivery=delivered(index), headers=headers)
                break
            except BufferError:
                client.poll(0.1)
    left = client.flush(timeout)
    check(not failed, f"{len(failed)} records of {topic} were refused, the first with: {failed[:1]}")
    check(left == 0, f"{left} records of {topic} were not acknowledged within {timeout} s")
    return acked


def read(broker, topic, partition, start, count, timeout=60, **options):
    """`count` messages from offset `start` on; their offsets must have no gaps."""
    client = consumer(broker, **options)
    try:
        client.assign([TopicPartition(topic, partition, start)])
        messages = []
        deadline = time.monotonic() + timeout
        while len(messages) < count:
            check(time.monotonic() < deadline, f"{topic}/{partition}: {len(messages)} of {count} records from {start} "
                                               f"on after {timeout} s")
            for message in client.consume(min(count - len(messages), 10_000), 1.0):
                if message.error():
                    raise Failed(f"{topic}/{partition}: {message.error()}")
                expected = messages[-1].offset() + 1 if messages else (start if start >= 0 else message.offset())
                check(message.offset() == expected, f"{topic}/{partition}: offset {message.offset()} instead of {expected}")
                messages.append(message)
        return messages
    finally:
        client.close()


def watermarks(broker, topic, partition):
    client = consumer(broker)
    try:
        return client.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
    except KafkaException as error:
        raise Failed(f"watermarks of {topic}/{partition}: {error}") from None
    finally:
        client.close()


def _config(broker, defaults, options):
    config = {"bootstrap.servers": broker.address, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
              "log_level": 2, **defaults}
    config.update({name.replace("_", "."): value for name, value in options.items()})
    return config
