"""The agent of aiokafka: one event loop, in a thread of its own, carries out all calls."""

import asyncio
import threading

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from serve import PATIENCE, Buffer, Pace, data_in, record_out, serve

# Where a topic's own settings come from, in DescribeConfigs.
DYNAMIC_TOPIC_CONFIG = 1


class One:
    """A consumer and the task that polls it."""

    def __init__(self, client):
        self.client = client
        self.buffer = Buffer()
        self.task = asyncio.create_task(self.poll())

    async def poll(self):
        while True:
            try:
                found = await self.client.getmany(timeout_ms=100)
                self.buffer.put([record_out(r.topic, r.partition, r.offset, r.key, r.value, r.headers, r.timestamp)
                                 for records in found.values() for r in records])
            except Exception as error:
                self.buffer.errors.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.1)

    async def end(self):
        self.task.cancel()
        await self.client.stop()


class Loop:
    """What the agent does, in the loop."""

    async def start(self, address):
        self.address = address
        self.admin = None
        self.open_ones = {}
        return f"aiokafka {aiokafka.__version__}"

    async def produce(self, topic, records, codec="none", idempotent=False, most=1_000_000, pace=None):
        client = AIOKafkaProducer(bootstrap_servers=self.address, acks="all", enable_idempotence=idempotent,
                                  compression_type=None if codec == "none" else codec, max_request_size=most + 1000,
                                  linger_ms=5, retry_backoff_ms=50, request_timeout_ms=110_000)
        await client.start()
        try:
            sent = []
            pacing = Pace(pace)
            for index, record in enumerate(records):
                sent.append(await client.send(topic, data_in(record["v"]), data_in(record["k"]), record["p"],
                                              record["t"], [(n, data_in(v)) for n, v in record["h"]]))
                if pace:
                    await asyncio.to_thread(pacing.after, index)
            return [await answer_of(future) for future in sent]
        finally:
            await client.stop()

    async def open(self, name, assign=None, group=None, topics=None, instance=None, strategy="range", reset="earliest",
                   most=1_048_576):
        client = AIOKafkaConsumer(bootstrap_servers=self.address, group_id=group, group_instance_id=instance,
                                  enable_auto_commit=False, auto_offset_reset=reset, max_partition_fetch_bytes=most,
                                  session_timeout_ms=30_000, heartbeat_interval_ms=500, fetch_max_wait_ms=200)
        events = []

        class Listener(ConsumerRebalanceListener):
            def on_partitions_assigned(self, assigned):
                events.append(["assigned", sorted(map(list, assigned))])

            def on_partitions_revoked(self, revoked):
                events.append(["revoked", sorted(map(list, revoked))])

        await client.start()
        if group:
            client.subscribe(topics, listener=Listener())
        else:
            client.assign([TopicPartition(topic, p) for topic, p, _ in assign])
            for topic, p, offset in assign:
                where = TopicPartition(topic, p)
                if offset == -2:
                    await client.seek_to_beginning(where)
                elif offset == -1:
                    await client.seek_to_end(where)
                else:
                    client.seek(where, offset)
        self.open_ones[name] = one = One(client)
        one.buffer.events = events

    async def assignment(self, name):
        return sorted(map(list, self.open_ones[name].client.assignment()))

    async def events(self, name):
        return self.open_ones[name].buffer.events

    async def seek(self, name, topic, p, offset):
        one = self.open_ones[name]
        one.client.seek(TopicPartition(topic, p), offset)
        one.buffer.drop(topic, p)

    async def pause(self, name, topic, p):
        self.open_ones[name].client.pause(TopicPartition(topic, p))

    async def resume(self, name, topic, p):
        self.open_ones[name].client.resume(TopicPartition(topic, p))

    async def at_time(self, topic, p, timestamp):
        where = TopicPartition(topic, p)
        async with AIOKafkaConsumer(bootstrap_servers=self.address) as client:
            found = (await client.offsets_for_times({where: timestamp}))[where]
            return found and found.offset

    async def ends(self, topic, p):
        where = TopicPartition(topic, p)
        async with AIOKafkaConsumer(bootstrap_servers=self.address) as client:
            return [(await client.beginning_offsets([where]))[where], (await client.end_offsets([where]))[where]]

    async def commit(self, name, offsets):
        await self.open_ones[name].client.commit({TopicPartition(topic, p): offset for topic, p, offset in offsets})

    async def committed(self, group, topic, p):
        where = TopicPartition(topic, p)
        found = (await (await self.administration()).list_consumer_group_offsets(group, partitions=[where]))[where].offset
        return found if found >= 0 else None

    async def close(self, name):
        await self.open_ones.pop(name).end()

    async def reset(self):
        for name in list(self.open_ones):
            await self.close(name)

    async def administration(self):
        if self.admin is None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
            await admin.start()
            self.admin = admin
        return self.admin

    async def create_topic(self, name, partitions, configs=None):
        wanted = NewTopic(name, partitions, 1, topic_configs=configs)
        raise_for((await (await self.administration()).create_topics([wanted])).topic_errors)

    async def delete_topic(self, name):
        raise_for((await (await self.administration()).delete_topics([name])).topic_error_codes)

    async def grow(self, name, partitions):
        await (await self.administration()).create_partitions({name: NewPartitions(partitions)})

    async def topics(self):
        found = await (await self.administration()).describe_topics()
        return {topic["topic"]: len(topic["partitions"]) for topic in found}

    async def delete_records(self, topic, p, before):
        where = TopicPartition(topic, p)
        return (await (await self.administration()).delete_records({where: RecordsToDelete(before)}))[where]

    async def topic_configs(self, name):
        return {entry[0]: entry[1] for entry in await self.configs(ConfigResourceType.TOPIC, name)}

    async def broker_configs(self, node):
        return {entry[0]: entry[1] for entry in await self.configs(ConfigResourceType.BROKER, str(node))}

    async def configs(self, kind, name):
        [found] = await (await self.administration()).describe_configs([ConfigResource(kind, name)])
        [(code, message, _, _, entries)] = found.resources
        if code:
            raise for_code(code)(message)
        return entries

    async def set_topic_config(self, name, key, value):
        # What is left out is reset: this client has no incremental call.
        mine = {entry[0]: entry[1] for entry in await self.configs(ConfigResourceType.TOPIC, name)
                if entry[3] == DYNAMIC_TOPIC_CONFIG}
        wanted = ConfigResource(ConfigResourceType.TOPIC, name, {**mine, key: value})
        [found] = await (await self.administration()).alter_configs([wanted])
        raise_for([(name, code) for code, *_ in found.resources])

    async def groups(self):
        return [found[0] for found in await (await self.administration()).list_consumer_groups()]

    async def describe_group(self, group):
        [found] = await (await self.administration()).describe_consumer_groups([group])
        [(code, _, state, _, _, members, *_)] = found.groups
        raise_for([(group, code)])
        return {"state": state, "members": len(members)}

    async def group_offsets(self, group):
        found = await (await self.administration()).list_consumer_group_offsets(group)
        return sorted([where.topic, where.partition, offset.offset] for where, offset in found.items())


class Agent:
    """Hands calls to the loop."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.inner = Loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def go(self):
        Pace.gate.release()

    def poll(self, name, most, wait_ms):
        return self.inner.open_ones[name].buffer.take(most, wait_ms)

    def __getattr__(self, call):
        def handed(**args):
            return asyncio.run_coroutine_threadsafe(getattr(self.inner, call)(**args), self.loop).result(PATIENCE)
        return handed


async def answer_of(future):
    try:
        return {"offset": (await future).offset}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def raise_for(errors):
    for name, code, *_ in errors:
        if code:
            raise for_code(code)(name)


serve(Agent())
