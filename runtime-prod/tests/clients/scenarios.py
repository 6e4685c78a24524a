"""What every client is put through, each scenario once for each client: see interop.py.

A scenario gets the broker, which it may kill and start, and an agent, the client's process (agents.py). It checks what the
client saw and, where that matters, what the broker stored. It asserts no times: everything may take as long as it needs on
a slow machine, up to the patience of a call.
"""

import itertools
import time

from agents import PATIENCE, ClientError, answered, decoded, long_value, record
from broker import Failed, check, equal, wait_until
from wire import Client as Wire
from wire import batches

# Which of the features that scenarios need the broker serves. A scenario that needs another one is skipped and says so.
SERVED = {"leader epochs", "timestamps", "groups", "static members", "group admin", "configs", "idempotence",
          "large records"}

EARLIEST, LATEST = -2, -1
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
TOPIC_EXISTS, UNKNOWN_TOPIC, INVALID_PARTITIONS = 36, 3, 37
NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND = 68, 69
UNKNOWN_SERVER_ERROR = -1
# What a broker says that has just come back, and expects to be asked again about: leaders and coordinators that are not
# known or read yet, requests that took too long.
COME_AGAIN = {5, 6, 7, 13, 14, 15, 16}
# Where the timestamps of records begin, in ms: an hour ago, so that no retention takes them.
START = int(time.time() * 1000) - 3_600_000
SCENARIOS = []
_numbers = itertools.count(1)


def scenario(*needs, of_client=()):
    """Declares a scenario: which features of the broker and which of the client it needs."""
    def declare(function):
        function.needs, function.of_client = needs, of_client
        SCENARIOS.append(function)
        return function
    return declare


# Producing and reading.

@scenario()
def codecs(broker, agent):
    """Each codec is stored as that codec and read back."""
    through_codecs(broker, agent, ["none", "gzip", "snappy", "lz4"])


@scenario(of_client=["zstd"])
def zstd(broker, agent):
    through_codecs(broker, agent, ["zstd"])


@scenario()
def nulls_headers_and_timestamps(broker, agent):
    """Null and empty keys and values, headers with one key twice, and the producer's timestamps come back unchanged."""
    check_records(agent, [
        record(b"plain", b"key", timestamp=START + 1),
        record(None, b"no value", timestamp=START + 2),
        record(b"no key", None, timestamp=START + 3),
        record(b"", b"", timestamp=START + 1000),
        record(b"headers", b"k", headers=[("a", b"1"), ("b", b"2"), ("a", b"3"), ("a", b"1")], timestamp=START + 1001),
        record(b"odd headers", b"k", headers=[("", b"no name"), ("empty", b""), ("\u00fc", bytes(range(256)))],
               timestamp=START + 1002),
    ])


@scenario(of_client=["neither key nor value"])
def records_without_key_and_value(broker, agent):
    check_records(agent, [record(None, None, timestamp=START),
                          record(None, None, headers=[("only", b"a header")], timestamp=START + 1)])


@scenario(of_client=["null header values"])
def header_values_that_are_null(broker, agent):
    check_records(agent, [record(b"v", b"k", headers=[("null", None), ("full", b"1"), ("null", None)], timestamp=START)])


@scenario("configs", "large records")
def records_of_20_megabytes(broker, agent):
    size = 20_000_000
    topic = new_topic(agent, "long", configs={"max.message.bytes": str(size + 100_000)})
    values = [b"before", long_value(size, 1), b"between", long_value(size - 1, 2), b"after"]
    for value in values:
        produce(agent, topic, [record(value, b"key")], most=size + 50_000)
    [found] = read(agent, topic, [len(values)], most=size + 100_000)
    equal([r["v"] for r in found], [answered(value) for value in values], "long values")
    [found] = read(agent, topic, [len(values)], most=1_048_576)
    equal([r["v"] for r in found], [answered(value) for value in values], "long values, by fetches of 1 MiB")


