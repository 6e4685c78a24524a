#!/usr/bin/env python3
"""Every compression codec, from kcat (librdkafka 2.0.2) and confluent-kafka: what is produced is read back byte for
byte, and the codec is seen in the attributes of the stored batches. A client that believes that the broker can't take
a codec sends its records uncompressed without a word; only the stored batch tells."""

import json
import random
import struct

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from broker import Broker, check, equal, kcat, run
from kafka import admin, create_topic, produce_all, read
from wire import CODECS, PACKERS, Client, batches, check_crc, record, sealed

LARGE = 900_000
KCAT_CODECS = {"none": [], "gzip": ["-z", "gzip"], "snappy": ["-z", "snappy"], "lz4": ["-z", "lz4"],
               "zstd": ["-X", "compression.codec=zstd"]}


def text(rng, length):
    """Half of it compresses well."""
    words = [rng.choice(["karst", "ponor", "doline", "spring", "swallow hole"]) for _ in range(length // 12 + 2)]
    noise = rng.randbytes(length // 8).hex()
    return (" ".join(words) * 2 + noise)[:length].ljust(length, ".").encode()


def confluent_records(rng):
    """(partition, key, value, headers), all shapes of them."""
    records = []
    for n in range(300):
        key = None if n % 7 == 0 else b"" if n % 7 == 1 else b"key %d" % (n % 10)
        value = None if n % 11 == 0 else b"" if n % 11 == 1 else text(rng, 200 + n)
        headers = [("trace", b"%d" % n), ("trace", b"again"), ("empty", b""), ("null", None)] if n % 3 == 0 else None
        records.append((0, key, value, headers))
    for n in range(3):
        records.append((1, b"large", text(rng, LARGE - n), [("n", b"%d" % n)]))
    return records


def check_stored(broker, topic, codec, partitions):
    """Every stored batch must have the codec."""
    with Client(broker.port) as client:
        for partition in range(partitions):
            stored = list(client.all_batches(topic, partition, version=11))
            check(stored, f"{topic}/{partition} has no batch")
            for one in stored:
                equal(one.magic, 2, "magic of a stored batch")
                check_crc(one) if one.length < 300_000 else None
                check(one.attributes & 7 == CODECS[codec],
                      f"{topic}/{partition}: the batch of {one.count} records ({one.length} bytes) at offset "
                      f"{one.base_offset} has codec {one.attributes & 7}, sent as {CODECS[codec]} ({codec}): the "
                      "client thinks that the broker can't take it")


def check_confluent_read(broker, topic, records):
    for partition in {record[0] for record in records}:
        expected = [record for record in records if record[0] == partition]
        found = read(broker, topic, partition, 0, len(expected))
        for message, (_, key, value, headers) in zip(found, expected, strict=True):
            equal(message.key(), key, f"key at {topic}/{partition}@{message.offset()}")
            equal(message.value(), value, f"value at {topic}/{partition}@{message.offset()}")
            equal(message.headers(), headers, f"headers at {topic}/{partition}@{message.offset()}")


def check_kcat_read(broker, topic, records):
    """kcat reads the same records."""
    for partition in {record[0] for record in records}:
        expected = [record for record in records if record[0] == partition]
        printed = kcat("-C", "-b", broker.address, "-t", topic, "-p", partition, "-o", "beginning", "-e", "-q", "-J",
                       "-X", "check.crcs=true", "-X", "fetch.message.max.bytes=4194304")
        lines = [json.loads(line) for line in printed.splitlines()]
        equal(len(lines), len(expected), f"records that kcat reads from {topic}/{partition}")
        for offset, (line, (_, key, value, headers)) in enumerate(zip(lines, expected, strict=True)):
            equal(line["offset"], offset, "offset that kcat prints")
            equal(line["key"], as_kcat_prints(key), f"key that kcat reads at {offset}")
            equal(line["payload"], as_kcat_prints(value), f"value that kcat reads at {offset}")
            flat = [as_kcat_prints(part) for pair in headers or [] for part in pair]
            equal(line.get("headers", []), flat, f"headers that kcat reads at {offset}")


def as_kcat_prints(data):
    return data.decode() if isinstance(data, bytes) else data


def kcat_produce(broker, topic, codec, rng):
    """Three calls: headers belong to a call, not to a line. The records as they should be read back."""
    expected = []

    def call(records, partition, *options):
        lines = b"".join((key or b"") + b"|" + (value or b"") + b"\n" for key, value in records)
        kcat("-P", "-b", broker.address, "-t", topic, "-p", partition, "-K", "|", "-Z", "-X", "linger.ms=200",
             "-X", "acks=all", *KCAT_CODECS[codec], *options, data=lines)
        headers = [("trace", b"1"), ("trace", b"2"), ("other", b"x")] if options else None
        expected.extend((partition, key, value, headers) for key, value in records)

    small = [(None if n % 5 == 0 else b"key%d" % (n % 10), None if n % 9 == 0 else text(rng, 150 + n)) for n in range(200)]
    call(small, 0)
    call(small[50:150], 0, "-H", "trace=1", "-H", "trace=2", "-H", "other=x")
    call([(b"large", text(rng, LARGE + n)) for n in range(2)], 1)
    return expected


def test_all(broker, produced):
    for topic, (codec, records) in produced.items():
        check_stored(broker, topic, codec, 2)
        check_confluent_read(broker, topic, records)
        check_kcat_read(broker, topic, records)


def every_codec_from_every_client():
    rng = random.Random(1)
    with Broker(wal_size="128MiB") as broker:
        produced = {}
        for codec in CODECS:
            topic = f"confluent-{codec}"
            create_topic(broker, topic, 2)
            records = confluent_records(rng)
            offsets = produce_all(broker, topic, records, compression_type=codec, linger_ms=200)
            equal(offsets, [*range(300), *range(3)], "offsets of the acknowledged records")
            produced[topic] = (codec, records)

            topic = f"kcat-{codec}"
            create_topic(broker, topic, 2)
            produced[topic] = (codec, kcat_produce(broker, topic, codec, rng))
        failures = []
        for topic in produced:
            try:
                test_all(broker, {topic: produced[topic]})
                print(f"  {topic}: {len(produced[topic][1])} records, codec in the stored batches, read by both clients")
            except AssertionError as error:
                failures.append(f"{topic}: {error}")
        check(not failures, "\n".join(failures))
        # Now from objects instead of the log cache.
        broker.stop_clean()
        broker.start()
        test_all(broker, produced)
        print("  the same after a restart, from objects")


def every_form_of_every_codec_is_taken():
    """As Java, librdkafka and others write them, also far longer than what the broker looks into at once; a consumer
    reads them."""
    rng = random.Random(2)
    with Broker() as broker:
        for form, (codec, pack) in PACKERS.items():
            create_topic(broker, form)
            values = [text(rng, length) for length in (0, 10, 1_000, 70_000, 500_000)]
            with Client(broker.port) as client:
                for count in range(1, len(values) + 1):
                    records = b"".join(record(delta, value) for delta, value in enumerate(values[:count]))
                    equal(client.produce(form, 0, sealed(pack(records), count, codec))[0], 0, f"error code of {form}")
            expected = [value for count in range(1, len(values) + 1) for value in values[:count]]
            found = read(broker, form, 0, 0, len(expected))
            equal([message.value() for message in found], expected, f"values read from {form}")
            print(f"  {form}: {len(expected)} records")


def topics_choose_their_codec():
    """Whatever codec a producer uses, batches are stored in their topic's: small and large ones, in order, with the records
    as they were; and each client reads them."""
    rng = random.Random(3)
    with Broker(wal_size="128MiB", arguments=["--check-invariants"]) as broker:
        topics = {}
        for wanted in ("uncompressed", "gzip", "snappy", "lz4", "zstd"):
            topic = f"to-{wanted}"
            create_topic(broker, topic, 2, config={"compression.type": wanted})
            expected = []
            for codec in CODECS:
                records = confluent_records(rng)
                # Half of the producers are idempotent.
                offsets = produce_all(broker, topic, records, compression_type=codec, linger_ms=50,
                                      enable_idempotence=len(expected) % 2 == 0)
                before = len(expected) // len(records)
                equal(offsets, [*range(before * 300, before * 300 + 300), *range(before * 3, before * 3 + 3)],
                      f"offsets of what was sent as {codec} to {topic}")
                expected += records
            topics[topic] = ("none" if wanted == "uncompressed" else wanted, expected)
            check_all(broker, topics, [topic])
            print(f"  {topic}: {len(expected)} records from {len(CODECS)} producers, read by both clients")
        change_codec(broker, "to-zstd", "gzip")
        produce_all(broker, "to-zstd", [(0, b"k", b"later" * 100, None)], compression_type="lz4")
        with Client(broker.port) as client:
            codecs = [one.attributes & 7 for one in client.all_batches("to-zstd", 0, version=11)]
        equal((codecs[0], codecs[-1]), (CODECS["zstd"], CODECS["gzip"]), "codecs before and after a change")
        del topics["to-zstd"]
        broker.stop_clean()
        broker.start()
        check_all(broker, topics, topics)
        print("  the same after a restart, from objects")


def check_all(broker, topics, names):
    for name in names:
        test_all(broker, {name: topics[name]})


def change_codec(broker, topic, codec):
    line = ConfigEntry("compression.type", codec, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[line])
    client = admin(broker)
    client.incremental_alter_configs([resource])[resource].result(30)


def what_is_too_large_in_its_topics_codec_is_refused():
    """Kafka looks at the size once more when it has recompressed a batch."""
    with Broker() as broker:
        config = {"compression.type": "uncompressed", "max.message.bytes": "5000"}
        create_topic(broker, "narrow", config=config)
        with Client(broker.port) as client:
            for length, error in ((4_900, 0), (5_000, 10)):
                packed = sealed(zstd_of(record(0, b"x" * length)), 1, 4)
                check(len(packed) < 500, "a batch that is not small")
                equal(client.produce("narrow", 0, packed)[0], error, f"error code for {length} bytes")


def zstd_of(data):
    """A frame of one segment whose only block is one byte repeated, behind the first bytes and before the last."""
    head, body, tail = data[:20], data[20:-20], data[-20:]
    check(len(set(body)) == 1, "the middle is not one byte")

    def block(kind, size, content, last=0):
        return struct.pack("<I", size << 3 | kind << 1 | last)[:3] + content

    blocks = block(0, 20, head) + block(1, len(body), body[:1]) + block(0, 20, tail, 1)
    return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data)) + blocks


def batches_are_stored_as_they_were_sent():
    """All but the base offset and the leader epoch, which the broker gives."""
    from wire import batch
    with Broker() as broker:
        create_topic(broker, "raw")
        with Client(broker.port) as client:
            sent = [batch([b"v%d-%d" % (n, i) * 20 for i in range(n + 1)]) for n in range(20)]
            for one in sent:
                equal(client.produce("raw", 0, one)[0], 0, "error code of a raw produce")
            _, _, records = client.fetch("raw", 0, 0)
            found = list(batches(records))
            equal(len(found), len(sent), "batches")
            for stored, one in zip(found, sent):
                equal(stored.raw[16:], one[16:], f"bytes from the magic on of the batch at {stored.base_offset}")
            equal([stored.base_offset for stored in found], [n * (n + 1) // 2 for n in range(20)], "base offsets")


if __name__ == "__main__":
    run(batches_are_stored_as_they_were_sent, topics_choose_their_codec,
        what_is_too_large_in_its_topics_codec_is_refused, every_form_of_every_codec_is_taken, every_codec_from_every_client)
