#!/usr/bin/env python3
"""What an operator does, and what happens to an operator: starting, stopping, a second broker by mistake, disks that
are full, read-only, damaged, blank, old, or somebody else's.

Two rules hold throughout: a broker that can't go on says why and ends with the exit code of its --help, and what was
acknowledged is either there or the broker refuses to start. It never starts without it.
"""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time

from confluent_kafka import TopicPartition

from broker import BINARY, Broker, Exited, Failed, Skipped, check, directory, equal, free_port, run, wait_until
from kafka import consumer, create_topic, produce_all, producer, read, watermarks
from wire import Client

MIB = 1 << 20
USAGE, IN_USE, ADDRESS, WAL_REFUSED, BUCKET, IMPATIENT = 2, 64, 65, 66, 68, 130
HEADERS = 2 * 4096
TOPIC = "kept"
FIRST_START = 60
RESTART = 30
IDLE_MEMORY = 50 * MIB


def records(count, first=0, size=300):
    rng = random.Random(first)
    return [(0, b"%d" % n, b"<%08d>" % n + rng.randbytes(size), None) for n in range(first, first + count)]


def write(broker, count, first=0, size=300):
    written = records(count, first, size)
    equal(produce_all(broker, TOPIC, written), list(range(first, first + count)), "offsets")
    return written


def check_kept(broker, written):
    found = read(broker, TOPIC, 0, 0, len(written))
    for message, (_, key, value, _) in zip(found, written, strict=True):
        equal((message.key(), message.value()), (key, value), f"record at {message.offset()}")
    equal(watermarks(broker, TOPIC, 0), (0, len(written)), "beginning and end")


def killed_with_records(count=2000, wal_size="64MiB"):
    """A broker that died with acknowledged records in the WAL only, and those records."""
    broker = Broker(wal_size=wal_size)
    broker.start()
    create_topic(broker, TOPIC)
    written = write(broker, count)
    broker.kill()
    return broker, written


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(root):
    """Every file below a directory, the locks' own files aside."""
    return {str(path.relative_to(root)): digest(path) for path in sorted(root.rglob("*"))
            if path.is_file() and path.name not in ("lock", ".lock")}


@contextlib.contextmanager
def mounted(*arguments):
    """A mount point for the duration, where the machine allows mounting."""
    point = directory("mount")
    done = subprocess.run(["mount", *arguments, str(point)], capture_output=True, text=True)
    if done.returncode:
        raise Skipped(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=True)


@contextlib.contextmanager
def read_only(subject):
    """A place where the directory can be read only."""
    with mounted("--bind", str(subject)) as point:
        done = subprocess.run(["mount", "-o", "remount,ro,bind", str(point)], capture_output=True, text=True)
        if done.returncode:
            raise Skipped(f"a read-only mount is not permitted here: {done.stderr.strip()}")
        yield point


def command_line():
    """Version, help with its exit codes, and mistakes."""
    def karst(*arguments):
        return subprocess.run([str(BINARY), *arguments], capture_output=True, text=True, timeout=20, cwd=directory())

    equal((karst("--version").returncode, karst("--version").stdout.split()[0]), (0, "karst"), "karst --version")
    told = karst("--help")
    equal(told.returncode, 0, "exit code of --help")
    for word in ("--data-dir", "--listen", "--advertise", "--wal-size", "--node-id", "--check-invariants", "--log"):
        check(word in told.stdout, f"--help does not tell of {word}")
    for code in (IN_USE, ADDRESS, WAL_REFUSED, 67, BUCKET, 69, 70, IMPATIENT):
        check(f" {code} " in told.stdout, f"--help does not tell of exit code {code}")
    for wrong in (["--nonsense"], ["--wal-size", "many"], ["--listen", "nowhere"], ["serve"], ["--node-id", "-5"],
                  ["--wal-size"], ["--data-dir", ""]):
        done = karst(*wrong)
        equal(done.returncode, USAGE, f"exit code of karst {' '.join(wrong)}")
        check(done.stderr.strip(), f"karst {' '.join(wrong)} says nothing")
    check("panicked" not in told.stderr, told.stderr)


def a_wal_that_is_too_small():
    said = Broker(wal_size="64KiB").refused(USAGE, "wal")
    print(f"  it says: {said.strip().splitlines()[-1][:200]}")


