#!/usr/bin/env python3
"""Idempotent producers: what they write is in the log exactly once and in order, through every death of the broker.

With a client library: two producers with five requests in flight run at full speed while the broker is killed again and
again; every record must then be there once, in each partition in the order in which it was sent. By hand: what a broker
says to a batch that it has, to a gap, to an older epoch, before and after a restart and a kill -9.
"""

import random
import struct
import threading
import time
from collections import defaultdict

from confluent_kafka import KafkaError, KafkaException, TopicPartition

import wire
from broker import Broker, check, equal, run
from kafka import consumer, create_topic, producer

ROUNDS = 10
PARTITIONS = 4
OUT_OF_ORDER, DUPLICATE, OLD_EPOCH, TRANSACTIONAL_ID, UNKNOWN_PRODUCER = 45, 46, 47, 53, 59
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


def read_all(broker, partition):
    """(offset, (producer, number)) of every record of a partition."""
    client = consumer(broker)
    try:
        first, end = client.get_watermark_offsets(TopicPartition("once", partition), timeout=60)
        client.assign([TopicPartition("once", partition, first)])
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
            equal(produce(client, 1, two, 0, 5)[0], OUT_OF_ORDER, "a new producer that does not begin at 0")
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
            equal(produce(client, 1, one, 1, 0), (0, 5), "a new epoch")
            equal(produce(client, 2, one, 0, 5)[0], OLD_EPOCH, "the old epoch")
            offsets = [produce(client, 1, one, 1, n)[1] for n in range(1, 8)]
            equal(offsets, list(range(6, 13)), "seven more batches")
            equal(produce(client, 1, one, 1, 3), (0, 8), "the fifth last batch again")
            equal(produce(client, 1, one, 1, 1)[0], DUPLICATE, "a batch whose offset is forgotten")


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
    run(by_hand, a_transactional_producer_is_told, exactly_once_through_kills)