@scenario()
def assigned_from_anywhere(broker, agent):
    """Partitions that are assigned by hand, from the beginning, an offset and the end; then seeking."""
    topic = new_topic(agent, "assigned", 2)
    produce(agent, topic, [record(b"%d" % n, partition=n % 2) for n in range(200)])
    agent.call("open", name="reader", assign=[[topic, 0, EARLIEST], [topic, 1, 60]])
    found = collect(agent, "reader", lambda seen: len(seen) >= 140)
    equal(offsets_of(found, 0), list(range(100)), "offsets from the beginning")
    equal(offsets_of(found, 1), list(range(60, 100)), "offsets from 60 on")
    equal(values_of(found, 1), [b"%d" % (2 * n + 1) for n in range(60, 100)], "values from 60 on")
    agent.call("seek", name="reader", topic=topic, p=0, offset=90)
    found = collect(agent, "reader", lambda seen: len(seen) >= 10)
    equal([(r["p"], r["o"]) for r in found], [(0, n) for n in range(90, 100)], "what follows a seek")
    agent.call("close", name="reader")
    equal(ask(agent, "ends", topic=topic, p=0), [0, 100], "beginning and end")


@scenario()
def from_the_end(broker, agent):
    topic = new_topic(agent, "end")
    produce(agent, topic, [record(b"old")])
    agent.call("open", name="reader", assign=[[topic, 0, LATEST]])
    found, sent = [], 0
    while not found:
        check(sent < 100, "nothing is read of 100 records that were produced after a reader began at the end")
        sent += 1
        produce(agent, topic, [record(b"new %d" % sent)])
        found = agent.call("poll", name="reader", most=500, wait_ms=1000)["records"]
    check(found[0]["o"] >= 1, f"a reader that began at the end read offset {found[0]['o']}")
    equal(found[0]["v"], answered(b"new %d" % found[0]["o"]), "value at the end")


@scenario(of_client=["pausing"])
def pausing(broker, agent):
    """A paused partition gives nothing while others do, and goes on where it was."""
    topic = new_topic(agent, "paused", 2)
    produce(agent, topic, [record(b"%d" % n, partition=n % 2) for n in range(20)])
    agent.call("open", name="reader", assign=[[topic, 0, EARLIEST], [topic, 1, EARLIEST]])
    collect(agent, "reader", lambda seen: len(seen) >= 20)
    agent.call("pause", name="reader", topic=topic, p=0)
    for n in range(20, 60):
        if n % 10 < 2:
            produce(agent, topic, [record(b"%d" % n, partition=n % 2)])
    found = collect(agent, "reader", lambda seen: len(seen) >= 4)
    time.sleep(0.5)
    found += agent.call("poll", name="reader", most=500, wait_ms=100)["records"]
    equal({r["p"] for r in found}, {1}, "partitions that are read while 0 is paused")
    agent.call("resume", name="reader", topic=topic, p=0)
    found = collect(agent, "reader", lambda seen: len(seen) >= 4)
    equal([(r["p"], r["o"]) for r in found], [(0, n) for n in range(10, 14)], "what follows the pause")


@scenario("timestamps")
def offsets_by_time(broker, agent):
    topic = new_topic(agent, "by-time")
    for n in range(0, 30, 10):
        produce(agent, topic, [record(b"%d" % m, timestamp=START + m * 1000) for m in range(n, n + 10)])
    for wanted, expected in ((START - 1, 0), (START, 0), (START + 1, 1), (START + 14_500, 15), (START + 29_000, 29),
                             (START + 29_001, None)):
        equal(ask(agent, "at_time", topic=topic, p=0, timestamp=wanted), expected, f"offset at {wanted - START} ms")
    agent.call("open", name="reader", assign=[[topic, 0, EARLIEST]])
    collect(agent, "reader", lambda seen: len(seen) >= 30)
    agent.call("seek", name="reader", topic=topic, p=0,
               offset=ask(agent, "at_time", topic=topic, p=0, timestamp=START + 20_001))
    found = collect(agent, "reader", lambda seen: len(seen) >= 9)
    equal(offsets_of(found, 0), list(range(21, 30)), "offsets after a seek by time")


@scenario("idempotence")
def an_idempotent_producer(broker, agent):
    topic = new_topic(agent, "idempotent", 2)
    for codec in ("none", "lz4"):
        records = [record(b"%s %d" % (codec.encode(), n), partition=n % 2) for n in range(400)]
        produce(agent, topic, records, idempotent=True, codec=codec)
    stored = stored_batches(broker, topic, 0)
    check(all(batch.producer_id >= 0 for batch in stored), "an idempotent producer's batches have no producer id")
    expected = [[b"%s %d" % (codec, n) for codec in (b"none", b"lz4") for n in range(p, 400, 2)] for p in range(2)]
    equal([values_of(found) for found in read(agent, topic, [400, 400])], expected, "values of an idempotent producer")
    equal(ends_by_hand(broker, topic, 2), [400, 400], "ends after an idempotent producer")


