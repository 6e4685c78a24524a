"""The clients of the interop suites: each runs in a process of its own, an agent, that does what the scenarios tell it.

A call is a line of JSON on the agent's standard input, `{"id", "call", "args"}`; its answer is a line on the standard
output with the same id and `result`, or `error` (`code`: Kafka's, if the client tells it, and `text`). Calls may overlap.
Keys and values are base64; long values go by length and seed one way, by length and SHA-256 the other.
"""

import base64
import hashlib
import itertools
import json
import os
import subprocess
import tempfile
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimedOut
from pathlib import Path

from broker import ROOT, Failed, die_with_parent, short

HERE = Path(__file__).resolve().parent / "agents"
TARGET = ROOT / "target/interop"
PYTHON = ROOT / "target/clients-venv/bin/python"
LONG = 65_536
# Seconds that any one call may take. Nothing is expected to come near them.
PATIENCE = int(os.environ.get("INTEROP_PATIENCE", 120))
# Prints how long each call took.
TRACE = bool(os.environ.get("INTEROP_TRACE"))


class ClientError(Failed):
    """What the client reported, with Kafka's error code if the client tells it."""

    def __init__(self, call, error):
        super().__init__(f"{call}: {error['text']} (code {error['code']})")
        self.code = error["code"]


class Agent:
    """One process of a client."""

    def __init__(self, command, address):
        self.command = [str(word) for word in command]
        self.address = address
        self.process = None

    def start(self):
        """Starts the process. Which client it is, and its version."""
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said,
                                        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                                        preexec_fn=die_with_parent)
        self.ids = itertools.count(1)
        self.waiting = {}
        self.lock = threading.Lock()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        return self.call("start", address=self.address)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def begin(self, call, **args):
        """Starts a call; the answer is in what it returns."""
        answer = Answer(self, call)
        with self.lock:
            if not self.alive():
                raise Failed(f"the client's process ended with {self.process.poll()}:\n{self.tail()}")
            number = next(self.ids)
            self.waiting[number] = answer
            self.process.stdin.write(json.dumps({"id": number, "call": call, "args": args}).encode() + b"\n")
            self.process.stdin.flush()
        return answer

    def call(self, call, **args):
        """Calls and waits for the answer."""
        begun = time.monotonic()
        try:
            return self.begin(call, **args).result()
        finally:
            if TRACE:
                print(f"    {time.monotonic() - begun:6.3f} s: {call} {short(args)}")

    def dies(self):
        """Whether its process has ended, or does so now: its pipes are closed before that."""
        if self.process is None:
            return False
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wrote(self):
        """What the client wrote to its standard error."""
        self.said.seek(0)
        return self.said.read().decode(errors="replace")

    def tail(self):
        """The last of that."""
        lines = self.wrote().splitlines()
        return "\n".join(f"  > {line[:300]}" for line in lines[-12:])

    def _read(self, process):
        for line in process.stdout:
            found = json.loads(line)
            with self.lock:
                answer = self.waiting.pop(found["id"])
            answer.future.set_result(found)
        with self.lock:
            left, self.waiting = self.waiting, {}
        for answer in left.values():
            answer.future.set_result({"error": {"code": None, "text": "the client's process ended"}})


class Answer:
    """What a call will have answered."""

    def __init__(self, agent, call):
        self.agent = agent
        self.call = call
        self.future = Future()

    def done(self):
        return self.future.done()

    def result(self, patience=PATIENCE):
        try:
            found = self.future.result(patience)
        except TimedOut:
            raise Failed(f"{self.call}: no answer of the client within {patience} s:\n{self.agent.tail()}") from None
        if "error" in found:
            raise ClientError(self.call, found["error"])
        return found["result"]


def record(value, key=None, partition=0, headers=(), timestamp=None):
    """A record as calls say it. A value may be bytes, none or `long_value`."""
    said = value if isinstance(value, dict) else encoded(value)
    return {"p": partition, "k": encoded(key), "v": said, "h": [[name, encoded(v)] for name, v in headers],
            "t": timestamp}


def long_value(length, seed):
    """A value that is too long to be said byte for byte."""
    return {"n": length, "seed": seed}


def answered(value):
    """How an answer says the value of a record: what `record` was given comes back as this."""
    if isinstance(value, dict):
        block = b"%d," % value["seed"]
        value = (block * (value["n"] // len(block) + 1))[:value["n"]]
    if value is not None and len(value) > LONG:
        return {"n": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    return encoded(value)


def encoded(data):
    return None if data is None else base64.b64encode(data).decode()


def decoded(said):
    return None if said is None else base64.b64decode(said)
