"""Kafka's protocol by hand, as little of it as the tests need: what a client library hides is seen here.

Only versions without compact encodings are written: they are few lines, and clients of every age use them.
"""

import gzip
import itertools
import socket
import struct
from collections import namedtuple

from broker import Failed, check, equal

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS = 0, 1, 2, 3, 18, 19, 20
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
BATCH_HEADER = struct.Struct(">qiibIhiqqqhii")
UNSUPPORTED_VERSION = 35

Batch = namedtuple("Batch", "base_offset length leader_epoch magic crc attributes last_offset_delta base_timestamp "
                            "max_timestamp producer_id producer_epoch base_sequence count raw")


def int8(n):
    return struct.pack(">b", n)


def int16(n):
    return struct.pack(">h", n)


def int32(n):
    return struct.pack(">i", n)


def int64(n):
    return struct.pack(">q", n)


def string(text):
    if text is None:
        return int16(-1)
    text = text.encode() if isinstance(text, str) else text
    return int16(len(text)) + text


def array(items):
    return int32(-1) if items is None else int32(len(items)) + b"".join(items)


class Reader:
    """Reads an answer from its beginning."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        check(0 <= length <= len(self.data) - self.at, f"an answer of {len(self.data)} bytes ends too early")
        part = self.data[self.at:self.at + length]
        self.at += length
        return part

    def number(self, layout):
        return struct.unpack(">" + layout, self.take(struct.calcsize(">" + layout)))[0]

    def string(self):
        length = self.number("h")
        return None if length < 0 else self.take(length).decode()

    def array(self, item):
        return [item() for _ in range(max(self.number("i"), 0))]


def frame(api, version, body, correlation=1, client="by-hand"):
    """A request with header version 1, length included."""
    request = struct.pack(">hhi", api, version, correlation) + string(client) + body
    return int32(len(request)) + request


def metadata_body(topics):
    """Metadata versions 1 to 3. None: all topics."""
    return array(None if topics is None else [string(topic) for topic in topics])


def fetch_body(version, topic, partition, offset, max_wait_ms=500, min_bytes=1, max_bytes=50 << 20):
    """Fetch versions 4 to 11 for one partition."""
    one = int32(partition)
    if version >= 9:
        one += int32(-1)
    one += int64(offset)
    if version >= 5:
        one += int64(-1)
    one += int32(max_bytes)
    body = int32(-1) + int32(max_wait_ms) + int32(min_bytes) + int32(max_bytes) + int8(0)
    if version >= 7:
        body += int32(0) + int32(-1)
    body += array([string(topic) + array([one])])
    if version >= 7:
        body += array([])
    if version >= 11:
        body += string("")
    return body


def produce_body(topic, partition, batch, acks=-1, timeout_ms=10_000):
    """Produce versions 3 to 8 for one partition."""
    records = int32(-1) if batch is None else int32(len(batch)) + batch
    return string(None) + int16(acks) + int32(timeout_ms) + array([string(topic) + array([int32(partition) + records])])


def list_offsets_body(topic, partition, timestamp):
    """ListOffsets version 1."""
    return int32(-1) + array([string(topic) + array([int32(partition) + int64(timestamp)])])


def create_topics_body(name, partitions, replicas=1, timeout_ms=10_000):
    """CreateTopics versions 2 and 3."""
    return array([string(name) + int32(partitions) + int16(replicas) + array([]) + array([])]) + int32(timeout_ms) + int8(0)


def delete_topics_body(names, timeout_ms=10_000):
    """DeleteTopics versions 1 to 3."""
    return array([string(name) for name in names]) + int32(timeout_ms)


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def sized(data):
    return varint(-1) if data is None else varint(len(data)) + data


def record(delta, value):
    """A record without a key."""
    fields = int8(0) + varint(0) + varint(delta) + sized(None) + sized(value) + varint(0)
    return varint(len(fields)) + fields


def batch(values, base_timestamp=1_700_000_000_000):
    """An uncompressed record batch of these values, without keys."""
    records = b"".join(record(delta, value) for delta, value in enumerate(values))
    return sealed(records, len(values), base_timestamp=base_timestamp)


def sealed(records, count, codec=0, base_timestamp=1_700_000_000_000):
    """A batch that says it has `count` records compressed by that codec, with the right CRC, whatever they are."""
    body = struct.pack(">hiqqqhii", codec, count - 1, base_timestamp, base_timestamp, -1, -1, -1, count) + records
    return struct.pack(">qiibI", 0, len(body) + 9, -1, 2, crc32c(body)) + body


def snappy(data):
    """A raw block of nothing but literals."""
    length, n = b"", len(data)
    while n > 0x7F:
        length, n = length + bytes([n & 0x7F | 0x80]), n >> 7
    chunks = [data[at:at + 65536] for at in range(0, len(data), 65536)]
    return length + bytes([n]) + b"".join(b"\xf4" + struct.pack("<H", len(one) - 1) + one for one in chunks)


def xerial(data):
    """Snappy as Java frames it."""
    blocks = [snappy(data[at:at + 32768]) for at in range(0, len(data), 32768)]
    return b"\x82SNAPPY\0" + int32(1) + int32(1) + b"".join(int32(len(one)) + one for one in blocks)


def lz4(data):
    """A frame of independent blocks, stored as they are."""
    blocks = [data[at:at + 65536] for at in range(0, len(data), 65536)]
    stored = b"".join(struct.pack("<I", len(one) | 1 << 31) + one for one in blocks)
    return b"\x04\x22\x4d\x18\x60\x40\x82" + stored + bytes(4)


def zstd(data):
    """A frame of one segment of blocks that are stored as they are."""
    blocks = [data[at:at + 65536] for at in range(0, len(data), 65536)]
    last = len(blocks) - 1
    stored = b"".join(struct.pack("<I", len(one) << 3 | (n == last))[:3] + one for n, one in enumerate(blocks))
    return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data)) + stored


# Every form in which clients compress: Kafka's number of the codec, and how.
PACKERS = {"gzip": (1, gzip.compress), "snappy": (2, snappy), "xerial": (2, xerial), "lz4": (3, lz4), "zstd": (4, zstd)}


def batches(records):
    """The headers of stored batches; the last one may be cut off, as Kafka allows."""
    at = 0
    while len(records) - at >= BATCH_HEADER.size:
        fields = BATCH_HEADER.unpack_from(records, at)
        end = at + 12 + fields[1]
        if end > len(records):
            return
        yield Batch(*fields, records[at:end])
        at = end


def _crc_table():
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        yield n


_CRC = list(_crc_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def check_crc(stored):
    """The checksum of a stored batch covers what follows it."""
    equal(crc32c(stored.raw[21:]), stored.crc, f"CRC of the batch at offset {stored.base_offset}")


class Client:
    """One connection."""

    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlations = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read_exactly(self, length):
        data = bytearray()
        while len(data) < length:
            part = self.socket.recv(min(length - len(data), 1 << 20))
            if not part:
                raise Failed(f"the broker closed the connection after {len(data)} of {length} bytes")
            data += part
        return bytes(data)

    def answer(self):
        """The next answer: correlation id and the rest."""
        length = struct.unpack(">i", self.read_exactly(4))[0]
        reader = Reader(self.read_exactly(length))
        return reader.number("i"), reader

    def ask(self, api, version, body):
        """Sends a request and reads its answer."""
        correlation = next(self.correlations)
        self.send(frame(api, version, body, correlation))
        found, reader = self.answer()
        equal(found, correlation, "correlation id of an answer")
        return reader

    def api_versions(self):
        """{API key: (first, last version)}"""
        reader = self.ask(API_VERSIONS, 0, b"")
        equal(reader.number("h"), 0, "error code of ApiVersions")
        lines = reader.array(lambda: (reader.number("h"), reader.number("h"), reader.number("h")))
        return {key: (first, last) for key, first, last in lines}

    def metadata(self, topics=None):
        """(brokers, {topic: (error, {partition: leader})}). Asking for a topic creates it."""
        reader = self.ask(METADATA, 1, metadata_body(topics))
        brokers = reader.array(lambda: (reader.number("i"), reader.string(), reader.number("i"), reader.string())[:3])
        reader.number("i")
        found = {}
        for _ in range(reader.number("i")):
            error, name = reader.number("h"), reader.string()
            reader.number("b")
            partitions = {}
            for _ in range(reader.number("i")):
                reader.number("h")
                index, leader = reader.number("i"), reader.number("i")
                reader.array(lambda: reader.number("i"))
                reader.array(lambda: reader.number("i"))
                partitions[index] = leader
            found[name] = (error, partitions)
        return brokers, found

    def fetch(self, topic, partition, offset, version=4, **options):
        """(error code, high watermark, records) of one partition."""
        reader = self.ask(FETCH, version, fetch_body(version, topic, partition, offset, **options))
        reader.number("i")
        if version >= 7:
            error = reader.number("h")
            reader.number("i")
            if error:
                return error, -1, b""
        equal(reader.number("i"), 1, "topics in a fetch answer")
        equal(reader.string(), topic, "topic of a fetch answer")
        equal(reader.number("i"), 1, "partitions in a fetch answer")
        equal(reader.number("i"), partition, "partition of a fetch answer")
        error, watermark = reader.number("h"), reader.number("q")
        reader.number("q")
        if version >= 5:
            reader.number("q")
        reader.array(lambda: reader.take(16))
        if version >= 11:
            reader.number("i")
        length = reader.number("i")
        return error, watermark, reader.take(max(length, 0))

    def produce(self, topic, partition, stored, acks=-1):
        """(error code, base offset). Version 7 is the first that may carry Zstandard."""
        reader = self.ask(PRODUCE, 7, produce_body(topic, partition, stored, acks))
        equal(reader.number("i"), 1, "topics in a produce answer")
        reader.string()
        equal(reader.number("i"), 1, "partitions in a produce answer")
        reader.number("i")
        return reader.number("h"), reader.number("q")

    def list_offset(self, topic, partition, timestamp):
        """(error code, offset): timestamp -1 asks for the end, -2 for the beginning."""
        reader = self.ask(LIST_OFFSETS, 1, list_offsets_body(topic, partition, timestamp))
        equal(reader.number("i"), 1, "topics in a ListOffsets answer")
        reader.string()
        equal(reader.number("i"), 1, "partitions in a ListOffsets answer")
        reader.number("i")
        error = reader.number("h")
        reader.number("q")
        return error, reader.number("q")

    def all_batches(self, topic, partition, offset=0, version=4, max_bytes=50 << 20):
        """The batches of a partition from one that holds `offset` to its end."""
        while True:
            error, watermark, records = self.fetch(topic, partition, offset, version, max_bytes=max_bytes)
            equal(error, 0, f"error code of a fetch of {topic}/{partition} at {offset}")
            if offset >= watermark:
                return
            before = offset
            for stored in batches(records):
                yield stored
                offset = stored.base_offset + stored.last_offset_delta + 1
            check(offset > before, f"a fetch of {topic}/{partition} at {before} of {watermark} gives no batch")