# Groups.

@scenario("groups")
def a_group_goes_on_where_it_was(broker, agent):
    topic = new_topic(agent, "group", 3)
    group = f"group-of-{topic}"
    produce(agent, topic, [record(b"%d" % n, partition=n % 3) for n in range(90)])
    agent.call("open", name="first", group=group, topics=[topic])
    found = collect(agent, "first", lambda seen: len(seen) >= 90)
    equal(sorted(values_of(found)), sorted(b"%d" % n for n in range(90)), "values that the group reads")
    commit(agent, "first", [[topic, p, 30] for p in range(3)])
    agent.call("close", name="first")
    equal([ask(agent, "committed", group=group, topic=topic, p=p) for p in range(3)], [30] * 3, "committed offsets")
    produce(agent, topic, [record(b"%d" % n, partition=n % 3) for n in range(90, 120)])
    agent.call("open", name="second", group=group, topics=[topic])
    found = collect(agent, "second", lambda seen: len(seen) >= 30)
    equal(sorted(values_of(found)), sorted(b"%d" % n for n in range(90, 120)), "values after the committed offsets")


@scenario("groups")
def members_come_and_go(broker, agent):
    """Two members share the partitions, and one gets all when the other leaves; no record is missed."""
    topic = new_topic(agent, "members", 4)
    group = f"group-of-{topic}"
    agent.call("open", name="a", group=group, topics=[topic])
    await_assignment(agent, topic, {"a": 4})
    produce(agent, topic, [record(b"%d" % n, partition=n % 4) for n in range(40)])
    found = collect(agent, "a", lambda seen: len(seen) >= 40)
    commit(agent, "a", [[topic, p, 10] for p in range(4)])
    agent.call("open", name="b", group=group, topics=[topic])
    shared = await_assignment(agent, topic, {"a": 2, "b": 2})
    produce(agent, topic, [record(b"%d" % n, partition=n % 4) for n in range(40, 80)])
    for name in "ab":
        found = collect(agent, name, lambda seen: len(seen) >= 20)
        equal(sorted({r["p"] for r in found}), shared[name], f"partitions that {name} reads")
        equal(len({(r["p"], r["o"]) for r in found}), 20, f"records that {name} reads once")
        commit(agent, name, [[topic, p, 20] for p in shared[name]])
    agent.call("close", name="a")
    await_assignment(agent, topic, {"b": 4})
    produce(agent, topic, [record(b"%d" % n, partition=n % 4) for n in range(80, 120)])
    found = collect(agent, "b", lambda seen: len(seen) >= 40)
    equal(sorted(values_of(found)), sorted(b"%d" % n for n in range(80, 120)), "values that the one that stayed reads")


@scenario("groups", "static members", of_client=["static members"])
def static_members(broker, agent):
    """A static member that comes back gets its partitions back, and the other does not notice."""
    static_members_through(broker, agent, "static", lambda _: None)


@scenario("groups", of_client=["cooperative rebalancing"])
def cooperative_rebalancing(broker, agent):
    """A member gives up only what the other one gets, and keeps the rest."""
    topic = new_topic(agent, "cooperative", 4)
    group = f"group-of-{topic}"
    agent.call("open", name="a", group=group, topics=[topic], strategy="cooperative")
    await_assignment(agent, topic, {"a": 4})
    before = len(agent.call("events", name="a"))
    agent.call("open", name="b", group=group, topics=[topic], strategy="cooperative")
    shared = await_assignment(agent, topic, {"a": 2, "b": 2})
    events = agent.call("events", name="a")[before:]
    revoked = sorted(p for kind, partitions in events if kind == "revoked" for _, p in partitions)
    equal(revoked, shared["b"], f"partitions that a gave up for b (its events: {events})")
    produce(agent, topic, [record(b"%d" % n, partition=n % 4) for n in range(40)])
    for name in "ab":
        found = collect(agent, name, lambda seen: len(seen) >= 20)
        equal(sorted({r["p"] for r in found}), shared[name], f"partitions that {name} reads")
    agent.call("close", name="b")
    await_assignment(agent, topic, {"a": 4})


