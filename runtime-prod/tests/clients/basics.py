#!/usr/bin/env python3
"""What every client does first: topics, metadata, offsets, producing with each acks, consuming from anywhere."""

import json
import random
import statistics
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic

from broker import Broker, check, equal, kcat, run, wait_until
from kafka import admin, consumer, create_topic, produce_all, producer, read, refused, watermarks
from wire import Client, batch

def create_and_delete_topics(broker):
    client = admin(broker)
    topics = [NewTopic("made", 3, 1), NewTopic("replicated", 2, 3), NewTopic("one", 1, 1)]
    for name, future in client.create_topics(topics, request_timeout=20).items():
        equal(future.result(30), None, f"creation of {name}")
    found = client.list_topics(timeout=10).topics
    equal({name: len(found[name].partitions) for name in ("made", "replicated", "one")},
          {"made": 3, "replicated": 2, "one": 1}, "partitions of the topics")
    refused(client.create_topics([NewTopic("made", 1, 1)])["made"], KafkaError.TOPIC_ALREADY_EXISTS)
    refused(client.create_topics([NewTopic("bad name!", 1, 1)])["bad name!"], KafkaError.TOPIC_EXCEPTION)
    refused(client.create_topics([NewTopic("too-many", 100_000, 1)])["too-many"], KafkaError.INVALID_PARTITIONS)

    produce_all(broker, "made", [(0, None, b"before", None)])
    client.delete_topics(["made"], operation_timeout=20)["made"].result(30)
    wait_until(lambda: "made" not in client.list_topics(timeout=10).topics, 10, "a deleted topic goes from the metadata")
    refused(client.delete_topics(["made"])["made"], KafkaError.UNKNOWN_TOPIC_OR_PART)
    create_topic(broker, "made", 1)
    equal(watermarks(broker, "made", 0), (0, 0), "offsets of a topic that was deleted and made again")


def topics_grow(broker):
    create_topic(broker, "grows", 2)
    produce_all(broker, "grows", [(0, None, b"before", None)])
    client = admin(broker)

    def grow(*wish, **options):
        return client.create_partitions([NewPartitions(*wish)], request_timeout=20, **options)[wish[0]]

    def count():
        return len(client.list_topics("grows", timeout=10).topics["grows"].partitions)

    grow("grows", 4).result(30)
    with Client(broker.port) as raw:
        equal(raw.produce("grows", 3, batch([b"at once"])), (0, 0), "answer of a partition that was just added")
    equal(count(), 4, "partitions of a topic that grew")
    equal(watermarks(broker, "grows", 2), (0, 0), "offsets of a new partition")
    offsets = produce_all(broker, "grows", [(partition, None, b"after", None) for partition in range(4)])
    equal(offsets, [1, 0, 0, 1], "offsets in a topic that grew")
    for partition, expected in enumerate([[b"before", b"after"], [b"after"], [b"after"], [b"at once", b"after"]]):
        equal([m.value() for m in read(broker, "grows", partition, 0, len(expected))], expected, "values")

    refused(grow("grows", 4), KafkaError.INVALID_PARTITIONS)
    refused(grow("grows", 1), KafkaError.INVALID_PARTITIONS)
    refused(grow("grows", 100_000), KafkaError.INVALID_PARTITIONS)
    refused(grow("not-there-yet", 2), KafkaError.UNKNOWN_TOPIC_OR_PART)
    refused(grow("grows", 5, [[99]]), KafkaError.INVALID_REPLICA_ASSIGNMENT)
    [me] = client.list_topics(timeout=10).brokers
    grow("grows", 5, [[me]], validate_only=True).result(30)
    equal(count(), 4, "partitions after a rehearsal")
    grow("grows", 5, [[me]]).result(30)
    equal(count(), 5, "partitions after a growth by hand")


