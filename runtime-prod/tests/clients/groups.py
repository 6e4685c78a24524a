#!/usr/bin/env python3
"""Consumer groups: members that come, go, come back and die; offsets that are kept; brokers that are killed meanwhile."""

import collections
import logging
import queue
import random
import struct
import threading
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from broker import Broker, check, equal, run, wait_until
from kafka import admin, consumer, create_topic, produce_all, read, refused, watermarks

# Seconds that anything may take on a slow machine.
PATIENCE = 90


class Member:
    """A member of a group, on a thread of its own. Counts how often it was given or lost partitions."""

    def __init__(self, broker, topic, group, commit=False, **options):
        config = {
            "bootstrap.servers": broker.address,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 200,
            "log_level": 2,
        }
        config.update({name.replace("_", "."): value for name, value in options.items()})
        self.topic, self.commits = topic, commit
        self.assigned, self.assignments, self.revocations = set(), 0, 0
        self.messages, self.errors, self.committed = [], [], {}
        self.stopping = threading.Event()
        self.paused = threading.Event()
        self.calls = queue.Queue()
        self.cooperative = config.get("partition.assignment.strategy") == "cooperative-sticky"
        # What the client says of its group, for a test that fails.
        self.story = collections.deque(maxlen=120)
        logger = logging.Logger(group)
        handler = logging.Handler()
        handler.emit = lambda record: self.story.append(f"{record.created:.3f} {record.getMessage()}")
        logger.addHandler(handler)
        self.client = Consumer({**config, "debug": "cgrp", "log_level": 7}, logger=logger)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        self.client.subscribe([self.topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke)
        while not self.stopping.is_set():
            if self.paused.is_set():
                time.sleep(0.02)
                continue
            while not self.calls.empty():
                call, result = self.calls.get()
                result.put(call(self.client))
            message = self.client.poll(0.1)
            if message is None:
                continue
            if message.error():
                self.errors.append(str(message.error()))
                continue
            self.messages.append((message.partition(), message.offset(), message.value()))
            if self.commits:
                self._commit(message)
        self.client.close()

    def _commit(self, message):
        try:
            self.client.commit(message, asynchronous=False)
            self.committed[message.partition()] = message.offset() + 1
        except KafkaException as error:
            self.errors.append(str(error))

    def _assign(self, client, partitions):
        self.assignments += 1
        if self.cooperative:
            self.assigned |= {p.partition for p in partitions}
            client.incremental_assign(partitions)
        else:
            self.assigned = {p.partition for p in partitions}
            client.assign(partitions)

    def _revoke(self, client, partitions):
        self.revocations += 1
        self.assigned -= {p.partition for p in partitions}
        if self.cooperative:
            client.incremental_unassign(partitions)
        else:
            client.unassign()

    def do(self, call):
        """Calls it with the client on the member's own thread: what `commit` waits for may come while `poll` does."""
        result = queue.Queue()
        self.calls.put((call, result))
        return result.get(timeout=PATIENCE)

    def close(self):
        self.stopping.set()
        self.thread.join(PATIENCE)
        check(not self.thread.is_alive(), "a member can't be closed")


def fill(broker, topic, partitions, each, start=0):
    records = [(p, None, b"%d" % n, None) for n in range(start, start + each) for p in range(partitions)]
    produce_all(broker, topic, records)


def share(members, partitions, seconds=PATIENCE):
    """Waits until each partition has one owner, and every member has some."""
    def shared():
        owned = [p for member in members for p in member.assigned]
        return sorted(owned) == list(range(partitions)) and all(member.assigned for member in members)
    wait_until(shared, seconds, f"{len(members)} members share {partitions} partitions")


def committed(broker, group, topic, partitions):
    client = Consumer({"bootstrap.servers": broker.address, "group.id": group})
    try:
        found = client.committed([TopicPartition(topic, p) for p in range(partitions)], timeout=PATIENCE)
        for p in found:
            check(p.error is None, f"committed offset of {group} in {topic}/{p.partition}: {p.error}")
        return {p.partition: p.offset for p in found}
    finally:
        client.close()


def consumes_commits_and_goes_on(broker):
    create_topic(broker, "plain", 3)
    fill(broker, "plain", 3, 100)
    member = Member(broker, "plain", "plain-group")
    wait_until(lambda: len(member.messages) == 300, PATIENCE, "a member gets all records")
    member.do(lambda client: client.commit(asynchronous=False))
    member.close()
    equal(committed(broker, "plain-group", "plain", 3), {0: 100, 1: 100, 2: 100}, "what is committed")
    broker.stop_clean()
    broker.start()
    equal(committed(broker, "plain-group", "plain", 3), {0: 100, 1: 100, 2: 100}, "what is committed after a stop")
    broker.kill()
    broker.start()
    fill(broker, "plain", 3, 10, start=100)
    member = Member(broker, "plain", "plain-group")
    wait_until(lambda: len(member.messages) >= 30, PATIENCE, "it goes on")
    time.sleep(0.5)
    equal(sorted(member.messages), [(p, n, b"%d" % n) for p in range(3) for n in range(100, 110)], "what is new")
    member.close()


def members_come_and_go(broker):
    create_topic(broker, "shared", 4)
    fill(broker, "shared", 4, 20)
    first = Member(broker, "shared", "sharing")
    share([first], 4)
    second = Member(broker, "shared", "sharing")
    share([first, second], 4)
    third = Member(broker, "shared", "sharing")
    share([first, second, third], 4)
    second.close()
    share([first, third], 4)
    first.close()
    share([third], 4)
    third.close()


def cooperative_members_keep_what_they_have(broker):
    create_topic(broker, "cooperative", 6)
    options = {"partition.assignment.strategy": "cooperative-sticky"}
    first = Member(broker, "cooperative", "cooperating", **options)
    share([first], 6)
    kept = set(first.assigned)
    second = Member(broker, "cooperative", "cooperating", **options)
    share([first, second], 6)
    check(first.assigned < kept and len(first.assigned) == 3, f"it keeps half of what it had: {first.assigned}")
    second.close()
    share([first], 6)
    first.close()


def a_silent_member_is_replaced(broker):
    create_topic(broker, "silent", 2)
    options = {"max.poll.interval.ms": 6000}
    first = Member(broker, "silent", "silence", **options)
    second = Member(broker, "silent", "silence", **options)
    share([first, second], 2)
    # It stops to poll: the client itself leaves after max.poll.interval.
    first.paused.set()
    wait_until(lambda: second.assigned == {0, 1}, PATIENCE, "the other gets everything")
    first.paused.clear()
    share([first, second], 2)
    first.close()
    second.close()


def static_members_come_back_unnoticed(broker):
    create_topic(broker, "static", 4)
    options = {"session.timeout.ms": 20000}
    first = Member(broker, "static", "statics", **{"group.instance.id": "one"}, **options)
    second = Member(broker, "static", "statics", **{"group.instance.id": "two"}, **options)
    share([first, second], 4)
    time.sleep(1.5)
    before, mine = (first.assignments, first.revocations), set(second.assigned)
    second.close()
    time.sleep(1)
    second = Member(broker, "static", "statics", **{"group.instance.id": "two"}, **options)
    wait_until(lambda: second.assigned, PATIENCE, "a static member is assigned again")
    equal(second.assigned, mine, "what a static member had")
    time.sleep(2)
    equal((first.assignments, first.revocations), before, "rebalances of the other member")
    # Another one as the same instance: the earlier is fenced for good.
    usurper = Member(broker, "static", "statics", **{"group.instance.id": "two"}, **options)
    wait_until(lambda: usurper.assigned, PATIENCE, "the usurper is assigned")
    wait_until(lambda: any("fenced" in error.lower() for error in second.errors), PATIENCE, "the earlier is fenced")
    for member in (first, second, usurper):
        member.close()


def a_crash_moves_nothing(broker):
    create_topic(broker, "crashing", 4)
    fill(broker, "crashing", 4, 50)
    members = [Member(broker, "crashing", "crashers", commit=True, **{"session.timeout.ms": 20000}) for _ in range(2)]
    share(members, 4)
    time.sleep(2)
    before = [(member.assignments, member.revocations) for member in members]
    known = {}
    for round in range(6):
        time.sleep(random.uniform(0.2, 0.8))
        acked = {p: o for member in members for p, o in dict(member.committed).items()}
        broker.kill()
        broker.start()
        found = committed(broker, "crashers", "crashing", 4)
        for partition, offset in acked.items():
            check(found[partition] >= offset, f"{offset} of partition {partition} was committed, {found[partition]} is left")
            check(found[partition] >= known.get(partition, 0), "a committed offset goes back")
        known = found
        fill(broker, "crashing", 4, 20, start=50 + 20 * round)
    total = 50 + 20 * 6
    wait_until(lambda: all(o == total for o in committed(broker, "crashers", "crashing", 4).values()), PATIENCE,
               "everything is consumed and committed")
    after = [(member.assignments, member.revocations) for member in members]
    if after != before:
        for number, member in enumerate(members):
            print("\n".join(f"    member {number}: {line}" for line in member.story))
    equal(after, before, "rebalances by six crashes")
    for member in members:
        member.close()


def offsets_without_members(broker):
    create_topic(broker, "by-hand", 1)
    fill(broker, "by-hand", 1, 10)
    client = consumer(broker, group_id="hand")
    client.commit(offsets=[TopicPartition("by-hand", 0, 7, metadata="note")], asynchronous=False)
    found = client.committed([TopicPartition("by-hand", 0)], timeout=PATIENCE)[0]
    equal((found.offset, found.metadata), (7, "note"), "offset and metadata")
    try:
        client.commit(offsets=[TopicPartition("nowhere", 0, 1)], asynchronous=False)
        check(False, "a commit for a topic that is not there")
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.UNKNOWN_TOPIC_OR_PART, "error")
    try:
        client.commit(offsets=[TopicPartition("by-hand", 0, 1, metadata="x" * 5000)], asynchronous=False)
        check(False, "metadata of 5000 bytes")
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.OFFSET_METADATA_TOO_LARGE, "error")
    client.close()
    # Somebody who is no member may not commit while the group has some.
    member = Member(broker, "by-hand", "hand")
    share([member], 1)
    client = consumer(broker, group_id="hand")
    try:
        client.commit(offsets=[TopicPartition("by-hand", 0, 1)], asynchronous=False)
        check(False, "a stranger commits for a group with members")
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.UNKNOWN_MEMBER_ID, "error")
    client.close()
    member.close()