def first_start_stop_and_restart():
    """With the default sizes, as somebody tries it out."""
    broker = Broker(wal_size=None)
    first = broker.start(within=FIRST_START)
    idle = idle_memory(broker)
    stopped = broker.stop_clean()
    again = broker.start(within=RESTART)
    print(f"  ready after {first:.2f} s the first time, {again:.2f} s after a SIGTERM that took {stopped:.2f} s; "
          f"idle memory {idle / MIB:.1f} MiB")
    check(idle < IDLE_MEMORY, f"an idle broker uses {idle / MIB:.1f} MiB")
    create_topic(broker, TOPIC)
    written = write(broker, 20_000)
    stopped = broker.stop_clean()
    again = broker.start(within=RESTART)
    check_kept(broker, written)
    print(f"  with {len(written)} records: stopped after {stopped:.2f} s, ready again after {again:.2f} s")
    broker.process.send_signal(signal.SIGINT)
    equal(broker.wait(30), 0, "exit code after SIGINT")


def idle_memory(broker):
    time.sleep(2)
    return broker.memory()


def sigterm_with_waiting_clients():
    """Long polls and idle connections don't hold the broker up."""
    with Broker() as broker:
        create_topic(broker, TOPIC)
        clients = [Client(broker.port) for _ in range(20)]
        threads = []
        for client in clients[:10]:
            def wait(client=client):
                with contextlib.suppress(OSError, Failed):
                    client.fetch(TOPIC, 0, 0, max_wait_ms=60_000)
            threads.append(threading.Thread(target=wait, daemon=True))
            threads[-1].start()
        time.sleep(0.3)
        took = broker.stop_clean(within=20)
        print(f"  stopped after {took:.2f} s")
        for thread in threads:
            thread.join(10)
            check(not thread.is_alive(), "a client still waits for a broker that is gone")


def sigterm_under_load():
    """What was acknowledged until the very end is there; SIGTERM twice is safe as well."""
    broker = Broker()
    broker.start()
    create_topic(broker, TOPIC)
    acked, number = {}, 0
    for round_number in range(4):
        client = producer(broker, message_timeout_ms=1000, linger_ms=1)
        until = time.monotonic() + 1

        def delivered(n, acked=acked):
            def report(error, message):
                if not error:
                    acked[message.offset()] = n
            return report

        asked = None
        while broker.alive() and time.monotonic() < until + 60:
            with contextlib.suppress(BufferError):
                client.produce(TOPIC, b"%d" % number + b"." * 400, on_delivery=delivered(number))
                number += 1
            client.poll(0.0 if number % 100 else 0.002)
            if asked is None and time.monotonic() > until:
                asked = time.monotonic()
                broker.process.send_signal(signal.SIGTERM)
                if round_number % 2:
                    time.sleep(0.01)
                    broker.process.send_signal(signal.SIGTERM)
        took = time.monotonic() - asked
        code = broker.wait(1)
        check(code == 0 or (round_number % 2 and code == IMPATIENT), f"exit code {code} after SIGTERM under load")
        client.flush(5)
        print(f"  exit code {code} {took:.2f} s after SIGTERM{' twice' * (round_number % 2)}, "
              f"{len(acked)} acks so far")
        broker.start(within=RESTART)
        end = watermarks(broker, TOPIC, 0)[1]
        found = read(broker, TOPIC, 0, 0, end)
        for offset, n in acked.items():
            check(offset < end, f"LOST: offset {offset} was acknowledged, the log ends at {end}")
            equal(found[offset].value()[:20], (b"%d" % n + b"." * 400)[:20], f"record at {offset}")


def a_second_broker_on_the_same_data():
    with Broker() as first:
        create_topic(first, TOPIC)
        written = write(first, 100)
        second = Broker(data=first.data)
        said = second.refused(IN_USE, "in use", str(first.process.pid))
        print(f"  it says: {said.strip().splitlines()[-1][:200]}")
        first.check_alive()
        check_kept(first, written)
        written += write(first, 100, first=100)
        first.kill()
        first.start()
        check_kept(first, written)


def a_second_broker_on_the_same_port():
    with Broker() as first:
        create_topic(first, TOPIC)
        written = write(first, 100)
        second = Broker(port=first.port)
        said = second.refused(ADDRESS, first.address)
        print(f"  it says: {said.strip().splitlines()[-1][:200]}")
        first.check_alive()
        check_kept(first, written + write(first, 100, first=100))
        second.port = free_port()
        second.start()


def a_read_only_data_directory():
    broker, written = killed_with_records()
    before = digests(broker.data)
    with read_only(broker.data) as point:
        said = Broker(data=point).refused(BUCKET, "read-only", str(point))
        print(f"  it says: {said.strip().splitlines()[-1][:200]}")
        equal(digests(broker.data), before, "files after a refused start")
    with read_only(directory()) as point:
        Broker(data=point / "new").refused(BUCKET, "read-only")
    broker.start()
    check_kept(broker, written)


