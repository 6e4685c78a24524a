#!/usr/bin/env python3
"""`karst inspect`: what it says of WALs, metadata, objects and buckets, compared with what a client wrote; that it finds
what is damaged or missing; and that it changes nothing, beside a running broker or without one."""

import hashlib
import json
import subprocess

from broker import BINARY, Broker, check, equal, run, wait_until
from kafka import create_topic, produce_all

SOUND, UNSOUND, USAGE = 0, 1, 2
# The two header slots at a WAL's beginning, in bytes.
HEADERS = 2 * 4096


def inspect(broker, *words, code=SOUND):
    """What it says as JSON. What it says to people must be said with the same exit code."""
    command = [BINARY, "inspect", *map(str, words), "--data-dir", broker.data]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120)
    equal(told.returncode, code, f"exit code of {words}; it said {told.stdout[-500:]}{told.stderr}")
    lines = subprocess.run(command, capture_output=True, text=True, timeout=120)
    equal(lines.returncode, code, f"exit code of {words} for people")
    check("{" not in lines.stdout, "lines for people have no braces")
    return json.loads(told.stdout)


def refused(broker, *words, code=UNSOUND):
    done = subprocess.run([BINARY, "inspect", *map(str, words), "--data-dir", broker.data], capture_output=True, text=True,
                          timeout=60)
    equal((done.returncode, done.stdout), (code, ""), f"exit code and output of {words}")
    return done.stderr


