#!/usr/bin/env python3
"""The simulation's object store as an S3 server, with its faults and its plans, under the real broker.

With either kind of WAL an idempotent producer goes on at speed through bursts of 503, answers that never come to puts
that were done, not done or done late, slow requests, torn reads, an outage and the storm of a seed of `karst-sim`, while
the broker is killed in the middle of it. Offset n of a partition must hold its n-th record, for who reads along and in
the end; a WAL in the object store is recovered from the bucket alone. When all is quiet nothing is left over in the
bucket. Every kind of fault must have happened. And a store that loses what it acknowledged must be noticed.

`--measure` instead tells requests and their cost, and how long a record takes, with a store as far away as S3.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

from confluent_kafka import Producer, TopicPartition

from broker import BINARY, ROOT, RUN, Broker, Failed, check, die_with_parent, equal, run, wait_until
from kafka import consumer, create_topic, watermarks

TOPIC = "ledger"
PARTITIONS = 3
FILLER = random.Random(0).randbytes(1 << 20)
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
TARGET = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
SERVER = os.environ.get("S3_STORMS", f"{TARGET}/debug/examples/s3_storms")
KINDS = {"file": [], "object": ["--wal-device", "object:"]}
# What is in a bucket when everything is quiet.
# What a probe could not remove in a storm is removed by those of a later day.
KEPT = {"data that streams need", "metadata", "ends of WALs, kept for ever", "left by a probe of the store"}
# USD for 1000 requests, as `karst inspect bucket` has them for puts.
PRICES = {"put": 0.005, "list": 0.005, "get": 0.0004, "head": 0.0004, "delete": 0.0, "other": 0.0004}
GIB = 1 << 30

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seed", type=int, default=None, help="of the faults, the moments of death and the last storm")
parser.add_argument("--outage", type=float, default=12, help="seconds")
parser.add_argument("--speed", type=float, default=4, help="MiB per second")
parser.add_argument("--measure", action="store_true")
parser.add_argument("--mib", type=int, default=256, help="measuring: how much is produced")
parser.add_argument("--idle", type=float, default=60, help="measuring: seconds")
parser.add_argument("tests", nargs="*")
OPTIONS = parser.parse_args()
SEED = OPTIONS.seed if OPTIONS.seed is not None else random.SystemRandom().randrange(1 << 32)


class Server:
    """The S3 server. A storm is a plan of the simulator's, of which only what it says of the store counts."""

    bucket = "storms"

    def __init__(self, **numbers):
        if not os.path.exists(SERVER):
            sys.exit(f"there is no {SERVER}: cargo build --example s3_storms")
        RUN.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [SERVER, "--listen", "127.0.0.1:0", "--bucket", self.bucket], stdout=subprocess.PIPE, text=True,
            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.address = self.process.stdout.readline().split()[-1]
        self.usual = {"store.page": 1000, "store.latency.low": 2_000, "store.latency.high": 10_000, **numbers}
        self.calm()

    def ask(self, what, body=None):
        with urllib.request.urlopen(f"http://{self.address}/-/{what}", body, timeout=30) as answer:
            return answer.read().decode()

    def storm(self, *disturbances, **numbers):
        """Until the next. Numbers of plans, with `__` for `.` and `_` for `-`."""
        said = {name.replace("__", ".").replace("_", "-"): value for name, value in numbers.items()}
        lines = ["karst-plan 2", f"root = {SEED}", f"bucket.attempt = {2_000_000}", f"phases.safety = {10**11}"]
        lines += [f"{name} = {value}" for name, value in {**self.usual, **said}.items()]
        self.ask("plan", "\n".join([*lines, *disturbances, ""]).encode())

    def calm(self):
        self.storm()

    def counts(self):
        return {name: int(count) for name, count in (line.split() for line in self.ask("counts").splitlines())}

    def requests(self):
        return {name.split(".")[1]: count for name, count in self.counts().items() if name.startswith("requests.")}

    def url(self):
        return f"s3://{self.bucket}?region=us-east-1&endpoint=http://{self.address}&path-style=true"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def value_of(partition, n):
    """The n-th record of a partition: 200 to 1000 bytes that no other record has."""
    mix = (n * PARTITIONS + partition) * 0x9E3779B97F4A7C15 % (1 << 64)
    start = (mix >> 20) % (len(FILLER) - 1000)
    return b"%d-%012d-" % (partition, n) + FILLER[start:start + 180 + mix % 781]


def check_record(message):
    partition, offset = message.partition(), message.offset()
    expected = value_of(partition, offset)
    check(message.value() == expected,
          f"{partition}@{offset} holds {message.value()[:30]!r}, and the record is {expected[:30]!r}")


