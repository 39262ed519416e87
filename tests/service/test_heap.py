"""What large requests leave behind."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import orjson
import pytest

from service import heap
from service.heap import Heap
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service.test_supervisor import children

_MEGABYTE = 2**20


@pytest.mark.parametrize(
    ("max_pending", "expected"), [(100_000, {200}), (1900, {200, 429})], ids=["answered", "refused once parsed"]
)
def test_large_requests_leave_no_memory(max_pending: int, expected: set[int]) -> None:
    """The memory of large requests is the kernel's again soon after."""
    body = orjson.dumps({"texts": ["two dull hours " * 500] * 1000})
    with ServerProcess("--workers", "1", "--max-pending-texts", str(max_pending)) as server:
        [worker] = children(server.process.pid)

        def resident() -> float:
            return int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE

        def ask(_: int) -> int:
            return httpx.post(f"{server.url}/v1/predict_batch", content=body, timeout=PATIENCE).status_code

        before = resident()
        with ThreadPoolExecutor(12) as callers:
            statuses = list(callers.map(ask, range(24)))
        assert set(statuses) == expected
        eventually(lambda: resident() < before + 48)


def test_little_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only after much was used does it look for pages to return, and then once."""
    returned: list[int] = []
    monkeypatch.setattr(heap, "_trim", returned.append)
    used = Heap()
    used.used(1000)
    used.tidy()
    assert returned == []
    used.used(100 * _MEGABYTE)
    used.tidy()
    used.tidy()
    assert returned == [0]