def a_damaged_wal_header():
    """Both header slots are garbage: refused, untouched, and with the header restored everything is there."""
    broker, written = killed_with_records()
    with open(broker.wal, "r+b") as wal:
        good = wal.read(HEADERS)
        for what, bad in (("garbage", random.Random(5).randbytes(HEADERS)), ("zeros and garbage", bytes(4096) + bytes([7]) * 4096),
                          ("flipped bits", bytes(byte ^ (at % 97 == 60) for at, byte in enumerate(good)))):
            wal.seek(0)
            wal.write(bad)
            wal.flush()
            before = digest(broker.wal)
            said = broker.refused(WAL_REFUSED, "wal")
            print(f"  {what}: {said.strip().splitlines()[-2][:160]}")
            equal(digest(broker.wal), before, "the WAL after a refused start")
        wal.seek(0)
        wal.write(good)
    broker.start()
    check_kept(broker, written)


def one_damaged_wal_header_slot():
    """As a torn write leaves it: either everything is there, or the broker refuses to start."""
    for slot in (0, 1):
        broker, written = killed_with_records()
        with open(broker.wal, "r+b") as wal:
            wal.seek(slot * 4096 + 20)
            wal.write(os.urandom(2000))
        outcome = starts_with_all_or_refuses(broker, written)
        print(f"  slot {slot}: {outcome}")


def starts_with_all_or_refuses(broker, written):
    before = digest(broker.wal)
    try:
        broker.start()
    except Exited as exited:
        equal(exited.code, WAL_REFUSED, "exit code of a broker with a damaged WAL")
        equal(digest(broker.wal), before, "the WAL after a refused start")
        return "refused"
    check_kept(broker, written)
    return "everything is there"


def damage_inside_the_wal():
    """A flipped byte in an acknowledged record: never a start without it."""
    broker, written = killed_with_records()
    broker.start()
    written += write(broker, 1000, first=len(written))
    time.sleep(0.5)
    written += write(broker, 1000, first=len(written))
    time.sleep(2)
    broker.kill()
    image = broker.wal.read_bytes()
    for n in (2010, 2500, 3500):
        value = written[n][2]
        at = image.find(value)
        check(at > HEADERS and image.find(value, at + 1) < 0, f"record {n} should be in the WAL once")
        with open(broker.wal, "r+b") as wal:
            wal.seek(at + 50)
            wal.write(bytes([value[50] ^ 1]))
        before = digest(broker.wal)
        said = broker.refused(WAL_REFUSED)
        equal(digest(broker.wal), before, "the WAL after a refused start")
        with open(broker.wal, "r+b") as wal:
            wal.seek(at + 50)
            wal.write(value[50:51])
    print(f"  it says: {' '.join(said.strip().splitlines()[-2:])[:300]}")
    broker.start()
    check_kept(broker, written)


def a_blank_lost_or_older_wal():
    """Acknowledged records are in the WAL only. Without that WAL there is no start; with it, everything is there."""
    broker = Broker()
    broker.start()
    create_topic(broker, TOPIC)
    written = write(broker, 1000)
    broker.kill()
    older = directory() / "older"
    shutil.copy(broker.wal, older)
    broker.start()
    written += write(broker, 1000, first=1000)
    broker.kill()
    kept = directory() / "wal"
    shutil.move(broker.wal, kept)
    size = kept.stat().st_size

    said = broker.refused(WAL_REFUSED, "acknowledged")
    print(f"  lost: {' '.join(said.strip().splitlines()[-2:])[:300]}")
    broker.wal.write_bytes(bytes(size))
    broker.refused(WAL_REFUSED, "acknowledged")
    check(not any(broker.wal.read_bytes()), "a blank WAL was written to by a broker that refused to start")
    shutil.copy(older, broker.wal)
    before = digest(broker.wal)
    broker.refused(WAL_REFUSED)
    equal(digest(broker.wal), before, "an older WAL after a refused start")
    shutil.move(kept, broker.wal)
    broker.start()
    check_kept(broker, written)


