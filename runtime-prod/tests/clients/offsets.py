#!/usr/bin/env python3
"""Offsets by time, leader epochs, and what the broker tells of itself."""

import random
import struct

from confluent_kafka import TopicCollection, TopicPartition
from confluent_kafka.admin import OffsetSpec

from broker import Broker, check, equal, run
from kafka import admin, consumer, create_topic, producer, read
from wire import Client, array, batch, batches, crc32c, int8, int16, int32, int64, string

OFFSET_FOR_LEADER_EPOCH, DESCRIBE_CLUSTER, DESCRIBE_TOPIC_PARTITIONS = 23, 60, 75
# No tagged fields: ends the header and each struct of a flexible request.
TAGS = int8(0)
NOW = 1_700_000_000_000
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def produce_timed(broker, topic, times, **options):
    """Produces a record for each time to partition 0, in order, in batches of some ten."""
    client = producer(broker, linger_ms=50, batch_num_messages=10, **options)
    failed = []
    for time in times:
        client.produce(topic, b"x" * 40, partition=0, timestamp=time,
                       on_delivery=lambda error, _: failed.append(error) if error else None)
    equal(client.flush(60), 0, "records that were not delivered")
    equal(failed, [], "failed records")


def expected(times, time):
    found = next((offset for offset, at in enumerate(times) if at >= time), None)
    return -1 if found is None else found


def offsets_for(broker, topic, wanted):
    """The offsets for these times. librdkafka says END (-1) where there is none."""
    client = consumer(broker)
    try:
        found = [client.offsets_for_times([TopicPartition(topic, 0, time)], timeout=30)[0] for time in wanted]
    finally:
        client.close()
    equal([f.error for f in found], [None] * len(found), "errors of offsets by time")
    return [f.offset for f in found]


def latest_record(broker, topic):
    client = admin(broker)
    result = client.list_offsets({TopicPartition(topic, 0): OffsetSpec.max_timestamp()})
    [future] = result.values()
    found = future.result(30)
    return found.offset, found.timestamp


def times_are_found_to_the_record(broker):
    rng = random.Random(7)
    logs = {}
    for codec in CODECS:
        topic = f"timed-{codec}"
        create_topic(broker, topic, 1)
        equal(offsets_for(broker, topic, [0, NOW]), [-1, -1], "times in an empty log")
        equal(latest_record(broker, topic), (-1, -1), "the latest record of an empty log")
        logs[topic] = [NOW + at * 10 + rng.randrange(-200, 200) for at in range(200)]
        produce_timed(broker, topic, logs[topic], compression_type=codec)
    check_times(broker, logs, rng)
    # From objects, by their index, too.
    broker.stop_clean()
    broker.start()
    check_times(broker, logs, rng)


def check_times(broker, logs, rng):
    for topic, times in logs.items():
        wanted = [0, NOW - 500, max(times), max(times) + 1] + [NOW + rng.randrange(-300, 2_300) for _ in range(40)]
        equal(offsets_for(broker, topic, wanted), [expected(times, time) for time in wanted], f"offsets in {topic}")
        equal(latest_record(broker, topic), (times.index(max(times)), max(times)), f"the latest record of {topic}")


def a_largest_time_that_lies_is_corrected(broker):
    create_topic(broker, "lies", 1)
    lying = bytearray(batch([b"a", b"b"], base_timestamp=NOW))
    struct.pack_into(">q", lying, 35, NOW + 10**9)
    struct.pack_into(">I", lying, 17, crc32c(bytes(lying[21:])))
    with Client(broker.port) as raw:
        equal(raw.produce("lies", 0, bytes(lying)), (0, 0), "answer")
        found = raw.fetch("lies", 0, 0)[2]
    [stored] = batches(found)
    check(stored.max_timestamp < NOW + 1000, f"the largest time is {stored.max_timestamp}")
    equal([m.value() for m in read(broker, "lies", 0, 0, 2)], [b"a", b"b"], "values")
    equal(offsets_for(broker, "lies", [NOW, NOW + 1000]), [0, -1], "offsets")