# Administration.

@scenario()
def topics(broker, agent):
    topic = new_topic(agent, "admin", 2)
    equal(ask(agent, "topics").get(topic), 2, "partitions of a new topic")
    expect(TOPIC_EXISTS, agent, "create_topic", name=topic, partitions=2)
    agent.call("grow", name=topic, partitions=5)
    await_topics(agent, {topic: 5})
    expect(INVALID_PARTITIONS, agent, "grow", name=topic, partitions=5)
    produce(agent, topic, [record(b"%d" % n, partition=4) for n in range(10)])
    agent.call("delete_topic", name=topic)
    wait_until(lambda: topic not in ask(agent, "topics"), PATIENCE, "a deleted topic goes")
    expect(UNKNOWN_TOPIC, agent, "delete_topic", name=topic)
    agent.call("create_topic", name=topic, partitions=1)
    await_topics(agent, {topic: 1})
    produce(agent, topic, [record(b"new")])
    equal(values_of(read(agent, topic, [1])[0]), [b"new"], "values of a topic that was made again")


@scenario(of_client=["deleting records"])
def deleting_records(broker, agent):
    topic = new_topic(agent, "trimmed")
    produce(agent, topic, [record(b"%d" % n) for n in range(20)])
    equal(agent.call("delete_records", topic=topic, p=0, before=7), 7, "low watermark")
    equal(ask(agent, "ends", topic=topic, p=0), [7, 20], "beginning and end after records were deleted")
    agent.call("open", name="reader", assign=[[topic, 0, EARLIEST]])
    equal(offsets_of(collect(agent, "reader", lambda seen: len(seen) >= 13), 0), list(range(7, 20)), "what is left")


@scenario("configs", of_client=["describing configs"])
def configs(broker, agent):
    topic = new_topic(agent, "configured", configs={"retention.ms": "123456789"})
    found = ask(agent, "topic_configs", name=topic)
    equal(found.get("retention.ms"), "123456789", "a config of a new topic")
    check({"cleanup.policy", "max.message.bytes", "retention.bytes"} <= set(found), f"configs of a topic: {sorted(found)}")
    agent.call("set_topic_config", name=topic, key="max.message.bytes", value="222222")
    found = ask(agent, "topic_configs", name=topic)
    equal((found["max.message.bytes"], found["retention.ms"]), ("222222", "123456789"), "configs after one was set")
    with Wire(broker.port) as wire:
        node = wire.metadata([])[0][0][0]
    found = ask(agent, "broker_configs", node=node)
    check(found, "the broker's configs are empty")


@scenario("groups", "group admin")
def administering_groups(broker, agent):
    topic = new_topic(agent, "watched", 2)
    group = f"group-of-{topic}"
    produce(agent, topic, [record(b"%d" % n, partition=n % 2) for n in range(20)])
    agent.call("open", name="member", group=group, topics=[topic])
    collect(agent, "member", lambda seen: len(seen) >= 20)
    commit(agent, "member", [[topic, 0, 4], [topic, 1, 5]])
    check(group in ask(agent, "groups"), "a group with a member is not listed")
    found = ask(agent, "describe_group", group=group)
    equal((found["state"].lower(), found["members"]), ("stable", 1), "description of a group with one member")
    agent.call("close", name="member")
    wait_until(lambda: ask(agent, "describe_group", group=group)["state"].lower() == "empty", PATIENCE, "a group empties")
    equal(ask(agent, "group_offsets", group=group), [[topic, 0, 4], [topic, 1, 5]], "offsets of an empty group")


