#!/usr/bin/env python3
"""What web interfaces and Kafka's own tools ask of a cluster: sizes, producers, leaders, moves, transactions, access
control, quotas, users, and what one may do. By Java's and kafka-python's admin clients, which know all of it, in processes
of their own; by confluent-kafka; and by hand."""

import json
import subprocess

from confluent_kafka import ElectionType, TopicCollection, TopicPartition
from confluent_kafka.admin import AclBinding, AclBindingFilter, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from agents import HERE, PYTHON, TARGET
from broker import Broker, Skipped, check, equal, run, wait_until
from kafka import admin, consumer, create_topic, produce_all, producer, refused
from wire import Client, array, int8, int16, int32, sealed, record, string

JAVA = sorted(TARGET.glob("java/*.jar"))
TOPIC, GROUP = "orders", "readers"
INVALID_TOPIC, INVALID_PARTITIONS, INVALID_CONFIG, SECURITY_DISABLED, ELECTION_NOT_NEEDED = 17, 37, 40, 54, 84
INVALID_RECORD = 87
ON_CLUSTER = ["ALTER", "ALTER_CONFIGS", "CLUSTER_ACTION", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS", "IDEMPOTENT_WRITE"]
ON_TOPIC = ["ALTER", "ALTER_CONFIGS", "CREATE", "DELETE", "DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE"]
ON_GROUP = ["DELETE", "DESCRIBE", "READ"]


def filled(broker):
    """A topic into which an idempotent producer wrote ten records, one a batch, and a group that committed there."""
    create_topic(broker, TOPIC, 2)
    client = producer(broker, enable_idempotence=True)
    for n in range(10):
        client.produce(TOPIC, b"%d" % n * 100, partition=0)
        equal(client.flush(30), 0, "records that were not delivered")
    consumer(broker, **{"group.id": GROUP}).commit(offsets=[TopicPartition(TOPIC, 0, 4)], asynchronous=False)


def questions(broker, *command):
    done = subprocess.run([*map(str, command), broker.address, TOPIC, GROUP], capture_output=True, text=True, timeout=120)
    check(done.returncode == 0, f"{command[0]} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def place(broker):
    return str((broker.data / "objects").absolute())


def stored(broker, topic=TOPIC, partition=0):
    """Bytes of all batches of a partition, as a consumer reads them."""
    with Client(broker.port) as client:
        return sum(len(one.raw) for one in client.all_batches(topic, partition))


def java_is_told_all_of_it(_=None):
    if not JAVA:
        raise Skipped("Java's client could not be installed; install.sh says why")
    with Broker(arguments=["--check-invariants"]) as broker:
        filled(broker)
        told = questions(broker, "java", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, JAVA)), HERE / "Questions.java")
        [(where, dir)] = told.pop("log dirs").items()
        equal(where, place(broker), "where partitions are stored")
        check(not dir["has a size"], "an object store has no size")
        equal(dir["sizes"][f"{TOPIC}-0"], stored(broker), "size of the first partition")
        equal(dir["sizes"][f"{TOPIC}-1"], 0, "size of the second, into which nobody wrote")
        check("__consumer_offsets-0" in dir["sizes"], "the broker's own topic is told, too")
        equal(told, {
            "replica log dirs": place(broker),
            "reassignments": 0,
            "move away": "InvalidReplicaAssignmentException",
            "move nowhere": "null",
            "stop moving": "NoReassignmentInProgressException",
            "elect": {f"{TOPIC}-0": "ElectionNotNeededException", "missing-0": "UnknownTopicOrPartitionException"},
            "elect all": 0,
            "producers": [[0, 9, False]],
            "transactions": 0,
            "transaction": "TransactionalIdAuthorizationException",
            "acls": "SecurityDisabledException",
            "create acl": "SecurityDisabledException",
            "delete acl": "SecurityDisabledException",
            "quotas": 0,
            "users": 0,
            "features": 0,
            "on cluster": ON_CLUSTER,
            "on cluster, unasked": None,
            "on topic": ON_TOPIC,
            "on group": ON_GROUP,
            "own topic": "InvalidTopicException",
            "throttle": "0:0",
        }, "answers")


def kafka_python_is_told_all_of_it(_=None):
    with Broker(arguments=["--check-invariants"]) as broker:
        filled(broker)
        told = questions(broker, PYTHON, HERE / "questions.py")
        sizes = told.pop("log dirs")[place(broker)]
        equal(sizes[f"{TOPIC}-0"], stored(broker), "size of the first partition")
        group = told.pop("on group")
        equal(sorted(group["authorized_operations"]), ON_GROUP, "operations on a group")
        equal(told, {
            "on cluster": ON_CLUSTER,
            "some log dirs": [0],
            "move away": "InvalidReplicationAssignmentError",
            "move nowhere": "",
            "stop moving": "NoReassignmentInProgressError",
            "reassignments": {},
            "elect": {f"{TOPIC}-0": ELECTION_NOT_NEEDED, f"{TOPIC}-9": 3, "missing-0": 3},
            "producers": [[0, 9]],
            "transactions": [[]],
            "users": {},
            "user": True,
            "acls": "SecurityDisabledError",
            "create acl": 1,
        }, "answers")


