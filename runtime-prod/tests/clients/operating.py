#!/usr/bin/env python3
"""Operating a broker: settings from a file, the environment and flags; metrics, health and status over HTTP, also while
it starts, recovers and stops, and while somebody abuses the HTTP listener; logs; and the commands for people.

Metrics are read by a parser that takes nothing on trust, and are compared with what clients did.
"""

import json
import math
import os
import re
import signal
import socket
import subprocess
import threading
import time

from confluent_kafka import TopicPartition

from broker import BINARY, Broker, check, directory, equal, free_port, run, short, wait_until
from kafka import consumer, create_topic, produce_all, read
from wire import CREATE_TOPICS, Client, batch, create_topics_body

USAGE, FAILED, ADDRESS = 2, 1, 65
MIB = 1 << 20
SECRET = "hush-hush-1234"
METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
VALUE = re.compile(r"[0-9]+(\.[0-9]+)?|\+Inf")


def karst(*arguments, environment=None):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KARST_")}
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=60,
                          cwd=directory(), env=inherited | (environment or {}))


def observed(**options):
    """A broker with an HTTP listener, and a function that asks it for a path: status code and body."""
    port = free_port()
    broker = Broker(http=f"127.0.0.1:{port}", **options)
    return broker, lambda path, **more: get(port, path, **more)


