#!/usr/bin/env python3
"""Clients that mean harm, or are broken: frames with wild lengths and counts, cut-off and mutated requests, random
bytes, connections that never finish what they began. The broker lives, its memory stays bounded, and a well-behaved
client on another connection is served all the time.

All traffic goes to a broker of its own on the loopback interface, in bounded numbers.
"""

import os
import random
import socket
import struct
import threading
import time
import zlib

from broker import Broker, Failed, check, equal, run
from kafka import create_topic, produce_all, read
from wire import (API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS, FETCH, LIST_OFFSETS, METADATA, PACKERS, PRODUCE,
                  UNSUPPORTED_VERSION, Client, Reader, array, batch, create_topics_body, delete_topics_body, fetch_body,
                  frame, int8, int16, int32, list_offsets_body, metadata_body, produce_body, record, sealed, string,
                  varint)

SEED = int(os.environ.get("HOSTILE_SEED", random.SystemRandom().randrange(1 << 32)))
MIB = 1 << 20
MESSAGE_TOO_LARGE, INVALID_RECORD = 10, 87
TOPIC = "well-behaved"
# Credit for requests and answers of all clients together is 288 + 64 + 256 MiB; and there is the WAL's window.
MOST_MEMORY = 900 * MIB
# No client may keep another one waiting for longer.
PATIENCE = 5


class WellBehaved(threading.Thread):
    """Produces a record of 100 KB with acks=all and reads it back, again and again, on its own connection."""

    def __init__(self, broker, size=100_000):
        super().__init__(daemon=True)
        self.broker, self.size = broker, size
        self.rounds, self.worst, self.failure, self.stopping = 0, 0.0, None, False
        self.sent = [batch([bytes([n]) * size]) for n in range(4)]

    def run(self):
        try:
            with Client(self.broker.port, timeout=4 * PATIENCE) as client:
                while not self.stopping:
                    begun = time.monotonic()
                    sent = self.sent[self.rounds % len(self.sent)]
                    error, offset = client.produce(TOPIC, 0, sent)
                    equal(error, 0, "error code of a well-behaved produce")
                    error, _, records = client.fetch(TOPIC, 0, offset, max_bytes=200_000)
                    equal(error, 0, "error code of a well-behaved fetch")
                    check(records[16:len(sent)] == sent[16:], f"the record at {offset} reads otherwise than it was written")
                    self.worst = max(self.worst, time.monotonic() - begun)
                    self.rounds += 1
                    time.sleep(0.02)
        except Exception as error:
            self.failure = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stopping = True
        self.join(5 * PATIENCE)
        if kind is not None:
            return
        if self.failure is not None:
            raise Failed(f"a well-behaved client failed after {self.rounds} rounds: "
                         f"{type(self.failure).__name__}: {self.failure}")
        check(self.rounds > 0, "the well-behaved client did nothing")
        check(self.worst < PATIENCE, f"a well-behaved client had to wait for {self.worst:.1f} s")
        print(f"  meanwhile {self.rounds} well-behaved produce and fetch rounds, the slowest {self.worst * 1000:.0f} ms")


def under_attack(attack):
    """A test: `attack` runs against a broker that serves a well-behaved client at the same time."""
    def test(broker):
        Client(broker.port).metadata([TOPIC])
        before = broker.memory()
        with WellBehaved(broker) as client:
            while client.rounds == 0 and client.failure is None:
                time.sleep(0.01)
            attack(broker)
            check_newcomers(broker)
            rounds = client.rounds
            deadline = time.monotonic() + 5 * PATIENCE
            while client.rounds < rounds + 2 and client.failure is None and time.monotonic() < deadline:
                time.sleep(0.01)
        most = broker.memory("VmHWM")
        print(f"  memory: {before / MIB:.0f} MiB before, {broker.memory() / MIB:.0f} MiB after, at most {most / MIB:.0f} MiB")
        check(most < MOST_MEMORY, f"the broker used {most >> 20} MiB")
        broker.check_alive()
    test.__name__ = attack.__name__
    return test


