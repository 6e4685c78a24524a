#!/usr/bin/env python3
"""Idempotent producers: what they write is in the log exactly once and in order, through every death of the broker.

With a client library: two producers with five requests in flight run at full speed while the broker is killed again and
again; every record must then be there once, in each partition in the order in which it was sent. Producers go on, at
leisure and at full speed, while their topic is deleted and created again. By hand: what a broker says to a batch that it
has, to a gap, to an older epoch, before and after a restart and a kill -9.
"""

import os
import random
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict

from confluent_kafka import KafkaError, KafkaException, TopicPartition

import wire
from broker import Broker, check, equal, run, wait_until
from kafka import admin, consumer, create_topic, producer

ROUNDS = 10
PARTITIONS = 4
MISSING, OUT_OF_ORDER, OLD_EPOCH, TRANSACTIONAL_ID, UNKNOWN_PRODUCER = 3, 45, 47, 53, 59
INIT_PRODUCER_ID = 22


class Load(threading.Thread):
    """An idempotent producer at full speed, or with a pause of so many seconds after each hundred records. Its records
    count from 0 on in each partition."""

    def __init__(self, broker, name, pause=0, **options):
        super().__init__(daemon=True)
        self.name, self.pause = name, pause
        self.sent, self.acked, self.errors = defaultdict(int), defaultdict(dict), []
        self.stopping = False
        self.client = producer(
            broker, enable_idempotence=True, max_in_flight_requests_per_connection=5, message_timeout_ms=600_000,
            queue_buffering_max_messages=5_000, retry_backoff_ms=20, retry_backoff_max_ms=100, socket_timeout_ms=10_000,
            batch_num_messages=50, **options)

    def run(self):
        try:
            while not self.stopping:
                partition = random.randrange(PARTITIONS)
                n = self.sent[partition]
                value = b"%s/%d/" % (self.name.encode(), n) + b"x" * random.randrange(300)
                try:
                    self.client.produce("once", value, partition=partition, on_delivery=self.delivered)
                except BufferError:
                    self.client.poll(0.01)
                    continue
                self.sent[partition] += 1
                self.client.poll(0)
                if self.pause and self.sent[partition] % 100 == 0:
                    time.sleep(self.pause)
        except KafkaException as error:
            self.errors.append(str(error))

    def delivered(self, error, message):
        if error:
            self.errors.append(str(error))
        else:
            self.acked[message.partition()][message.offset()] = number_of(message.value())

    def finish(self):
        self.stopping = True
        self.join(60)
        left = self.client.flush(120)
        check(not self.errors, f"producer {self.name}: {len(self.errors)} errors, the first: {self.errors[:1]}")
        equal(left, 0, "records that are not acknowledged in the end")


def number_of(value):
    name, n, _ = value.split(b"/", 2)
    return name.decode(), int(n)


class Steady:
    """An idempotent producer that writes more whenever it is asked to: confluent-kafka."""

    name = "confluent-kafka"

    def __init__(self, broker):
        self.count, self.errors = 0, []
        self.client = producer(broker, enable_idempotence=True, batch_num_messages=10, retry_backoff_ms=20,
                               message_timeout_ms=60_000)

    def write(self, count):
        for n in range(self.count, self.count + count):
            self.client.produce("again", b"steady/%d/" % n, partition=0, on_delivery=self.delivered)
        self.count += count
        equal(self.client.flush(60), 0, "records that are not acknowledged")
        check(not self.errors, f"{len(self.errors)} errors, the first: {self.errors[:1]}")

    def delivered(self, error, _):
        if error:
            self.errors.append(str(error))

    def close(self):
        pass


