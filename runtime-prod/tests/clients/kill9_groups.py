#!/usr/bin/env python3
"""kill -9 under consumer groups and idempotent producers at once.

Two idempotent producers run, about as fast as the group can read, and the members of a group consume and commit all the time, through every
death of the broker. In the end each record is in the log once, in order, and the group has read all of them. No committed
offset goes back. And there is no storm of rebalances: a death alone begins no generation, and every fifth one, as which
a member leaves and another comes, few.
"""

import argparse
import random
import re
import sys
import threading
import time
from urllib.request import urlopen

from confluent_kafka import Consumer, KafkaException, TopicPartition

from broker import Broker, check, equal, free_port, run, wait_until
from groups import committed
from idempotent import PARTITIONS, Load, check_each_once, number_of, read_all
from kafka import create_topic

TOPIC, GROUP = "once", "together"
MEMBERS = 3
# Every so many rounds somebody leaves the group and somebody else comes, as the broker dies.
CHANGE = 5
# Generations that such a change may begin. Two are needed: one without the member that left, one with the new one. A
# death in the middle may make the new member come again, and the old one be missed late.
OF_CHANGE = 4
PATIENCE = 120
# Seconds that a producer waits after each hundred records, so that the group keeps up with it.
PAUSE = 0.03

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=20)
OPTIONS = parser.parse_args()