def check_newcomers(broker):
    """New connections are served, too."""
    try:
        with Client(broker.port, timeout=PATIENCE) as client:
            client.metadata([TOPIC])
    except TimeoutError:
        raise Failed(f"a new connection gets no answer to a small request within {PATIENCE} s") from None


def connect(broker):
    return socket.create_connection(("127.0.0.1", broker.port), 10)


def reaction(broker, data, patience=0.5, finish=False):
    """What the broker answers to these bytes on a fresh connection: bytes, `closed`, or `silent`."""
    with connect(broker) as client:
        client.settimeout(patience)
        try:
            client.sendall(data)
            if finish:
                client.shutdown(socket.SHUT_WR)
            answer = client.recv(MIB)
            return answer or "closed"
        except TimeoutError:
            return "silent"
        except (ConnectionResetError, BrokenPipeError):
            return "closed"


def lengths_that_are_no_frame(broker):
    """Refused before anything is allocated: the connection ends."""
    for length in (-1, -2**31, 0, 1, 7, 160 * MIB + 1, 2**31 - 1):
        for rest in (b"", bytes(100)):
            found = reaction(broker, struct.pack(">i", length) + rest, patience=5)
            equal(found, "closed", f"reaction to a frame length of {length}")


def counts_that_no_frame_holds(broker):
    """Arrays and strings that claim more elements than the frame has bytes."""
    wild = [2**31 - 1, 2**31 - 2, 1 << 30, 1 << 24, 100_000]
    for count in wild:
        bodies = {
            "Metadata": frame(METADATA, 1, int32(count)),
            "Metadata, some names": frame(METADATA, 1, int32(count) + string("x") * 50),
            "Metadata v9": frame(METADATA, 9, varint(0)[:1] + b"\xff\xff\xff\xff\x0f" + b"\0\0\0"),
            "Produce topics": frame(PRODUCE, 3, string(None) + int16(-1) + int32(1000) + int32(count)),
            "Produce partitions": frame(PRODUCE, 3, string(None) + int16(-1) + int32(1000) + int32(1) + string("x") + int32(count)),
            "Produce records": frame(PRODUCE, 3, string(None) + int16(-1) + int32(1000) + int32(1) + string("x")
                                     + int32(1) + int32(0) + int32(count)),
            "Fetch topics": frame(FETCH, 4, int32(-1) + int32(1) + int32(1) + int32(1) + int8(0) + int32(count)),
            "Fetch partitions": frame(FETCH, 4, int32(-1) + int32(1) + int32(1) + int32(1) + int8(0) + int32(1)
                                      + string("x") + int32(count)),
            "ListOffsets": frame(LIST_OFFSETS, 1, int32(-1) + int32(count)),
            "CreateTopics": frame(CREATE_TOPICS, 2, int32(count)),
            "DeleteTopics": frame(DELETE_TOPICS, 1, int32(count)),
            "client id": int32(10) + struct.pack(">hhi", METADATA, 1, 1) + int16(32767),
        }
        for name, data in bodies.items():
            found = reaction(broker, data, patience=5)
            check(found != "silent", f"{name} with a count of {count}: neither answered nor closed")


def counts_inside_record_batches(broker):
    """Batch headers whose counts and lengths lie, with a right CRC and a wrong one."""
    good = batch([b"value %d" % n for n in range(10)])
    lies = {"record count": (57, ">i"), "last offset delta": (23, ">i"), "batch length": (8, ">i"), "magic": (16, ">b"),
            "attributes": (21, ">h"), "producer id": (43, ">q"), "base offset": (0, ">q")}
    from wire import crc32c
    with Client(broker.port) as client:
        client.metadata(["lies"])
        for name, (at, layout) in lies.items():
            width = struct.calcsize(layout) * 8
            for value in (-1, 0, 1, -2**(width - 1), 2**(width - 1) - 1, 1000, 5):
                if not -2**(width - 1) <= value < 2**(width - 1):
                    continue
                stored = bytearray(good)
                struct.pack_into(layout, stored, at, value)
                for right in (True, False):
                    if right:
                        struct.pack_into(">I", stored, 17, crc32c(bytes(stored[21:])))
                    try:
                        error, _ = client.produce("lies", 0, bytes(stored))
                    except (Failed, ConnectionError):
                        client = Client(broker.port)
                        error = "closed"
                    harmless = right and bytes(stored) == good
                    if name in ("record count", "last offset delta", "batch length", "magic") and bytes(stored) != good:
                        check(error != 0, f"a batch was accepted with {name} {value}")
                    if harmless:
                        equal(error, 0, f"error code of a batch with {name} {value}")
    broker.check_alive()