def records_are_deleted(broker):
    create_topic(broker, "trimmed", 2)
    produce_all(broker, "trimmed", [(0, None, b"%d" % n, None) for n in range(100)])
    client = admin(broker)

    def delete(partition, offset, topic="trimmed"):
        [future] = client.delete_records([TopicPartition(topic, partition, offset)], request_timeout=20).values()
        return future

    equal(delete(0, 30).result(30).low_watermark, 30, "low watermark")
    equal(delete(0, 10).result(30).low_watermark, 30, "low watermark after a lower wish")
    equal(watermarks(broker, "trimmed", 0), (30, 100), "offsets of a trimmed partition")
    equal([int(m.value()) for m in read(broker, "trimmed", 0, OFFSET_BEGINNING, 70)], list(range(30, 100)), "values")
    with Client(broker.port) as raw:
        equal(raw.fetch("trimmed", 0, 29)[0], 1, "error code of a fetch below the start")
    equal(delete(1, 0).result(30).low_watermark, 0, "low watermark of an empty partition")
    refused(delete(0, 101), KafkaError.OFFSET_OUT_OF_RANGE)
    equal(delete(0, OFFSET_END).result(30).low_watermark, 100, "low watermark after all is deleted")
    broker.kill()
    broker.start()
    equal(watermarks(broker, "trimmed", 0), (100, 100), "offsets after kill -9")
    equal(produce_all(broker, "trimmed", [(0, None, b"next", None)]), [100], "next offset")


def metadata_names_the_broker(broker):
    found = admin(broker).list_topics(timeout=10)
    equal([(b.host, b.port) for b in found.brokers.values()], [("127.0.0.1", broker.port)], "brokers")
    check(found.cluster_id, "the cluster has no id")
    listed = json.loads(kcat("-L", "-b", broker.address, "-J"))
    equal([b["name"] for b in listed["brokers"]], [broker.address], "brokers that kcat lists")
    missing = Client(broker.port).metadata([])[1]
    equal(missing, {}, "topics in the answer to a metadata request for no topic")


def producing_creates_topics(broker):
    equal(produce_all(broker, "made-by-produce", [(-1, None, b"first", None)]), [0], "offset")
    equal([m.value() for m in read(broker, "made-by-produce", 0, 0, 1)], [b"first"], "values")
    kcat("-P", "-b", broker.address, "-t", "made-by-kcat", data=b"one\ntwo\n")
    equal(kcat("-C", "-b", broker.address, "-t", "made-by-kcat", "-p", 0, "-o", "beginning", "-e", "-q"),
          b"one\ntwo\n", "what kcat reads")


def consuming_does_not_create_topics(broker):
    client = consumer(broker, allow_auto_create_topics=False)
    client.assign([TopicPartition("not-there", 0, 0)])
    message = client.poll(2.0)
    check(message is None or message.error(), "a record from a topic that isn't there")
    client.close()
    check("not-there" not in Client(broker.port).metadata()[1], "a consumer created a topic")


def every_acks(broker):
    create_topic(broker, "acks", 3)
    for partition, acks in enumerate(["0", "1", "all"]):
        records = [(partition, None, b"%s-%d" % (acks.encode(), n), None) for n in range(1000)]
        offsets = produce_all(broker, "acks", records, acks=acks)
        if acks != "0":
            equal(offsets, list(range(1000)), f"offsets with acks={acks}")
        found = read(broker, "acks", partition, 0, 1000)
        equal([m.value() for m in found], [value for _, _, value, _ in records], f"values with acks={acks}")


def offsets_and_where_to_begin(broker):
    create_topic(broker, "offsets")
    equal(watermarks(broker, "offsets", 0), (0, 0), "offsets of a new partition")
    produce_all(broker, "offsets", [(0, None, b"%d" % n, None) for n in range(500)])
    equal(watermarks(broker, "offsets", 0), (0, 500), "offsets")
    equal([int(m.value()) for m in read(broker, "offsets", 0, OFFSET_BEGINNING, 500)], list(range(500)), "from the beginning")
    equal([int(m.value()) for m in read(broker, "offsets", 0, 321, 179)], list(range(321, 500)), "from an offset")
    printed = kcat("-C", "-b", broker.address, "-t", "offsets", "-p", 0, "-o", "-5", "-e", "-q")
    equal(printed.split(), [b"495", b"496", b"497", b"498", b"499"], "the last five, by kcat")

    client = consumer(broker)
    client.assign([TopicPartition("offsets", 0, OFFSET_END)])
    check(client.poll(1.0) is None, "at the end there is nothing")
    produce_all(broker, "offsets", [(0, None, b"new", None)])
    message = wait_until(lambda: client.poll(1.0), 10, "a record at the end")
    equal((message.offset(), message.value()), (500, b"new"), "the record at the end")
    client.close()

    client = consumer(broker)
    client.assign([TopicPartition("offsets", 0, 10_000)])
    message = wait_until(lambda: client.poll(1.0), 20, "an answer beyond the end")
    equal(message.error().name(), "_AUTO_OFFSET_RESET", "an offset beyond the end, without a reset policy")
    client.close()