class Load(threading.Thread):
    """An idempotent producer: its n-th record for a partition belongs at offset n."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.sent = [0] * PARTITIONS
        self.acked = [0] * PARTITIONS
        self.violations = []
        self.stopping = False
        self.client = Producer({
            "bootstrap.servers": broker.address, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
            "message.timeout.ms": 600_000, "queue.buffering.max.messages": 20_000, "log_level": 2,
            "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 50,
            "retry.backoff.max.ms": 200, "socket.timeout.ms": 30_000})

    def run(self):
        begun, sent = time.monotonic(), 0
        while not self.stopping:
            if sent > (time.monotonic() - begun) * OPTIONS.speed * (1 << 20):
                self.client.poll(0.005)
                continue
            for partition in range(PARTITIONS):
                value = value_of(partition, self.sent[partition])
                try:
                    self.client.produce(TOPIC, value, partition=partition, on_delivery=self.delivered)
                except BufferError:
                    # What could not be sent for a while is not made up for.
                    self.client.poll(0.05)
                    begun, sent = time.monotonic(), 0
                    break
                self.sent[partition] += 1
                sent += len(value)
            self.client.poll(0)

    def delivered(self, error, message):
        partition = message.partition()
        if error:
            self.violations.append(f"a record for {partition} is refused: {error}")
            return
        if message.value() != value_of(partition, message.offset()):
            self.violations.append(f"{message.value()[:15]} is acknowledged at {partition}@{message.offset()}")
        self.acked[partition] += 1

    def check(self):
        check(not self.violations, "\n".join(self.violations[:5]))

    def finish(self):
        self.stopping = True
        self.join(60)
        equal(self.client.flush(90), 0, "records that are neither acknowledged nor refused")
        self.check()
        equal(self.acked, self.sent, "records acknowledged, by partition")


class Tail(threading.Thread):
    """Reads along, and begins again when it has seen so much that the broker has to fetch it from objects."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.client = consumer(broker)
        self.read = 0
        self.failure = None
        self.stopping = False

    def run(self):
        try:
            while not self.stopping:
                self.client.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
                again = time.monotonic() + 5
                while not self.stopping and time.monotonic() < again:
                    for message in self.client.consume(500, 0.2):
                        if message.error() is None:
                            check_record(message)
                            self.read += 1
                        else:
                            check(not message.error().fatal(), f"reading along: {message.error()}")
        except Exception as error:
            self.failure = error

    def finish(self):
        self.stopping = True
        self.join(30)
        self.client.close()
        if self.failure:
            raise self.failure


def check_everything(broker, ends, patience=120):
    """Offset n holds the n-th record, up to the last acknowledged one, and nothing is behind it."""
    for partition, end in enumerate(ends):
        found = watermarks(broker, TOPIC, partition)[1]
        check(found >= end, f"LOST: {end} records of partition {partition} were acknowledged; its log ends at {found}")
        equal(found, end, f"end of partition {partition}")
    client = consumer(broker)
    client.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    next_ones = [0] * PARTITIONS
    deadline = time.monotonic() + patience
    while next_ones != ends:
        check(time.monotonic() < deadline, f"read up to {next_ones} of {ends} after {patience} s")
        for message in client.consume(10_000, 1.0):
            check(message.error() is None, f"reading: {message.error()}")
            equal(message.offset(), next_ones[message.partition()], f"offset in partition {message.partition()}")
            check_record(message)
            next_ones[message.partition()] += 1
    client.close()


def inspect(broker, *more):
    arguments = [part for part in broker.arguments if part != "--check-invariants"]
    done = subprocess.run([BINARY, "inspect", "bucket", "--json", *more, "--data-dir", broker.data, *arguments],
                          capture_output=True, text=True, timeout=120)
    equal(done.returncode, 0, f"exit code of inspect, which said {done.stdout[-2000:]}{done.stderr}")
    return json.loads(done.stdout)


def left_over(broker):
    """Objects that should go, by what they are."""
    kinds = {kind["kind"]: kind["objects"] for kind in inspect(broker)["bucket"]["kinds"]}
    return {kind: count for kind, count in kinds.items() if kind not in KEPT}


def broker_on(server, kind, *arguments):
    quick = ["--store-request-timeout-ms", "2000", "--upload-interval-ms", "500", "--upload-bytes", "1MiB",
             "--compaction-interval-ms", "2000", "--store-delete-delay-ms", "1000", "--store-scrub-interval-ms",
             "2000", "--cache-bytes", "1MiB", "--block-cache-bytes", "1MiB"]
    return Broker(wal_size="256MiB", arguments=["--object-store", server.url(), *KINDS[kind], *quick, *arguments])


