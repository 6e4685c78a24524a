#!/usr/bin/env python3
"""A write-ahead log in the object store (`--wal-device object:`): the broker keeps nothing on a disk.

On moto's S3 server behind a proxy there is not even a data directory; in a directory there is its object store alone.
What was acknowledged survives `kill -9` from the bucket alone, lost answers and a bucket that is away; a second broker
under the same id takes over from one that lives, which then acknowledges nothing any more; what a WAL has left in the
bucket goes, but for the seals.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request

import s3
from broker import BINARY, Broker, check, die_with_parent, equal, free_port, run, wait_until
from kafka import create_topic, produce_all, producer, read
from s3 import TOPIC, WAL_REFUSED, FENCED, HERE, check_kept, proxied, records, write

WAL_POISONED = 67
DEVICE = ["--wal-device", "object:"]
SEAL = 80


def on_bucket(bucket, proxy, *arguments, **options):
    return s3.broker_on(bucket, proxy, *DEVICE, *arguments, **options)


def on_directory(*arguments, **options):
    return Broker(arguments=[*DEVICE, *arguments], **options)


def inspect(broker, subject="wal"):
    """What `karst inspect` says, which must find nothing amiss."""
    where = [part for part in broker.arguments if part != "--check-invariants"]
    done = subprocess.run(
        [BINARY, "inspect", subject, "--json", "--data-dir", broker.data, *where],
        capture_output=True, text=True, timeout=60)
    equal(done.returncode, 0, f"exit code of inspect {subject}; it said {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def add(broker, written, count):
    """More records behind those."""
    more = [(0, b"%d" % n, b"<%08d>" % n + b"y" * 300, None) for n in range(len(written), len(written) + count)]
    equal(produce_all(broker, TOPIC, more), list(range(len(written), len(written) + count)), "offsets")
    written += more


def nothing_on_a_disk():
    with proxied() as proxy:
        bucket = s3.MOTO.make_bucket()
        with on_bucket(bucket, proxy) as broker:
            written = write(broker)
            check(not broker.data.exists(), f"{broker.data} was made")
            held = inspect(broker)
            equal((held["lives"][0]["records"], held["lives"][0]["state"]), (2000, "in use, or its broker died"),
                  "what the next start would read back")
            broker.kill()
            broker.start()
            check("2000 records" in broker.log(), f"it says what it has read back:\n{broker.log_tail()}")
            check_kept(broker, written)
            add(broker, written, 100)
            broker.stop_clean()
            check(not broker.data.exists(), f"{broker.data} was made")
        with on_bucket(bucket, proxy) as another:
            check_kept(another, written)
            another.stop_clean()
        lives = inspect(another)["lives"]
        equal([(life["objects"], life["bytes"]) for life in lives], [(1, SEAL)], "what is left: the seal of the first life")
        kinds = {kind["kind"]: kind["objects"] for kind in inspect(another, "bucket")["bucket"]["kinds"]}
        equal(kinds.get("ends of WALs, kept for ever"), 1, "seals in the bucket")


def killed_again_and_again():
    """Each time with a blank disk, now and then while it recovers."""
    moments = random.Random(7)
    with proxied() as proxy:
        for broker in [on_bucket(s3.MOTO.make_bucket(), proxy), on_directory()]:
            written = []
            with broker:
                create_topic(broker, TOPIC)
                for round in range(8):
                    add(broker, written, 300)
                    broker.kill()
                    for name in ("lock", "wal"):
                        (broker.data / name).unlink(missing_ok=True)
                    if round % 3 == 1:
                        broker.launch()
                        time.sleep(moments.random() * 0.5)
                        broker.kill()
                    broker.start()
                    check(not (broker.data / "wal").exists(), "a WAL was made on the disk")
                check_kept(broker, written)
                broker.stop_clean()
            with broker:
                check_kept(broker, written)
                broker.stop_clean()
            for life in inspect(broker)["lives"]:
                equal((life["objects"], life["bytes"]), (1, SEAL), f"what is left of {life}")


def answers_get_lost():
    """Each second put takes effect and is never answered: it is repeated, and recognised."""
    with proxied() as proxy:
        bucket = s3.MOTO.make_bucket()
        with on_bucket(bucket, proxy, "--check-invariants") as broker:
            written = write(broker, 200)
            proxy.mode = "lose answers"
            for _ in range(10):
                add(broker, written, 20)
            lost = proxy.lost
            check(lost >= 5, f"{lost} answers were lost: that tests nothing")
            broker.kill()
            proxy.mode = "pass"
            broker.start()
            check_kept(broker, written)
            broker.stop_clean()


def away_for_a_while():
    """Nothing is acknowledged while the bucket is away, and all is well when it is back."""
    for mode in ("hang", "slow down", "cut"):
        with proxied() as proxy:
            bucket = s3.MOTO.make_bucket()
            with on_bucket(bucket, proxy) as broker:
                written = write(broker, 100)
                acked = []
                client = producer(broker, message_timeout_ms=120_000)
                proxy.mode = mode
                for n in range(100, 600):
                    client.produce(TOPIC, b"<%08d>" % n, b"%d" % n, 0, on_delivery=lambda error, _: acked.append(error))
                client.poll(5)
                equal(acked, [], f"what is acknowledged while it is away ({mode})")
                broker.check_alive()
                proxy.mode = "pass"
                equal(client.flush(60), 0, f"records that are never acknowledged ({mode})")
                equal([error for error in acked if error], [], f"records that are refused ({mode})")
                written += [(0, b"%d" % n, b"<%08d>" % n, None) for n in range(100, 600)]
                broker.kill()
                broker.start()
                found = {message.key() for message in read(broker, TOPIC, 0, 0, len(written))}
                equal(found, {key for _, key, _, _ in written}, f"keys that are there ({mode})")
                broker.stop_clean()


def taken_over_from_one_that_lives():
    """A second broker under the same id: what the first acknowledges until it notices is in what the second serves."""
    for paused in (False, True):
        with proxied() as proxy:
            bucket = s3.MOTO.make_bucket()
            with on_bucket(bucket, proxy) as first:
                written = write(first, 500)
                acked, ending = [], threading.Event()
                client = producer(first, message_timeout_ms=3_000)

                def load():
                    n = 0
                    while not ending.is_set():
                        value = b"more-%d" % n
                        client.produce(
                            TOPIC, value, b"m", 0,
                            on_delivery=lambda error, m: None if error else acked.append((m.offset(), m.value())))
                        n += 1
                        client.poll(0.002)
                    client.flush(10)

                loading = threading.Thread(target=load, daemon=True)
                loading.start()
                wait_until(lambda: len(acked) > 50, 20, "records are acknowledged")
                if paused:
                    os.kill(first.process.pid, 19)
                with on_bucket(bucket, proxy) as second:
                    if paused:
                        os.kill(first.process.pid, 18)
                    code = first.wait(60)
                    check(code in (FENCED, WAL_POISONED), f"exit code {code} of the first:\n{first.log_tail()}")
                    ending.set()
                    loading.join(30)
                    end = max(offset for offset, _ in acked) + 1
                    found = {m.offset(): m.value() for m in read(second, TOPIC, 0, 0, end)}
                    missing = [(offset, value) for offset, value in acked if found.get(offset) != value]
                    equal(missing, [], f"acknowledged records that are missing (paused: {paused})")
                    print(f"  {len(acked)} acknowledged by the first, which ended with {code}")
                    equal([found[n] for n in range(500)], [value for _, _, value, _ in written], "records of before")
                    second.stop_clean()


def from_one_kind_to_another():
    """Only after a stop in order; the other kind says where the records are."""
    with on_directory() as broker:
        written = write(broker, 300)
        broker.kill()
        on_file = Broker(data=broker.data, port=broker.port)
        on_file.refused(WAL_REFUSED, "acknowledged records", "in the bucket", "--wal-device object:")
        broker.start()
        broker.stop_clean()
        on_file.start()
        check_kept(on_file, written)
        add(on_file, written, 50)
        on_file.kill()
        broker.refused(WAL_REFUSED, "not the one on this disk")
        on_file.start()
        on_file.stop_clean()
        broker.start()
        check_kept(broker, written)
        broker.stop_clean()


def damaged():
    """It is named, and nothing is changed; given up, the broker starts without it."""
    broker = on_directory()
    with broker:
        write(broker, 100)
        broker.kill()
        objects = sorted((broker.data / "objects" / "wal").rglob("*"))
        victim = next(path for path in objects if path.is_file())
        whole = victim.read_bytes()
        victim.write_bytes(whole[:200] + b"!" + whole[201:])
        said = broker.refused(WAL_REFUSED, str(victim.relative_to(broker.data / "objects")), "fails its checksum")
        uuid = said.split("belongs to the WAL ")[1].split(",")[0]
        broken = subprocess.run([BINARY, "inspect", "wal", "--json", "--data-dir", broker.data, *DEVICE],
                                capture_output=True, text=True, timeout=60)
        equal(broken.returncode, 1, "exit code of inspect")
        check("fails its checksum" in json.loads(broken.stdout)["flaws"][0], broken.stdout)
        given_up = subprocess.run([BINARY, "wal", "give-up", uuid, "--yes", "--data-dir", broker.data, *DEVICE],
                                  capture_output=True, text=True, timeout=60)
        equal(given_up.returncode, 0, f"exit code of give-up, which said {given_up.stdout}{given_up.stderr}")
        check("in the object store" in given_up.stdout, given_up.stdout)
        broker.start()
        broker.stop_clean()


def few_objects_and_told_about():
    """With small limits there are few at any time, while producers go on; metrics tell."""
    http = f"127.0.0.1:{free_port()}"
    limits = ["--wal-object-interval-ms", "0", "--wal-objects-max", "16", "--wal-object-bytes", "64KiB"]
    with on_directory(*limits, http=http) as broker:
        most = 0
        create_topic(broker, TOPIC)
        written = []
        for _ in range(30):
            add(broker, written, 200)
            with urllib.request.urlopen(f"http://{http}/metrics", timeout=10) as page:
                lines = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines() if not line.startswith("#"))
            most = max(most, int(lines["karst_wal_objects"]))
            there = sum(path.is_file() for path in (broker.data / "objects" / "wal").rglob("*"))
            check(there <= 16, f"{there} objects are there")
        check(0 < most <= 16, f"{most} objects at most, as metrics tell")
        check(any('"wal"' in name and float(value) > 0 for name, value in lines.items()), "requests of the WAL are counted")
        check_kept(broker, written)
        broker.stop_clean()


def large_batches():
    """One alone is larger than an object usually is."""
    with on_directory("--record-batch-max-bytes", "32MiB", wal_size="128MiB") as broker:
        create_topic(broker, TOPIC, config={"max.message.bytes": str(24 << 20)})
        values = [random.Random(n).randbytes((n + 1) * 5 << 20) for n in range(3)]
        options = {"message_max_bytes": 30 << 20, "compression_type": "none"}
        equal(produce_all(broker, TOPIC, [(0, None, value, None) for value in values], **options), [0, 1, 2], "offsets")
        broker.kill()
        broker.start()
        found = read(broker, TOPIC, 0, 0, 3, fetch_message_max_bytes=40 << 20, receive_message_max_bytes=100 << 20)
        check([m.value() for m in found] == values, "the values are there")
        broker.stop_clean()


def other_scripts():
    """The tests of other scripts, on a directory and on a bucket."""
    for store in ("directory", "bucket"):
        with proxied() as proxy:
            more = {} if store == "directory" else {"KARST_OBJECT_STORE": proxy.url(s3.MOTO.make_bucket())}
            script = ["kill9.py", "--rounds", "5", "--broker-argument=--wal-device=object:"]
            done = subprocess.run(
                [sys.executable, str(HERE / script[0]), *script[1:]], env={**os.environ, **more},
                capture_output=True, text=True, timeout=900, preexec_fn=die_with_parent)
        print(f"  {store}: {done.stdout.strip().splitlines()[-1]}")
        check(done.returncode == 0, f"{' '.join(script)} on a {store}:\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    os.environ.update(s3.KEYS)
    s3.MOTO = s3.Moto()
    run(nothing_on_a_disk, killed_again_and_again, answers_get_lost, away_for_a_while, taken_over_from_one_that_lives,
        from_one_kind_to_another, damaged, few_objects_and_told_about, large_batches, other_scripts)