@scenario("groups", "group admin", of_client=["deleting groups"])
def deleting_groups(broker, agent):
    topic = new_topic(agent, "unwatched", 1)
    group = f"group-of-{topic}"
    produce(agent, topic, [record(b"%d" % n) for n in range(10)])
    agent.call("open", name="member", group=group, topics=[topic])
    collect(agent, "member", lambda seen: len(seen) >= 10)
    commit(agent, "member", [[topic, 0, 4]])
    expect(NON_EMPTY_GROUP, agent, "delete_group", group=group)
    agent.call("close", name="member")
    wait_until(lambda: ask(agent, "describe_group", group=group)["state"].lower() == "empty", PATIENCE, "a group empties")
    agent.call("delete_group", group=group)
    check(group not in ask(agent, "groups"), "a group that was deleted is listed")
    expect(GROUP_ID_NOT_FOUND, agent, "delete_group", group=group)
    equal(ask(agent, "committed", group=group, topic=topic, p=0), None, "offset of a group that was deleted")


@scenario("groups", "group admin", of_client=["setting offsets of groups"])
def setting_offsets_of_a_group(broker, agent):
    topic = new_topic(agent, "moved")
    group = f"group-of-{topic}"
    produce(agent, topic, [record(b"%d" % n) for n in range(20)])
    agent.call("set_group_offset", group=group, topic=topic, p=0, offset=15)
    equal(ask(agent, "group_offsets", group=group), [[topic, 0, 15]], "offsets that were set from outside")
    agent.call("open", name="member", group=group, topics=[topic])
    found = collect(agent, "member", lambda seen: len(seen) >= 5)
    equal(offsets_of(found, 0), list(range(15, 20)), "what the group reads after its offset was set")


# Restarts and kill -9 in the middle of it.

@scenario()
def restarts_while_producing(broker, agent):
    """Everything that was acknowledged is there, at its offset."""
    produce_through(broker, agent, "restarted", restart)


@scenario()
def kills_while_producing(broker, agent):
    produce_through(broker, agent, "killed", kill)


@scenario("idempotence", of_client=["idempotence through errors"])
def kills_while_an_idempotent_producer_produces(broker, agent):
    """Each record is there exactly once, in order."""
    produce_through(broker, agent, "killed-once", kill, idempotent=True)


@scenario("leader epochs")
def kills_while_consuming(broker, agent):
    """A reader goes on by itself, without a gap or a second reading."""
    topic = new_topic(agent, "read-through", 2)
    agent.call("open", name="reader", assign=[[topic, 0, EARLIEST], [topic, 1, EARLIEST]])
    sent = load(agent, topic, 600, 2)
    seen = []
    for wanted, end in ((150, kill), (350, restart)):
        seen = collect(agent, "reader", lambda found: len(found) >= wanted, seen)
        end(broker)
        agent.call("go")
    acknowledged(sent.result())
    ends = ends_by_hand(broker, topic, 2)
    seen = collect(agent, "reader", lambda found: len(found) >= sum(ends), seen)
    for p, stored in enumerate(read(agent, topic, ends)):
        equal(offsets_of(seen, p), list(range(ends[p])), f"offsets that a reader of partition {p} saw")
        equal(values_of(seen, p), values_of(stored), f"values in partition {p}")


@scenario("groups", "leader epochs")
def kills_in_a_group(broker, agent):
    """Two members, a third one that joins as the broker dies: all is read, and no commit is forgotten."""
    group_through_kills(broker, agent, "range")


@scenario("groups", "leader epochs", of_client=["cooperative rebalancing"])
def kills_while_rebalancing_cooperatively(broker, agent):
    group_through_kills(broker, agent, "cooperative")


@scenario("groups", "static members", "leader epochs", of_client=["static members"])
def kills_among_static_members(broker, agent):
    """The group remembers them through the death of the broker."""
    static_members_through(broker, agent, "static-through", kill)


@scenario()
def kills_while_administering(broker, agent):
    """What was answered holds; what failed can be done again."""
    names = [f"through-{next(_numbers)}" for _ in range(9)]
    for n, name in enumerate(names):
        asked = agent.begin("create_topic", name=name, partitions=2)
        if n % 4 == 1:
            kill(broker)
        again(agent, "create_topic", asked, TOPIC_EXISTS, name=name, partitions=2)
    await_topics(agent, {name: 2 for name in names})
    for n, name in enumerate(names[:6]):
        asked = agent.begin("grow", name=name, partitions=3)
        if n == 2:
            kill(broker)
        again(agent, "grow", asked, INVALID_PARTITIONS, name=name, partitions=3)
    for n, name in enumerate(names[:3]):
        asked = agent.begin("delete_topic", name=name)
        if n == 1:
            kill(broker)
        again(agent, "delete_topic", asked, UNKNOWN_TOPIC, name=name)
    expected = {name: 3 if n < 6 else 2 for n, name in enumerate(names) if n >= 3}
    await_topics(agent, expected)
    restart(broker)
    await_topics(agent, expected)
    check(not set(names[:3]) & set(ask(agent, "topics")), "a deleted topic is back after a restart")


