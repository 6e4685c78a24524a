#!/usr/bin/env python3
"""A bucket instead of a directory: moto's S3 server on loopback, and a proxy before it that fails, lies and denies.

The other scripts run on it as they are. Then what only a bucket can do to a broker: deny, not be there, be away at the
start or later, not answer, apply a put and lose the answer, ignore conditions, keep them but not against those who race,
and serve two brokers at once.
"""

import atexit
import contextlib
import http.client
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from broker import BINARY, Broker, die_with_parent, check, directory, equal, free_port, run, wait_until
from kafka import create_topic, produce_all, read

USAGE, WAL_REFUSED, BUCKET, FENCED, NOT_STARTED, UNFIT = 2, 66, 68, 69, 71, 72
HERE = Path(__file__).parent
TOPIC = "kept"
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)
CONDITIONS = ("if-match", "if-none-match")
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


class Moto:
    """The S3 server. Everything is in its memory. Between its look at a condition and the put another thread of it may
    put, which the broker's probe finds now and then: whoever asks it here puts one at a time."""

    def __init__(self):
        self.putting = threading.Lock()
        program = Path(sys.executable).parent / "moto_server"
        if not program.exists():
            sys.exit("s3.py needs moto: .ci/clients installs it, or: pip install 'moto[server]'")
        self.port = free_port()
        self.process = subprocess.Popen(
            [str(program), "-H", "127.0.0.1", "-p", str(self.port)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        atexit.register(self.process.kill)
        wait_until(self.listens, 60, "moto listens")

    def listens(self):
        check(self.process.poll() is None, "moto_server ended")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with self.putting if method == "PUT" else contextlib.nullcontext():
            connection.request(method, path, body, {"Authorization": AUTHORIZATION, **dict(headers)})
            answer = connection.getresponse()
            said = answer.read()
        connection.close()
        return answer.status, said, answer.getheaders()

    def make_bucket(self):
        self.buckets = getattr(self, "buckets", 0) + 1
        name = f"karst-{self.buckets}"
        status, said, _ = self.ask("PUT", f"/{name}")
        equal(status, 200, f"making bucket {name}: {said}")
        return name

    def keys(self, bucket, prefix=""):
        _, said, _ = self.ask("GET", f"/{bucket}?list-type=2&prefix={prefix}")
        return re.findall(r"<Key>(.*?)</Key>", said.decode())


class Proxy:
    """Passes requests on to moto, one way or another. `mode` may change at any time."""

    def __init__(self):
        self.mode = "pass"
        self.requests = 0
        self.puts = 0
        self.lost = 0
        self.server = None
        self.port = free_port()
        self.open()

    def open(self):
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self):
                proxy.handle(self)

            do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = handle_any

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # Brokers come and go.

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Nobody can connect any more, and whoever is connected is cut off at its next request."""
        self.mode = "cut"
        self.server.shutdown()
        self.server.server_close()

    def reopen(self):
        self.mode = "pass"
        self.open()

    def handle(self, request):
        self.requests += 1
        announced = int(request.headers.get("content-length") or 0)
        body = request.rfile.read(announced)
        if len(body) < announced:
            return self.cut(request)  # Its broker was killed: moto would wait for the rest, and all puts for moto.
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        is_put = request.command == "PUT"
        self.puts += is_put
        mode = self.mode
        if mode == "deny":
            return self.refuse(request, 403, "AccessDenied")
        if mode == "slow down":
            return self.refuse(request, 503, "SlowDown")
        if mode == "not implemented" and is_put:
            return self.refuse(request, 501, "NotImplemented")
        if mode == "cut":
            return self.cut(request)
        if mode == "hang":
            while self.mode == "hang":
                time.sleep(0.05)
            return self.cut(request)
        if mode == "ignore conditions":
            headers = {name: value for name, value in headers.items() if name.lower() not in CONDITIONS}
        if mode == "race" and is_put and any(name.lower() in CONDITIONS for name in headers):
            if not self.holds(request.path, headers):
                return self.refuse(request, 412, "PreconditionFailed")
            time.sleep(0.1)
            headers = {name: value for name, value in headers.items() if name.lower() not in CONDITIONS}
        try:
            status, said, told = MOTO.ask(request.command, request.path, body, headers)
        except OSError:
            return self.cut(request)
        if mode == "lose answers" and is_put and self.puts % 2 == 0:
            self.lost += 1
            return self.cut(request)
        if request.path.endswith("?versioning"):
            # moto has a name of its own for what S3 calls so.
            said = said.replace(b"GetBucketVersioningResponse", b"VersioningConfiguration")
        request.send_response(status)
        for name, value in told:
            if name.lower() not in ("connection", "date", "server", "transfer-encoding", "content-length"):
                request.send_header(name, value)
        length = dict((name.lower(), value) for name, value in told).get("content-length")
        request.send_header("content-length", length if request.command == "HEAD" else str(len(said)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(said)

    def holds(self, path, headers):
        wanted = {name.lower(): value for name, value in headers.items()}
        status, _, told = MOTO.ask("HEAD", path.split("?")[0])
        etag = dict((name.lower(), value) for name, value in told).get("etag")
        if "if-none-match" in wanted:
            return status == 404
        return status == 200 and wanted["if-match"].strip('"') == (etag or "").strip('"')

    def refuse(self, request, status, code):
        said = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()
        request.send_response(status)
        request.send_header("content-length", str(len(said)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(said)

    def cut(self, request):
        request.close_connection = True
        with contextlib.suppress(OSError):
            request.connection.shutdown(socket.SHUT_RDWR)

    def url(self, bucket):
        return f"s3://{bucket}?region=us-east-1&endpoint=http://127.0.0.1:{self.port}&path-style=true"


def broker_on(bucket, proxy, *arguments, **options):
    return Broker(arguments=["--object-store", proxy.url(bucket), *arguments], **options)


@contextlib.contextmanager
def proxied():
    proxy = Proxy()
    try:
        yield proxy
    finally:
        proxy.close()


def records(count, size=500):
    return [(0, b"%d" % n, b"<%08d>" % n + b"x" * size, None) for n in range(count)]


def write(broker, count=2000):
    create_topic(broker, TOPIC)
    written = records(count)
    equal(produce_all(broker, TOPIC, written), list(range(count)), "offsets")
    return written


def check_kept(broker, written):
    found = read(broker, TOPIC, 0, 0, len(written))
    equal([(m.key(), m.value()) for m in found], [(key, value) for _, key, value, _ in written], "records")


def complaints(log):
    return [line for line in log.splitlines() if " WARN " in line]


def other_scripts():
    """The tests of other scripts, on a bucket each."""
    for script in (["basics.py"], ["kill9.py", "--rounds", "3"]):
        with proxied() as proxy:
            url = proxy.url(MOTO.make_bucket())
            done = subprocess.run(
                [sys.executable, str(HERE / script[0]), *script[1:]], env={**os.environ, "KARST_OBJECT_STORE": url},
                capture_output=True, text=True, timeout=900, preexec_fn=die_with_parent,
            )
        print(f"  {done.stdout.strip().splitlines()[-1]}")
        check(done.returncode == 0, f"{' '.join(script)} on a bucket:\n{done.stdout}\n{done.stderr}")


def all_is_in_the_bucket():
    """After a stop in order another machine, with an empty disk, serves everything."""
    with proxied() as proxy:
        bucket = MOTO.make_bucket()
        with broker_on(bucket, proxy) as first:
            check(re.search(r"is fit: 20 swaps in \d+ ms", first.log()), "the probe is reported")
            equal(MOTO.keys(bucket, "probe/"), [], "what the probe left")
            written = write(first)
            check(not (first.data / "objects").exists(), "no object directory is made")
            first.stop_clean()
        keys = MOTO.keys(bucket)
        check("meta/head" in keys and any(key.startswith("data/") for key in keys), f"objects: {keys}")
        with broker_on(bucket, proxy) as second:
            check_kept(second, written)
            equal(complaints(second.log()), [], "warnings")
            second.stop_clean()


def inspected_from_elsewhere():
    """Who has the address and the keys can verify a bucket, beside its broker and after it."""
    with proxied() as proxy:
        bucket = MOTO.make_bucket()
        command = [BINARY, "inspect", "bucket", "--deep", "--json", "--object-store", proxy.url(bucket)]
        with broker_on(bucket, proxy) as broker:
            write(broker)
            running = subprocess.run(command, capture_output=True, text=True, timeout=60)
            equal((running.returncode, running.stderr), (0, ""), "exit code and complaints beside a broker")
            broker.stop_clean()
        stopped = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
        equal(stopped["bucket"]["objects"], len(MOTO.keys(bucket)), "objects")
        check(stopped["verified"]["objects"] > 0, "objects were verified")
        [lost, *_] = MOTO.keys(bucket, "data/")
        MOTO.ask("DELETE", f"/{bucket}/{lost}")
        lossy = subprocess.run(command, capture_output=True, text=True, timeout=60)
        equal((lossy.returncode, json.loads(lossy.stdout)["flaws"]),
              (1, [f"{lost} is missing, and the metadata needs it"]), "what is said of a loss")


def a_bucket_that_keeps_versions():
    """It works, and the operator hears what it costs."""
    with proxied() as proxy:
        bucket = MOTO.make_bucket()
        wanted = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        equal(MOTO.ask("PUT", f"/{bucket}?versioning", wanted)[0], 200, "switching versioning on")
        with broker_on(bucket, proxy) as broker:
            wait_until(lambda: "keeps versions" in broker.log(), 10, "a warning")
            check_kept(broker, write(broker))
            broker.stop_clean()


def bad_addresses():
    for url, said in [
        ("s3://", "not a bucket's name"), ("./objects", "s3://"), ("s3://b/prefix", "whole bucket"),
        ("s3://abc?regoin=x", "regoin"), ("s3://abc?endpoint=localhost", "endpoint"),
    ]:
        Broker(arguments=["--object-store", url]).refused(USAGE, said)
    with environment(AWS_CONFIG_FILE="/dev/null"):
        Broker(arguments=["--object-store", "s3://abc"]).refused(USAGE, "no region is known", "AWS_REGION")


@contextlib.contextmanager
def environment(**changes):
    before = {name: os.environ.get(name) for name in changes}
    set_environment(changes)
    try:
        yield
    finally:
        set_environment(before)


def set_environment(values):
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def denied_and_missing():
    with proxied() as proxy:
        bucket = MOTO.make_bucket()
        missing = broker_on("no-such-bucket", proxy)
        missing.refused(BUCKET, "no-such-bucket", "does not exist", "NoSuchBucket", within=20)
        proxy.mode = "deny"
        broker_on(bucket, proxy).refused(BUCKET, "denies access", "credentials", "403 AccessDenied", within=20)
        proxy.mode = "pass"
        with environment(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None,
                         AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null"):
            said = broker_on(bucket, proxy).refused(BUCKET, "denies access", "credentials", within=30)
        print(f"  without keys it says: {said.strip().splitlines()[-1][:300]}")
        equal(MOTO.keys(bucket), [], "objects in the bucket")


def denied_later():
    """Rights that are taken away while it runs end it; what was acknowledged is kept by the WAL."""
    with proxied() as proxy:
        bucket = MOTO.make_bucket()
        with broker_on(bucket, proxy) as broker:
            written = write(broker)
            proxy.mode = "deny"
            broker.process.send_signal(signal.SIGTERM)
            equal(broker.wait(60), BUCKET, "exit code")
            check("denies access" in broker.log(), broker.log_tail())
            proxy.mode = "pass"
            broker.start()
            check_kept(broker, written)
            broker.stop_clean()


def away_at_the_start():
    with proxied() as proxy:
        bucket = MOTO.make_bucket()
        proxy.close()
        broker = broker_on(bucket, proxy)
        broker.launch()
        time.sleep(12)
        broker.check_alive()
        lines = complaints(broker.log())
        check(2 <= len(lines) <= 15, f"{len(lines)} warnings in 12 s:\n" + "\n".join(lines))
        check("refused" in broker.log(), f"it should say why:\n{broker.log_tail()}")
        proxy.reopen()
        wait_until(lambda: "ready: listening" in broker.log(), 30, "the broker is ready once the bucket is back")
        check("answers again" in broker.log(), broker.log_tail())
        broker.stop_clean()


def away_for_good():
    """It is given up after a minute, so that a supervisor hears of it; and at once when it is asked to stop."""
    with proxied() as proxy:
        proxy.close()
        broker = broker_on("no-matter", proxy)
        broker.launch()
        time.sleep(1)
        code, took = broker.stop()
        equal(code, NOT_STARTED, "exit code of a start that is given up")
        check(took < 15, f"it took {took:.1f} s")
        patient = broker_on("no-matter", proxy)
        said = patient.refused(BUCKET, "cannot be used", "connection", "refused", within=90)
        check(len(said.splitlines()) < 60, f"{len(said.splitlines())} lines")


def away_later():
    """Clients go on: the WAL takes their records. Everything is uploaded once the bucket is back."""
    for how in ("closed", "hang", "slow down"):
        with proxied() as proxy:
            bucket = MOTO.make_bucket()
            with broker_on(bucket, proxy, wal_size="32MiB") as broker:
                create_topic(broker, TOPIC)
                if how == "closed":
                    proxy.close()
                else:
                    proxy.mode = how
                # More than half of the ring, which asks for an upload.
                written = records(20_000, 1000)
                equal(produce_all(broker, TOPIC, written), list(range(len(written))), f"offsets ({how})")
                time.sleep(12)
                broker.check_alive()
                lines = complaints(broker.log())
                check(1 <= len(lines) <= 10, f"{len(lines)} warnings ({how}):\n" + "\n".join(lines[:40]))
                if how == "closed":
                    proxy.reopen()
                else:
                    proxy.mode = "pass"
                wait_until(lambda: MOTO.keys(bucket, "data/"), 60, f"an upload ({how})")
                wait_until(lambda: "answers again" in broker.log(), 20, f"it says so ({how})")
                check_kept(broker, written)
                broker.stop_clean()
            with broker_on(bucket, proxy) as another:
                check_kept(another, written)


def answers_get_lost():
    """Each second put takes effect and is never answered."""
    with proxied() as proxy:
        bucket = MOTO.make_bucket()
        with broker_on(bucket, proxy) as broker:
            proxy.mode = "lose answers"
            written = write(broker)
            for number in range(6):
                create_topic(broker, f"more-{number}")
            lost = proxy.lost
            broker.kill()
            proxy.mode = "pass"
            broker.start()
            proxy.mode = "lose answers"
            check_kept(broker, written)
            broker.stop_clean()
            check(lost >= 3 and proxy.lost > lost, f"{lost}, then {proxy.lost} answers lost: that tests nothing")
        proxy.mode = "pass"
        with broker_on(bucket, proxy) as another:
            check_kept(another, written)


def stores_that_lie():
    for mode, said in [
        ("ignore conditions", "ignores If-None-Match"), ("race", "not atomic"),
        ("not implemented", "does not know conditional puts"),
    ]:
        with proxied() as proxy:
            bucket = MOTO.make_bucket()
            proxy.mode = mode
            broker = broker_on(bucket, proxy)
            broker.refused(UNFIT, "cannot hold a Karst cluster", said, within=60)
            equal(MOTO.keys(bucket), [], f"what is left in the bucket ({mode})")


def two_brokers_on_one_bucket():
    """Whoever starts last leads. The one before takes records into its WAL until it would change the metadata, and
    then knows that it is fenced; started again, alone, it has all that it acknowledged. A newcomer under its id and
    without its WAL is refused."""
    for own_id in ("0", "1"):
        with proxied() as proxy:
            bucket = MOTO.make_bucket()
            with broker_on(bucket, proxy) as first:
                second = broker_on(bucket, proxy, "--node-id", own_id)
                written = write(first)
                if own_id == "0":
                    second.refused(WAL_REFUSED, "acknowledged records are in the WAL", "not the one on this disk")
                else:
                    second.start()
                more = records(500, 100)
                equal(produce_all(first, TOPIC, more), list(range(len(written), len(written) + len(more))), "offsets")
                first.process.send_signal(signal.SIGTERM)
                equal(first.wait(60), FENCED, "exit code of the first broker")
                check("took over the metadata log" in first.log(), first.log_tail())
                if own_id == "1":
                    second.stop_clean()
                first.start()
                check_kept(first, written + more)
                first.stop_clean()


MOTO = None
if __name__ == "__main__":
    os.environ.update(KEYS)
    MOTO = Moto()
    run(bad_addresses, all_is_in_the_bucket, inspected_from_elsewhere, a_bucket_that_keeps_versions, denied_and_missing, denied_later,
        away_at_the_start, away_for_good, away_later, answers_get_lost, stores_that_lie, two_brokers_on_one_bucket,
        other_scripts)
