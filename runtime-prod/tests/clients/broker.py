"""A broker under test: starts, stops and kills the binary `karst` on a free loopback port.

Every broker listens on 127.0.0.1 only, dies with the script that started it, and keeps its data under
`target/clients-run`, on a real disk. When a check fails, the end of the log of every broker of the script is shown.
"""

import atexit
import ctypes
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("KARST", ROOT / "target/release/karst"))
RUN = ROOT / "target/clients-run"
# A bucket for the one broker of the script, instead of a directory.
OBJECT_STORE = os.environ.get("KARST_OBJECT_STORE")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
READY = re.compile(r"\bready: listening on (\S+),")
LOG_TAIL = 15

_brokers = []
_directories = []
_ports = []


class Failed(AssertionError):
    """A check that did not hold. Its text is the whole story."""


class Skipped(Exception):
    """A check that this machine does not allow, and why."""


class Exited(Failed):
    """The broker ended when it should have run."""

    def __init__(self, code, log):
        super().__init__(f"the broker ended with exit code {code}:\n{log}")
        self.code = code


def check(condition, message):
    """Fails with `message` unless `condition` holds."""
    if not condition:
        raise Failed(message)


def equal(found, expected, what):
    """Fails unless both are equal."""
    if found != expected:
        raise Failed(f"{what}: found {short(found)}, expected {short(expected)}")


def short(value):
    text = repr(value)
    return text if len(text) < 300 else f"{text[:200]} ... ({len(text)} characters)"


def wait_until(condition, seconds, what, pause=0.05):
    """The first true value of `condition()`, which must come within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < deadline, f"{what}: not within {seconds} s")
        time.sleep(pause)


def directory(name="data"):
    """A new directory that is removed at the end of the script."""
    RUN.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=RUN))
    _directories.append(path)
    return path


def free_port():
    """A free port outside the range from which the kernel takes ports for outgoing connections: a client that tries
    to reach a broker that is down could otherwise be connected to itself. It is this script's until that ends, also
    while the broker is down: other scripts may run beside it."""
    RUN.mkdir(parents=True, exist_ok=True)
    for _ in range(200):
        port = random.SystemRandom().randrange(20000, 30000)
        ours = open(RUN / f"port-{port}.lock", "w")
        try:
            fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            ours.close()
            continue
        _ports.append(ours)
        return port
    raise Failed("no free port between 20000 and 30000")


def kcat(*arguments, data=None, timeout=60):
    """Runs kcat to its end; its standard output."""
    done = subprocess.run(["kcat", *map(str, arguments)], input=data, capture_output=True, timeout=timeout)
    check(done.returncode == 0, f"kcat {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stderr.decode()}")
    return done.stdout


class Broker:
    """A `karst` process and its data directory. May be started again after it ended."""

    def __init__(self, data=None, wal_size="64MiB", port=None, arguments=(), http="off", environment=None):
        self.directories = [directory("log")]
        if data is None:
            self.directories.append(directory())
        self.data = Path(data or self.directories[-1] / "data")
        self.port = port or free_port()
        self.wal_size = wal_size
        self.arguments = list(arguments)
        self.http = http
        self.environment = environment or {}
        self.log_path = self.directories[0] / "karst.log"
        self.process = None
        self.log_start = 0

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def wal(self):
        return self.data / "wal"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def command(self, *more):
        command = [str(BINARY), "--data-dir", str(self.data), "--listen", self.address]
        if self.http:
            command += ["--http", self.http]
        if self.wal_size:
            command += ["--wal-size", self.wal_size]
        if OBJECT_STORE:
            command += ["--object-store", OBJECT_STORE]
        return command + self.arguments + list(more)

    def launch(self, *more):
        """Starts the process without waiting for it."""
        check(BINARY.exists(), f"{BINARY} is missing: cargo build --release --bin karst")
        check(self.process is None or self.process.poll() is not None, "the broker runs already")
        # What is meant for the scripts is not meant for the broker.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KARST_")}
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                self.command(*more), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent,
                env=inherited | self.environment
            )
        if self not in _brokers:
            _brokers.append(self)
        return self.process

    def start(self, *more, within=60):
        """Starts it and waits until it serves. Seconds from the one to the other."""
        begun = time.monotonic()
        self.launch(*more)
        while not READY.search(self.log()):
            code = self.process.poll()
            if code is not None:
                raise Exited(code, self.log_tail())
            check(time.monotonic() - begun < within, f"the broker is not ready after {within} s:\n{self.log_tail()}")
            time.sleep(0.005)
        return time.monotonic() - begun

    def refused(self, code, *texts, within=60):
        """Starts it, and it must end by itself with this exit code and say each of `texts`. What it said."""
        self.launch()
        found = self.wait(within)
        said = self.log()
        equal(found, code, f"exit code of a broker that must refuse to start, which said:\n{said}")
        for text in texts:
            check(text.lower() in said.lower(), f"the broker should have said {text!r}:\n{said}")
        return said

    def wait(self, within=60):
        """Its exit code, once it ended."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise Failed(f"the broker still runs after {within} s:\n{self.log_tail()}") from None

    def stop(self, within=60):
        """Asks it to stop with SIGTERM. Its exit code, and the seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.wait(within), time.monotonic() - begun

    def stop_clean(self, within=60):
        """Stops it; the exit code must be 0. Seconds that it took."""
        code, took = self.stop(within)
        check(code == 0, f"SIGTERM should end the broker with 0, not {code}:\n{self.log_tail()}")
        return took

    def kill(self):
        """kill -9, whatever it does. Returns when it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def check_alive(self):
        if not self.alive():
            raise Exited(self.process.returncode, self.log_tail())

    def memory(self, field="VmRSS"):
        """Bytes of memory from /proc: VmRSS now, VmHWM at most so far."""
        self.check_alive()
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1]) * 1024

    def log(self):
        """What it said since its last start."""
        if not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as log:
            log.seek(self.log_start)
            return COLOUR.sub("", log.read().decode(errors="replace"))

    def log_tail(self):
        if not self.log_path.exists():
            return "(no log)"
        lines = COLOUR.sub("", self.log_path.read_text(errors="replace")).splitlines()
        return "\n".join(f"  | {line[:400]}" for line in lines[-LOG_TAIL:])