# What scenarios have in common.

def new_topic(agent, name, partitions=1, configs=None):
    """A topic that no other scenario uses; returns when the client sees it. The broker may just have died in the scenario
    before: then the client's first attempt may fail on a connection that is no more."""
    name = f"{name}-{next(_numbers)}"
    wanted = {"name": name, "partitions": partitions, "configs": configs}
    again(agent, "create_topic", agent.begin("create_topic", **wanted), TOPIC_EXISTS, **wanted)
    await_topics(agent, {name: partitions})
    return name


def await_topics(agent, expected):
    def there():
        found = ask(agent, "topics")
        return all(found.get(name) == partitions for name, partitions in expected.items())
    wait_until(there, PATIENCE, f"the client sees {expected}")


def ask(agent, question, **args):
    """Asks what changes nothing. Clients give up on a question when the broker has just gone, or has just come back:
    asking them again is what their users do, too. Any other error is an answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return agent.call(question, **args)
        except ClientError as error:
            if not passes(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def passes(error):
    """Whether an error is the client's own, of its connection or its patience, or one that asks to come again."""
    return error.code is None or error.code < UNKNOWN_SERVER_ERROR or error.code in COME_AGAIN


def produce(agent, topic, records, **options):
    """Produces and returns the offsets; each record must be acknowledged."""
    return acknowledged(agent.call("produce", topic=topic, records=records, **options))


def acknowledged(answers):
    refused = [answer["error"] for answer in answers if "offset" not in answer]
    check(not refused, f"{len(refused)} of {len(answers)} records were not acknowledged, the first because: {refused[:1]}")
    return [answer["offset"] for answer in answers]


def numbered(count, partitions):
    return [record(b"%d" % n, partition=n % partitions) for n in range(count)]


def collect(agent, name, enough, seen=()):
    """Polls until there is enough; all records that were seen."""
    seen = list(seen)
    fruitful = time.monotonic()
    errors = []
    while not enough(seen):
        agent.look()
        if time.monotonic() > fruitful + PATIENCE:
            raise Failed(f"{name} has {len(seen)} records, and got none for {PATIENCE} s; its errors: {errors[-3:]}")
        found = agent.call("poll", name=name, most=1000, wait_ms=500)
        fruitful = time.monotonic() if found["records"] else fruitful
        seen += found["records"]
        errors += found["errors"]
    return seen


def read(agent, topic, counts, **options):
    """The first `counts[p]` records of each partition p, read by a reader of its own."""
    name = f"read-{next(_numbers)}"
    agent.call("open", name=name, assign=[[topic, p, EARLIEST] for p in range(len(counts))], **options)

    def by_partition(seen):
        return [[r for r in seen if r["p"] == p] for p in range(len(counts))]
    seen = collect(agent, name, lambda seen: all(len(f) >= n for f, n in zip(by_partition(seen), counts)))
    agent.call("close", name=name)
    for p, count in enumerate(counts):
        equal(offsets_of(seen, p)[:count], list(range(count)), f"offsets in {topic}/{p}")
    return [found[:count] for found, count in zip(by_partition(seen), counts)]


def through_codecs(broker, agent, codecs):
    topic = new_topic(agent, "codecs", len(codecs))
    values = [b"%d: the quick brown fox jumps over the lazy dog, again and again" % n for n in range(50)]
    values += [b"x" * 100_000, b""]
    for p, codec in enumerate(codecs):
        produce(agent, topic, [record(value, b"key", p) for value in values], codec=codec)
        # Some clients leave a batch plain that would grow.
        found = codecs_stored(broker, topic, p)
        check(found in ({CODECS[codec]}, {CODECS[codec], 0}), f"codecs of the batches that were sent with {codec}: {found}")
    for codec, found in zip(codecs, read(agent, topic, [len(values)] * len(codecs))):
        equal([r["v"] for r in found], [answered(value) for value in values], f"values with {codec}")


