"""Every attack at its normal size. `make attacks` measures them one by one, at any size.

These tests must pass beside other programs, so they do not compare how long another caller waits. `make attacks` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.attacks.catalogue import SCENARIOS
from tests.attacks.measure import Attacked
from tests.attacks.probe import Probe
from tests.attacks.scenarios import LEFTOVER_MEGABYTES, Setup

#: Attacks of one setup are adjacent, and run in one process.
NAMES = [
    pytest.param(name, marks=pytest.mark.xdist_group(SCENARIOS[name].setup.name))
    for name in sorted(SCENARIOS, key=lambda name: SCENARIOS[name].setup.name)
]


class Servers:
    """Runs one server at a time for all attacks of one setup, so that leaks add up."""

    def __init__(self, probe: Probe, stack: ExitStack) -> None:
        self._probe = probe
        self._stack = stack
        self._setup: Setup | None = None
        self._attacked: Attacked | None = None

    def server_of(self, setup: Setup) -> Attacked:
        """Return the server of a setup. Stops the server of another setup, whose log must not contain errors."""
        if self._attacked is None or setup != self._setup:
            self._attacked = None
            self._stack.close()
            self._attacked = self._stack.enter_context(Attacked.started(setup, self._probe, 1))
            self._setup = setup
        return self._attacked

    def stop(self) -> None:
        """Stop a server that an attack has damaged. The next attack gets a new one."""
        self._attacked = None
        with suppress(AssertionError):
            self._stack.close()


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """Start another caller."""
    with Probe() as probe:
        yield probe


@pytest.fixture(scope="module")
def servers(probe: Probe) -> Iterator[Servers]:
    """Return the servers to attack."""
    with ExitStack() as stack:
        yield Servers(probe, stack)


@pytest.mark.parametrize("name", NAMES)
def test_attack(servers: Servers, name: str) -> None:
    """An attack does not raise a worker's memory, and other callers still get right answers from the same worker."""
    attacked = servers.server_of(SCENARIOS[name].setup)
    result = attacked.measure(name, SCENARIOS[name], 1, waits=float("inf"))
    print(result.row())
    if result.failures:
        servers.stop()
        pytest.fail("; ".join(result.failures))
    if result.after > result.idle.megabytes + LEFTOVER_MEGABYTES / 2:
        servers.stop()  # so much memory may remain, but it must not add up