class SteadyPython:
    """The same with kafka-python, in a process of its own, where `kafka` is that library."""

    name = "kafka-python"

    def __init__(self, broker):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agents", "steady.py")
        self.process = subprocess.Popen([sys.executable, script, broker.address, "again"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def write(self, count):
        print(count, file=self.process.stdin, flush=True)
        equal(self.process.stdout.readline().strip(), "written", "what became of the records")

    def close(self):
        self.process.kill()
        self.process.wait()


def read_all(broker, partition, topic="once"):
    """(offset, (producer, number)) of every record of a partition."""
    client = consumer(broker)
    try:
        first, end = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=60)
        client.assign([TopicPartition(topic, partition, first)])
        found = []
        deadline = time.monotonic() + 120
        while not found or found[-1][0] < end - 1:
            check(time.monotonic() < deadline, f"partition {partition} is not read to its end {end}")
            for message in client.consume(10_000, 1.0):
                check(not message.error(), str(message.error()))
                found.append((message.offset(), number_of(message.value())))
        return found
    finally:
        client.close()


def exactly_once_through_kills():
    with Broker(wal_size="64MiB", arguments=["--check-invariants"]) as broker:
        create_topic(broker, "once", PARTITIONS)
        loads = [Load(broker, "a"), Load(broker, "b", compression_type="lz4")]
        for load in loads:
            load.start()
        for turn in range(ROUNDS):
            time.sleep(random.uniform(0.3, 1.5))
            if turn % 4 == 3:
                broker.stop_clean()
            else:
                broker.kill()
            broker.start()
        time.sleep(1)
        for load in loads:
            load.finish()
        total = check_each_once(broker, loads)
        print(f"  {total} records of two producers, {ROUNDS} ends of the broker: each once, in order")


def check_each_once(broker, loads):
    """Every record of these producers is in the log once, in order, at the offset that was acknowledged. Their number."""
    total = 0
    for partition in range(PARTITIONS):
        found = read_all(broker, partition)
        equal([offset for offset, _ in found], list(range(len(found))), f"offsets of partition {partition}")
        at = dict(found)
        for load in loads:
            numbers = [n for _, (name, n) in found if name == load.name]
            sent = load.sent[partition]
            equal(numbers, list(range(sent)), f"records of producer {load.name} in partition {partition}")
            for offset, written in load.acked[partition].items():
                # librdkafka reports no offset of a batch of which it only heard that it was there before.
                if offset >= 0:
                    equal(at.get(offset), written, f"what was acknowledged at {partition}@{offset}")
            total += sent
    return total


def sequenced(count, producer_id, epoch, sequence):
    """A batch as an idempotent producer makes it."""
    plain = bytearray(wire.batch([b"%d" % n for n in range(count)]))
    plain[43:57] = struct.pack(">qhi", producer_id, epoch, sequence)
    plain[17:21] = struct.pack(">I", wire.crc32c(bytes(plain[21:])))
    return bytes(plain)


def init_producer_id(client, transactional_id=None):
    """(error, id, epoch) by version 0."""
    answer = client.ask(INIT_PRODUCER_ID, 0, wire.string(transactional_id) + wire.int32(60_000))
    return struct.unpack(">hqh", answer.data[answer.at + 4:answer.at + 16])


def by_hand():
    with Broker(arguments=["--check-invariants"]) as broker:
        create_topic(broker, "hand", 1)

        def produce(client, *about):
            return client.produce("hand", 0, sequenced(*about))

        with wire.Client(broker.port) as client:
            error, one, epoch = init_producer_id(client)
            equal((error, epoch), (0, 0), "an id for a producer")
            _, two, _ = init_producer_id(client)
            check(two != one, "two producers got the same id")
            equal(init_producer_id(client, "mine")[0], TRANSACTIONAL_ID, "what a transactional producer hears")
            equal(produce(client, 3, one, 0, 0), (0, 0), "the first batch")
            equal(produce(client, 2, one, 0, 3), (0, 3), "the second batch")
            equal(produce(client, 3, one, 0, 0), (0, 0), "the first batch again")
            equal(produce(client, 1, one, 0, 9)[0], OUT_OF_ORDER, "a gap")
            equal(produce(client, 1, two, 0, 5), (0, 5), "a producer that is unknown, in the middle of its sequence")
            equal(produce(client, 1, two, 0, 4)[0], OUT_OF_ORDER, "what comes before its first batch")
            equal(produce(client, 1, 1 << 40, 0, 0)[0], UNKNOWN_PRODUCER, "an id that was never issued")
        for end in (broker.kill, broker.stop_clean, broker.kill):
            end()
            broker.start()
            with wire.Client(broker.port) as client:
                deadline = time.monotonic() + 10
                answer = produce(client, 2, one, 0, 3)
                # What is known of producers may still be on its way.
                while answer[0] == 6 and time.monotonic() < deadline:
                    time.sleep(0.02)
                    answer = produce(client, 2, one, 0, 3)
                equal(answer, (0, 3), "the second batch again, after a restart")
                equal(produce(client, 1, one, 0, 9)[0], OUT_OF_ORDER, "a gap, after a restart")
                _, fresh, _ = init_producer_id(client)
                check(fresh not in (one, two), "a producer id was issued twice")
        with wire.Client(broker.port) as client:
            equal(produce(client, 1, one, 1, 4)[0], OUT_OF_ORDER, "a new epoch that does not begin at 0")
            equal(produce(client, 1, one, 1, 0), (0, 6), "a new epoch")
            equal(produce(client, 2, one, 0, 5)[0], OLD_EPOCH, "the old epoch")
            offsets = [produce(client, 1, one, 1, n)[1] for n in range(1, 8)]
            equal(offsets, list(range(7, 14)), "seven more batches")
            equal(produce(client, 1, one, 1, 3), (0, 9), "the fifth last batch again")
            equal(produce(client, 1, one, 1, 1)[0], OUT_OF_ORDER, "a batch that is forgotten")


def delete_topic(broker, name):
    """Deletes it and returns when it is not listed any more."""
    client = admin(broker)
    client.delete_topics([name], request_timeout=30)[name].result(60)
    wait_until(lambda: name not in client.list_topics(timeout=30).topics, 30, f"{name} is gone")


def created_again_by_hand():
    with Broker(arguments=["--check-invariants"]) as broker:
        create_topic(broker, "hand", 1)

        def produce(client, count, sequence):
            return client.produce("hand", 0, sequenced(count, one, 0, sequence))

        with wire.Client(broker.port) as client:
            _, one, _ = init_producer_id(client)
            equal(produce(client, 3, 0), (0, 0), "the first batch")
            delete_topic(broker, "hand")
            equal(produce(client, 2, 3)[0], MISSING, "a batch for no topic")
            create_topic(broker, "hand", 1)
            equal(produce(client, 1, 5)[0], OUT_OF_ORDER, "the next, though the one before comes again")
            equal(produce(client, 2, 3), (0, 0), "the one before")
            equal(produce(client, 1, 5), (0, 2), "the next again")
            delete_topic(broker, "hand")
            equal(produce(client, 1, 6)[0], MISSING, "a batch for no topic")
            create_topic(broker, "hand", 1)
        with wire.Client(broker.port) as client:
            equal(produce(client, 1, 7), (0, 0), "a connection that owes nothing")


def goes_on_when_its_topic_is_created_again():
    for kind in (Steady, SteadyPython):
        with Broker(arguments=["--check-invariants"]) as broker:
            create_topic(broker, "again", 1)
            steady = kind(broker)
            try:
                for turn in range(4):
                    steady.write(100)
                    found = read_all(broker, 0, "again")
                    expected = [(n, ("steady", 100 * turn + n)) for n in range(100)]
                    equal(found, expected, f"records of {kind.name}, turn {turn}")
                    delete_topic(broker, "again")
                    create_topic(broker, "again", 1)
            finally:
                steady.close()


def goes_on_at_full_speed_while_its_topic_is_created_again():
    """What a topic took with it is lost; what is in the new one is in order, and from its first record on without a gap,
    unless the client itself gave something up."""
    # Its client would create the topic with other partitions.
    arguments = ["--check-invariants", "--auto-create-topics-enable=false"]
    with Broker(wal_size="64MiB", arguments=arguments) as broker:
        create_topic(broker, "once", PARTITIONS)
        load = Load(broker, "a", pause=0.01)
        load.start()
        for _ in range(5):
            time.sleep(random.uniform(0.3, 1))
            delete_topic(broker, "once")
            create_topic(broker, "once", PARTITIONS)
        time.sleep(1)
        load.stopping = True
        load.join(60)
        equal(load.client.flush(120), 0, "records that are not answered in the end")
        total = 0
        for partition in range(PARTITIONS):
            found = read_all(broker, partition)
            equal([offset for offset, _ in found], list(range(len(found))), f"offsets of partition {partition}")
            numbers = [n for _, (_, n) in found]
            if load.errors:
                check(numbers == sorted(set(numbers)), f"partition {partition} is not in order, or holds some twice")
            else:
                expected = list(range(load.sent[partition] - len(found), load.sent[partition]))
                equal(numbers, expected, f"records of partition {partition}")
            total += len(found)
        print(f"  {total} of {sum(load.sent.values())} records in the last topic; {len(load.errors)} errors of the client,"
              f" the first: {load.errors[:1]}")


def a_transactional_producer_is_told():
    with Broker() as broker:
        client = producer(broker, transactional_id="mine", enable_idempotence=True)
        begun = time.monotonic()
        try:
            client.init_transactions(30)
        except KafkaException as failure:
            error = failure.args[0]
            equal(error.code(), KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, f"what it hears ({error})")
            check(time.monotonic() - begun < 10, "it hears it late")
            print(f"  it hears: {error}")
        else:
            check(False, "a transactional producer was served")


if __name__ == "__main__":
    run(by_hand, created_again_by_hand, goes_on_when_its_topic_is_created_again,
        goes_on_at_full_speed_while_its_topic_is_created_again, a_transactional_producer_is_told, exactly_once_through_kills)
