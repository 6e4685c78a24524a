#!/usr/bin/env python3
"""Objects are rewritten into fewer: their number in the directory store stays small, what was written is read back, and
`kill -9` in the middle of it costs nothing and leaves nothing behind."""

import json
import random
import subprocess
import time
import urllib.request

from broker import BINARY, Broker, check, equal, free_port, run, wait_until
from kafka import admin, create_topic, produce_all, read

PARTITIONS = 4
# Small and hasty: an upload every 50 ms, and every three objects become one.
HASTY = ["--upload-interval-ms", "50ms", "--compaction-interval-ms", "50ms", "--compaction-fan-in", "3",
         "--compaction-object-bytes", "1MiB", "--upload-split-bytes", "64KiB", "--upload-block-bytes", "4KiB",
         "--compaction-split-age-ms", "3s", "--store-delete-delay-ms", "1s", "--store-scrub-interval-ms", "1s"]


def objects(broker):
    return [path for path in (broker.data / "objects/data").rglob("*") if path.is_file()]


def value(partition, n):
    return b"%d-%08d-" % (partition, n) + bytes([n % 251]) * (n * 37 % 700)


class Ledger:
    """What was acknowledged, by partition."""

    def __init__(self):
        self.counts = [0] * PARTITIONS

    def write(self, broker, each):
        records = [(p, None, value(p, self.counts[p] + n), None) for n in range(each) for p in range(PARTITIONS)]
        offsets = produce_all(broker, "ledger", records)
        for (partition, _, _, _), offset in zip(records, offsets):
            equal(offset, self.counts[partition], f"offset in partition {partition}")
            self.counts[partition] += 1

    def check(self, broker):
        for partition, count in enumerate(self.counts):
            found = [message.value() for message in read(broker, "ledger", partition, 0, count)]
            check(found == [value(partition, n) for n in range(count)], f"partition {partition} is what was written")


def inspect(broker):
    told = subprocess.run([BINARY, "inspect", "bucket", "--deep", "--json", "--data-dir", broker.data],
                          capture_output=True, text=True, timeout=120)
    equal(told.returncode, 0, f"exit code of the inspection; it said {told.stdout[-500:]}{told.stderr}")
    return json.loads(told.stdout)


def metric(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name} ")]
    return int(line.split()[1])


def settled(broker):
    """Waits until no object is added or deleted any more."""
    last = [None, time.monotonic()]

    def quiet():
        names = {path.name for path in objects(broker)}
        if names != last[0]:
            last[:] = names, time.monotonic()
        return time.monotonic() - last[1] > 6

    wait_until(quiet, 90, "objects that come to rest", pause=0.2)


def many_objects_become_few():
    port = free_port()
    broker = Broker(arguments=HASTY, http=f"127.0.0.1:{port}")
    broker.start()
    create_topic(broker, "ledger", PARTITIONS)
    ledger = Ledger()

    # How many uploads a round makes depends on the machine.
    def enough():
        ledger.write(broker, 20)
        return metric(port, "karst_uploads_committed_total") > 80

    wait_until(enough, 120, "enough uploads", pause=0.03)
    settled(broker)
    uploads = metric(port, "karst_uploads_committed_total")
    left, rewritten = len(objects(broker)), metric(port, "karst_compactions_total")
    # Each takes three to five inputs, so that two of three objects go at the least.
    check(rewritten > uploads / 6, f"{uploads} uploads, {rewritten} compactions")
    check(left < uploads / 3, f"{left} objects are left of {uploads} uploads")
    for name in ("read_bytes", "written_bytes", "inputs", "results"):
        check(metric(port, f"karst_compaction_{name}_total") > 0, name)
    equal(metric(port, "karst_compaction_held_bytes"), 0, "bytes held by a compactor that rests")
    print(f"    {uploads} uploads, {rewritten} compactions, {left} objects left")
    ledger.check(broker)
    broker.stop_clean()
    live = inspect(broker)["metadata_objects"]["live"]
    equal(len(objects(broker)), live, "objects in the directory are those that are needed")
    broker.start()
    ledger.check(broker)
    broker.stop_clean()


def kill_in_the_middle():
    rng = random.Random(11)
    broker = Broker(arguments=HASTY)
    broker.start()
    create_topic(broker, "ledger", PARTITIONS)
    ledger = Ledger()
    for _ in range(12):
        for _ in range(rng.randrange(3, 9)):
            ledger.write(broker, 15)
            time.sleep(rng.random() * 0.05)
        broker.kill()
        broker.start()
    ledger.check(broker)
    settled(broker)
    broker.stop_clean()
    live = inspect(broker)["metadata_objects"]["live"]
    equal(len(objects(broker)), live, "objects in the directory are those that are needed")
    check(live < 60, f"{live} objects are left")
    broker.start()
    ledger.check(broker)
    broker.stop_clean()


def deleted_topics_give_their_space_back():
    broker = Broker(arguments=HASTY)
    broker.start()
    create_topic(broker, "ledger", PARTITIONS)
    ledger = Ledger()
    for _ in range(15):
        ledger.write(broker, 30)
    client = admin(broker)
    client.delete_topics(["ledger"])["ledger"].result(60)
    wait_until(lambda: not [p for p in objects(broker) if p.stat().st_size > 2000], 60, "space that comes back")
    broker.stop_clean()
    inspect(broker)


if __name__ == "__main__":
    run(many_objects_become_few, kill_in_the_middle, deleted_topics_give_their_space_back)
