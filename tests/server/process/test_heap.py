"""The memory of large requests after they are answered."""

from __future__ import annotations

import gc
import socket
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import orjson
import pytest

from sentiment_conv1d.server.process import heap
from sentiment_conv1d.server.process.heap import Heap
from tests.proc import children, resident_megabytes
from tests.processes import PATIENCE, ServerProcess, eventually

_MEGABYTE = 2**20


@pytest.mark.parametrize(
    ("max_pending", "expected"), [(100_000, {200}), (1900, {200, 429})], ids=["answered", "refused once parsed"]
)
def test_memory_of_large_requests(max_pending: int, expected: set[int]) -> None:
    """The memory of large requests is returned to the kernel soon after."""
    body = orjson.dumps({"texts": ["two dull hours " * 500] * 1000})
    limits = ("--max-pending-texts", str(max_pending), "--max-buffered-bytes", str(1024 * _MEGABYTE))
    with ServerProcess("--workers", "1", *limits) as server:
        [worker] = children(server.process.pid)

        def ask(_: int) -> int:
            return httpx.post(f"{server.url}/v1/predict_batch", content=body, timeout=PATIENCE).status_code

        before = resident_megabytes(worker)
        with ThreadPoolExecutor(12) as callers:
            statuses = list(callers.map(ask, range(12)))
        assert set(statuses) == expected
        eventually(lambda: resident_megabytes(worker) < before + 48)


def test_pages_are_returned_above_the_idle_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are returned only while much more memory is resident than in an idle worker."""
    returned: list[int] = []
    monkeypatch.setattr(heap, "_trim", returned.append)
    resident = 100 * _MEGABYTE
    worker = Heap(lambda: resident)
    worker.trim(10, idle=True)
    resident += 15 * _MEGABYTE
    worker.trim(20, idle=True)
    assert returned == []
    resident += _MEGABYTE
    worker.trim(30, idle=True)
    worker.trim(31, idle=True)
    assert returned == [0]
    worker.trim(34, idle=True)
    assert returned == [0, 0]


def test_memory_of_closed_connections() -> None:
    """The memory of many connections with unfinished heads is returned to the kernel soon after they are closed."""
    with ServerProcess("--workers", "1") as server:
        [worker] = children(server.process.pid)
        before = resident_megabytes(worker)
        with ExitStack() as stack:
            for _ in range(300):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
                connection.sendall(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 10_000)
        eventually(lambda: resident_megabytes(worker) < before + 48)


def test_garbage_of_an_idle_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage collection runs when there is no request, because it takes longer the more objects exist."""

    class Node:
        def __init__(self) -> None:
            self.itself = self

    monkeypatch.setattr(heap, "_trim", lambda pad: None)
    resident = 100 * _MEGABYTE
    worker = Heap(lambda: resident)
    resident += 16 * _MEGABYTE
    gc.disable()
    try:
        garbage = weakref.ref(Node())
        worker.trim(10, idle=False)
        assert garbage() is not None
        worker.trim(20, idle=True)
        assert garbage() is None
    finally:
        gc.enable()


def test_pauses_between_long_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in which a garbage collection takes long, because of waiting calls, collects less often."""
    clock, collections = [0.0], []

    def collect() -> None:
        collections.append(clock[0])
        clock[0] += 0.1

    monkeypatch.setattr(heap, "_trim", lambda pad: None)
    monkeypatch.setattr(heap, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(gc, "collect", collect)
    resident = 100 * _MEGABYTE
    worker = Heap(lambda: resident)
    resident += 16 * _MEGABYTE
    for now in (10, 20, 109, 113):
        worker.trim(now, idle=True)
    assert len(collections) == 2