def administrators_see_and_delete(broker):
    create_topic(broker, "admin", 2)
    fill(broker, "admin", 2, 10)
    client = admin(broker)
    member = Member(broker, "admin", "watched", **{"client.id": "who"})
    share([member], 2)
    offsets = [TopicPartition("admin", 0, 5), TopicPartition("admin", 1, 6)]
    member.do(lambda client: client.commit(offsets=offsets, asynchronous=False))
    listed = client.list_consumer_groups().result(PATIENCE)
    states = {group.group_id: group.state.name for group in listed.valid}
    equal(states.get("watched"), "STABLE", "state in the list")
    described = client.describe_consumer_groups(["watched"])["watched"].result(PATIENCE)
    equal((described.state.name, described.partition_assignor, len(described.members)), ("STABLE", "range", 1), "group")
    one = described.members[0]
    equal((one.client_id, one.host), ("who", "/127.0.0.1"), "client id and host")
    equal(sorted(p.partition for p in one.assignment.topic_partitions), [0, 1], "assignment")
    refused(client.delete_consumer_groups(["watched"])["watched"], KafkaError.NON_EMPTY_GROUP)
    refused(client.delete_consumer_groups(["nobody"])["nobody"], KafkaError.GROUP_ID_NOT_FOUND)
    member.close()

    def state():
        return client.describe_consumer_groups(["watched"])["watched"].result(PATIENCE).state.name
    wait_until(lambda: state() == "EMPTY", PATIENCE, "the group is empty")
    wish = ConsumerGroupTopicPartitions("watched", [TopicPartition("admin", 0, 2)])
    client.alter_consumer_group_offsets([wish])["watched"].result(PATIENCE)
    found = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions("watched")])["watched"].result(PATIENCE)
    equal(sorted((p.partition, p.offset) for p in found.topic_partitions), [(0, 2), (1, 6)], "offsets")
    client.delete_consumer_groups(["watched"])["watched"].result(PATIENCE)
    listed = client.list_consumer_groups().result(PATIENCE)
    check("watched" not in {group.group_id for group in listed.valid}, "a deleted group is not listed")
    equal(committed(broker, "watched", "admin", 2), {0: -1001, 1: -1001}, "offsets of a deleted group")
    broker.kill()
    broker.start()
    equal(committed(broker, "watched", "admin", 2), {0: -1001, 1: -1001}, "and after a crash")