def a_wal_of_another_cluster_or_node():
    one, written = killed_with_records()
    other, others = killed_with_records(500)
    aside = directory() / "wal"
    shutil.copy(one.wal, aside)
    shutil.copy(other.wal, one.wal)
    before = digest(one.wal)
    said = one.refused(WAL_REFUSED, "cluster")
    print(f"  another cluster's: {' '.join(said.strip().splitlines()[-2:])[:300]}")
    equal(digest(one.wal), before, "another cluster's WAL after a refused start")
    shutil.copy(aside, one.wal)
    one.arguments = ["--node-id", "7"]
    said = one.refused(WAL_REFUSED, "node")
    print(f"  another node's: {' '.join(said.strip().splitlines()[-2:])[:300]}")
    one.arguments = []
    one.start()
    check_kept(one, written)
    other.start()
    check_kept(other, others)


def a_lost_or_older_object_store():
    """The WAL is there, the objects are not, or they are those of last week."""
    broker, written = killed_with_records()
    broker.start()
    broker.stop_clean()
    older, newer = directory() / "older", directory() / "newer"
    objects = broker.data / "objects"
    shutil.copytree(objects, older)
    broker.start()
    written += write(broker, 1000, first=len(written))
    broker.kill()
    shutil.move(objects, newer)

    before = digest(broker.wal)
    said = broker.refused(BUCKET, "the bucket is empty")
    print(f"  lost: {' '.join(said.strip().splitlines()[-2:])[:300]}")
    equal(digest(broker.wal), before, "the WAL after a refused start without objects")
    created = [str(path) for path in objects.rglob("*") if path.is_file() and path.name != ".lock"]
    equal(created, [], "files in a bucket that was lost, after a refused start")
    shutil.rmtree(objects)

    shutil.copytree(older, objects)
    outcome = starts_with_all_or_refuses(broker, written)
    print(f"  older: {outcome}")
    equal(digest(broker.wal), before, "the WAL after a refused start with older objects")
    shutil.rmtree(objects)

    shutil.copytree(newer, objects)
    heads = [path for path in objects.rglob("*head*") if path.is_file()]
    equal(len(heads), 1, f"heads in {[str(p.relative_to(objects)) for p in objects.rglob('*')]}")
    heads[0].rename(newer.parent / "head")
    said = broker.refused(BUCKET)
    print(f"  without its head: {' '.join(said.strip().splitlines()[-2:])[:300]}")
    check(not heads[0].exists(), "a bucket without a head was initialised")
    (newer.parent / "head").rename(heads[0])
    broker.start()
    check_kept(broker, written)


def objects_that_are_missing_or_damaged():
    """One data object of a running broker: who reads it is refused, and the log says what to restore."""
    broker, written = killed_with_records()
    broker.start()
    broker.stop_clean()
    broker.start()
    (path,) = [path for path in (broker.data / "objects" / "data").rglob("*") if path.is_file()]
    name = str(path.relative_to(broker.data / "objects"))
    whole = path.read_bytes()
    for what, change in (("missing", path.unlink), ("damaged", lambda: path.write_bytes(whole[:99] + b"?" + whole[100:]))):
        change()
        with contextlib.closing(consumer(broker)) as reader:
            reader.assign([TopicPartition(TOPIC, 0, 0)])
            wait_until(lambda: check_nothing(reader.poll(0.2)) or "a fetch failed" in broker.log(), 60, "a line about it")
        (line, *_) = [line for line in broker.log().splitlines() if "a fetch failed" in line]
        print(f"  {what}: {line[28:]}")
        for word in (f"object={name}", f'topic="{TOPIC}"', "partition=0", "offset=0"):
            check(word in line, f"a line about a {what} object should say {word}: {line}")
        path.write_bytes(whole)
        check_kept(broker, written)
        broker.stop_clean()
        broker.start()


def check_nothing(message):
    check(message is None or message.error(), "a record out of an object that can't be read")


@contextlib.contextmanager
def a_small_disk():
    """A broker on a disk with little space, and a file whose removal frees more than the WAL holds."""
    with mounted("-t", "tmpfs", "-o", "size=280m", "none") as point:
        filler = point / "filler"
        filler.write_bytes(bytes(130 * MIB))
        broker = Broker(data=point / "data", wal_size="64MiB")
        try:
            broker.start()
            create_topic(broker, TOPIC)
            yield broker, filler
        finally:
            broker.kill()


