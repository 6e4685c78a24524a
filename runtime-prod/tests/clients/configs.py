#!/usr/bin/env python3
"""Configs of topics, as an ordinary admin client sets, changes and reads them, and what they make of records."""

import time

from confluent_kafka import KafkaError
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewTopic

from broker import Broker, check, equal, run, wait_until
from kafka import admin, create_topic, produce_all, producer, read, refused, watermarks
from wire import Client, batch

DAY = 24 * 3_600_000
HONOURED = ["cleanup.policy", "compression.type", "max.message.bytes", "message.timestamp.after.max.ms",
            "message.timestamp.before.max.ms", "message.timestamp.type", "retention.bytes", "retention.ms"]
# Kafka's others, each with a value that is not its default: kept and told, without effect.
WITHOUT_EFFECT = {
    "compression.gzip.level": "9", "compression.lz4.level": "17", "compression.zstd.level": "-5",
    "delete.retention.ms": "1", "file.delete.delay.ms": "1", "flush.messages": "1", "flush.ms": "1000",
    "follower.replication.throttled.replicas": "0:1,1:1", "index.interval.bytes": "0",
    "leader.replication.throttled.replicas": "*", "local.retention.bytes": "-1", "local.retention.ms": "0",
    "max.compaction.lag.ms": "5", "min.cleanable.dirty.ratio": "0.25", "min.compaction.lag.ms": "5",
    "min.insync.replicas": "2", "preallocate": "true", "remote.log.copy.disable": "true",
    "remote.log.delete.on.disable": "true", "remote.storage.enable": "false", "segment.bytes": "52428800",
    "segment.index.bytes": "4", "segment.jitter.ms": "1", "segment.ms": "1", "unclean.leader.election.enable": "true"}
NAMES = sorted([*HONOURED, *WITHOUT_EFFECT])

