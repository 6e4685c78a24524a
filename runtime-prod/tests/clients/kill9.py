#!/usr/bin/env python3
"""kill -9 under load, again and again: what was acknowledged is there, at its offset, byte for byte.

Two producers with acks=all run at full speed all the time, through every death of the broker: one with several
requests in flight, whose retries may reorder records, and one with a single request in flight, whose records must stay
in order. Neither is idempotent, so a record may be there more than once. Some brokers die again while they recover. A
consumer reads along; what it saw stays. At the end every record of every partition is read from the beginning, once
more after a restart in order.
"""

import argparse
import hashlib
import random
import sys
import threading
import time
from array import array

from confluent_kafka import TopicPartition

from broker import Broker, check, equal, run
from kafka import consumer, create_topic, producer

TOPIC = "ledger"
PIPELINED = range(0, 4)
ORDERED = range(4, 6)
PARTITIONS = [*PIPELINED, *ORDERED]
FILLER = random.Random(0).randbytes(1 << 20)
NONE = -1
STALL = 30

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=20)
parser.add_argument("--seed", type=int, default=None, help="of the moments of death and the record sizes")
parser.add_argument("--wal-size", default="128MiB")
parser.add_argument("--broker-argument", action="append", default=[], help="one more argument of the broker")
OPTIONS = parser.parse_args()
SEED = OPTIONS.seed if OPTIONS.seed is not None else random.SystemRandom().randrange(1 << 32)


def value_of(n):
    """The n-th record's value, 200 to 1000 bytes that no other record has."""
    mix = n * 0x9E3779B97F4A7C15 % (1 << 64)
    length = 200 + mix % 781
    start = (mix >> 20) % (len(FILLER) - 1000)
    return b"%020d" % n + FILLER[start:start + length - 20]


def number_of(value, sent):
    """Which record this is; a value that was never sent fails."""
    try:
        n = int(value[:20])
    except ValueError:
        n = -1
    if not 0 <= n < sent or value != value_of(n):
        digest = hashlib.sha256(value).hexdigest()[:16]
        check(False, f"a value that was never sent: {len(value)} bytes, sha256 {digest}..., beginning {value[:40]!r}")
    return n