def long_poll(broker):
    """A waiting fetch is answered as soon as there are records, and at its time limit without any."""
    create_topic(broker, "poll")
    with Client(broker.port) as waiting, Client(broker.port) as writer:
        begun = time.monotonic()
        equal(waiting.fetch("poll", 0, 0, max_wait_ms=700), (0, 0, b""), "a fetch with nothing to read")
        took = time.monotonic() - begun
        check(0.65 <= took < 3, f"a fetch that may wait 0.7 s was answered after {took:.2f} s")
        latencies = []
        for n in range(50):
            result = {}
            thread = threading.Thread(target=lambda: result.update(
                got=waiting.fetch("poll", 0, n, max_wait_ms=20_000), at=time.monotonic()))
            thread.start()
            time.sleep(0.02)
            begun = time.monotonic()
            equal(writer.produce("poll", 0, batch([b"record %d" % n]))[0], 0, "error code of a produce")
            thread.join(25)
            check("got" in result, "a waiting fetch was not answered")
            error, watermark, records = result["got"]
            equal((error, watermark, len(records) > 0), (0, n + 1, True), "what a waiting fetch got")
            latencies.append(result["at"] - begun)
    print(f"  from produce to the waiting fetch: median {statistics.median(latencies) * 1000:.1f} ms, "
          f"worst {max(latencies) * 1000:.1f} ms")
    check(statistics.median(latencies) < 0.5, "waiting fetches are answered late")


def large_fetches(broker):
    """Fetches larger than any batch, and limits smaller than one batch: the consumer gets on in both."""
    create_topic(broker, "large", 2)
    rng = random.Random(2)
    values = [rng.randbytes(rng.choice([100, 10_000, 500_000, 999_000])) for _ in range(60)]
    for partition in (0, 1):
        produce_all(broker, "large", [(partition, None, value, None) for value in values], message_max_bytes=1_048_576)
    for size in (1000, 1 << 20, 50 << 20):
        begun = time.monotonic()
        for partition in (0, 1):
            found = read(broker, "large", partition, 0, len(values), fetch_message_max_bytes=size,
                         fetch_max_bytes=max(size, 1_048_588), message_max_bytes=1_048_576)
            check([m.value() for m in found] == values, f"values differ with fetches of {size} bytes")
        print(f"  {2 * sum(map(len, values)) >> 20} MiB in fetches of {size} bytes: {time.monotonic() - begun:.2f} s")
    with Client(broker.port) as client:
        _, _, records = client.fetch("large", 0, 0, max_bytes=1)
        check(records, "a fetch of one byte gives the first batch whole")
        _, _, records = client.fetch("large", 0, 0, max_bytes=2**31 - 1)
        check(len(records) <= 56 << 20, "a fetch gives more than the broker's limit")