def epoch_end(raw, topic, epoch, current=-1):
    """(error code, epoch, end offset)"""
    body = int32(-1) + array([string(topic) + array([int32(0) + int32(current) + int32(epoch)])])
    reader = raw.ask(OFFSET_FOR_LEADER_EPOCH, 3, body)
    reader.number("i")
    equal(reader.number("i"), 1, "topics")
    equal(reader.string(), topic, "topic")
    equal(reader.number("i"), 1, "partitions")
    code, partition, found, end = (reader.number(layout) for layout in "hiiq")
    equal(partition, 0, "partition")
    return code, found, end


def epochs_end_where_the_next_begin(broker):
    create_topic(broker, "epochs", 1)
    with Client(broker.port) as raw:
        first = stored_epoch(raw, raw.produce("epochs", 0, batch([b"a", b"b"])), 0)
        equal(epoch_end(raw, "epochs", first), (0, first, 2), "the end of the current epoch")
        equal(epoch_end(raw, "epochs", first + 1), (0, -1, -1), "the end of an epoch to come")
    for stop in (broker.stop_clean, broker.kill, broker.kill):
        stop()
        broker.start()
    with Client(broker.port) as raw:
        second = stored_epoch(raw, raw.produce("epochs", 0, batch([b"c"])), 2)
        equal(second, first + 3, "epochs of three restarts")
        for epoch, end in [(first, (0, first, 2)), (first + 1, (0, first, 2)), (second, (0, second, 3))]:
            equal(epoch_end(raw, "epochs", epoch), end, f"the end of epoch {epoch}")
        equal(epoch_end(raw, "epochs", first, current=first)[0], 74, "FENCED_LEADER_EPOCH")
        equal(epoch_end(raw, "epochs", first, current=second + 1)[0], 75, "UNKNOWN_LEADER_EPOCH")
    # A consumer that knows the epoch of its position has it validated, and goes on.
    client = consumer(broker)
    client.assign([TopicPartition("epochs", 0, 2, leader_epoch=first)])
    message = client.poll(30)
    check(message is not None and message.error() is None, "nothing was consumed after a validation")
    equal((message.value(), message.leader_epoch()), (b"c", second), "the next record and its epoch")
    client.close()


def stored_epoch(raw, answer, offset):
    equal(answer, (0, offset), "answer")
    [stored] = batches(raw.fetch("epochs", 0, offset)[2])
    return stored.leader_epoch


def the_cluster_describes_itself(broker):
    create_topic(broker, "described", 3)
    client = admin(broker)
    cluster = client.describe_cluster().result(30)
    equal([(node.host, node.port) for node in cluster.nodes], [("127.0.0.1", broker.port)], "brokers")
    [topic] = client.describe_topics(TopicCollection(["described"])).values()
    equal([p.id for p in topic.result(30).partitions], [0, 1, 2], "partitions")
    with Client(broker.port) as raw:
        reader = raw.ask(DESCRIBE_CLUSTER, 1, TAGS + int8(0) + int8(1) + TAGS)
        equal((reader.number("b"), reader.number("i"), reader.number("h")), (0, 0, 0), "no error")
        # Two topics, three partitions at most, no cursor.
        names = b"".join(compact(name) + TAGS for name in ("described", "no-such-topic"))
        reader = raw.ask(DESCRIBE_TOPIC_PARTITIONS, 0, TAGS + int8(3) + names + int32(3) + int8(-1) + TAGS)
        equal((reader.number("b"), reader.number("i"), reader.number("b")), (0, 0, 2), "one topic on this page")
        check(reader.data.endswith(compact("no-such-topic") + int32(0) + bytes(2)), "the next page begins at the other")


def compact(text):
    return int8(len(text) + 1) + text.encode()


TESTS = [times_are_found_to_the_record, a_largest_time_that_lies_is_corrected, epochs_end_where_the_next_begin,
         the_cluster_describes_itself]

if __name__ == "__main__":
    run(*TESTS, shared=Broker(wal_size="128MiB", arguments=["--check-invariants"]))