def a_full_disk():
    """The object store fills up under load. Producers wait; when there is space again they go on, and all is there."""
    with a_small_disk() as (broker, filler):
        source = Source(broker)
        source.produce_until_stuck()
        print(f"  {len(source.acked) * Source.SIZE / MIB:.0f} MiB acknowledged when the disk is full, of {source.number} "
              f"records sent {len(source.acked)} are acknowledged; memory {broker.memory() / MIB:.0f} MiB")
        time.sleep(5)
        broker.check_alive()
        check("space" in broker.log(), "a broker whose disk is full should say so")
        found = read(broker, TOPIC, 0, 0, 50)
        equal([m.value() for m in found], [source.value(n) for n in range(50)], "records while the disk is full")
        filler.unlink()
        begun = time.monotonic()
        stuck = len(source.acked)
        wait_until(lambda: source.poll() or len(source.acked) > stuck, 60, "acknowledgements after space was freed")
        print(f"  {time.monotonic() - begun:.2f} s after space was freed producers go on")
        source.produce(200)
        source.finish()
        source.check_all(broker)
        broker.stop_clean()
        broker.start()
        source.check_all(broker)


def stopped_and_killed_on_a_full_disk():
    """SIGTERM can't upload what is in the WAL and says so; a start waits for space, and can be killed. All is there."""
    with a_small_disk() as (broker, filler):
        source = Source(broker)
        source.produce_until_stuck()
        code, took = broker.stop(within=90)
        equal(code, BUCKET, "exit code after SIGTERM with a full disk")
        print(f"  SIGTERM with a full disk: exit code {code} after {took:.1f} s")
        broker.launch()
        time.sleep(5)
        if broker.alive():
            check("space" in broker.log(), "a broker that waits for space should say so")
        else:
            equal(broker.process.returncode, BUCKET, "exit code of a start on a full disk")
        print(f"  a start on a full disk {'waits' if broker.alive() else 'is refused'}")
        broker.kill()
        filler.unlink()
        broker.start()
        source.finish()
        source.check_all(broker)


class Source:
    """A producer of large records that knows what was acknowledged."""

    SIZE = 100_000

    def __init__(self, broker):
        self.acked, self.errors, self.number = {}, [], 0
        self.noise = random.Random(11).randbytes(self.SIZE)
        self.client = producer(broker, message_timeout_ms=600_000, queue_buffering_max_messages=60, linger_ms=1,
                               max_in_flight_requests_per_connection=2, socket_timeout_ms=20_000)

    def value(self, n):
        return b"%09d" % n + self.noise[9:]

    def poll(self):
        self.client.poll(0.05)

    def produce(self, count):
        for _ in range(count):
            while True:
                try:
                    self.client.produce(TOPIC, self.value(self.number), partition=0, on_delivery=self.delivered(self.number))
                    self.number += 1
                    break
                except BufferError:
                    self.poll()

    def delivered(self, n):
        def report(error, message):
            if error:
                self.errors.append(str(error))
            else:
                self.acked[message.offset()] = n
        return report

    def produce_until_stuck(self, quiet=8, at_most=600 * MIB):
        """Until nothing was acknowledged for `quiet` seconds."""
        last, count = time.monotonic(), 0
        while time.monotonic() - last < quiet:
            with contextlib.suppress(BufferError):
                self.client.produce(TOPIC, self.value(self.number), partition=0, on_delivery=self.delivered(self.number))
                self.number += 1
            self.client.poll(0.001)
            if len(self.acked) != count:
                last, count = time.monotonic(), len(self.acked)
            check(count * self.SIZE < at_most, "the disk never gets full")

    def finish(self):
        equal(self.client.flush(120), 0, "records neither acknowledged nor refused")
        check(not self.errors, f"{len(self.errors)} records were refused: {self.errors[:1]}")
        equal(len(self.acked), self.number, "acknowledged records")

    def check_all(self, broker):
        end = watermarks(broker, TOPIC, 0)[1]
        found = {m.offset(): m.value() for m in read(broker, TOPIC, 0, 0, end, timeout=120)}
        for offset, n in self.acked.items():
            check(offset in found, f"LOST: record {n}, acknowledged at {offset}; the log ends at {end}")
            check(found[offset] == self.value(n), f"the record at {offset} is not record {n}")
        known = {self.value(n) for n in range(self.number)}
        check(all(value in known for value in found.values()), "a record that was never sent")


if __name__ == "__main__":
    run(command_line, a_wal_that_is_too_small, first_start_stop_and_restart, sigterm_with_waiting_clients,
        sigterm_under_load, a_second_broker_on_the_same_data, a_second_broker_on_the_same_port,
        a_read_only_data_directory, a_damaged_wal_header, one_damaged_wal_header_slot, damage_inside_the_wal,
        a_blank_lost_or_older_wal, a_wal_of_another_cluster_or_node, a_lost_or_older_object_store,
        objects_that_are_missing_or_damaged, a_full_disk, stopped_and_killed_on_a_full_disk)