def librdkafka_is_told_what_it_asks(_=None):
    with Broker() as broker:
        filled(broker)
        client = admin(broker)
        [(at, error)] = client.elect_leaders(ElectionType.PREFERRED, [TopicPartition(TOPIC, 0)]).result(30).items()
        equal((at.partition, error.code()), (0, ELECTION_NOT_NEEDED), "election")
        everything = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY,
                                      AclPermissionType.ANY)
        rule = AclBinding(ResourceType.TOPIC, TOPIC, ResourcePatternType.LITERAL, "User:a", "*", AclOperation.READ,
                          AclPermissionType.ALLOW)
        refused(client.create_acls([rule])[rule], SECURITY_DISABLED, "no authorizer")
        refused(client.delete_acls([everything])[everything], SECURITY_DISABLED, "no authorizer")
        # This librdkafka takes the error for an empty list.
        equal(client.describe_acls(everything).result(30), [], "access control")
        equal(client.describe_user_scram_credentials().result(30), {}, "users with SCRAM passwords")
        found = client.describe_topics(TopicCollection([TOPIC]), include_authorized_operations=True)[TOPIC].result(30)
        equal(sorted(one.name for one in found.authorized_operations), ON_TOPIC, "operations on a topic")
        found = client.describe_consumer_groups([GROUP], include_authorized_operations=True)[GROUP].result(30)
        equal(sorted(one.name for one in found.authorized_operations), ON_GROUP, "operations on a group")
        found = client.describe_cluster(include_authorized_operations=True).result(30)
        equal(sorted(one.name for one in found.authorized_operations), ON_CLUSTER, "operations on the cluster")
        found = client.describe_topics(TopicCollection([TOPIC]))[TOPIC].result(30)
        equal(found.authorized_operations, None, "operations for who does not ask")


def size(broker, topic=TOPIC, partition=0):
    """What a partition takes, by DescribeLogDirs version 1."""
    with Client(broker.port) as client:
        reader = client.ask(35, 1, array([string(topic) + array([int32(partition)])]))
    reader.number("i")
    [sizes] = reader.array(lambda: (reader.number("h"), reader.string(), reader.array(lambda: (
        reader.string(), reader.array(lambda: (reader.number("i"), reader.number("q"), reader.number("q"),
                                               reader.number("b")))))))
    equal((sizes[0], sizes[1]), (0, place(broker)), "error and place")
    [(name, [(index, bytes, lag, is_future)])] = sizes[2]
    equal((name, index, lag, is_future), (topic, partition, 0, 0), "the one that was asked for")
    return bytes


def sizes_follow_what_is_written_and_deleted(_=None):
    # Records soon go into objects: the size stays the same.
    with Broker(arguments=["--check-invariants", "--upload-interval-ms", "500"]) as broker:
        create_topic(broker, TOPIC)
        equal(size(broker), 0, "size of what is empty")
        produce_all(broker, TOPIC, [(0, None, b"%d" % n * 500, None) for n in range(500)], batch_num_messages=10)
        written = stored(broker)
        equal(size(broker), written, "size of what was written")
        client = admin(broker)
        wait_until(lambda: len(list((broker.data / "objects").rglob("*"))) > 3, 20, "objects")
        equal(size(broker), written, "size of what is in objects")
        broker.kill()
        broker.start()
        equal(size(broker), written, "size after kill -9")
        client = admin(broker)
        client.delete_records([TopicPartition(TOPIC, 0, 500)])[TopicPartition(TOPIC, 0)].result(30)
        equal(size(broker), 0, "size of what is deleted")
        produce_all(broker, TOPIC, [(0, None, b"again", None)])
        check(0 < size(broker) < 100, f"size of one record: {size(broker)}")


def created(client, name, partitions, configs=()):
    lines = array([string(key) + string(value) for key, value in configs])
    body = array([string(name) + int32(partitions) + int16(1) + array([]) + lines]) + int32(10_000) + int8(0)
    reader = client.ask(19, 3, body)
    reader.number("i")
    equal(reader.number("i"), 1, "topics of the answer")
    reader.string()
    return reader.number("h")


def the_log_of_groups_is_created_as_the_broker_does_it(_=None):
    with Broker(arguments=["--check-invariants"]) as broker:
        with Client(broker.port) as client:
            own = "__consumer_offsets"
            equal(created(client, own, 1), INVALID_PARTITIONS, "another number of partitions")
            equal(created(client, own, 50, [("cleanup.policy", "delete")]), INVALID_CONFIG, "another policy")
            equal(created(client, own, 50, [("cleanup.policy", "compact"), ("segment.bytes", "104857600")]), 0, "as it is")
            equal(created(client, "__transaction_state", 50), INVALID_TOPIC, "what is not there")
            wait_until(lambda: len(client.metadata([own])[1][own][1]) == 50, 10, "partitions")
            equal(client.produce(own, 0, sealed(record(0, b"x"), 1)), (INVALID_TOPIC, -1), "a client writes to it")
        filled(broker)
        offset = consumer(broker, **{"group.id": GROUP}).committed([TopicPartition(TOPIC, 0)], timeout=30)[0].offset
        equal(offset, 4, "committed offset")


def a_batch_begins_at_offset_0(_=None):
    with Broker() as broker:
        create_topic(broker, TOPIC)
        with Client(broker.port) as client:
            sound = sealed(record(0, b"x"), 1)
            equal(client.produce(TOPIC, 0, b"\0" * 7 + b"\1" + sound[8:])[0], INVALID_RECORD, "one that begins at 1")
            equal(client.produce(TOPIC, 0, sound), (0, 0), "one that begins at 0")


if __name__ == "__main__":
    run(java_is_told_all_of_it, kafka_python_is_told_all_of_it, librdkafka_is_told_what_it_asks,
        sizes_follow_what_is_written_and_deleted, the_log_of_groups_is_created_as_the_broker_does_it,
        a_batch_begins_at_offset_0)