class Member(threading.Thread):
    """Consumes, and commits what it has consumed before it goes on."""

    def __init__(self, broker, name):
        super().__init__(daemon=True)
        self.name = name
        # Records by partition and offset, and the largest offset of each partition whose commit was answered.
        self.seen, self.promised = {}, {}
        self.assigned, self.failure, self.refused = set(), None, 0
        self.stopping = threading.Event()
        self.client = Consumer({
            "bootstrap.servers": broker.address, "group.id": GROUP, "client.id": name, "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "session.timeout.ms": 45_000, "heartbeat.interval.ms": 300,
            "partition.assignment.strategy": "cooperative-sticky", "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 200, "fetch.wait.max.ms": 100, "log_level": 2})

    def run(self):
        self.client.subscribe([TOPIC], on_assign=self.gained, on_revoke=self.gave_up, on_lost=self.gave_up)
        try:
            while not self.stopping.is_set():
                self.take(self.client.consume(300, 0.1))
            self.client.close()
        except Exception as error:
            self.failure = error

    def take(self, messages):
        next_offsets = {}
        for message in messages:
            if message.error() is not None:
                check(not message.error().fatal(), f"member {self.name}: {message.error()}")
                continue
            where = message.partition(), message.offset()
            found = number_of(message.value())
            equal(self.seen.setdefault(where, found), found, f"record at {where}, which was read before")
            next_offsets[message.partition()] = message.offset() + 1
        if not next_offsets:
            return
        wanted = [TopicPartition(TOPIC, p, offset) for p, offset in next_offsets.items()]
        try:
            for answer in self.client.commit(offsets=wanted, asynchronous=False):
                if answer.error is None:
                    self.promised[answer.partition] = max(self.promised.get(answer.partition, 0), answer.offset)
        except KafkaException:
            # The broker is away, or somebody else has the partition by now: what was not committed is read again.
            self.refused += 1

    def gained(self, client, partitions):
        self.assigned |= {p.partition for p in partitions}
        client.incremental_assign(partitions)

    def gave_up(self, client, partitions):
        self.assigned -= {p.partition for p in partitions}
        client.incremental_unassign(partitions)

    def finish(self):
        self.stopping.set()
        self.join(PATIENCE)
        check(not self.is_alive(), f"member {self.name} can't be closed")


def generation(http):
    """The group's generation, as the broker's metrics tell it."""
    def told():
        text = urlopen(f"http://127.0.0.1:{http}/metrics", timeout=30).read().decode()
        return re.search(rf'^karst_group_generation{{group="{GROUP}"}} (\d+)$', text, re.M)
    return int(wait_until(told, PATIENCE, "the metrics tell of the group")[1])


def settled(members, http):
    """Waits until each partition has one owner, every member has some, and nobody joins any more: cooperative members may
    have to once more. The generation."""
    def shared():
        owned = sorted(p for member in members for p in member.assigned)
        return owned == list(range(PARTITIONS)) and all(member.assigned for member in members)

    def calm():
        wait_until(shared, PATIENCE, f"{len(members)} members share {PARTITIONS} partitions")
        before = generation(http)
        time.sleep(2)
        return generation(http) == before and shared() and before
    return wait_until(calm, PATIENCE, "the group is calm")


class Rounds:
    """The group through all deaths."""

    def __init__(self, broker, http):
        self.broker, self.http = broker, http
        self.names = iter(f"member-{n}" for n in range(10_000))
        self.members, self.left = [], []
        self.known = {p: 0 for p in range(PARTITIONS)}
        for _ in range(MEMBERS):
            self.come()
        self.first = self.generation = settled(self.members, http)
        self.changes = 0

    def come(self):
        member = Member(self.broker, next(self.names))
        self.members.append(member)
        member.start()

    def change(self):
        """Somebody begins to leave, and somebody else to come."""
        self.left.append(self.members.pop(0))
        self.left[-1].stopping.set()
        self.come()
        self.changes += 1
        time.sleep(random.uniform(0, 0.3))

    def die(self, number):
        time.sleep(random.uniform(0.3, 1.5))
        is_change = number % CHANGE == 0
        if is_change:
            self.change()
        promised = self.promised()
        self.broker.check_alive()
        self.broker.kill()
        ready = self.broker.start()
        self.check_offsets(promised)
        if is_change:
            self.left[-1].finish()
            settled(self.members, self.http)
        else:
            # Who has to join again hears of it by its next heartbeat.
            time.sleep(1)
        self.check_generation(OF_CHANGE if is_change else 0, number)
        for member in [*self.members, *self.left]:
            check(member.failure is None, f"{member.name}: {member.failure}")
        print(f"  round {number:2}: ready after {ready:.2f} s, generation {self.generation}, committed "
              f"{sum(self.known.values())}{', a member left and another came' if is_change else ''}")

    def promised(self):
        """What was acknowledged of commits by now."""
        promised = {}
        for member in [*self.members, *self.left]:
            for partition, offset in dict(member.promised).items():
                promised[partition] = max(promised.get(partition, 0), offset)
        return promised

    def check_offsets(self, promised):
        found = committed(self.broker, GROUP, TOPIC, PARTITIONS)
        for partition, before in self.known.items():
            offset = max(found[partition], 0)
            check(offset >= before, f"partition {partition}: the committed offset goes back from {before} to {offset}")
            check(offset >= promised.get(partition, 0), f"partition {partition}: a commit of {promised.get(partition)} was "
                                                        f"acknowledged, {offset} is left")
            self.known[partition] = offset

    def check_generation(self, allowed, number):
        now = generation(self.http)
        check(self.generation <= now, f"generation {self.generation} was durable, and is {now} now")
        check(now - self.generation <= allowed, f"round {number} began {now - self.generation} generations")
        self.generation = now

    def check_all_is_read(self):
        """The group gets to the end, and has seen what is in the log."""
        ends = {}
        for partition in range(PARTITIONS):
            log = dict(read_all(self.broker, partition))
            ends[partition] = len(log)
            wait_until(lambda: committed(self.broker, GROUP, TOPIC, PARTITIONS)[partition] == len(log), 4 * PATIENCE,
                       f"the group gets to the end of partition {partition}", pause=0.5)
            for offset, record in log.items():
                seen = [m.seen[partition, offset] for m in [*self.members, *self.left] if (partition, offset) in m.seen]
                check(seen, f"the group has committed {len(log)} in partition {partition}, and never read {offset}")
                check(all(one == record for one in seen), f"{partition}@{offset}: {seen} was read, {record} is there")
        self.check_generation(0, "of the end")


def kill_under_groups_and_producers():
    http = free_port()
    with Broker(wal_size="64MiB", arguments=["--check-invariants"], http=f"127.0.0.1:{http}") as broker:
        create_topic(broker, TOPIC, PARTITIONS)
        loads = [Load(broker, "a", PAUSE), Load(broker, "b", PAUSE, compression_type="lz4")]
        for load in loads:
            load.start()
        rounds = Rounds(broker, http)
        for number in range(1, OPTIONS.rounds + 1):
            rounds.die(number)
        for load in loads:
            load.finish()
        total = check_each_once(broker, loads)
        rounds.check_all_is_read()
        for member in rounds.members:
            member.finish()
        begun = rounds.generation - rounds.first
        refused = sum(member.refused for member in [*rounds.members, *rounds.left])
        print(f"  {total} records, each once and in order, and read by the group; {OPTIONS.rounds} deaths and "
              f"{rounds.changes} changes of members began {begun} generations; {refused} commits were not acknowledged")


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    run(kill_under_groups_and_producers)
