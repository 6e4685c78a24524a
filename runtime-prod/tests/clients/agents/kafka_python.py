"""The agent of kafka-python."""

import logging
import time

import kafka
import kafka.errors
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.base import MemberState
from kafka.errors import NoError
from kafka.structs import OffsetAndMetadata

from serve import Pace, Polled, data_in, record_out, serve

STRATEGIES = {"range": RangePartitionAssignor, "cooperative": CooperativeStickyAssignor}


class Agent:
    def start(self, address):
        # What members do, for whom a scenario fails.
        logging.basicConfig(format="%(asctime)s %(message).200s")
        logging.getLogger("kafka.coordinator").setLevel(logging.INFO)
        self.config = {"bootstrap_servers": address, "reconnect_backoff_ms": 20, "reconnect_backoff_max_ms": 200}
        self.admin = KafkaAdminClient(**self.config)
        self.open_ones = {}
        return f"kafka-python {kafka.__version__}"

    def produce(self, topic, records, codec="none", idempotent=False, most=1_000_000, pace=None):
        client = KafkaProducer(**self.config, acks="all", compression_type=None if codec == "none" else codec,
                               enable_idempotence=idempotent, max_request_size=most + 1000, linger_ms=5,
                               delivery_timeout_ms=110_000, retry_backoff_ms=50)
        try:
            pacing = Pace(pace)
            sent = []
            for index, record in enumerate(records):
                sent.append(client.send(topic, data_in(record["v"]), data_in(record["k"]),
                                        [(n, data_in(v)) for n, v in record["h"]], record["p"], record["t"]))
                pacing.after(index)
            client.flush(110)
            return [answer_of(future) for future in sent]
        finally:
            client.close(10)

    def go(self):
        Pace.gate.release()

    def open(self, name, assign=None, group=None, topics=None, instance=None, strategy="range", reset="earliest",
             most=1_048_576):
        options = {"group_instance_id": instance} if instance else {}
        client = KafkaConsumer(**self.config, group_id=group, enable_auto_commit=False, auto_offset_reset=reset,
                               max_partition_fetch_bytes=most, session_timeout_ms=30_000, heartbeat_interval_ms=500,
                               fetch_max_wait_ms=200, partition_assignment_strategy=[STRATEGIES[strategy]], **options)

        def poll():
            return [record_out(r.topic, r.partition, r.offset, r.key, r.value, r.headers, r.timestamp)
                    for records in client.poll(100).values() for r in records]

        consumer = Polled(poll, lambda: client.close(autocommit=False))
        consumer.client = client

        class Listener(ConsumerRebalanceListener):
            def on_partitions_assigned(self, partitions):
                consumer.buffer.events.append(["assigned", sorted(map(list, partitions))])

            def on_partitions_revoked(self, partitions):
                consumer.buffer.events.append(["revoked", sorted(map(list, partitions))])

        if group:
            client.subscribe(topics, listener=Listener())
        else:
            client.assign([TopicPartition(topic, p) for topic, p, _ in assign])
            for topic, p, offset in assign:
                where = TopicPartition(topic, p)
                if offset == -2:
                    client.seek_to_beginning(where)
                elif offset == -1:
                    client.seek_to_end(where)
                else:
                    client.seek(where, offset)
        self.open_ones[name] = consumer
        consumer.start()

    def poll(self, name, most, wait_ms):
        return self.open_ones[name].buffer.take(most, wait_ms)

    def assignment(self, name):
        one = self.open_ones[name]
        return one.do(lambda: sorted(map(list, one.client.assignment())))

    def events(self, name):
        return self.open_ones[name].buffer.events

    def seek(self, name, topic, p, offset):
        one = self.open_ones[name]

        def order():
            one.client.seek(TopicPartition(topic, p), offset)
            one.buffer.drop(topic, p)
        one.do(order)

    def pause(self, name, topic, p):
        one = self.open_ones[name]
        one.do(lambda: one.client.pause(TopicPartition(topic, p)))

    def resume(self, name, topic, p):
        one = self.open_ones[name]
        one.do(lambda: one.client.resume(TopicPartition(topic, p)))

    def at_time(self, topic, p, timestamp):
        where = TopicPartition(topic, p)
        client = KafkaConsumer(**self.config)
        try:
            found = client.offsets_for_times({where: timestamp})[where]
            return found and found.offset
        finally:
            client.close()

    def ends(self, topic, p):
        where = TopicPartition(topic, p)
        client = KafkaConsumer(**self.config)
        try:
            return [client.beginning_offsets([where])[where], client.end_offsets([where])[where]]
        finally:
            client.close()

    def commit(self, name, offsets):
        one = self.open_ones[name]
        wanted = {TopicPartition(topic, p): OffsetAndMetadata(offset, "", -1) for topic, p, offset in offsets}
        one.do(lambda: one.client.commit(wanted, timeout_ms=20_000))

    def committed(self, group, topic, p):
        client = KafkaConsumer(**self.config, group_id=group)
        try:
            return client.committed(TopicPartition(topic, p))
        finally:
            client.close(autocommit=False)

    def stalled(self):
        """Members that will never do anything again: they have joined and synced, nobody took the outcome, and nothing is
        left that would make them join again (see interop.py). A member may look so for a moment."""
        found = set(self.open_ones)
        for _ in range(3):
            found &= {name for name, one in self.open_ones.items() if is_stalled(one.client._coordinator)}
            if not found:
                break
            time.sleep(0.5)
        return sorted(found)

    def close(self, name):
        self.open_ones.pop(name).end()

    def reset(self):
        for name in list(self.open_ones):
            self.close(name)

    def create_topic(self, name, partitions, configs=None):
        self.admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}})

    def delete_topic(self, name):
        self.admin.delete_topics([name])

    def grow(self, name, partitions):
        self.admin.create_partitions({name: partitions})

    def topics(self):
        return {topic["name"]: len(topic["partitions"]) for topic in self.admin.describe_topics()}

    def delete_records(self, topic, p, before):
        where = TopicPartition(topic, p)
        return self.admin.delete_records({where: before})[where]["low_watermark"]

    def topic_configs(self, name):
        return self.configs(ConfigResourceType.TOPIC, name)

    def broker_configs(self, node):
        return self.configs(ConfigResourceType.BROKER, str(node))

    def configs(self, kind, name):
        found = self.admin.describe_configs([ConfigResource(kind, name)], config_filter="all")
        [entries] = [entries for names in found.values() for entries in names.values()]
        return {key: entry["value"] for key, entry in entries.items()}

    def set_topic_config(self, name, key, value):
        self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {key: value})])

    def groups(self):
        return [group["group_id"] for group in self.admin.list_groups()]

    def describe_group(self, group):
        found = self.admin.describe_groups([group])[group]
        return {"state": found["group_state"], "members": len(found["members"])}

    def delete_group(self, group):
        [outcome] = self.admin.delete_groups([group]).values()
        if outcome != "OK":
            raise getattr(kafka.errors, outcome)(group)

    def set_group_offset(self, group, topic, p, offset):
        wanted = {TopicPartition(topic, p): OffsetAndMetadata(offset, "", -1)}
        for error in self.admin.alter_group_offsets(group, wanted).values():
            if error is not NoError:
                raise error()

    def group_offsets(self, group):
        return sorted([where.topic, where.partition, found.offset]
                      for where, found in self.admin.list_group_offsets(group)[group].items() if found.offset >= 0)


def is_stalled(group):
    if group is None:
        return False
    with group._lock:
        task = group._join_task
        return (group.state is MemberState.REBALANCING and task is not None and task.is_done and task.succeeded()
                and not group._heartbeat_enabled and not group.need_rejoin())


def answer_of(future):
    try:
        return {"offset": future.get(110).offset}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


serve(Agent())
