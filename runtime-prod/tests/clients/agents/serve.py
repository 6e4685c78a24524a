"""The Python side of an agent: calls come in as lines of JSON, one thread each, and answers go out the same way."""

import base64
import hashlib
import json
import os
import queue
import sys
import threading
import time
from concurrent.futures import Future

LONG = 65_536
PATIENCE = 110


def serve(agent):
    """Answers calls with the methods of `agent` until there are no more."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def answer(request):
        try:
            reply = {"result": getattr(agent, request["call"])(**request["args"])}
        except BaseException as error:
            reply = {"error": {"code": code_of(error), "text": f"{type(error).__name__}: {error}"[:1000]}}
        with lock:
            out.write(json.dumps({"id": request["id"], **reply}) + "\n")

    for line in sys.stdin:
        threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
    os._exit(0)


def code_of(error):
    """Kafka's error code, if the client tells."""
    inner = error.args[0] if error.args else None
    for holder in (error, inner):
        for name in ("errno", "code"):
            found = getattr(holder, name, None)
            found = found() if callable(found) else found
            if isinstance(found, int):
                return found
    return None


def data_in(said):
    """The bytes that a call means: none, base64, or a long value by its length and seed."""
    if said is None:
        return None
    if isinstance(said, str):
        return base64.b64decode(said)
    block = b"%d," % said["seed"]
    return (block * (said["n"] // len(block) + 1))[:said["n"]]


def data_out(data):
    """How an answer says bytes: a long value by its length and digest."""
    if data is None:
        return None
    if len(data) > LONG:
        return {"n": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return base64.b64encode(data).decode()


def record_out(topic, partition, offset, key, value, headers, timestamp):
    return {"topic": topic, "p": partition, "o": offset, "k": data_out(key), "v": data_out(value),
            "h": [[name, data_out(v)] for name, v in headers or []], "t": timestamp}


class Pace:
    """When the next of many records may be sent: in chunks with pauses between them, and halts until `go`."""

    gate = threading.Semaphore(0)

    def __init__(self, said):
        self.said = said

    def after(self, index):
        """To be called after each record; true if it waited."""
        if not self.said or index % self.said["chunk"] != self.said["chunk"] - 1:
            return False
        time.sleep(self.said["ms"] / 1000)
        if index + 1 in self.said["halts"]:
            self.gate.acquire()
        return True


class Buffer:
    """Records that were received and not asked for yet, what became of the assignment, and errors."""

    def __init__(self):
        self.records = []
        self.events = []
        self.errors = []
        self.changed = threading.Condition()

    def put(self, records):
        if records:
            with self.changed:
                self.records += records
                self.changed.notify_all()

    def take(self, most, wait_ms):
        deadline = time.monotonic() + wait_ms / 1000
        with self.changed:
            while not self.records and time.monotonic() < deadline:
                self.changed.wait(max(deadline - time.monotonic(), 0.001))
            taken, self.records = self.records[:most], self.records[most:]
            errors, self.errors = self.errors, []
        return {"records": taken, "errors": errors}

    def drop(self, topic, partition):
        with self.changed:
            self.records = [r for r in self.records if (r["topic"], r["p"]) != (topic, partition)]


class Polled(threading.Thread):
    """A consumer that only its own thread touches: it polls all the time and does what it is told in between."""

    def __init__(self, poll, close):
        super().__init__(daemon=True)
        self.buffer = Buffer()
        self.poll = poll
        self.close = close
        self.orders = queue.SimpleQueue()
        self.closing = False

    def run(self):
        while not self.closing:
            try:
                order, future = self.orders.get_nowait()
            except queue.Empty:
                try:
                    self.buffer.put(self.poll())
                except Exception as error:
                    self.buffer.errors.append(f"{type(error).__name__}: {error}")
                    time.sleep(0.1)
                continue
            try:
                future.set_result(order())
            except Exception as error:
                future.set_exception(error)

    def do(self, order):
        future = Future()
        self.orders.put((order, future))
        return future.result(PATIENCE)

    def end(self):
        def stop():
            self.closing = True
            self.close()
        if self.is_alive():
            self.do(stop)
            self.join(PATIENCE)
