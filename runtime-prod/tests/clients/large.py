#!/usr/bin/env python3
"""Records from 15.9 to 128 MiB and one byte more: taken or refused to the byte, found again after `kill -9`, read whole
however little a fetch asks for; and what the broker's memory is meanwhile."""

import struct
import subprocess
import threading

from aiokafka.record.util import calc_crc32c
from confluent_kafka import KafkaError
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

import wire
from broker import BINARY, Broker, Failed, check, equal, run
from kafka import admin, create_topic, produce_all, read, refused, watermarks
from wire import FETCH, PRODUCE, Client, batches, fetch_body, frame, int32, produce_body, record

# In C: a batch is larger here than elsewhere.
wire.crc32c = calc_crc32c

MIB = 1 << 20
LARGEST = 128 * MIB
SIZES = [159 * MIB // 10, 16 * MIB, 161 * MIB // 10, 64 * MIB, LARGEST]
TOO_LARGE = 10
USUAL = 1_048_588
# Credit for produce requests, small and large, for others and for answers is 128 + 160 + 64 + 256 MiB; the log cache holds
# 128 MiB beside what is not uploaded, and the WAL's window is a batch long.
MOST_MEMORY = 768 * MIB


def of_length(length, seed=0):
    """A batch of one record that is so long in all."""
    pattern = struct.pack(">Q", 0x9E3779B97F4A7C15 * (seed + 1) % 2**64)
    value = bytearray(pattern * (length // 8))
    for _ in range(4):
        made = wire.sealed(record(0, bytes(value)), 1)
        if len(made) == length:
            return made
        missing = length - len(made)
        value = value[:missing] if missing < 0 else value + bytes(missing)
    raise Failed(f"no batch of {length} bytes")


def create(broker, name, most, partitions=1):
    configs = {} if most is None else {"max.message.bytes": str(most)}
    client = admin(broker)
    return client, client.create_topics([NewTopic(name, partitions, 1, config=configs)], request_timeout=30)[name]


def stored(broker, topic, offset, max_bytes):
    """The first batch of a fetch, and how many bytes came."""
    with Client(broker.port, timeout=120) as client:
        reader = client.ask(FETCH, 4, fetch_body(4, topic, 0, offset, max_bytes=max_bytes))
        reader.number("i"), reader.number("i"), reader.string(), reader.number("i"), reader.number("i")
        equal(reader.number("h"), 0, "error code of a fetch")
        reader.number("q"), reader.number("q")
        reader.array(lambda: reader.take(16))
        records = reader.take(max(reader.number("i"), 0))
    return next(batches(records), None), len(records)


def check_stored(broker, topic, sent, max_bytes=1):
    """Each batch is at its offset, whole, and the same but for what a broker stamps."""
    for offset, batch in enumerate(sent):
        found, came = stored(broker, topic, offset, max_bytes)
        check(found is not None, f"nothing at offset {offset} of {len(batch)} bytes")
        equal((found.base_offset, len(found.raw), came), (offset, len(batch), len(batch)), "offset and length")
        check(found.raw[16:] == batch[16:], f"the batch of {len(batch)} bytes at offset {offset} was changed")


def told(broker, when):
    now, most = broker.memory(), broker.memory("VmHWM")
    print(f"  memory {when}: {now >> 20} MiB, at most {most >> 20} MiB")
    check(most < MOST_MEMORY, f"the broker used {most >> 20} MiB")


def every_size_is_taken_or_refused(broker):
    """Around the ring several times, with a crash in every round: each size meets the ring's end somewhere."""
    client, made = create(broker, "sizes", LARGEST)
    made.result(60)
    sent = []
    for round_ in range(3):
        # The filler moves all that follows to other places in the ring.
        lengths = [1_000_000 - 37 * round_] * (round_ + 1) + SIZES[round_:] + SIZES[:round_]
        with Client(broker.port, timeout=120) as raw:
            for length in lengths:
                one = of_length(length, len(sent))
                equal(raw.produce("sizes", 0, one), (0, len(sent)), f"answer to {length} bytes")
                sent.append(one)
            equal(raw.produce("sizes", 0, of_length(LARGEST + 1))[0], TOO_LARGE, "error code of 128 MiB and a byte")
            small = of_length(1000)
            equal(raw.produce("sizes", 0, small), (0, len(sent)), "answer to the next one on the same connection")
            sent.append(small)
        check_stored(broker, "sizes", sent)
        told(broker, f"in round {round_ + 1}, after {sum(map(len, sent)) >> 20} MiB")
        broker.kill()
        broker.start(within=120)
        check_stored(broker, "sizes", sent)
        told(broker, "after kill -9, and all of it read again")
    equal(watermarks(broker, "sizes", 0), (0, len(sent)), "offsets")


def the_usual_limit_holds_where_nothing_is_said(broker):
    create_topic(broker, "usual")
    with Client(broker.port, timeout=60) as raw:
        equal(raw.produce("usual", 0, of_length(USUAL)), (0, 0), "answer to a batch at the usual limit")
        equal(raw.produce("usual", 0, of_length(USUAL + 1))[0], TOO_LARGE, "error code of a byte more")
        equal(raw.produce("usual", 0, of_length(64 * MIB))[0], TOO_LARGE, "error code of 64 MiB")
        client = admin(broker)

        def change(value):
            entry = ConfigEntry("max.message.bytes", value, incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ConfigResource.Type.TOPIC, "usual", incremental_configs=[entry])
            return client.incremental_alter_configs([resource], request_timeout=20)[resource]

        change("2000000").result(30)
        equal(raw.produce("usual", 0, of_length(2_000_000)), (0, 1), "answer once the topic allows it")
        equal(raw.produce("usual", 0, of_length(2_000_001))[0], TOO_LARGE, "error code of a byte more")
        refused(change(str(LARGEST + 1)), KafkaError.INVALID_CONFIG, "134217728")
        change(str(LARGEST)).result(30)
    client, made = create(broker, "beyond", LARGEST + 1)
    refused(made, KafkaError.INVALID_CONFIG, "no more than 134217728")


def one_partition_is_refused_and_others_are_not(broker):
    create_topic(broker, "both", 2)
    with Client(broker.port, timeout=60) as raw:
        parts = [int32(n) + int32(len(one)) + one for n, one in enumerate([of_length(3 * MIB), of_length(1000)])]
        body = wire.string(None) + wire.int16(-1) + int32(10_000) + wire.array([wire.string("both") + wire.array(parts)])
        reader = raw.ask(PRODUCE, 7, body)
        reader.number("i"), reader.string()
        found = reader.array(lambda: (reader.number("i"), reader.number("h"), reader.number("q"), reader.number("q"),
                                      reader.number("q"))[:3])
        equal(found, [(0, TOO_LARGE, -1), (1, 0, 0)], "what each partition is answered")


def a_frame_beyond_all_closes_only_its_connection(broker):
    create_topic(broker, "frames")
    for announced in (161 * MIB, 2**31 - 1):
        with Client(broker.port) as raw:
            raw.send(struct.pack(">ihhi", announced, PRODUCE, 7, 1) + bytes(100))
            try:
                rest = raw.read_exactly(1)
            except (Failed, ConnectionResetError):
                rest = b""
            equal(rest, b"", f"answer to a frame of {announced} bytes")
    with Client(broker.port) as raw:
        equal(raw.produce("frames", 0, of_length(1000)), (0, 0), "answer to somebody else")


def librdkafka_reads_and_writes_them(broker):
    client, made = create(broker, "ordinary", LARGEST)
    made.result(60)
    values = [bytes([n]) * size for n, size in enumerate([20_000_000, 64 * MIB, LARGEST - 200])]
    for n, value in enumerate(values):
        equal(produce_all(broker, "ordinary", [(0, b"key", value, None)], timeout=120, message_max_bytes=LARGEST + MIB),
              [n], "offset")
    found = read(broker, "ordinary", 0, 0, len(values), timeout=180, receive_message_max_bytes=LARGEST + 16 * MIB,
                 fetch_max_bytes=LARGEST, message_max_bytes=LARGEST)
    check([m.value() for m in found] == values, "values differ")
    told(broker, "after librdkafka")


def a_hundred_clients_at_once(broker):
    """Each sends 128 MiB at the same time, most of them to a topic that does not allow it. They take turns."""
    client, made = create(broker, "crowd", LARGEST)
    made.result(60)
    create_topic(broker, "no")
    one = of_length(LARGEST)
    allowed, forbidden = (frame(PRODUCE, 7, produce_body(name, 0, one, timeout_ms=600_000)) for name in ("crowd", "no"))
    answers, lock = [], threading.Lock()

    def send(n):
        request, name = (allowed, "crowd") if n % 25 == 0 else (forbidden, "no")
        try:
            with Client(broker.port, timeout=600) as raw:
                raw.send(memoryview(request))
                reader = raw.answer()[1]
                reader.number("i"), reader.string(), reader.number("i"), reader.number("i")
                answer = (name, reader.number("h"))
        except Exception as error:
            answer = (name, repr(error))
        with lock:
            answers.append(answer)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(100)]
    for thread in threads:
        thread.start()
    with Client(broker.port, timeout=30) as raw:
        create_topic(broker, "beside")
        for n in range(20):
            equal(raw.produce("beside", 0, of_length(1000)), (0, n), "somebody with small records is served meanwhile")
    for thread in threads:
        thread.join()
    equal(sorted(set(map(str, answers))), ["('crowd', 0)", f"('no', {TOO_LARGE})"], "answers")
    equal(watermarks(broker, "crowd", 0), (0, 4), "offsets")
    told(broker, "after a hundred clients with 128 MiB each")


def a_small_wal_lowers_the_limit():
    with Broker(wal_size="64MiB", arguments=["--check-invariants"]) as broker:
        check("can't be as large as record.batch.max.bytes" in broker.log(), "the start says nothing of the limit")
        shown = subprocess.run([BINARY, "config", "--effective", "--data-dir", broker.data, "--wal-size", "64MiB"],
                               capture_output=True, text=True).stdout
        [line] = [line for line in shown.splitlines() if line.startswith("record.batch.max.bytes")]
        check("# here " in line, line)
        most = int(line.split("# here ")[1].split(",")[0])
        check(30 * MIB < most < 32 * MIB, f"{most} bytes of a WAL of 64 MiB")
        client, made = create(broker, "beyond", most + 1)
        refused(made, KafkaError.INVALID_CONFIG, f"no more than {most}")
        client, made = create(broker, "fits", most)
        made.result(60)
        sent = []
        with Client(broker.port, timeout=120) as raw:
            for n in range(6):
                for one in (of_length(most, n), of_length(700_000 + n * 91_000, n)):
                    equal(raw.produce("fits", 0, one), (0, len(sent)), f"answer to {len(one)} bytes")
                    sent.append(one)
            equal(raw.produce("fits", 0, of_length(most + 1))[0], TOO_LARGE, "error code of a byte more")
        broker.kill()
        broker.start()
        check_stored(broker, "fits", sent)
        told(broker, "with a small WAL")


TESTS = [every_size_is_taken_or_refused, the_usual_limit_holds_where_nothing_is_said,
         one_partition_is_refused_and_others_are_not, a_frame_beyond_all_closes_only_its_connection,
         librdkafka_reads_and_writes_them, a_hundred_clients_at_once]


def with_broker(test):
    """On a broker of its own, whose memory is that of this test alone."""
    def alone():
        with Broker(wal_size="512MiB") as broker:
            test(broker)
    alone.__name__ = test.__name__
    return alone


if __name__ == "__main__":
    run(*map(with_broker, TESTS), a_small_wal_lowers_the_limit)
