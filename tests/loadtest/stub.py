"""A server with known delays and failures, in a process of its own: `python -m tests.loadtest.stub`.

Its clock starts with its process. A request that arrives at a moment gets its answer `delay` seconds later; an answer
that would go out in the first `pause` seconds of a period goes out at the end of them. Every `fail_every`-th request
gets a 503.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import cast

import numpy as np
import numpy.typing as npt
import uvloop
from httptools import HttpRequestParser

from loadtest.timer import Timer
from tests.processes import PROJECT

_ANSWERS = {
    False: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    True: b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}",
}


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
        self._due: list[tuple[float, asyncio.Transport]] = []  # in order: the delay is always the same
        self._next = 0
        self._timer = Timer(self._answer)

    def take(self, transport: asyncio.Transport) -> None:
        """A request is here."""
        due = perf_counter() + self._delay
        if self._pause:
            into = (due - self._began) % self._period
            due += max(0.0, self._pause - into)
        self._due.append((due, transport))
        if len(self._due) == self._next + 1:
            self._timer.set(due)

    def _answer(self) -> None:
        while self._next < len(self._due):
            due, transport = self._due[self._next]
            if due > perf_counter():
                self._timer.set(due)
                return
            self._next += 1
            self._count += 1
            fails = self._fail_every > 0 and self._count % self._fail_every == 0
            if not transport.is_closing():
                transport.write(_ANSWERS[fails])


class _Connection(asyncio.Protocol):
    def __init__(self, stub: _Stub) -> None:
        self._stub = stub
        self._parser = HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which is no subclass

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._stub.take(self._transport)


async def _serve(options: argparse.Namespace) -> None:
    stub = _Stub(options.delay, options.pause, options.period, options.fail_every)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(stub), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


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
    uvloop.run(_serve(parser.parse_args()))
