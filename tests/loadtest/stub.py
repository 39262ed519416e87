"""A server with known delays and failures, in a process of its own: `python -m tests.loadtest.stub`.

Its clock starts with its process. A request that arrives at a moment gets its answer `delay` seconds later; an answer
that would go out in the first `pause` seconds of a period goes out at the end of them. Every `fail_every`-th request
gets a 503. `GET /record` tells at once how late each answer went out. Arrivals are those that the kernel saw, and the
last moment before an answer is waited for awake: what the server is known for should not hang on how fast a sleeping
processor wakes up.
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

#: Seconds before an answer from which on it is waited for awake.
_AWAKE_SECONDS = 3e-4

#: SO_TIMESTAMPNS of socket(7): Linux says when bytes came.
_STAMP = 35
_TIMESPEC = struct.Struct("@ll")


def true_latencies(rate: float, seconds: float, delay: float, pause: float, period: float) -> npt.NDArray[np.float64]:
    """Sorted latencies of requests at even distances over whole periods, by the definition above.

    An answer is due `delay` after the request; of those due in a pause at `u` in [0, pause), it takes `pause - u`
    longer. Moments of requests are even in time, so their answers' are even in the period.
    """
    count = round(rate * seconds)
    assert seconds / period == round(seconds / period)
    answered = (np.arange(count) + 0.5) / count * seconds % period
    return np.sort(delay + np.clip(pause - answered, 0, None))


class _Stub:
    def __init__(self, delay: float, pause: float, period: float, fail_every: int) -> None:
        self._delay, self._pause, self._period, self._fail_every = delay, pause, period, fail_every
        self._began = perf_counter()
        self._count = 0
        self._due: deque[tuple[float, float, socket.socket]] = deque()  # in order: the delay is always the same
        self.record: list[tuple[float, float]] = []  # of every answer, seconds after its request: due, and gone out

    def take(self, connection: socket.socket, arrived: float) -> None:
        """A request came at that moment."""
        due = arrived + self._delay
        if self._pause:
            into = (due - self._began) % self._period
            due += max(0.0, self._pause - into)
        self._due.append((due, arrived, connection))

    def answer(self) -> float | None:
        """Send what is due; how many seconds may be slept until the next is, if there is one."""
        while self._due:
            due, arrived, connection = self._due[0]
            sleep = due - perf_counter() - _AWAKE_SECONDS
            if sleep > 0:
                return sleep
            while perf_counter() < due:
                pass
            self._due.popleft()
            self._count += 1
            fails = self._fail_every > 0 and self._count % self._fail_every == 0
            with suppress(OSError):  # the caller did not wait for it
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
        """Whether the caller is still there."""
        try:
            data, messages, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(_TIMESPEC.size))
        except ConnectionError:
            return False
        self._arrived = perf_counter()
        for _, _, stamp in messages:
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            self._arrived -= (time_ns() - seconds * 1_000_000_000 - nanoseconds) * 1e-9
        self._parser.feed_data(data)
        return bool(data)

    def close(self) -> None:
        """The caller has gone."""
        self._socket.close()

    def on_url(self, url: bytes) -> None:
        """Of the parser."""
        self._url = url

    def on_message_complete(self) -> None:
        """Of the parser."""
        if self._url == b"/record":
            body = json.dumps(self._stub.record).encode()
            self._socket.setblocking(True)
            self._socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        else:
            self._stub.take(self._socket, self._arrived)


def serve(stub: _Stub, listening: socket.socket) -> None:
    """Until the process is killed."""
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    while True:
        select.select([selector], [], [], stub.answer())  # epoll's own patience counts in whole milliseconds
        for key, _ in selector.select(0):
            if key.data is None:
                accepted, _ = listening.accept()
                selector.register(accepted, selectors.EVENT_READ, _Connection(stub, accepted))
            elif not key.data.read():
                selector.unregister(key.fileobj)
                key.data.close()


@contextmanager
def running(delay: float = 0.0, pause: float = 0.0, period: float = 1.0, fail_every: int = 0) -> Iterator[str]:
    """The stub's URL, from `with` to the end of the block."""
    flags = {"--delay": delay, "--pause": pause, "--period": period, "--fail-every": fail_every}
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
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        print(listening.getsockname()[1], flush=True)
        serve(_Stub(options.delay, options.pause, options.period, options.fail_every), listening)