def image(broker):
    """All files that the broker keeps, by what is in them."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(broker.data.rglob("*")) if path.is_file()}


def written(count=400):
    """A broker that was killed with some records uploaded, by a clean stop, and some in the WAL only."""
    broker = Broker()
    broker.start()
    create_topic(broker, "orders", 2)
    records = [(n % 2, b"k%d" % n, b"v%d" % n * 20, None) for n in range(count)]
    produce_all(broker, "orders", records)
    broker.stop_clean()
    broker.start()
    produce_all(broker, "orders", records)
    return broker, count


def of_orders(found):
    [topic] = [topic for topic in found["topics"] if topic["topic"] == "orders"]
    return {partition["partition"]: partition for partition in topic["partitions"]}


def a_broker_that_died():
    broker, count = written()
    broker.kill()
    before = image(broker)
    half = count // 2
    orders = of_orders(inspect(broker, "metadata"))
    equal({p: (found["from"], found["committed_to"]) for p, found in orders.items()}, {0: (0, half), 1: (0, half)},
          "what is uploaded")
    wal = inspect(broker, "wal")
    equal({found["partition"]: (found["from"], found["to"]) for found in wal["streams"]},
          {"orders-0": (half, 2 * half), "orders-1": (half, 2 * half)}, "what is in the WAL only")
    check(wal["to_lsn"] > wal["from_lsn"] and wal["bytes_not_uploaded"] > 0, "the WAL holds bytes")
    equal(sum(found["batches"] for found in wal["streams"]), wal["batches_not_uploaded"], "batches")
    bucket = inspect(broker, "bucket", "--deep")
    live = bucket["metadata_objects"]["live"]
    check(live > 0, "nothing was uploaded")
    equal(bucket["verified"]["objects"], live, "objects verified")
    equal(sum(kind["objects"] for kind in bucket["bucket"]["kinds"]), bucket["bucket"]["objects"], "objects by kind")
    names = sorted(path.name for path in (broker.data / "objects/data").rglob("*") if path.is_file())
    numbers = [int(name, 16) for name in names]
    objects = inspect(broker, "object", *numbers)["objects"]
    blocks = [block for found in objects for block in found.get("blocks", ()) if block["partition"].startswith("orders")]
    equal(sorted((b["partition"], b["from"], b["to"]) for b in blocks), [("orders-0", 0, half), ("orders-1", 0, half)],
          "blocks")
    equal(image(broker), before, "files after all that")
    broker.start()
    broker.stop_clean()
    check("closed in order" in inspect(broker, "wal")["state"], "the WAL is clean")
    equal({p: found["committed_to"] for p, found in of_orders(inspect(broker, "metadata")).items()},
          {0: 2 * half, 1: 2 * half}, "everything is uploaded")


def beside_a_running_broker():
    broker, _ = written()
    for _ in range(5):
        produce_all(broker, "orders", [(0, b"k", b"v" * 1000, None)] * 200)
        inspect(broker, "bucket", "--deep")
        inspect(broker, "metadata")
        equal(len(inspect(broker, "wal")["header_slots"]), 2, "header slots")
    broker.stop_clean()


def what_is_lost_is_named():
    broker, _ = written()
    broker.stop_clean()
    objects = sorted(path for path in (broker.data / "objects/data").rglob("*") if path.is_file())
    victim, number = objects[0], int(objects[0].name, 16)
    content = victim.read_bytes()
    # A byte within: the names are all there, and only the bytes tell.
    victim.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    inspect(broker, "bucket")
    for words in (["bucket", "--deep"], ["object", number]):
        [flaw] = inspect(broker, *words, code=UNSOUND)["flaws"]
        check(victim.name in flaw, f"the flaw names the object: {flaw}")
    victim.write_bytes(content[:-1])
    [flaw] = inspect(broker, "bucket", code=UNSOUND)["flaws"]
    check(f"has {len(content) - 1} bytes" in flaw, f"the flaw tells the length: {flaw}")
    victim.unlink()
    [flaw] = inspect(broker, "bucket", code=UNSOUND)["flaws"]
    check("is missing" in flaw, f"the flaw says what it is: {flaw}")
    victim.write_bytes(content)
    stranger = broker.data / "objects/holiday.jpg"
    stranger.write_bytes(b"not ours")
    equal(inspect(broker, "bucket")["bucket"]["not_of_karst"], ["holiday.jpg"], "strangers")
    (broker.data / "objects/meta/head").unlink()
    check("no meta/head" in refused(broker, "bucket"), "a bucket without its head is refused")


def a_damaged_wal():
    broker, _ = written()
    # Blocks that come later tell that the first one was durable.
    for _ in range(3):
        produce_all(broker, "orders", [(0, b"k", b"v", None)])
    broker.kill()
    sound = inspect(broker, "wal")
    with broker.wal.open("r+b") as wal:
        wal.seek(HEADERS + sound["from_lsn"] + 200)
        byte = wal.read(1)
        wal.seek(-1, 1)
        wal.write(bytes([byte[0] ^ 1]))
    [flaw] = inspect(broker, "wal", code=UNSOUND)["flaws"]
    check("damaged" in flaw, f"the flaw says so: {flaw}")
    with broker.wal.open("r+b") as wal:
        wal.write(bytes(HEADERS))
    check("blank" in inspect(broker, "wal")["state"], "a blank WAL is called blank")
    with broker.wal.open("r+b") as wal:
        wal.write(b"something else" * 1000)
    [flaw] = inspect(broker, "wal", code=UNSOUND)["flaws"]
    check("not a Karst WAL" in flaw, f"the flaw says so: {flaw}")


def mistakes():
    broker = Broker()
    check("there are wal" in refused(broker, "head", code=USAGE), "subjects are told")
    check("object directory" in refused(broker, "metadata"), "a place without objects is named")
    check("No such file" in refused(broker, "wal"), "a place without a WAL is named")
    with broker:
        wait_until(lambda: (broker.data / "objects/meta/head").exists(), 10, "a head")
        check("no object" in refused(broker, "object", "x"), "a name that can't be")
        equal(inspect(broker, "object", 77)["objects"][0]["bucket"], "has none of that name", "an object that is not there")


if __name__ == "__main__":
    run(a_broker_that_died, beside_a_running_broker, what_is_lost_is_named, a_damaged_wal, mistakes)