class Load(threading.Thread):
    """A producer at full speed, and its ledger of acknowledged records."""

    numbers = 0
    lock = threading.Lock()

    def __init__(self, broker, partitions, in_flight):
        super().__init__(daemon=True)
        self.partitions = partitions
        self.acked = {partition: array("q") for partition in partitions}
        self.fresh = {partition: [] for partition in partitions}
        self.errors = []
        self.violations = []
        self.acks = 0
        self.stopping = False
        self.running = threading.Event()
        self.running.set()
        self.client = producer(
            broker, max_in_flight_requests_per_connection=in_flight, message_timeout_ms=600_000,
            queue_buffering_max_messages=20_000, retry_backoff_ms=50, retry_backoff_max_ms=200,
            socket_timeout_ms=30_000, batch_num_messages=500)

    def run(self):
        turn = 0
        while not self.stopping:
            if not self.running.is_set():
                self.client.poll(0.05)
                continue
            with self.lock:
                first = Load.numbers
                Load.numbers += 200
            for n in range(first, first + 200):
                turn += 1
                partition = self.partitions[turn // 20 % len(self.partitions)]
                while True:
                    try:
                        self.client.produce(TOPIC, value_of(n), partition=partition, on_delivery=self.delivered)
                        break
                    except BufferError:
                        self.client.poll(0.01)
            self.client.poll(0)

    def delivered(self, error, message):
        n = int(message.value()[:20])
        if error:
            self.errors.append((n, str(error)))
            return
        self.acks += 1
        offset, acked = message.offset(), self.acked[message.partition()]
        while len(acked) <= offset:
            acked.append(NONE)
        if acked[offset] not in (NONE, n):
            self.violations.append(f"{message.partition()}@{offset} was acknowledged for record {acked[offset]} and for {n}")
        acked[offset] = n
        self.fresh[message.partition()].append((offset, n))

    def drain(self):
        """What was acknowledged since this was asked last, by partition."""
        drained = {partition: fresh[:] for partition, fresh in self.fresh.items()}
        for partition, fresh in drained.items():
            del self.fresh[partition][:len(fresh)]
        return drained

    def finish(self):
        self.stopping = True
        self.join(120)
        left = self.client.flush(120)
        check(left == 0, f"{left} records are neither acknowledged nor refused 120 s after the last start")


class Log:
    """What was read of a partition so far: the record number at each offset, from 0 on."""

    def __init__(self, partition):
        self.partition = partition
        self.numbers = array("q")

    def saw(self, offset, n):
        if offset < len(self.numbers):
            equal(n, self.numbers[offset], f"record at {self.partition}@{offset}, which was read before")
        else:
            equal(offset, len(self.numbers), f"offset in partition {self.partition}, where offsets have no gaps")
            self.numbers.append(n)

    def check_acked(self, acked, where):
        """Every acknowledged record that should have been read so far."""
        for offset, n in acked:
            check(offset < len(self.numbers),
                  f"LOST: record {n}, acknowledged at {self.partition}@{offset}; the log ends at {len(self.numbers)} "
                  f"({where})")
            equal(self.numbers[offset], n, f"record at {self.partition}@{offset}, acknowledged ({where})")


class Tail(threading.Thread):
    """A consumer that reads along in one partition of each kind."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.logs = {partition: Log(partition) for partition in (PIPELINED[0], ORDERED[0])}
        self.client = consumer(broker)
        self.client.assign([TopicPartition(TOPIC, partition, 0) for partition in self.logs])
        self.failure = None
        self.stopping = False

    def run(self):
        try:
            while not self.stopping:
                for message in self.client.consume(1000, 0.2):
                    if message.error() is None:
                        self.logs[message.partition()].saw(message.offset(), number_of(message.value(), Load.numbers))
                    elif not message.error().retriable() and message.error().fatal():
                        check(False, f"the tail consumer: {message.error()}")
        except Exception as error:
            self.failure = error

    def finish(self):
        self.stopping = True
        self.join(30)
        self.client.close()
        if self.failure:
            raise self.failure
        return sum(len(log.numbers) for log in self.logs.values())


def read_on(broker, logs):
    """Reads each log from where it ends to the partition's end. Records read."""
    client = consumer(broker)
    try:
        ends = {p: client.get_watermark_offsets(TopicPartition(TOPIC, p), timeout=60)[1] for p in logs}
        for partition, log in logs.items():
            check(ends[partition] >= len(log.numbers),
                  f"LOST: partition {partition} ends at {ends[partition]}; {len(log.numbers)} records were read before")
        client.assign([TopicPartition(TOPIC, p, len(log.numbers)) for p, log in logs.items()])
        before = sum(len(log.numbers) for log in logs.values())
        fruitful = time.monotonic()
        while any(len(log.numbers) < ends[p] for p, log in logs.items()):
            check(time.monotonic() < fruitful + STALL, f"nothing was read for {STALL} s before the end: "
                                                       f"{ {p: (len(log.numbers), ends[p]) for p, log in logs.items()} }")
            messages = client.consume(10_000, 1.0)
            fruitful = time.monotonic() if messages else fruitful
            for message in messages:
                check(message.error() is None, f"reading: {message.error()}")
                logs[message.partition()].saw(message.offset(), number_of(message.value(), Load.numbers))
        return sum(len(log.numbers) for log in logs.values()) - before
    finally:
        client.close()


def check_round(broker, loads, logs, where):
    """What was acknowledged since the last round, before this call, is there."""
    acked = {p: fresh for load in loads for p, fresh in load.drain().items()}
    count = read_on(broker, logs)
    for partition, fresh in acked.items():
        logs[partition].check_acked(fresh, where)
    return count


def check_everything(broker, loads, logs, tail, where):
    """Reads all from the beginning: every acknowledgement ever, and whatever was read before."""
    fresh = {partition: Log(partition) for partition in logs}
    read_on(broker, fresh)
    for load in loads:
        for partition, acked in load.acked.items():
            fresh[partition].check_acked(((offset, n) for offset, n in enumerate(acked) if n != NONE), where)
    for partition, log in fresh.items():
        for before in [logs[partition], *([tail.logs[partition]] if partition in tail.logs else [])]:
            check(log.numbers[:len(before.numbers)] == before.numbers, f"partition {partition} has changed ({where})")


def check_order(log, acked):
    """With one request in flight, records are acknowledged, and first appear, in the order of their sending."""
    numbers = [n for n in acked if n != NONE]
    check(all(a < b for a, b in zip(numbers, numbers[1:])), f"partition {log.partition}: acknowledgements out of order")
    newest = NONE
    repeated = 0
    seen = set()
    for offset, n in enumerate(log.numbers):
        if n in seen:
            repeated += 1
            continue
        seen.add(n)
        check(n > newest, f"{log.partition}@{offset}: record {n} first appears after record {newest}")
        newest = n
    return repeated


def kill_under_load():
    rng = random.Random(SEED)
    print(f"  seed {SEED}, {OPTIONS.rounds} rounds, WAL of {OPTIONS.wal_size}")
    broker = Broker(wal_size=OPTIONS.wal_size, arguments=OPTIONS.broker_argument)
    print(f"  first start: ready after {broker.start():.2f} s")
    create_topic(broker, TOPIC, len(PARTITIONS))
    loads = [Load(broker, PIPELINED, 5), Load(broker, ORDERED, 1)]
    tail = Tail(broker)
    logs = {partition: Log(partition) for partition in PARTITIONS}
    for thread in [*loads, tail]:
        thread.start()
    for number in range(1, OPTIONS.rounds + 1):
        before = sum(load.acks for load in loads)
        life = rng.uniform(0.3, 1.5)
        time.sleep(life)
        broker.check_alive()
        broker.kill()
        acks = sum(load.acks for load in loads) - before
        for load in loads:
            load.running.clear()
        died_starting = 0
        while rng.random() < 0.4:
            # It dies again while it recovers.
            broker.launch()
            time.sleep(rng.uniform(0, 0.3))
            broker.check_alive()
            broker.kill()
            died_starting += 1
        recovery = broker.start()
        begun = time.monotonic()
        count = check_round(broker, loads, logs, f"after kill {number}")
        for load in loads:
            check(not load.violations, "\n".join(load.violations[:5]))
            load.running.set()
        check(tail.failure is None, f"the tail consumer: {tail.failure}")
        print(f"  round {number:2}: killed after {life:.2f} s, {acks:6} acks, ready after {recovery:.2f} s, "
              f"{count:6} records read in {time.monotonic() - begun:.2f} s"
              f"{f', {died_starting} more kills before' if died_starting else ''}")
    for load in loads:
        load.finish()
    finish(broker, loads, tail, logs)


def finish(broker, loads, tail, logs):
    tailed = tail.finish()
    check_round(broker, loads, logs, "at the end")
    acks = sum(load.acks for load in loads)
    errors = [error for load in loads for error in load.errors]
    check(acks >= 100 * OPTIONS.rounds, f"only {acks} records were acknowledged: that tests nothing")
    check_everything(broker, loads, logs, tail, "after all rounds")
    broker.stop_clean()
    broker.start()
    check_everything(broker, loads, logs, tail, "after a restart in order")
    repeated = sum(check_order(logs[p], loads[1].acked[p]) for p in ORDERED)
    for load in loads:
        check(not load.violations, "\n".join(load.violations[:5]))
    total = sum(len(log.numbers) for log in logs.values())
    print(f"  {Load.numbers} records sent, {acks} acknowledged, {len(errors)} refused{errors[:1] or ''}, {total} in the "
          f"logs ({repeated} repeated in order), {tailed} read along; every acknowledged one is at its offset")


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    run(kill_under_load)