def check_records(agent, records):
    topic = new_topic(agent, "as-they-are")
    produce(agent, topic, records)
    for sent, found in zip(records, read(agent, topic, [len(records)])[0]):
        for field, what in (("k", "key"), ("v", "value"), ("t", "timestamp")):
            equal(found[field], sent[field], f"{what} of {sent}")
        # Some clients hand headers over by name: those of one name keep their order.
        by_name = [sorted(headers, key=lambda header: header[0]) for headers in (found["h"], sent["h"])]
        equal(*by_name, f"headers of {sent}")


def offsets_of(found, partition):
    return [r["o"] for r in found if r["p"] == partition]


def values_of(found, partition=None):
    return [decoded(r["v"]) for r in found if partition in (None, r["p"])]


def commit(agent, name, offsets):
    """Commits, again if the group is about to rebalance."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return agent.call("commit", name=name, offsets=offsets)
        except ClientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def await_assignment(agent, topic, sizes):
    """The partitions of each member, once each has so many and none is there twice."""
    found = {}

    def settled():
        agent.look()
        for name in sizes:
            found[name] = sorted(p for t, p in agent.call("assignment", name=name) if t == topic)
        together = sorted(p for partitions in found.values() for p in partitions)
        return {name: len(found[name]) for name in sizes} == sizes and together == list(range(sum(sizes.values())))
    try:
        wait_until(settled, PATIENCE, "assignment", pause=0.1)
    except Failed as failure:
        raise Failed(f"{failure}: it is {found}, expected sizes {sizes}") from None
    return dict(found)


def expect(code, agent, call, **args):
    """The call must fail with this error code, where the client tells codes. It changes nothing, however often it is made."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            agent.call(call, **args)
        except ClientError as error:
            if error.code in (code, None):
                return
            check(passes(error) and time.monotonic() < deadline, f"{call} {args} should fail with {code}: {error}")
            time.sleep(0.1)
            continue
        raise Failed(f"{call} {args} should have failed with {code}")