def kill_and_start(broker, kind):
    """Seconds that the start took. A WAL in the bucket is recovered without any disk."""
    broker.check_alive()
    broker.kill()
    return start_again(broker, kind)


def start_again(broker, kind):
    """The same, of one that was killed."""
    if kind == "object":
        check(not (broker.data / "wal").exists(), "a WAL was made on the disk")
        shutil.rmtree(broker.data, ignore_errors=True)
    return broker.start(within=120)


def through_storms(kind):
    moments = random.Random(SEED)
    print(f"  seed {SEED}")
    with Server() as server, broker_on(server, kind) as broker:
        create_topic(broker, TOPIC, PARTITIONS)
        load, tail = Load(broker), Tail(broker)
        load.start()
        tail.start()

        def phase(name, seconds):
            before, begun = sum(load.acked), time.monotonic()
            time.sleep(seconds)
            broker.check_alive()
            load.check()
            check(tail.failure is None, f"the consumer that reads along: {tail.failure}")
            print(f"  {name}: {sum(load.acked) - before} acknowledged in {time.monotonic() - begun:.1f} s")

        phase("calm", 1.5)
        for _ in range(2):
            server.storm(store__throttle=500_000)
            phase("503s", 1.5)
            server.calm()
            time.sleep(0.5)
        server.storm(store__timeout=60_000, store__cut_off=60_000, store__server_error=60_000, store__conflict=250_000,
                     store__done_despite_error=500_000, store__late=500_000, store__truncate=100_000, store__page=3)
        phase("unknown outcomes", moments.uniform(2, 4))
        broker.kill()
        server.storm(store__timeout=5_000, store__cut_off=20_000, store__server_error=20_000, store__throttle=20_000,
                     store__conflict=100_000, store__done_despite_error=500_000, store__late=500_000,
                     store__truncate=200_000)
        took = start_again(broker, kind)
        phase(f"killed, up again after {took:.1f} s in a lesser storm", 2)
        server.storm(store__latency__low=30_000, store__latency__high=200_000, store__latency__tail=50_000,
                     store__conflict=100_000, store__truncate=300_000)
        phase("slow requests", 3)
        server.storm(f"at 0 outage lasts={int(OPTIONS.outage * 1e6)}", store__done_despite_error=500_000,
                     store__late=500_000)
        begun = time.monotonic()
        phase("outage", OPTIONS.outage / 2)
        before = sum(load.acked)
        phase("outage", OPTIONS.outage / 2 - 2)
        if kind == "object":
            equal(sum(load.acked) - before, 0, "records acknowledged while nothing can be made durable")
        broker.check_alive()
        broker.kill()
        time.sleep(max(0, begun + OPTIONS.outage - time.monotonic()))
        phase(f"killed in it, up again after {start_again(broker, kind):.1f} s", 1.5)
        plan = server.ask(f"seed?{SEED}", b"")
        lasts = next((int(line.split()[2]) for line in plan.splitlines() if line.startswith("phases.safety")), 6_000_000)
        phase("the storm of this seed", min(lasts / 1e6, 6))
        broker.kill()
        server.calm()
        took = start_again(broker, kind)
        load.finish()
        tail.finish()
        took = kill_and_start(broker, kind)
        check_everything(broker, load.acked)
        wait_until(lambda: not left_over(broker), 30, "nothing is left over", pause=0.5)
        broker.stop_clean()
        equal(left_over(broker), {}, "what is left over after a stop in order")
        inspect(broker, "--deep")
        counts = server.counts()
        print(f"  {sum(load.acked)} records acknowledged and there, {tail.read} read along, the last start took {took:.1f} s")
        print(f"  {', '.join(f'{name} {count}' for name, count in counts.items())}")
        for fault in ("throttled", "server_error", "cut_off", "timeout", "done_despite_error", "late", "spurious_conflict",
                      "truncated", "tail", "outage"):
            check(counts.get(f"store.{fault}", 0) > 0, f"store.{fault} never happened: that tests nothing")
        check(sum(load.acked) > 3_000, "hardly anything was acknowledged: that tests nothing")


def storms_with_a_wal_on_the_disk():
    through_storms("file")


def storms_with_a_wal_in_the_bucket():
    through_storms("object")


def a_store_that_loses_what_it_acknowledged_is_noticed():
    """So that a check that passes says something."""
    for lost, kind in (("wal/", "object"), ("data/", "file")):
        uploads = ["--upload-interval-ms", "600000"] if lost == "wal/" else []
        with Server() as server, broker_on(server, kind, *uploads) as broker:
            create_topic(broker, TOPIC, PARTITIONS)
            load = Load(broker)
            load.start()
            time.sleep(1.5)
            load.finish()
            if lost == "data/":
                wait_until(lambda: inspect(broker)["bucket"]["objects"] > 4, 20, "uploads")
            name = server.ask(f"lose?{lost}", b"")
            check(name.startswith(lost), f"nothing was lost: {name!r}")
            try:
                kill_and_start(broker, kind)
                inspect(broker, "--deep")
                check_everything(broker, load.acked, patience=20)
            except Failed as noticed:
                print(f"  {name} is lost: {str(noticed).splitlines()[0][:150]}")
            else:
                check(False, f"{name} was lost, and nobody noticed")