# What tools create their topics with: Kafka Streams' for repartitioning and for the changelogs of a store, of a windowed and
# of a versioned one; Connect's; what Terraform's provider and operators of Kubernetes write out in full.
TOOLS = {
    "streams-repartition": {"cleanup.policy": "delete", "segment.bytes": "52428800", "retention.ms": "-1",
                            "message.timestamp.type": "CreateTime"},
    "streams-changelog": {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"},
    "streams-windowed-changelog": {"cleanup.policy": "compact,delete", "message.timestamp.type": "CreateTime",
                                   "retention.ms": "172800000"},
    "streams-versioned-changelog": {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime",
                                    "min.compaction.lag.ms": "86400000"},
    "connect-offsets": {"cleanup.policy": "compact", "min.insync.replicas": "2",
                        "unclean.leader.election.enable": "false"},
    "written-out": WITHOUT_EFFECT}


_clients = {}


def client_of(broker):
    """One client for all: its futures fail when it is thrown away."""
    if broker.address not in _clients:
        _clients[broker.address] = admin(broker)
    return _clients[broker.address]


def topic(name, **options):
    return ConfigResource(ConfigResource.Type.TOPIC, name, **options)


def describe(broker, resource):
    return client_of(broker).describe_configs([resource], request_timeout=20)[resource].result(30)


def set_of(broker, name):
    """What is set for a topic."""
    found = describe(broker, topic(name))
    equal(sorted(found), NAMES, "configs of a topic")
    return {key: entry.value for key, entry in found.items()
            if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value}


def create(broker, name, configs, **options):
    return client_of(broker).create_topics([NewTopic(name, 1, 1, config=configs)], request_timeout=20, **options)[name]


def change(broker, name, *lines, **options):
    entries = [ConfigEntry(key, value, incremental_operation=operation) for key, operation, value in lines]
    resource = topic(name, incremental_configs=entries)
    return client_of(broker).incremental_alter_configs([resource], request_timeout=20, **options)[resource]


def topics_are_created_with_configs(broker):
    configs = {"retention.ms": "-1", "retention.bytes": "5000", "cleanup.policy": "compact,delete",
               "min.insync.replicas": "2", "max.message.bytes": "2000", "compression.type": "producer",
               "message.timestamp.type": "LogAppendTime", "message.timestamp.after.max.ms": "7",
               "message.timestamp.before.max.ms": "8"}
    create(broker, "made", configs).result(30)
    equal(set_of(broker, "made"), configs, "configs of a new topic")
    create(broker, "plain", {}).result(30)
    equal(set_of(broker, "plain"), {}, "configs of a plain topic")
    refused(create(broker, "bad", {"segment.size": "1"}), KafkaError.INVALID_CONFIG, "Unknown topic config name")
    refused(create(broker, "bad", {"segment.bytes": "1"}), KafkaError.INVALID_CONFIG, "Value must be at least 14")
    refused(create(broker, "bad", {"preallocate": "1"}), KafkaError.INVALID_CONFIG, "either true or false")
    refused(create(broker, "bad", {"remote.storage.enable": "true"}), KafkaError.INVALID_CONFIG, "Tiered Storage")
    refused(create(broker, "bad", {"min.compaction.lag.ms": "6", "max.compaction.lag.ms": "5"}),
            KafkaError.INVALID_CONFIG, "min.compaction.lag.ms (6) > max.compaction.lag.ms (5)")
    refused(create(broker, "bad", {"retention.ms": "soon"}), KafkaError.INVALID_CONFIG, "Not a number")
    refused(create(broker, "bad", {"compression.type": "none"}), KafkaError.INVALID_CONFIG, "one of: uncompressed")
    refused(create(broker, "bad", {"max.message.bytes": "999999999"}), KafkaError.INVALID_CONFIG, "no more than")
    create(broker, "bad", {"retention.ms": "1"}, validate_only=True).result(30)
    check("bad" not in client_of(broker).list_topics(timeout=10).topics, "a topic was created that should not be there")
    client_of(broker).delete_topics(["made"], operation_timeout=20)["made"].result(30)
    create(broker, "made", {}).result(30)
    equal(set_of(broker, "made"), {}, "configs of a topic that was deleted and made again")


def tools_get_the_topics_that_they_ask_for(broker):
    for name, configs in TOOLS.items():
        create(broker, name, configs).result(30)
        equal(set_of(broker, name), configs, f"configs of {name}")
    offsets = produce_all(broker, "written-out", [(0, b"k", b"v%d" % n, None) for n in range(10)])
    equal(offsets, [*range(10)], "offsets in a topic with everything that has no effect")
    change(broker, "written-out", ("segment.bytes", AlterConfigOpType.DELETE, None),
           ("preallocate", AlterConfigOpType.SET, "FALSE")).result(30)
    broker.kill()
    broker.start()
    left = {name: value for name, value in WITHOUT_EFFECT.items() if name != "segment.bytes"} | {"preallocate": "false"}
    equal(set_of(broker, "written-out"), left, "configs after kill -9")


def configs_change_and_survive(broker):
    create(broker, "changed", {"retention.ms": "5000000"}).result(30)
    change(broker, "changed", ("retention.bytes", AlterConfigOpType.SET, "70000"),
           ("cleanup.policy", AlterConfigOpType.APPEND, "compact")).result(30)
    three = {"retention.ms": "5000000", "retention.bytes": "70000", "cleanup.policy": "compact,delete"}
    equal(set_of(broker, "changed"), three, "configs after a change")
    change(broker, "changed", ("retention.ms", AlterConfigOpType.SET, "1"), validate_only=True).result(30)
    broker.kill()
    broker.start()
    equal(set_of(broker, "changed"), three, "configs after kill -9")
    change(broker, "changed", ("retention.ms", AlterConfigOpType.DELETE, None),
           ("cleanup.policy", AlterConfigOpType.SUBTRACT, "compact")).result(30)
    two = {"retention.bytes": "70000", "cleanup.policy": "delete"}
    equal(set_of(broker, "changed"), two, "configs after some went")
    whole = topic("changed", set_config={"min.insync.replicas": "1"})
    client_of(broker).alter_configs([whole], request_timeout=20)[whole].result(30)
    equal(set_of(broker, "changed"), {"min.insync.replicas": "1"}, "configs after all were replaced")

    throttled = "follower.replication.throttled.replicas"
    for operation, part, whole in ((AlterConfigOpType.APPEND, "0:0,1:0", "0:0,1:0"),
                                   (AlterConfigOpType.APPEND, "1:0,2:0", "0:0,1:0,2:0"),
                                   (AlterConfigOpType.SUBTRACT, "1:0", "0:0,2:0")):
        change(broker, "changed", (throttled, operation, part)).result(30)
        equal(set_of(broker, "changed")[throttled], whole, "a list without effect")
    change(broker, "changed", (throttled, AlterConfigOpType.DELETE, None)).result(30)

    refused(change(broker, "missing", ("retention.ms", AlterConfigOpType.SET, "1")), KafkaError.UNKNOWN_TOPIC_OR_PART)
    refused(change(broker, "changed", ("flush.time", AlterConfigOpType.SET, "1")), KafkaError.INVALID_CONFIG, "flush.time")
    refused(change(broker, "changed", ("flush.ms", AlterConfigOpType.SET, "-1")), KafkaError.INVALID_CONFIG, "at least 0")
    refused(change(broker, "changed", ("retention.ms", AlterConfigOpType.APPEND, "1")), KafkaError.INVALID_CONFIG,
            "not LIST")
    equal(set_of(broker, "changed"), {"min.insync.replicas": "1"}, "configs after refusals")


def the_broker_describes_itself(broker):
    [me] = client_of(broker).list_topics(timeout=10).brokers
    found = describe(broker, ConfigResource(ConfigResource.Type.BROKER, str(me)))
    check(all(entry.is_read_only for entry in found.values()), "a broker's config that could be written")
    equal(found["message.max.bytes"].value, "1048588", "message.max.bytes")
    equal(found["log.retention.ms"].value, str(7 * DAY), "log.retention.ms")
    for name, value in {"offsets.retention.minutes": "10080", "offsets.topic.num.partitions": "50",
                        "group.max.session.timeout.ms": "1800000", "group.min.session.timeout.ms": "6000",
                        "producer.id.expiration.ms": "86400000", "num.partitions": "1", "compression.type": "producer",
                        "default.replication.factor": "1", "auto.create.topics.enable": "true"}.items():
        equal(found[name].value, value, name)
    resource = ConfigResource(ConfigResource.Type.BROKER, str(me), incremental_configs=[
        ConfigEntry("log.retention.ms", "1", incremental_operation=AlterConfigOpType.SET)])
    refused(client_of(broker).incremental_alter_configs([resource])[resource], KafkaError.INVALID_REQUEST, "dynamically")


def large_batches_are_refused(broker):
    create(broker, "small", {"max.message.bytes": "500"}).result(30)
    with Client(broker.port) as client:
        equal(client.produce("small", 0, batch([bytes(600)]))[0], 10, "error code of a batch over 500 bytes")
        equal(client.produce("small", 0, batch([bytes(300)])), (0, 0), "answer to one below")
        change(broker, "small", ("max.message.bytes", AlterConfigOpType.DELETE, None)).result(30)
        equal(client.produce("small", 0, batch([bytes(600)])), (0, 1), "answer once the limit is gone")


def delivered(broker, name, key, timestamp):
    """The error of one record, and its offset."""
    client, reports = producer(broker), []
    client.produce(name, b"value", key=key, partition=0, timestamp=timestamp,
                   on_delivery=lambda error, message: reports.append((error, message)))
    check(client.flush(30) == 0 and len(reports) == 1, "no delivery report")
    error, message = reports[0]
    return (error.name(), None) if error else (None, message)


def compacted_topics_need_keys(broker):
    create(broker, "compacted", {"cleanup.policy": "compact"}).result(30)
    now = int(time.time() * 1000)
    equal(delivered(broker, "compacted", None, now)[0], "INVALID_RECORD", "a record without key")
    equal(delivered(broker, "compacted", b"key", now)[0], None, "a record with a key")


def times_are_checked_or_given(broker):
    create(broker, "timed", {"message.timestamp.before.max.ms": str(DAY)}).result(30)
    now = int(time.time() * 1000)
    equal(delivered(broker, "timed", b"k", now - 2 * DAY)[0], "INVALID_TIMESTAMP", "a record of two days ago")
    equal(delivered(broker, "timed", b"k", now + 2 * 3_600_000)[0], "INVALID_TIMESTAMP", "a record of the future")
    equal(delivered(broker, "timed", b"k", now)[0], None, "a record of now")

    create(broker, "stamped", {"message.timestamp.type": "LogAppendTime"}).result(30)
    error, message = delivered(broker, "stamped", b"k", now - 30 * DAY)
    equal(error, None, "a record that the broker stamps")
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        produce_all(broker, "stamped", [(0, b"k", b"v" * 100, None)] * 20, compression_type=codec)
    broker.kill()
    broker.start()
    # TIMESTAMP_LOG_APPEND_TIME; the consumer checks every CRC.
    for found in read(broker, "stamped", 0, 0, 101):
        kind, at = found.timestamp()
        check(kind == 2 and abs(at - now) < 600_000, f"a record is stamped {found.timestamp()}")


def restarts_keep_everything(broker):
    create_topic(broker, "kept")
    offsets = produce_all(broker, "kept", [(0, None, b"%d" % n, None) for n in range(100)])
    change(broker, "kept", ("retention.ms", AlterConfigOpType.SET, str(DAY))).result(30)
    broker.stop_clean()
    broker.start()
    equal(set_of(broker, "kept"), {"retention.ms": str(DAY)}, "configs after a stop")
    wait_until(lambda: len(read(broker, "kept", 0, 0, 100)) == len(offsets), 30, "all records")


def old_records_go(_):
    """By age and by size, while a young topic keeps all; also after kill -9 nothing comes back."""
    quick = ["--log-retention-check-interval-ms", "1000", "--upload-interval-ms", "100"]
    with Broker(arguments=quick) as broker:
        now = int(time.time() * 1000)
        create(broker, "old", {}).result(30)
        create(broker, "large", {"retention.bytes": "3000"}).result(30)
        create(broker, "young", {}).result(30)
        for _ in range(10):
            equal(delivered(broker, "old", b"k", now - 8 * DAY)[0], None, "a record of last week")
            produce_all(broker, "large", [(0, None, bytes(1000), None)])
            time.sleep(0.2)
        produce_all(broker, "young", [(0, None, b"%d" % n, None) for n in range(10)])
        wait_until(lambda: watermarks(broker, "old", 0) == (10, 10), 30, "old records go")
        start = wait_until(lambda: watermarks(broker, "large", 0)[0], 30, "a large partition is trimmed")
        check(start <= 7, f"of 3000 bytes that should stay too few did: the log starts at {start}")
        broker.kill()
        broker.start()
        equal(watermarks(broker, "old", 0), (10, 10), "offsets after kill -9")
        check(start <= watermarks(broker, "large", 0)[0] <= 7, "a log start that went back, or too far")
        equal(watermarks(broker, "young", 0), (0, 10), "offsets of young records")


TESTS = [topics_are_created_with_configs, tools_get_the_topics_that_they_ask_for, configs_change_and_survive, the_broker_describes_itself,
         large_batches_are_refused, compacted_topics_need_keys, times_are_checked_or_given, restarts_keep_everything,
         old_records_go]

if __name__ == "__main__":
    run(*TESTS, shared=Broker(arguments=["--check-invariants"]))