def record_bombs(broker):
    """Batches that decompress to far more than they are."""
    # One record whose value is nearly all of it; so only its size is wrong.
    head = int8(0) + varint(0) + varint(0) + varint(-1) + varint(256 * MIB)
    head = varint(len(head) + 256 * MIB + 1) + head
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(bomb.compress(part) for part in [head, *[bytes(MIB)] * 256, bytes(1)]) + bomb.flush()
    stored = sealed(data, 1, codec=1)
    with Client(broker.port) as client:
        client.metadata(["bombs"])
        for _ in range(8):
            error, _ = client.produce("bombs", 0, stored)
            equal(error, MESSAGE_TOO_LARGE, f"error code of a gzip batch of {len(stored) >> 10} KiB that holds 256 MiB")


def compressed_batches_that_lie(broker):
    """Their headers and CRCs are right, what is compressed is not: in the log they would stop every consumer of the
    partition. Short ones are looked into by the thread of their connection, long ones elsewhere."""
    topic = "compressed-lies"
    create_topic(broker, topic)
    expected = []
    with Client(broker.port) as client:
        for noise in (b"", random.Random(SEED).randbytes(40_000)):
            values = [b"value %d" % n + noise for n in range(10)]
            one_by_one = [record(delta, value) for delta, value in enumerate(values)]
            good = b"".join(one_by_one)
            contents = {"a record too few": (good, 11), "a record too many": (good, 9), "no records": (b"", 1),
                        "a gap": (b"".join(one_by_one[:5] + one_by_one[6:]), 9),
                        "another order": (b"".join(reversed(one_by_one)), 10), "something behind them": (good + b"?", 10),
                        "the last cut short": (good[:-1], 10), "nonsense": (b"\xff" * 50 + noise, 10)}
            for form, (codec, pack) in PACKERS.items():
                lies = {name: (pack(content), count) for name, (content, count) in contents.items()}
                code = pack(good)
                lies |= {"a code cut short": (code[:len(code) // 2], 10), "something behind the code": (code + b"?" * 9, 10),
                         "garbage for a code": (random.Random(SEED).randbytes(len(code)), 10), "no code": (b"", 1),
                         "records that are not compressed": (good, 10)}
                for name, (code, count) in lies.items():
                    error, _ = client.produce(topic, 0, sealed(code, count, codec))
                    equal(error, INVALID_RECORD, f"error code of a {form} batch with {name}")
                error, offset = client.produce(topic, 0, sealed(pack(good), 10, codec))
                equal((error, offset), (0, len(expected)), f"error code and offset of a sound {form} batch")
                expected += values
    found = read(broker, topic, 0, 0, len(expected))
    equal([message.value() for message in found], expected, "what a consumer gets afterwards")


def unknown_apis_and_versions(broker):
    for key in (-1, 4, 5, 8, 10, 11, 17, 22, 36, 75, 1000, 32767, -32768):
        for version in (0, 3, 100, -1):
            found = reaction(broker, frame(key, version, b""), patience=5)
            check(found != "silent", f"API {key} version {version}: neither answered nor closed")
    for key in (PRODUCE, FETCH, LIST_OFFSETS, METADATA, CREATE_TOPICS, DELETE_TOPICS):
        for version in (-1, 99, 32767, -32768):
            found = reaction(broker, frame(key, version, bytes(20)), patience=5)
            check(found != "silent", f"API {key} version {version}: neither answered nor closed")


def api_versions_of_the_future(broker):
    """A client that knows more than the broker hears error 35 in version 0 and can try again on the same connection."""
    with Client(broker.port) as client:
        expected = client.api_versions()
        for version in (5, 99, 32767, -1):
            client.send(frame(API_VERSIONS, version, b"\x06client\x041.0\0", correlation=77))
            correlation, reader = client.answer()
            equal(correlation, 77, "correlation id")
            equal(reader.number("h"), UNSUPPORTED_VERSION, f"error code of ApiVersions version {version}")
            lines = reader.array(lambda: (reader.number("h"), (reader.number("h"), reader.number("h"))))
            equal(dict(lines), expected, "versions beside error 35")
            equal(reader.at, len(reader.data), "length of the version 0 answer")
        equal(client.api_versions(), expected, "versions on the same connection afterwards")


def random_bytes(broker):
    rng = random.Random(SEED)
    for _ in range(300):
        data = rng.randbytes(rng.choice([1, 3, 4, 5, 12, 50, 1000, 70_000]))
        if rng.random() < 0.5:
            data = struct.pack(">i", len(data)) + data
        reaction(broker, data, patience=0.02)


def valid_frames():
    yield frame(API_VERSIONS, 0, b"")
    yield frame(API_VERSIONS, 3, b"\0" + b"\x05test\x041.0\0")
    yield frame(METADATA, 1, metadata_body(None))
    yield frame(METADATA, 1, metadata_body(["mutant", TOPIC]))
    yield frame(METADATA, 9, b"\0" + b"\x02" + b"\x07mutant\0" + b"\1\0\0" + b"\0")
    yield frame(PRODUCE, 3, produce_body("mutant", 0, batch([b"a", b"b" * 50])))
    yield frame(PRODUCE, 3, produce_body("mutant", 0, batch([b"a"]), acks=0))
    for version in (4, 7, 11):
        yield frame(FETCH, version, fetch_body(version, "mutant", 0, 0, max_wait_ms=10))
    yield frame(LIST_OFFSETS, 1, list_offsets_body("mutant", 0, -1))
    yield frame(CREATE_TOPICS, 2, create_topics_body("mutant", 1))
    yield frame(DELETE_TOPICS, 1, delete_topics_body(["victim"]))


def mutate(rng, data):
    """Changes the frame, and mostly lets its length tell the truth, so that the parser behind it gets something to do."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at = rng.randrange(4, len(data))
        kind = rng.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            data[at:at + 4] = struct.pack(">i", rng.choice([-1, -2**31, 2**31 - 1, 65536, 0, rng.randrange(1 << 31)]))
        elif kind == 3:
            del data[at:at + rng.randrange(1, 8)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 8))
        if len(data) < 12:
            break
    if rng.random() < 0.9:
        data[0:4] = struct.pack(">i", len(data) - 4)
    return bytes(data)


def mutated_requests(broker):
    rng = random.Random(SEED)
    print(f"  HOSTILE_SEED={SEED}")
    frames = list(valid_frames())
    for one in frames:
        check(reaction(broker, one, patience=0.2) != "closed", "a valid frame closes the connection")
    outcomes = {"answered": 0, "closed": 0, "silent": 0}
    for _ in range(3000):
        found = reaction(broker, mutate(rng, rng.choice(frames)), patience=0.02)
        outcomes[found if isinstance(found, str) else "answered"] += 1
    print(f"  3000 mutated requests: {outcomes}")
    check(min(outcomes.values()) > 50, "the mutants are all alike")


def cut_off_requests(broker):
    """The client goes away in the middle of a frame, politely or not."""
    for one in valid_frames():
        for cut in sorted({1, 3, 4, 5, 8, 12, len(one) // 2, len(one) - 1}):
            if cut < len(one):
                reaction(broker, one[:cut], patience=0.02, finish=cut % 2 == 0)


def one_byte_at_a_time(broker):
    """Slow clients are served: what they send is a valid request."""
    request = frame(METADATA, 1, metadata_body([TOPIC]))
    clients = [connect(broker) for _ in range(50)]
    for byte in request:
        for client in clients:
            client.sendall(bytes([byte]))
        time.sleep(0.01)
    for client in clients:
        client.settimeout(2 * PATIENCE)
        length = struct.unpack(">i", client.recv(4, socket.MSG_WAITALL))[0]
        reader = Reader(client.recv(length, socket.MSG_WAITALL))
        equal(reader.number("i"), 1, "correlation id of the answer to a slow request")
        client.close()


def connections_opened_and_dropped(broker):
    for reset in (False, True):
        clients = [connect(broker) for _ in range(200)]
        for n, client in enumerate(clients):
            if n % 3 == 1:
                client.sendall(frame(FETCH, 4, fetch_body(4, TOPIC, 0, 1 << 40, max_wait_ms=30_000))[:n])
            if n % 3 == 2:
                client.sendall(frame(FETCH, 4, fetch_body(4, TOPIC, 0, 0, max_wait_ms=30_000, min_bytes=2**31 - 1)))
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for client in clients:
            client.close()
    time.sleep(0.5)
    files = len(os.listdir(f"/proc/{broker.process.pid}/fd"))
    check(files < 150, f"400 connections are closed; the broker still has {files} open files")


def announce(broker, key, count):
    """Connections that announce the largest request, send a little of it, and then nothing."""
    clients = []
    for _ in range(count):
        client = connect(broker)
        client.sendall(struct.pack(">ihhi", 160 * MIB, key, 3, 1) + bytes(1000))
        clients.append(client)
    time.sleep(2 * PATIENCE)
    for client in clients:
        client.close()


def one_large_request_of_an_api_with_small_ones(broker):
    """160 MiB of Metadata: more than the pool from which it would be paid."""
    announce(broker, METADATA, 1)


def large_produces_announced_and_never_sent(broker):
    """A few connections and a few bytes; together they announce more than all produce requests may take."""
    announce(broker, PRODUCE, 5)


def many_produces_that_stop_half_way(broker):
    """They hold all that requests of their size may take, until others have waited for it a while."""
    clients = []
    for _ in range(40):
        client = connect(broker)
        client.sendall(struct.pack(">ihhi", 8 * MIB, PRODUCE, 3, 1) + bytes(1000))
        clients.append(client)
    with Client(broker.port, timeout=4 * PATIENCE) as client:
        client.produce(TOPIC, 0, batch([bytes(500_000)]))
    for client in clients:
        client.close()


def metadata_that_nobody_reads(broker):
    """A short request whose answer is large, from many."""
    for n in range(4):
        create_topic(broker, f"wide-{n}", 5_000)
    before = broker.memory()
    clients = []
    for _ in range(200):
        client = connect(broker)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(frame(METADATA, 1, struct.pack(">i", -1)))
        clients.append(client)
    time.sleep(PATIENCE)
    most = broker.memory("VmHWM")
    print(f"  memory: {before / MIB:.0f} MiB before, at most {most / MIB:.0f} MiB with 200 times all topics")
    begun = time.monotonic()
    with Client(broker.port, timeout=4 * PATIENCE) as client:
        check(len(client.metadata()[1]) >= 4, "somebody who reads is answered")
    print(f"  a reader gets them in {time.monotonic() - begun:.2f} s")
    for client in clients:
        client.close()
    check(most < MOST_MEMORY, f"the broker used {most >> 20} MiB")


def large_fetches_announced_and_never_sent(broker):
    announce(broker, FETCH, 5)


def answers_that_nobody_reads(broker):
    """Clients that order large answers and read none of them."""
    create_topic(broker, "heavy")
    value = random.Random(3).randbytes(900_000)
    produce_all(broker, "heavy", [(0, None, value, None)] * 60)
    clients = []
    for _ in range(40):
        client = connect(broker)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = frame(FETCH, 4, fetch_body(4, "heavy", 0, 0, max_wait_ms=0))
        try:
            client.settimeout(0.5)
            client.sendall(request * 20)
        except OSError:
            pass
        clients.append(client)
    time.sleep(2 * PATIENCE)
    equal(len(read(broker, "heavy", 0, 0, 60, timeout=4 * PATIENCE)), 60, "records that a reader gets meanwhile")
    for client in clients:
        client.close()


def produces_without_reading_answers(broker):
    """A client that pipelines produce requests and never reads."""
    stored = batch([bytes(50_000)])
    with connect(broker) as client:
        client.settimeout(2)
        Client(broker.port).metadata(["pipelined"])
        try:
            for n in range(2000):
                client.sendall(frame(PRODUCE, 3, produce_body("pipelined", 0, stored), n))
        except TimeoutError:
            pass


def many_topics_by_metadata(broker):
    """Names that are legal and names that are not, all in one request that creates what it names."""
    names = [f"spam-{n}" for n in range(300)] + ["", ".", "..", "a/b", "\u00e9", "x" * 249, "x" * 250, "x" * 30_000]
    with Client(broker.port) as client:
        found = client.metadata(names)[1]
        equal(len(found), len(names), "topics in the answer")
        for bad in ("", ".", "..", "a/b", "\u00e9", "x" * 250):
            equal(found[bad][0], 17, f"error code for the topic {bad[:20]!r}")


def large_fetches_from_objects_that_nobody_reads(broker):
    """Unlike records in the log cache, what comes from objects takes new memory for each fetch."""
    create_topic(broker, "cold")
    value = random.Random(4).randbytes(900_000)
    produce_all(broker, "cold", [(0, None, value, None)] * 60)
    broker.stop_clean()
    broker.start()
    before = broker.memory()
    clients = []
    for _ in range(60):
        client = connect(broker)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(frame(FETCH, 4, fetch_body(4, "cold", 0, 0, max_wait_ms=0)))
        clients.append(client)
    time.sleep(PATIENCE)
    most = broker.memory("VmHWM")
    print(f"  memory: {before / MIB:.0f} MiB before, at most {most / MIB:.0f} MiB with 60 fetches of 50 MiB")
    begun = time.monotonic()
    equal(len(read(broker, "cold", 0, 0, 60, timeout=4 * PATIENCE)), 60, "records that a reader gets meanwhile")
    print(f"  a reader gets all of them in {time.monotonic() - begun:.2f} s")
    for client in clients:
        client.close()
    check(most < MOST_MEMORY, f"the broker used {most >> 20} MiB")


ATTACKS = [api_versions_of_the_future, lengths_that_are_no_frame, counts_that_no_frame_holds,
           counts_inside_record_batches, record_bombs, compressed_batches_that_lie, unknown_apis_and_versions, random_bytes, mutated_requests,
           cut_off_requests, one_byte_at_a_time, connections_opened_and_dropped, produces_without_reading_answers,
           many_topics_by_metadata, answers_that_nobody_reads,
           large_produces_announced_and_never_sent, one_large_request_of_an_api_with_small_ones,
           large_fetches_announced_and_never_sent, many_produces_that_stop_half_way, metadata_that_nobody_reads]


def what_was_written_is_there_after_all_that(broker):
    with Client(broker.port) as client:
        end = client.list_offset(TOPIC, 0, -1)
        stored = sum(one.count for one in client.all_batches(TOPIC, 0))
        equal(stored, end[1], "well-behaved records in the log")
    broker.stop_clean()
    broker.start()
    with Client(broker.port) as client:
        equal(client.list_offset(TOPIC, 0, -1), end, "end of the well-behaved log after a restart")


if __name__ == "__main__":
    run(*map(under_attack, ATTACKS), large_fetches_from_objects_that_nobody_reads,
        what_was_written_is_there_after_all_that,
        shared=Broker(wal_size="256MiB", arguments=["--check-invariants"]))