def bill(requests):
    """USD."""
    return sum(count / 1000 * PRICES[kind] for kind, count in requests.items())


def between(before, after):
    return {kind: count - before.get(kind, 0) for kind, count in after.items() if count > before.get(kind, 0)}


def told(requests):
    return ", ".join(f"{count:.0f} {kind}" for kind, count in requests.items())


def measure():
    """A store whose requests take 15 to 45 ms; the broker as it is by default."""
    for kind, device in KINDS.items():
        far = {"store.latency.low": 15_000, "store.latency.high": 45_000, "store.unique-etags": 1}
        with Server(**far) as server, \
                Broker(wal_size="512MiB", arguments=["--object-store", server.url(), *device]) as broker:
            create_topic(broker, TOPIC, PARTITIONS)
            print(f"  WAL kind {kind}:")
            before = server.requests()
            seconds, slowest = produce(broker, OPTIONS.mib << 20)
            broker.stop_clean()
            used = between(before, server.requests())
            share = GIB / (OPTIONS.mib << 20)
            per_gib = {name: count * share for name, count in used.items()}
            print(f"    {OPTIONS.mib} MiB in {seconds:.1f} s ({OPTIONS.mib / seconds:.0f} MiB/s) and a stop: "
                  f"per GiB {told(per_gib)}; USD {bill(per_gib):.4f}")
            broker.start()
            print(f"    a record each 10 ms, acknowledged after: {latencies(broker)}")
            broker.stop_clean()
            broker.start()
            time.sleep(15)
            before, begun = server.requests(), time.monotonic()
            time.sleep(OPTIONS.idle)
            idle = between(before, server.requests())
            hour = {name: count * 3600 / (time.monotonic() - begun) for name, count in idle.items()}
            print(f"    idle for {OPTIONS.idle:.0f} s: {told(idle) or 'no request'}; an hour {told(hour) or 'none'}; "
                  f"USD {bill(hour):.4f} an hour, {bill(hour) * 24 * 30:.2f} a month")
            cost = inspect(broker)["cost"]
            print(f"    karst inspect bucket: {json.dumps(cost)}")
            broker.stop_clean()


def produce(broker, size):
    """Seconds that so many bytes took, and the longest that one record took."""
    client = Producer({"bootstrap.servers": broker.address, "acks": "all", "enable.idempotence": True,
                       "linger.ms": 5, "batch.size": 1 << 20, "queue.buffering.max.kbytes": 65536, "log_level": 2})
    begun, left, longest = time.monotonic(), size, [0]

    def delivered(error, message):
        check(error is None, f"refused: {error}")
        longest[0] = max(longest[0], message.latency())

    while left > 0:
        at = left % (len(FILLER) - 10_000)
        try:
            client.produce(TOPIC, FILLER[at:at + 10_000], partition=left // 10_000 % PARTITIONS, on_delivery=delivered)
            left -= 10_000
        except BufferError:
            client.poll(0.05)
        client.poll(0)
    equal(client.flush(120), 0, "records that are not acknowledged")
    return time.monotonic() - begun, longest[0]


def latencies(broker, seconds=15):
    """Of small records without batching."""
    client = Producer({"bootstrap.servers": broker.address, "acks": "all", "linger.ms": 0, "log_level": 2})
    taken = []
    begun, n = time.monotonic(), 0
    while time.monotonic() < begun + seconds:
        while time.monotonic() < begun + n / 100:
            client.poll(0.001)
        client.produce(TOPIC, value_of(0, n), partition=n % PARTITIONS,
                       on_delivery=lambda error, message: taken.append(message.latency()))
        n += 1
    equal(client.flush(60), 0, "records that are not acknowledged")
    taken.sort()
    at = {name: taken[int(part * (len(taken) - 1))] * 1000 for name, part in
          (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("most", 1))}
    return ", ".join(f"{name} {value:.0f} ms" for name, value in at.items()) + f" ({len(taken)} records)"


if __name__ == "__main__":
    os.environ.update(KEYS)
    sys.argv[1:] = OPTIONS.tests
    if OPTIONS.measure:
        run(measure)
    else:
        run(storms_with_a_wal_in_the_bucket, storms_with_a_wal_on_the_disk,
            a_store_that_loses_what_it_acknowledged_is_noticed)