def get(port, path, method="GET"):
    head, body = exchange(port, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    lines = head.split("\r\n")
    version, code, _ = lines[0].split(" ", 2)
    equal(version, "HTTP/1.1", "HTTP version")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    if method == "GET":
        equal(int(headers["content-length"]), len(body), f"length of {path}")
    return int(code), body.decode(), headers


def exchange(port, request, timeout=20):
    """Head and body of what comes back until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout) as client:
        client.sendall(request)
        answer = b""
        while part := client.recv(65536):
            answer += part
    head, found, body = answer.partition(b"\r\n\r\n")
    check(found, f"no HTTP: {short(answer)}")
    return head.decode(), body


def parse(text):
    """The samples of an exposition by name and labels, and the families' types. Refuses whatever is not exactly so."""
    check(text.endswith("\n"), "the last line has no end")
    samples, types = {}, {}
    family = None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = METRIC.match(line, 7)[0]
            check(line[7 + len(family)] == " " and len(line) > 12 + len(family), f"help without a text: {line}")
            check(family not in types, f"{family} is told twice")
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            equal(name, family, "the family of a TYPE line")
            check(kind in ("counter", "gauge", "histogram"), line)
            types[name] = kind
            continue
        name = METRIC.match(line)[0]
        rest, labels = line[len(name):], ()
        if rest.startswith("{"):
            inner, rest = rest[1:].rsplit("}", 1)
            labels = tuple(sorted((m[1], m[2]) for m in LABEL.finditer(inner)))
            equal(inner, ",".join(m[0] for m in LABEL.finditer(inner)), "labels")
            equal(len(dict(labels)), len(labels), "different labels")
        check(rest.startswith(" ") and VALUE.fullmatch(rest[1:]), f"not a value: {line}")
        base = re.sub("_(bucket|sum|count)$", "", name) if types.get(family) == "histogram" else name
        equal(base, family, "the family of a sample")
        check((name, labels) not in samples, f"{line} is told twice")
        samples[name, labels] = float(rest[1:].replace("+Inf", "inf"))
    check_histograms(samples, types)
    return samples, types


def check_histograms(samples, types):
    """Buckets are cumulative and end at the count."""
    for family in (name for name, kind in types.items() if kind == "histogram"):
        series = {}
        for (name, labels), value in samples.items():
            if name == f"{family}_bucket":
                le = dict(labels)["le"].replace("+Inf", "inf")
                series.setdefault(tuple(label for label in labels if label[0] != "le"), []).append((float(le), value))
        check(series, f"{family} has no buckets")
        for labels, buckets in series.items():
            equal(buckets, sorted(buckets), f"{family}{labels}: bounds ascend")
            counts = [count for _, count in buckets]
            equal(counts, sorted(counts), f"{family}{labels}: buckets are cumulative")
            equal(buckets[-1], (math.inf, samples[f"{family}_count", labels]), f"{family}{labels}: the last bucket")
            check((f"{family}_sum", labels) in samples, f"{family}{labels} has no sum")


def scrape(ask):
    code, body, headers = ask("/metrics")
    equal((code, headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8"), "the metrics' head")
    return parse(body)


def only(samples, name, **labels):
    return samples[name, tuple(sorted(labels.items()))]


def write_file(text):
    path = directory("config") / "karst.toml"
    path.write_text(text)
    return path


def settings_from_everywhere():
    """A file, overridden by the environment, overridden by flags; what came of it is told, and holds."""
    kafka, data, unused = free_port(), directory() / "data", directory() / "unused"
    path = write_file(f'data.dir = "{unused}"\nlisten = "127.0.0.1:{kafka}"\nhttp = "off"\n[wal]\nsize = "1GiB"\n'
                      'depth = 3\n[message]\nmax.bytes = 9000\n')
    environment = {"KARST_CONFIG": str(path), "KARST_DATA_DIR": str(data), "KARST_WAL_SIZE": "1GiB"}
    flags = ["--wal-size", "32MiB", "--check-invariants"]
    told = karst("config", *flags, environment=environment)
    equal((told.returncode, told.stderr), (0, ""), "karst config")
    for line in (f'data.dir = "{data}"  # KARST_DATA_DIR', f"message.max.bytes = 9000  # {path}, line 8",
                 'wal.size = "32MiB"  # --wal-size', "check.invariants = true  # --check-invariants"):
        check(line in told.stdout.splitlines(), f"{line!r} is not in\n{told.stdout}")
    again = karst("config", "--effective", "--config", write_file(told.stdout))
    equal([line.split("  # ")[0] for line in again.stdout.splitlines()],
          [line.split("  # ")[0] for line in told.stdout.splitlines()], "what is told, read again")

    broker = Broker(data=data, port=kafka, http=None, environment=environment)
    broker.command = lambda: [str(BINARY), *flags]
    broker.start()
    equal(broker.wal.stat().st_size, 32 * MIB, "length of the WAL")
    check(not unused.exists(), "the file's data directory was made")
    create_topic(broker, "small")
    equal(produce_all(broker, "small", [(0, None, bytes(8000), None)], **{"compression.type": "none"}), [0], "offsets")
    try:
        produce_all(broker, "small", [(0, None, bytes(10_000), None)], **{"compression.type": "none"})
    except Exception as error:
        check("MSG_SIZE_TOO_LARGE" in str(error) or "too large" in str(error).lower(), f"another refusal: {error}")
    else:
        check(False, "a batch above message.max.bytes was taken")
    broker.stop_clean()


def the_reference_is_a_file():
    told = karst("config")
    equal(told.returncode, 0, "karst config")
    for key in ("message.max.bytes", "wal.size", "log.format", "connections.max.idle.ms"):
        check(f"\n#{key} = " in told.stdout, f"{key} is not in\n{told.stdout}")
    broker = Broker(arguments=["--config", str(write_file(told.stdout))])
    broker.start()
    broker.stop_clean()


def mistakes_are_named():
    """Exit code 2, and where it is and what was perhaps meant. Nothing is made, and no secret is shown."""
    def in_file(text):
        return ["--config", str(write_file(text))], {}

    for (arguments, environment), *words in (
        (in_file("\nwal.sise = 1"), "line 2", "wal.sise", "did you mean wal.size?"),
        (in_file("[wal]\nsize = true"), "line 2", "wal.size", "not a size"),
        (in_file("num.network.threads = 1000"), "from 1 to 64"),
        (in_file("listen = [1, 2]"), "line 1", "array"),
        (in_file("listen = \n"), "line 1", "not TOML"),
        (in_file("message.max.bytes = \"200MiB\""), "must not be above", "record.batch.max.bytes"),
        (in_file(f's3.secret.access.key = "{SECRET}"'), "belong together"),
        (in_file(f's3.secret.access.key = "{SECRET} {SECRET}"'), "s3.secret.access.key"),
        (in_file(f's3.secret.access.key = "{SECRET}'), "line 1"),
        (in_file(f'object.store = "s3://key:{SECRET}@bucket"'), "object.store", "not shown"),
        ((["--config", "/nowhere"], {}), "/nowhere"),
        (([], {"KARST_WAL_SISE": SECRET}), "KARST_WAL_SISE", "did you mean KARST_WAL_SIZE?"),
        (([], {"KARST_S3_SECRET_ACCESS_KEY": f"{SECRET} x"}), "KARST_S3_SECRET_ACCESS_KEY"),
        ((["--s3-secret-access-key", SECRET], {}), "command line"),
        ((["--wal-sise", "1"], {}), "did you mean --wal-size?"),
        ((["--log-format", "xml"], {}), "neither human nor json"),
    ):
        data = directory() / "data"
        done = karst("--data-dir", data, "--http", "off", *arguments, environment=environment)
        equal(done.returncode, USAGE, f"exit code with {arguments} {environment}:\n{done.stderr}")
        for word in words:
            check(word in done.stderr, f"{word!r} is not in: {done.stderr}")
        check(SECRET not in done.stdout + done.stderr, f"a secret is shown: {done.stderr}")
        check("panicked" not in done.stderr and not data.exists(), done.stderr)
    # Kubernetes tells every container about a service that is called karst.
    others = {"KARST_SERVICE_HOST": "10.0.0.1", "KARST_PORT_9092_TCP": "tcp://10.0.0.1:9092"}
    equal(karst("config", environment=others).returncode, 0, "exit code beside a service of that name")


def secrets_are_not_told():
    path = write_file(f'object.store = "s3://bucket?endpoint=http://127.0.0.1:1"\ns3.access.key.id = "AKIA7"\n'
                      f's3.secret.access.key = "{SECRET}"\ns3.session.token = "{SECRET}"\n')
    told = karst("config", "--config", path)
    check(told.returncode == 0 and "not shown" in told.stdout and SECRET not in told.stdout, told.stdout)
    broker = Broker(arguments=["--config", str(path), "--log-level", "trace"])
    broker.launch()
    # It waits for a bucket that nobody serves.
    time.sleep(2)
    broker.process.send_signal(signal.SIGINT)
    broker.wait(30)
    check(broker.log() and SECRET not in broker.log(), f"a secret is in the log:\n{broker.log_tail()}")


def metrics_tell_what_happened():
    broker, ask = observed(arguments=["--upload-interval-ms", "300ms"])
    broker.start()
    before, types = scrape(ask)
    for name in ("karst_wal_write_duration_seconds", "karst_request_duration_seconds",
                 "karst_store_request_duration_seconds"):
        equal(types[name], "histogram", name)
    equal(only(before, "karst_phase", phase="serving"), 1, "the phase")
    create_topic(broker, "counted", partitions=3)
    values = [(n % 3, None, b"%08d" % n, None) for n in range(3000)]
    produce_all(broker, "counted", values)
    fetched = sum(len(read(broker, "counted", partition, 0, 1000)) for partition in range(3))
    equal(fetched, 3000, "records read back")
    wait_until(lambda: only(scrape(ask)[0], "karst_uploads_committed_total") > 0, 60, "an upload")
    # The consumer that reads has a group, and groups have a topic of their own.
    wait_until(lambda: only(scrape(ask)[0], "karst_partitions") == 53, 60, "the groups' topic")
    after, types = scrape(ask)
    grown = {key: value - before.get(key, 0) for key, value in after.items()}
    for (name, labels), growth in grown.items():
        check(growth >= 0 or not name.endswith(("_total", "_bucket", "_count")), f"{name}{labels} went back")
    equal(only(grown, "karst_produced_records_total"), 3000, "records")
    check(only(grown, "karst_produced_bytes_total") >= 3000 * 8, "bytes")
    check(only(grown, "karst_fetched_bytes_total") >= 3000 * 8, "bytes fetched")
    equal((only(after, "karst_topics"), only(after, "karst_partitions")), (2, 53), "topics and partitions")
    for api in ("Produce", "Fetch", "Metadata", "ApiVersions", "CreateTopics"):
        count = only(grown, "karst_request_duration_seconds_count", api=api)
        check(count > 0 and only(grown, "karst_request_duration_seconds_sum", api=api) > 0, f"{api}: {count} requests")
    equal(only(grown, "karst_request_duration_seconds_count", api="CreateTopics"), 1, "topics created")
    check(only(grown, "karst_wal_write_duration_seconds_count") > 0, "writes to the WAL")
    check(only(grown, "karst_store_requests_total", asker="uploader", operation="put", outcome="ok") > 0, "puts")
    check(only(grown, "karst_store_sent_bytes_total") >= 3000 * 8, "bytes to the store")
    check(only(after, "karst_objects") > 0, "objects")
    equal(only(after, "process_resident_memory_bytes") > MIB, True, "memory is told")
    for pool in ("idle", "produce", "produce_large", "control", "answer", "answer_control"):
        total, free = (only(after, f"karst_credit_{what}", pool=pool) for what in ("bytes", "free_bytes"))
        check(0 < free <= total, f"credit {pool}: {free} of {total}")
    acks_zero(broker)
    wait_until(lambda: only(scrape(ask)[0], "karst_produced_records_total") == 3001, 60, "a record without an answer")
    wait_until(lambda: only(scrape(ask)[0], "karst_connections") == 0, 60, "all connections gone")
    broker.stop_clean()


def acks_zero(broker):
    equal(len(produce_all(broker, "counted", [(0, None, b"x", None)], **{"acks": "0"})), 1, "sent")


def scrapes_under_load_never_go_back():
    broker, ask = observed()
    broker.start()
    create_topic(broker, "load")
    over, failures = threading.Event(), []

    def load():
        try:
            while not over.is_set():
                produce_all(broker, "load", [(0, None, bytes(500), None)] * 500)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(2)]
    [thread.start() for thread in threads]
    try:
        last, slowest = {}, 0
        until = time.monotonic() + 5
        scrapes = 0
        while time.monotonic() < until:
            begun = time.monotonic()
            samples, types = scrape(ask)
            slowest = max(slowest, time.monotonic() - begun)
            for (name, labels), value in samples.items():
                family = re.sub("_(bucket|sum|count)$", "", name)
                if types.get(name) == "counter" or types.get(family) == "histogram":
                    check(value >= last.get((name, labels), 0), f"{name}{labels} went back to {value}")
            last, scrapes = samples, scrapes + 1
    finally:
        over.set()
        [thread.join() for thread in threads]
    equal(failures, [], "failures of the load")
    print(f"  {scrapes} scrapes, the slowest took {slowest * 1000:.0f} ms")
    check(scrapes > 10, f"only {scrapes} scrapes")
    broker.stop_clean()


def readiness_from_start_to_end():
    """Not ready before it serves, also while it recovers, and not any more once it stops."""
    broker, ask = observed(wal_size="256MiB")
    phases = watch_start(broker, ask)
    check(phases[-1] == "serving" and len(phases) > 1, f"phases of a first start: {phases}")
    create_topic(broker, "kept")
    written = 40_000
    produce_all(broker, "kept", [(0, None, bytes(1000), None)] * written, timeout=180)
    epoch = json.loads(ask("/status")[1])["epoch"]
    broker.kill()
    phases = watch_start(broker, ask)
    check(phases[-1] == "serving", f"phases of a recovery: {phases}")
    print(f"  phases seen of a recovery: {', '.join(phases)}")
    status = json.loads(ask("/status")[1])
    equal((status["epoch"], status["ready"], status["topics"], status["partitions"]), (epoch + 1, True, 1, 1), "status")
    equal(len(read(broker, "kept", 0, written - 10, 10)), 10, "records after the recovery")
    check(re.search(r"recovered [1-9]\d* records", broker.log()), f"nothing was recovered:\n{broker.log_tail()}")
    broker.process.send_signal(signal.SIGTERM)
    seen = set()
    while broker.process.poll() is None:
        try:
            seen.add(ask("/readyz")[0])
        except (OSError, AssertionError):
            pass
    check(503 in seen or seen <= {200}, f"codes while it stopped: {seen}")
    equal(broker.process.returncode, 0, "exit code")


def watch_start(broker, ask):
    """Starts a broker; the phases that were seen, in order. Ready is said when, and only when, it serves."""
    broker.launch()
    phases = []
    until = time.monotonic() + 60
    while True:
        check(time.monotonic() < until, f"not ready after 60 s: {phases}\n{broker.log_tail()}")
        broker.check_alive()
        try:
            code, text, _ = ask("/readyz")
            status = json.loads(ask("/status")[1])
            equal(ask("/healthz")[0], 200, "health during a start")
        except ConnectionRefusedError:
            check("ready: listening" not in broker.log(), "it serves, and there is no HTTP")
            continue
        if code == 503:
            check(text != "serving\n", text)
        if not phases or phases[-1] != status["phase"]:
            phases.append(status["phase"])
        if code == 200:
            equal((text, status["phase"], status["ready"]), ("serving\n", "serving", True), "a ready broker")
            wait_until(lambda: "ready: listening" in broker.log(), 5, "the line in the log")
            return phases


def hostile_http():
    """Whatever is sent to the HTTP listener: it answers or closes, and everybody else is served meanwhile."""
    broker, ask = observed()
    broker.start()
    port = int(broker.http.rsplit(":")[-1])
    create_topic(broker, "calm")
    for request, code in (
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"DELETE /status HTTP/1.1\r\n\r\n", 405),
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET /%2e%2e/ HTTP/1.1\r\n\r\n", 404),
        (b"\x00\x00\x00\x10\x00\x12\x00\x03", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 200, 200),
    ):
        try:
            head, _ = exchange(port, request)
        except (ConnectionResetError, BrokenPipeError):
            continue
        check(head.startswith(f"HTTP/1.1 {code} "), f"{short(request)}: {head}")
    equal(ask("/readyz", method="HEAD")[:2], (200, ""), "HEAD")

    before = broker.memory()
    # Fewer than are served at once, so that others find a place.
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    [client.sendall(b"GET /metrics HTTP/1.1\r\nX: ") for client in silent]
    begun = time.monotonic()
    scrape(ask)
    equal(produce_all(broker, "calm", [(0, None, b"x", None)]), [0], "offsets")
    check(time.monotonic() - begun < 4, "silent clients hold others up")
    # More than are served at once: they are told to go, and those behind them get their turn.
    silent += [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    wait_until(lambda: scrape(ask), 30, "a scrape behind silent clients")
    [client.close() for client in silent]
    unread = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    for client in unread:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    [client.close() for client in unread]
    scrape(ask)
    grown = broker.memory() - before
    check(grown < 20 * MIB, f"memory grew by {grown / MIB:.1f} MiB")
    broker.stop_clean()


def the_http_port():
    """Taken: exit code 65, and nothing is made. Off: nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        broker = Broker(http=f"127.0.0.1:{taken.getsockname()[1]}")
        broker.refused(ADDRESS, "--http", "in use")
        check(not broker.wal.exists(), "a WAL was made")
    broker = Broker()
    broker.start()
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout
    if listening:
        mine = [line for line in listening.splitlines() if f"pid={broker.process.pid}," in line]
        equal(len(mine), 1, f"listeners with --http off: {mine}")
    broker.stop_clean()


def logs_for_people_and_machines():
    for more, levels in (((), {"INFO"}), (("--log-level", "debug"), {"INFO", "DEBUG"}), (("--log-level", "off"), set())):
        broker = Broker(arguments=["--log-format", "json", *more])
        broker.launch()
        wait_until(lambda: (broker.data / "objects/meta/head").exists(), 30, "a cluster")
        create_topic(broker, "seen")
        broker.stop()
        lines = broker.log().splitlines()
        found = set()
        for line in lines:
            entry = json.loads(line)
            check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", entry["timestamp"]), line)
            check(entry["target"] and "message" in entry, line)
            found.add(entry["level"])
        check(found == levels or (levels and levels <= found), f"levels {found} with {more}")
    with Broker() as taken:
        second = Broker(data=taken.data, arguments=["--log-format", "json"])
        said = second.refused(64)
        last = json.loads(said.splitlines()[-1])
        equal(last["level"], "ERROR", "the level of why it does not start")
        check("in use" in last["message"], last["message"])


def commands_for_people():
    broker, _ = observed()
    broker.start()
    on = ["--broker", broker.address]
    equal(karst("topics", "list", *on).stdout, "", "no topics")
    equal(karst("topics", "create", "one", "two", "--partitions", "2", *on).stdout, "created one\ncreated two\n", "made")
    wait_until(lambda: "leader 0" in karst("topics", "describe", "two", *on).stdout, 10, "a leader")
    equal(karst("topics", "list", *on).stdout.split(), ["one", "two"], "topics")
    produce_all(broker, "two", [(1, None, b"x", None)] * 5)
    told = karst("topics", "describe", "two", *on)
    lines = [line.split() for line in told.stdout.splitlines()]
    equal(lines[0], ["two:", "2", "partitions"], "the topic")
    equal(lines[2], "partition 1 leader 0 offsets from 0 to 5".split(), "its second partition")
    for wrong, word in ((["create", "one"], "TOPIC_ALREADY_EXISTS"), (["delete", "nix"], "UNKNOWN_TOPIC_OR_PARTITION"),
                        (["describe", "nix"], "UNKNOWN_TOPIC_OR_PARTITION"), (["create", "a b"], "INVALID_TOPIC")):
        done = karst("topics", *wrong, *on)
        equal(done.returncode, FAILED, f"exit code of karst topics {wrong}")
        check(word in done.stderr, done.stderr)
    equal(karst("topics", "delete", "one", *on).stdout, "deleted one\n", "deleted")
    equal(karst("topics", "list", *on).stdout.split(), ["two"], "topics")
    equal(karst("topics", "drop", "x").returncode, USAGE, "exit code of nonsense")

    told = karst("status", "--http", broker.http)
    equal(told.returncode, 0, f"karst status: {told.stdout}{told.stderr}")
    check(re.search(r"^phase +serving$", told.stdout, re.M) and "1 with 2 partitions" in told.stdout, told.stdout)
    moved = {"KARST_HTTP": broker.http.replace("127.0.0.1", "0.0.0.0"), "KARST_LISTEN": broker.address}
    equal(karst("status", environment=moved).returncode, 0, "karst status where the environment says where it is")
    equal(karst("topics", "list", environment=moved).stdout.split(), ["two"], "topics, asked in the same way")
    settings = directory() / "karst.toml"
    settings.write_text(f'http = "{broker.http}"\n')
    equal(karst("status", "--config", settings).returncode, 0, "karst status where a file says where it is")
    equal(karst("status", environment={"KARST_HTTP": "off"}).returncode, USAGE, "karst status of what can't be asked")
    told = karst("--data-dir", "x", "config")
    check("comes before all options" in told.stderr, told.stderr)
    as_json = json.loads(karst("status", "--json", "--http", broker.http).stdout)
    equal((as_json["ready"], as_json["partitions"]), (True, 2), "status as JSON")
    broker.stop_clean()
    gone = karst("status", "--http", broker.http)
    equal(gone.returncode, FAILED, "exit code without a broker")
    check("cannot connect" in gone.stderr, gone.stderr)


def groups_for_people():
    broker, ask = observed(arguments=["--check-invariants"])
    broker.start()
    on = ["--broker", broker.address]
    told = karst("groups", "list", *on)
    equal(told.returncode, 0, told.stderr)
    equal(told.stdout, "", "no groups")
    create_topic(broker, "read")
    produce_all(broker, "read", [(0, None, b"x", None)] * 10)
    consumer(broker, **{"group.id": "readers"}).commit(offsets=[TopicPartition("read", 0, 4)], asynchronous=False)
    equal(karst("groups", "list", *on).stdout.split()[0], "readers", "groups")
    told = karst("groups", "describe", "readers", *on).stdout
    check("read partition 0 committed 4 end 10 lag 6" in re.sub(" +", " ", told), told)
    broker.kill()
    broker.start()
    wait_until(lambda: ("karst_groups", (("state", "Empty"),)) in scrape(ask)[0], 60, "groups are read after a crash")
    seen, _ = scrape(ask)
    readers = {"group": "readers", "topic": "read", "partition": "0"}
    equal((only(seen, "karst_group_committed_offset", **readers), only(seen, "karst_group_lag", **readers)), (4, 6),
          "offset and lag")
    equal((only(seen, "karst_groups", state="Empty"), only(seen, "karst_group_info", group="readers", state="Empty"),
           only(seen, "karst_group_members", group="readers"), only(seen, "karst_groups_left_out")), (1, 1, 0, 0), "group")
    member = consumer(broker, **{"group.id": "readers"})
    member.subscribe(["read"])
    wait_until(lambda: member.poll(0.1) and only(scrape(ask)[0], "karst_group_members", group="readers") == 1, 60, "a member")
    equal(only(scrape(ask)[0], "karst_group_generation", group="readers"), 1, "generation")
    member.commit(offsets=[TopicPartition("read", 0, 10)], asynchronous=False)
    equal(only(scrape(ask)[0], "karst_group_lag", **readers), 0, "lag of a group that is done")
    each = json.loads(ask("/status")[1])["groups"]["groups"]["readers"]
    equal(each, {"state": "Stable", "members": 1, "generation": 1, "lag": 0}, "group in the status")
    member.close()
    gone = karst("groups", "describe", "nobody", *on)
    equal(gone.returncode, FAILED, "exit code for a group that is not there")
    broker.stop_clean()


def every_setting_at_its_ends():
    """At both ends of its range a setting holds, or is refused together with what it does not fit to: never a panic."""
    keys = re.findall(r"^# \[[^;]*from (\S+) to (\S+); \w+; (--[a-z0-9-]+)\]$", karst("config").stdout, re.M)
    check(len(keys) > 25, f"only {len(keys)} settings have a range")
    served = 0
    for least, most, flag in keys:
        for value in (least, most):
            if flag == "--wal-size" and value == most:
                continue
            broker = Broker(arguments=[flag, value], wal_size=None if flag == "--wal-size" else "32MiB")
            broker.launch()
            wait_until(lambda: "ready:" in broker.log() or broker.process.poll() is not None, 30, f"{flag} {value}")
            if broker.alive():
                use(broker)
                check(broker.alive(), f"with {flag} {value} it died:\n{broker.log_tail()}")
                served += 1
            else:
                equal(broker.process.returncode, USAGE, f"exit code with {flag} {value}:\n{broker.log_tail()}")
            check("panic" not in broker.log(), f"{flag} {value}:\n{broker.log_tail()}")
            broker.kill()
    print(f"  {len(keys)} settings at both ends: {served} brokers served")


def use(broker):
    """A topic and a few records, if that is possible with such settings."""
    try:
        with Client(broker.port, timeout=3) as client:
            client.ask(CREATE_TOPICS, 2, create_topics_body("used", 1))
            client.metadata(["used"])
            client.produce("used", 0, batch([b"value"]))
            client.fetch("used", 0, 0)
    except (OSError, AssertionError):
        pass


run(settings_from_everywhere, the_reference_is_a_file, mistakes_are_named, secrets_are_not_told,
    metrics_tell_what_happened, scrapes_under_load_never_go_back, readiness_from_start_to_end, hostile_http,
    the_http_port, logs_for_people_and_machines, commands_for_people, groups_for_people, every_setting_at_its_ends)
