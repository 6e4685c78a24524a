"""The agent of confluent-kafka (librdkafka)."""

import confluent_kafka as ck
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import admin as ca

from serve import Pace, Polled, data_in, record_out, serve

STRATEGIES = {"range": "range", "cooperative": "cooperative-sticky"}


class Agent:
    def start(self, address):
        self.config = {"bootstrap.servers": address, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
                       "log_level": 2}
        self.admin = ca.AdminClient(self.config)
        self.open_ones = {}
        return f"confluent-kafka {ck.__version__}, librdkafka {ck.libversion()[0]}"

    def produce(self, topic, records, codec="none", idempotent=False, most=1_000_000, pace=None):
        answers = [None] * len(records)
        client = Producer({**self.config, "acks": "all", "compression.type": codec, "linger.ms": 5,
                           "enable.idempotence": idempotent, "message.max.bytes": most,
                           "message.timeout.ms": 110_000, "retry.backoff.ms": 50})

        pacing = Pace(pace)

        def delivered(index):
            def report(error, message):
                answers[index] = {"error": str(error)} if error else {"offset": message.offset()}
            return report

        for index, record in enumerate(records):
            client.produce(topic, data_in(record["v"]), data_in(record["k"]), record["p"],
                           on_delivery=delivered(index), headers=[(n, data_in(v)) for n, v in record["h"]],
                           timestamp=record["t"] or 0)
            client.poll(0)
            pacing.after(index)
        client.flush(110)
        return [answer or {"error": "no answer"} for answer in answers]

    def go(self):
        Pace.gate.release()

    def open(self, name, assign=None, group=None, topics=None, instance=None, strategy="range", reset="earliest",
             most=1_048_576):
        config = {**self.config, "group.id": group or "none", "enable.auto.commit": False, "auto.offset.reset": reset,
                  "check.crcs": True, "fetch.message.max.bytes": most, "session.timeout.ms": 30_000,
                  "heartbeat.interval.ms": 500, "partition.assignment.strategy": STRATEGIES[strategy],
                  "fetch.wait.max.ms": 200, "receive.message.max.bytes": 100_000_000}
        if instance:
            config["group.instance.id"] = instance
        client = Consumer(config)

        def poll():
            found = []
            for message in client.consume(500, 0.1):
                if message.error():
                    consumer.buffer.errors.append(str(message.error()))
                else:
                    found.append(record_out(message.topic(), message.partition(), message.offset(), message.key(),
                                            message.value(), message.headers(), message.timestamp()[1]))
            return found

        def note(kind):
            def noted(_, partitions):
                consumer.buffer.events.append([kind, [[p.topic, p.partition] for p in partitions]])
            return noted

        consumer = Polled(poll, client.close)
        consumer.client = client
        if group:
            client.subscribe(topics, on_assign=note("assigned"), on_revoke=note("revoked"), on_lost=note("lost"))
        else:
            client.assign([TopicPartition(*where) for where in assign])
        self.open_ones[name] = consumer
        consumer.start()

    def poll(self, name, most, wait_ms):
        return self.open_ones[name].buffer.take(most, wait_ms)

    def assignment(self, name):
        one = self.open_ones[name]
        return one.do(lambda: sorted([p.topic, p.partition] for p in one.client.assignment()))

    def events(self, name):
        return self.open_ones[name].buffer.events

    def seek(self, name, topic, p, offset):
        one = self.open_ones[name]

        def order():
            one.client.seek(TopicPartition(topic, p, offset))
            one.buffer.drop(topic, p)
        one.do(order)

    def pause(self, name, topic, p):
        one = self.open_ones[name]
        one.do(lambda: one.client.pause([TopicPartition(topic, p)]))

    def resume(self, name, topic, p):
        one = self.open_ones[name]
        one.do(lambda: one.client.resume([TopicPartition(topic, p)]))

    def at_time(self, topic, p, timestamp):
        client = Consumer({**self.config, "group.id": "none"})
        try:
            found = client.offsets_for_times([TopicPartition(topic, p, timestamp)], 60)[0]
            if found.error:
                raise KafkaException(found.error)
            return None if found.offset == ck.OFFSET_END else found.offset
        finally:
            client.close()

    def ends(self, topic, p):
        client = Consumer({**self.config, "group.id": "none"})
        try:
            return list(client.get_watermark_offsets(TopicPartition(topic, p), 60))
        finally:
            client.close()

    def commit(self, name, offsets):
        one = self.open_ones[name]
        wanted = [TopicPartition(*offset) for offset in offsets]
        for found in one.do(lambda: one.client.commit(offsets=wanted, asynchronous=False)):
            if found.error:
                raise KafkaException(found.error)

    def committed(self, group, topic, p):
        client = Consumer({**self.config, "group.id": group})
        try:
            found = client.committed([TopicPartition(topic, p)], 60)[0]
            if found.error:
                raise KafkaException(found.error)
            return found.offset if found.offset >= 0 else None
        finally:
            client.close()

    def close(self, name):
        self.open_ones.pop(name).end()

    def reset(self):
        for name in list(self.open_ones):
            self.close(name)

    def create_topic(self, name, partitions, configs=None):
        self.admin.create_topics([ca.NewTopic(name, partitions, 1, config=configs or {})])[name].result(100)

    def delete_topic(self, name):
        self.admin.delete_topics([name])[name].result(100)

    def grow(self, name, partitions):
        self.admin.create_partitions([ca.NewPartitions(name, partitions)])[name].result(100)

    def topics(self):
        return {name: len(topic.partitions) for name, topic in self.admin.list_topics(timeout=100).topics.items()}

    def delete_records(self, topic, p, before):
        [future] = self.admin.delete_records([TopicPartition(topic, p, before)]).values()
        return future.result(100).low_watermark

    def topic_configs(self, name):
        [future] = self.admin.describe_configs([ca.ConfigResource("topic", name)]).values()
        return {key: entry.value for key, entry in future.result(100).items()}

    def broker_configs(self, node):
        [future] = self.admin.describe_configs([ca.ConfigResource("broker", str(node))]).values()
        return {key: entry.value for key, entry in future.result(100).items()}

    def set_topic_config(self, name, key, value):
        if hasattr(self.admin, "incremental_alter_configs"):
            entry = ca.ConfigEntry(key, value, incremental_operation=ca.AlterConfigOpType.SET)
            resource = ca.ConfigResource("topic", name, incremental_configs=[entry])
            [future] = self.admin.incremental_alter_configs([resource]).values()
        else:
            # What is left out is reset: old versions have no incremental call.
            [future] = self.admin.describe_configs([ca.ConfigResource("topic", name)]).values()
            mine = {k: entry.value for k, entry in future.result(100).items()
                    if entry.source == ca.ConfigSource.DYNAMIC_TOPIC_CONFIG.value}
            [future] = self.admin.alter_configs([ca.ConfigResource("topic", name, {**mine, key: value})]).values()
        future.result(100)

    def groups(self):
        return [group.group_id for group in self.admin.list_consumer_groups().result(100).valid]

    def describe_group(self, group):
        found = self.admin.describe_consumer_groups([group])[group].result(100)
        return {"state": found.state.name, "members": len(found.members)}

    def delete_group(self, group):
        self.admin.delete_consumer_groups([group])[group].result(100)

    def set_group_offset(self, group, topic, p, offset):
        wanted = ck.ConsumerGroupTopicPartitions(group, [TopicPartition(topic, p, offset)])
        for found in self.admin.alter_consumer_group_offsets([wanted])[group].result(100).topic_partitions:
            if found.error:
                raise KafkaException(found.error)

    def group_offsets(self, group):
        wanted = ck.ConsumerGroupTopicPartitions(group)
        found = self.admin.list_consumer_group_offsets([wanted])[group].result(100)
        return sorted([p.topic, p.partition, p.offset] for p in found.topic_partitions if p.offset >= 0)


serve(Agent())
