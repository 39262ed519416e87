"""The report of a scenario, and what it observes of a service."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import NamedTuple

import httpx

from tests.faults.tally import LOST, RIGHT, WRONG, Tally
from tests.proc import children
from tests.processes import PATIENCE, ServerProcess


class Report(NamedTuple):
    """The outcomes of the requests of a scenario, and other observations."""

    tally: Tally
    notes: list[str]


def check(tally: Tally, *, lost: int = 0, refused: bool = False, answered: bool = True) -> None:
    """Assert that every request got the right answer or an allowed outcome."""
    assert not tally.counts[WRONG], "\n".join(tally.lines())
    assert tally.counts[LOST] <= lost, "\n".join(tally.lines())
    assert refused or not tally.refused, "\n".join(tally.lines())
    assert tally.counts[RIGHT] or not answered


async def _metrics(server: ServerProcess) -> str:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENCE) as client:
        return (await client.get("/metrics")).text


async def counted(server: ServerProcess, labels: str = "", series: str = "sentiment_requests_total") -> float:
    """Return the number of requests, or the sum of another series, whose labels match a pattern."""
    return _sum(await _metrics(server), series, labels)


async def until_in_flight(server: ServerProcess, wanted: int) -> None:
    """Wait until `wanted` other requests are in flight."""
    async with asyncio.timeout(PATIENCE):
        while _flying(await _metrics(server)) != wanted:
            pass


async def until_begun(server: ServerProcess, wanted: int) -> float:
    """Wait until `wanted` predictions over REST have begun, and return how many requests have not ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            metrics = await _metrics(server)
            begun = _sum(metrics, "sentiment_requests_in_flight", 'protocol="rest"') - 1
            ended = _sum(metrics, "sentiment_requests_total", 'protocol="rest".*redict')
            if begun + ended >= wanted:
                return _flying(metrics)


async def replace_worker(server: ServerProcess) -> None:
    """Kill one of two workers, and wait until another one has taken its place."""
    [victim, _] = children(server.process.pid)
    os.kill(victim, signal.SIGKILL)
    await until_replaced(server, victim)


async def until_replaced(server: ServerProcess, victim: int) -> None:
    """Wait until a service has two workers without the victim."""
    async with asyncio.timeout(PATIENCE):
        while len(set(children(server.process.pid)) - {victim}) < 2:  # noqa: ASYNC110 - nothing tells of another's child
            await asyncio.sleep(0.01)


def _flying(metrics: str) -> float:
    """Return the number of requests in flight without the one for the metrics."""
    return _sum(metrics, "sentiment_requests_in_flight") - 1


def _sum(metrics: str, series: str, labels: str = "") -> float:
    found = [line for line in metrics.splitlines() if line.startswith(series) and re.search(labels, line)]
    return sum(float(line.rpartition(" ")[2]) for line in found)
