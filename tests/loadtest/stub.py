"""A server with known delays and failures, in a separate process: `python -m tests.loadtest.stub`.

It answers `delay` seconds after a request has arrived. It sends nothing in the first `pause` seconds of a period:
answers that are due then are sent when the pause ends. The first period starts with the process. Every `fail_every`-th
request gets a 503. After `answers` answers, the process ends.

GET requests are answered at once and do not count. `/record` returns when each answer was due and when it was sent, and
all other paths, among them `/metrics`, do not exist.

The server uses the kernel's time of arrival, and waits actively just before an answer is due, so that its delays do not
depend on how fast a processor wakes up.
"""

from __future__ import annotations

import argparse
import json
import select
import selectors
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import perf_counter, time_ns

import numpy as np
import numpy.typing as npt
from httptools import HttpRequestParser

from tests.processes import PROJECT

_ANSWERS = {
    False: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    True: b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}",
}

_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

#: Seconds of active waiting before an answer is due.
_AWAKE_SECONDS = 3e-4

#: SO_TIMESTAMPNS of socket(7): Linux reports when bytes arrived.
_STAMP = 35
_TIMESPEC = struct.Struct("@ll")


def true_latencies(rate: float, seconds: float, delay: float, pause: float, period: float) -> npt.NDArray[np.float64]:
    """Return the sorted latencies of evenly spaced requests over whole periods.

    An answer takes `delay` seconds. An answer that is due `u` seconds after the start of a pause takes `pause - u`
    seconds more. Requests are evenly spaced in time, so their answers are due evenly spaced in the period.
    """
    count = round(rate * seconds)
    assert seconds / period == round(seconds / period)
    answered = (np.arange(count) + 0.5) / count * seconds % period
    return np.sort(delay + np.clip(pause - answered, 0, None))


class _Stub:
    def __init__(self, delay: float, pause: float, period: float, fail_every: int, answers: int) -> None:
        self._delay, self._pause, self._period, self._fail_every = delay, pause, period, fail_every
        self._answers = answers
        self._began = perf_counter()
        self._count = 0
        self._due: deque[tuple[float, float, socket.socket]] = deque()  # by arrival: all have the same delay
        self.record: list[tuple[float, float]] = []  # seconds from each request until its answer was due, and was sent

    def take(self, connection: socket.socket, arrived: float) -> None:
        """Accept a request that arrived at that time."""
        due = arrived + self._delay
        if self._pause:
            into = (due - self._began) % self._period
            due += max(0.0, self._pause - into)
        self._due.append((due, arrived, connection))

    def answer(self) -> float | None:
        """Send the answers that are due. Returns the seconds until the next one, if there is one."""
        while self._due:
            due, arrived, connection = self._due[0]
            sleep = due - perf_counter() - _AWAKE_SECONDS
            if sleep > 0:
                return sleep
            while perf_counter() < due:
                pass
            self._due.popleft()
            if self._count == self._answers:
                sys.exit()
            self._count += 1
            fails = self._fail_every > 0 and self._count % self._fail_every == 0
            with suppress(OSError):  # the caller has disconnected
                connection.send(_ANSWERS[fails])
            self.record.append((due - arrived, perf_counter() - arrived))
        return None


class _Connection:
    def __init__(self, stub: _Stub, accepted: socket.socket) -> None:
        self._stub = stub
        self._socket = accepted
        self._parser = HttpRequestParser(self)
        self._url = b""
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            accepted.setsockopt(socket.SOL_SOCKET, _STAMP, 1)

    def read(self) -> bool:
        """Read requests. Returns whether the caller is still connected."""
        try:
            data, messages, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(_TIMESPEC.size))
        except ConnectionError:
            return False
        age = 0.0
        for _, _, stamp in messages:
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            age = (time_ns() - seconds * 1_000_000_000 - nanoseconds) * 1e-9
        self._arrived = perf_counter() - age  # read last: an interruption before it delays the answer
        self._parser.feed_data(data)
        return bool(data)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def on_url(self, url: bytes) -> None:
        """Store the path. The parser calls this method."""
        self._url = url

    def on_message_complete(self) -> None:
        """Answer the request. The parser calls this method."""
        if self._url == b"/record":
            body = json.dumps(self._stub.record).encode()
            self._socket.setblocking(True)
            self._socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        elif self._parser.get_method() == b"GET":
            self._socket.send(_NOT_FOUND)
        else:
            self._stub.take(self._socket, self._arrived)


def serve(stub: _Stub, listening: socket.socket) -> None:
    """Answer requests until the process is killed."""
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    while True:
        select.select([selector], [], [], stub.answer())  # epoll's own timeout is in whole milliseconds
        for key, _ in selector.select(0):
            if key.data is None:
                accepted, _ = listening.accept()
                selector.register(accepted, selectors.EVENT_READ, _Connection(stub, accepted))
            elif not key.data.read():
                selector.unregister(key.fileobj)
                key.data.close()


@contextmanager
def running(
    delay: float = 0.0, pause: float = 0.0, period: float = 1.0, fail_every: int = 0, answers: int = -1
) -> Iterator[str]:
    """Run the server in a `with` block. Yields its URL."""
    flags = {"--delay": delay, "--pause": pause, "--period": period, "--fail-every": fail_every, "--answers": answers}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.loadtest.stub", *(str(word) for flag in flags.items() for word in flag)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--period", type=float, default=1.0)
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--answers", type=int, default=-1)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        print(listening.getsockname()[1], flush=True)
        serve(_Stub(**vars(options)), listening)