def many_partitions(broker):
    count = 500
    begun = time.monotonic()
    create_topic(broker, "many", count)
    made = time.monotonic() - begun
    begun = time.monotonic()
    records = [(n % count, None, b"%d" % n, None) for n in range(20 * count)]
    offsets = produce_all(broker, "many", records)
    equal(sorted(set(offsets)), list(range(20)), "offsets over many partitions")
    produced = time.monotonic() - begun
    begun = time.monotonic()
    client = consumer(broker)
    client.assign([TopicPartition("many", partition, 0) for partition in range(count)])
    seen = {}
    deadline = time.monotonic() + 60
    while len(seen) < len(records):
        check(time.monotonic() < deadline, f"{len(seen)} of {len(records)} records after 60 s")
        for message in client.consume(10_000, 1.0):
            check(message.error() is None, str(message.error()))
            check(seen.setdefault((message.partition(), message.offset()), message.value()) == message.value(), "twice")
    client.close()
    expected = {(n % count, n // count): b"%d" % n for n in range(20 * count)}
    check(seen == expected, "records over many partitions differ")
    print(f"  {count} partitions: created in {made:.2f} s, {len(records)} records produced in {produced:.2f} s, "
          f"consumed in {time.monotonic() - begun:.2f} s")


def too_large_records_are_refused(broker):
    create_topic(broker, "limit")
    with Client(broker.port) as client:
        equal(client.produce("limit", 0, batch([bytes(1 << 20)]))[0], 10, "error code of a batch over 1 MiB")
        equal(client.produce("limit", 0, batch([b"fits"])), (0, 0), "answer to the next one")
        damaged = bytearray(batch([b"damaged"]))
        damaged[-3] ^= 1
        equal(client.produce("limit", 0, bytes(damaged))[0], 2, "error code of a batch with a wrong CRC")
        equal(client.produce("limit", 7, batch([b"no such partition"]))[0], 3, "error code for an unknown partition")
        equal(client.produce("limit", 0, batch([b"acks 5"]), acks=5)[0], 21, "error code for acks=5")
        equal(client.list_offset("limit", 0, -1), (0, 1), "end after refused batches")


def kcat_all_modes(broker):
    create_topic(broker, "kcat", 2)
    lines = b"".join(b"k%d:line %d\n" % (n % 5, n) for n in range(1000))
    kcat("-P", "-b", broker.address, "-t", "kcat", "-K", ":", data=lines)
    both = b"".join(kcat("-C", "-b", broker.address, "-t", "kcat", "-p", p, "-o", "beginning", "-e", "-q", "-K", ":")
                    for p in (0, 1))
    equal(sorted(both.splitlines()), sorted(lines.splitlines()), "lines that kcat reads")
    listed = json.loads(kcat("-L", "-b", broker.address, "-t", "kcat", "-J"))
    equal([len(topic["partitions"]) for topic in listed["topics"]], [2], "partitions that kcat lists")
    queried = kcat("-Q", "-b", broker.address, "-t", "kcat:0:-1", "-t", "kcat:1:-1").split()
    equal(sum(int(word) for word in queried if word.isdigit()), 1000, "sum of the ends that kcat queries")


def kcat_in_a_group(broker):
    """A balanced consumer of librdkafka 2.0.2 commits as it ends, and the next one goes on there."""
    create_topic(broker, "kcat-group", 2)

    def consume():
        lines = kcat("-b", broker.address, "-G", "kcat", "-e", "-q", "-X", "auto.offset.reset=earliest", "kcat-group")
        return sorted(int(line) for line in lines.split())

    for first in (0, 100):
        produce_all(broker, "kcat-group", [(n % 2, None, b"%d" % n, None) for n in range(first, first + 100)])
        equal(consume(), list(range(first, first + 100)), "what kcat reads in a group")
    equal(consume(), [], "what is left for kcat in a group")


def topics_and_records_survive_a_restart(broker):
    create_topic(broker, "survives", 3)
    create_topic(broker, "goes", 1)
    records = [(n % 3, b"key", b"%d" % n, [("h", b"%d" % n)]) for n in range(3000)]
    produce_all(broker, "survives", records)
    client = admin(broker)
    client.delete_topics(["goes"])["goes"].result(30)

    def topics():
        return {name: len(topic.partitions) for name, topic in client.list_topics(timeout=10).topics.items()}

    before = topics()
    check("goes" not in before, "a deleted topic is still listed")
    broker.stop_clean()
    broker.start()
    equal(topics(), before, "topics after a restart")
    for partition in range(3):
        equal(watermarks(broker, "survives", partition), (0, 1000), "offsets after a restart")
        found = read(broker, "survives", partition, 0, 1000)
        equal([(m.key(), m.value(), m.headers()) for m in found], [r[1:] for r in records[partition::3]], "records")
    equal(produce_all(broker, "survives", [(0, None, b"after", None)]), [1000], "next offset after a restart")


TESTS = [create_and_delete_topics, topics_grow, records_are_deleted, metadata_names_the_broker, producing_creates_topics,
         consuming_does_not_create_topics, every_acks, offsets_and_where_to_begin, long_poll, large_fetches,
         many_partitions, too_large_records_are_refused, kcat_all_modes, kcat_in_a_group,
         topics_and_records_survive_a_restart]

if __name__ == "__main__":
    run(*TESTS, shared=Broker(wal_size="128MiB", arguments=["--check-invariants"]))
