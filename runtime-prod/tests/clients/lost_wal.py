#!/usr/bin/env python3
"""A write-ahead log that is lost: the broker refuses to start and says what to do; `karst wal give-up` says what that
loses, asks, and takes nothing but the WAL that is waited for, and only if it is not there; then the broker starts with
all that was committed, and nobody takes new records for lost ones."""

import hashlib
import os
import pty
import subprocess
import uuid

from broker import BINARY, Broker, check, equal, run
from confluent_kafka import TopicPartition
from inspecting import inspect, of_orders, written
from kafka import consumer, produce_all, read

DONE, REFUSED, USAGE, WAL_REFUSED = 0, 1, 2, 66


def command(broker, name, *more):
    return [BINARY, "wal", "give-up", str(name), "--data-dir", broker.data, "--listen", broker.address, *more]


def give_up(broker, name, *more, code):
    """What it says without a terminal."""
    done = subprocess.run(command(broker, name, *more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    equal(done.returncode, code, f"exit code; it said {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def give_up_at_a_terminal(broker, name, answer):
    """Its exit code, when that is what the operator types."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command(broker, name), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.close(theirs)
    os.write(ours, answer.encode() + b"\n")
    said = process.communicate(timeout=60)[0].decode()
    os.close(ours)
    check("Type yes" in said, f"it asks:\n{said}")
    return process.returncode


def objects(broker):
    """All that is in the object store, by what is in it."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((broker.data / "objects").rglob("*")) if path.is_file()}


def lost():
    """A broker whose WAL is gone, with records that are in the bucket and as many that were in the WAL only; the WAL's
    name, and up to where each partition is committed."""
    broker, count = written()
    broker.kill()
    name = inspect(broker, "wal")["wal"]
    broker.wal.unlink()
    return broker, name, count // 2


def refused_given_up_and_started():
    broker, name, committed = lost()
    broker.refused(WAL_REFUSED, "acknowledged", f"karst wal give-up {name}")
    before = objects(broker)

    said = give_up(broker, uuid.uuid4(), "--yes", code=REFUSED)
    check(name in said and "nothing was changed" in said, f"it names the right one:\n{said}")
    said = give_up(broker, name, code=REFUSED)
    for partition in (0, 1):
        [line] = [line for line in said.splitlines() if f"orders-{partition} " in line]
        check(f"offset {committed} " in line and "last committed at 20" in line, f"it says what is left: {line}")
    check("nobody can know how much" in said and "--yes" in said, f"it says what it can't know:\n{said}")
    equal(objects(broker), before, "the bucket, when nothing was agreed to")
    broker.refused(WAL_REFUSED, f"karst wal give-up {name}")

    said = give_up(broker, name, "--yes", code=DONE)
    check(f"The WAL {name} is given up" in said and "orders-1" in said, f"it says what it did:\n{said}")
    found = inspect(broker, "metadata")
    equal(found["brokers"][0]["given_up"]["wal"], name, "the WAL that was given up, in the metadata")
    equal({p: part["committed_to"] for p, part in of_orders(found).items()}, {0: committed, 1: committed}, "what is left")
    check("given up before" in give_up(broker, name, "--yes", code=DONE), "once is enough")

    broker.start()
    for partition in (0, 1):
        messages = read(broker, "orders", partition, 0, committed)
        equal([m.value() for m in messages], [b"v%d" % (2 * n + partition) * 20 for n in range(committed)], "what is left")
    equal(produce_all(broker, "orders", [(0, b"new", b"n%d" % n, None) for n in range(committed + 7)])[0], committed,
          "the offset that is given again")
    broker.kill()
    broker.start()
    equal(read(broker, "orders", 0, committed, 1)[0].value(), b"n0", "what is there now")
    broker.stop_clean()


def consumers_notice():
    broker, count = written()
    # Its epoch is that of the start in which what is lost was written.
    client = consumer(broker)
    client.assign([TopicPartition("orders", 0, count - 1)])
    epoch = client.poll(30).leader_epoch()
    client.close()
    where = TopicPartition("orders", 0, count, leader_epoch=epoch)
    client = consumer(broker, **{"group_id": "readers"})
    client.commit(offsets=[where], asynchronous=False)
    equal(client.committed([TopicPartition("orders", 0)], 30)[0].offset, count, "a committed offset")
    client.close()
    broker.kill()
    name = inspect(broker, "wal")["wal"]
    broker.wal.unlink()
    give_up(broker, name, "--yes", code=DONE)
    broker.start()
    # As far as what is lost went, and further.
    produce_all(broker, "orders", [(0, b"new", b"n%d" % n, None) for n in range(count)])
    client = consumer(broker, **{"auto_offset_reset": "earliest"})
    client.assign([where])
    first = client.poll(30)
    check(first is not None and first.error() is None and first.offset() <= count // 2,
          f"a consumer that has read what is lost begins where it was cut off: {first and (first.offset(), first.error())}")
    client.close()
    # What was committed of a group lies above what is left of its log.
    client = consumer(broker, **{"group_id": "readers"})
    equal(client.committed([TopicPartition("orders", 0)], 30)[0].offset, -1001, "a committed offset that is lost")
    client.close()
    broker.stop_clean()


def what_is_not_lost_is_not_given_up():
    broker, count = written()
    name = inspect(broker, "wal")["wal"]
    check("in use" in give_up(broker, name, "--yes", code=REFUSED), "a running broker is told")
    broker.kill()
    before = objects(broker), hashlib.sha256(broker.wal.read_bytes()).hexdigest()
    check("can be read: start the broker" in give_up(broker, name, "--yes", code=REFUSED), "a WAL that is there is told")
    equal((objects(broker), hashlib.sha256(broker.wal.read_bytes()).hexdigest()), before, "bucket and WAL")
    broker.start()
    equal(len(read(broker, "orders", 1, 0, count)), count, "records after all that")
    broker.stop_clean()
    broker.wal.unlink()
    check("no WAL to give up" in give_up(broker, name, "--yes", code=REFUSED), "after a clean stop any WAL will do")
    broker.start()
    broker.stop_clean()


def asked_at_a_terminal():
    broker, name, committed = lost()
    before = objects(broker)
    for answer in ("no", "", "y"):
        equal(give_up_at_a_terminal(broker, name, answer), REFUSED, f"exit code after {answer!r}")
    equal(objects(broker), before, "the bucket after no")
    equal(give_up_at_a_terminal(broker, name, "yes"), DONE, "exit code after yes")
    broker.start()
    equal(len(read(broker, "orders", 0, 0, committed)), committed, "what is left")
    broker.stop_clean()


def mistakes():
    broker, name, _ = lost()
    check("no WAL's name" in give_up(broker, "wal", code=USAGE), "a name that is none")
    check("never heard of broker 7" in give_up(broker, name, "--node-id", "7", code=REFUSED), "another broker")
    empty = Broker()
    check("object directory" in give_up(empty, name, "--yes", code=REFUSED), "no bucket")


if __name__ == "__main__":
    run(refused_given_up_and_started, consumers_notice, what_is_not_lost_is_not_given_up, asked_at_a_terminal, mistakes)
