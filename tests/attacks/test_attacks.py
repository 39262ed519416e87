"""Every attack in its usual size; `make attacks` measures them one by one, in any size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.catalogue import SCENARIOS
from tests.attacks.measure import Attacked
from tests.attacks.probe import Probe

#: Seconds by which the waits of another caller may grow. What goes on beside the tests makes a machine slow at times,
#: so this is more than the service promises, and only what happens every time is a failure.
WAITS = 0.5
ATTEMPTS = 3


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """Another caller."""
    with Probe() as probe:
        yield probe


@pytest.fixture(scope="module")
def attacked(request: pytest.FixtureRequest, probe: Probe) -> Iterator[Attacked]:
    """A server for all attacks of one setup: what stays of each adds up."""
    with Attacked.started(request.param, probe, 1) as attacked:
        yield attacked


@pytest.mark.parametrize(
    ("attacked", "name"), [(scenario.setup, name) for name, scenario in SCENARIOS.items()], indirect=["attacked"]
)
def test_attack(attacked: Attacked, name: str) -> None:
    """An attack leaves a worker's memory as it was, and other callers are answered meanwhile."""
    for _ in range(ATTEMPTS):
        result = attacked.suffer(name, SCENARIOS[name], 1, waits=WAITS)
        print(result.row())
        assert not result.failures
        if not result.slow:
            return
    pytest.fail("; ".join(result.slow))