def again(agent, call, asked, done, **args):
    """Repeats a call of administration until it is answered; `done` is the error that says that it was done before."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return asked.result()
        except ClientError as error:
            if error.code == done:
                return None
            check(time.monotonic() < deadline, f"{error}, {PATIENCE} s long")
            time.sleep(0.2)
        asked = agent.begin(call, **args)


def kill(broker):
    broker.kill()
    broker.start()


def restart(broker):
    broker.stop_clean()
    broker.start()


def produce_through(broker, agent, name, end, idempotent=False):
    """Produces while the broker ends and starts again twice."""
    topic = new_topic(agent, name, 2)
    sent = load(agent, topic, 600, 2, idempotent)
    for reached in (1, 2):
        wait_until(lambda: sum(ends_by_hand(broker, topic, 2)) >= 200 * reached - 50, PATIENCE, "records arrive")
        end(broker)
        agent.call("go")
    answers = acknowledged(sent.result())
    ends = ends_by_hand(broker, topic, 2)
    stored = [values_of(found) for found in read(agent, topic, ends)]
    for r, offset in zip(numbered(600, 2), answers):
        found = stored[r["p"]][offset] if offset < len(stored[r["p"]]) else "nothing"
        equal(found, decoded(r["v"]), f"what is at {r['p']}@{offset}, which was acknowledged")
    for p in range(2):
        expected = [b"%d" % n for n in range(600) if n % 2 == p]
        check(set(stored[p]) <= set(expected), "a value that was never sent")
        if idempotent:
            equal(stored[p], expected, f"what an idempotent producer left in partition {p}")


def load(agent, topic, count, partitions, idempotent=False):
    """Begins to produce numbered records. It halts after each third of them until it is told to `go`, so that it can't be
    done before the broker ended."""
    pace = {"chunk": 10, "ms": 10, "halts": [count // 3, count // 3 * 2]}
    return agent.begin("produce", topic=topic, records=numbered(count, partitions), idempotent=idempotent, pace=pace)


def group_through_kills(broker, agent, strategy):
    topic = new_topic(agent, f"{strategy}-through", 4)
    group = f"group-of-{topic}"
    agent.call("open", name="a", group=group, topics=[topic], strategy=strategy)
    agent.call("open", name="b", group=group, topics=[topic], strategy=strategy)
    await_assignment(agent, topic, {"a": 2, "b": 2})
    sent = load(agent, topic, 600, 4)
    seen, next_offsets, promised = set(), {}, {}
    members = ["a", "b"]

    def go_on(wanted):
        fruitful, before = time.monotonic(), len(seen)
        while len(seen) < wanted:
            if len(seen) > before:
                fruitful, before = time.monotonic(), len(seen)
            agent.look()
            check(time.monotonic() < fruitful + PATIENCE,
                  f"the group read {len(seen)} of {wanted} records, and no new one for {PATIENCE} s")
            for name in members:
                for r in agent.call("poll", name=name, most=500, wait_ms=50)["records"]:
                    seen.add((r["p"], r["o"]))
                    next_offsets[r["p"]] = max(next_offsets.get(r["p"], 0), r["o"] + 1)
                try:
                    # Only what is new: a client that commits all the time in a rebalance may rejoin each time.
                    mine = [p for _, p in agent.call("assignment", name=name)
                            if next_offsets.get(p, 0) > promised.get(p, 0)]
                    if mine and broker.alive():
                        agent.call("commit", name=name, offsets=[[topic, p, next_offsets[p]] for p in mine])
                        promised.update({p: next_offsets[p] for p in mine})
                except ClientError:
                    pass  # It rebalances.

    go_on(50)
    kill(broker)
    agent.call("go")
    go_on(250)
    agent.call("open", name="c", group=group, topics=[topic], strategy=strategy)
    members.append("c")
    kill(broker)
    go_on(350)
    agent.call("go")
    restart(broker)
    answers = acknowledged(sent.result())
    ends = ends_by_hand(broker, topic, 4)
    go_on(sum(ends))
    for r, offset in zip(numbered(600, 4), answers):
        check((r["p"], offset) in seen, f"the group never read {r['p']}@{offset}, which was acknowledged")
    held = {name: agent.call("assignment", name=name) for name in members}
    wait_until(lambda: sorted(p for name in members for _, p in agent.call("assignment", name=name)) == [0, 1, 2, 3],
               PATIENCE, f"three members hold each partition once; last seen: {held}")
    # An agent may start its client anew only where the broker's end is what it could not get over.
    for name in members:
        restarts = [kind for kind, _ in agent.call("events", name=name)].count("restarted")
        check(restarts <= 3, f"{name} was started anew {restarts} times, the broker ended 3 times")
    for p, offset in promised.items():
        found = ask(agent, "committed", group=group, topic=topic, p=p)
        check(found is not None and found >= offset, f"partition {p}: {found} is committed, {offset} was acknowledged")


def static_members_through(broker, agent, name, meanwhile):
    """Two static members; one goes and comes back, and in between something happens to the broker."""
    topic = new_topic(agent, name, 4)
    group = f"group-of-{topic}"
    for name in "ab":
        agent.call("open", name=name, group=group, topics=[topic], instance=f"instance-{name}")
    shared = await_assignment(agent, topic, {"a": 2, "b": 2})
    noticed = agent.call("events", name="b")
    agent.call("close", name="a")
    meanwhile(broker)
    agent.call("open", name="a", group=group, topics=[topic], instance="instance-a")
    equal(await_assignment(agent, topic, {"a": 2, "b": 2}), shared, "assignment after a static member came back")
    equal(agent.call("events", name="b"), noticed, "rebalances that the other static member saw")
    produce(agent, topic, [record(b"%d" % n, partition=n % 4) for n in range(40)])
    for name in "ab":
        found = collect(agent, name, lambda seen: len(seen) >= 20)
        equal(sorted({r["p"] for r in found}), shared[name], f"partitions that {name} reads")


def ends_by_hand(broker, topic, partitions):
    with Wire(broker.port) as wire:
        return [wire.list_offset(topic, p, -1)[1] for p in range(partitions)]


def stored_batches(broker, topic, partition):
    """The headers of the first stored batches of a partition."""
    with Wire(broker.port) as wire:
        error, _, records = wire.fetch(topic, partition, 0, version=11)
    equal(error, 0, "error code of a fetch")
    return list(batches(records))


def codecs_stored(broker, topic, partition):
    return {batch.attributes & 7 for batch in stored_batches(broker, topic, partition)}