def run(*tests, shared=None, after=None):
    """Runs tests one after the other (those that the command line names, or all), shows what failed and how brokers
    ended, calls `after`, and ends the script. A `shared` broker is handed to every test, and started again after one that
    failed."""
    sys.stdout.reconfigure(line_buffering=True)
    wanted = set(sys.argv[1:])
    unknown = wanted - {test.__name__ for test in tests}
    if unknown:
        sys.exit(f"no such test: {', '.join(sorted(unknown))}; there are: {', '.join(t.__name__ for t in tests)}")
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for test in tests:
        if wanted and test.__name__ not in wanted:
            continue
        begun = time.monotonic()
        outcome, note = _outcome(test, shared)
        counts[outcome] += 1
        if outcome == "failed" and shared is not None:
            shared.kill()
        print(f"{outcome.upper() if outcome == 'failed' else outcome}: {test.__name__} "
              f"({time.monotonic() - begun:.1f} s){note}")
        _clean_up(shared)
    _clean_up()
    if after is not None:
        after()
    script = Path(sys.argv[0]).stem
    print(f"{script}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] else 0)


def _outcome(test, shared):
    try:
        if shared is None:
            test()
        else:
            if not shared.alive():
                shared.start()
            test(shared)
        return "passed", ""
    except Skipped as why:
        return "skipped", f": {why}"
    except Exception as error:
        if isinstance(error, Failed):
            frame = traceback.extract_tb(error.__traceback__)
            where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frame[1:]))
            note = f" at {where}\n{error}"
        else:
            note = f"\n{traceback.format_exc()}"
        for broker in _brokers:
            state = "runs" if broker.alive() else f"ended with {broker.process.returncode}"
            note += f"\nlog of the broker on {broker.port} ({state}):\n{broker.log_tail()}"
        return "failed", note


def _clean_up(kept=None):
    for broker in [broker for broker in _brokers if broker is not kept]:
        broker.kill()
        _brokers.remove(broker)
    for path in [path for path in _directories if kept is None or path not in kept.directories]:
        shutil.rmtree(path, ignore_errors=True)
        _directories.remove(path)


def die_with_parent():
    """For `preexec_fn`: a process ends with the script that started it."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


atexit.register(_clean_up)