def a_deleted_topic_takes_its_offsets_along(broker):
    create_topic(broker, "going", 1)
    fill(broker, "going", 1, 10)
    client = consumer(broker, group_id="gone")
    client.commit(offsets=[TopicPartition("going", 0, 7)], asynchronous=False)
    administrator = admin(broker)
    administrator.delete_topics(["going"], operation_timeout=PATIENCE)["going"].result(PATIENCE)
    create_topic(broker, "going", 1)
    wait_until(lambda: committed(broker, "gone", "going", 1) == {0: -1001}, PATIENCE, "its offsets are gone")
    broker.kill()
    broker.start()
    equal(committed(broker, "gone", "going", 1), {0: -1001}, "and after a crash")
    client.close()


def tools_read_the_log(broker):
    create_topic(broker, "logged", 1)
    client = consumer(broker, group_id="in-the-log")
    client.commit(offsets=[TopicPartition("logged", 0, 3, metadata="m")], asynchronous=False)
    client.close()
    topic = admin(broker).list_topics(timeout=PATIENCE).topics["__consumer_offsets"]
    equal(len(topic.partitions), 50, "partitions of __consumer_offsets")
    partition = java_hash("in-the-log") % 50
    low, high = watermarks(broker, "__consumer_offsets", partition)
    records = read(broker, "__consumer_offsets", partition, low, high - low)
    key = b"\0\1" + text("in-the-log") + text("logged") + struct.pack(">i", 0)
    values = [record.value() for record in records if record.key() == key]
    equal(len(values), 1, "records of the offset")
    version, offset, _epoch = struct.unpack(">hqi", values[0][:14])
    # confluent-kafka sends metadata with the zero that ends it in C.
    equal((version, offset, values[0][14:].split(b"m")[0]), (3, 3, b"\0\2"), "its value")
    client = AdminClient({"bootstrap.servers": broker.address})
    refused(client.delete_topics(["__consumer_offsets"])["__consumer_offsets"], KafkaError.TOPIC_EXCEPTION)


def the_new_protocol_is_refused_at_once(broker):
    create_topic(broker, "new", 1)
    member = Consumer({"bootstrap.servers": broker.address, "group.id": "new", "group.protocol": "consumer",
                       "log_level": 0})
    member.subscribe(["new"])
    told = wait_until(lambda: member.poll(0.5), PATIENCE, "it is told")
    equal(told.error() and told.error().code(), KafkaError._FATAL, f"what it is told: {told.error() or told.value()}")
    check("API version not supported" in str(told.error()), told.error())
    member.close()


def java_hash(group):
    value = 0
    for unit in group:
        value = (value * 31 + ord(unit)) & 0xffffffff
    return value & 0x7fffffff


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


if __name__ == "__main__":
    run(consumes_commits_and_goes_on, members_come_and_go, cooperative_members_keep_what_they_have,
        a_silent_member_is_replaced, static_members_come_back_unnoticed, a_crash_moves_nothing,
        offsets_without_members, administrators_see_and_delete, a_deleted_topic_takes_its_offsets_along,
        tools_read_the_log, the_new_protocol_is_refused_at_once, shared=Broker(arguments=["--check-invariants"]))
