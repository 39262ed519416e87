"""Admission control limits requests and their texts."""

import asyncio
from itertools import count

import pytest
import uvloop

from sentiment_conv1d.server.errors import Overloaded
from sentiment_conv1d.service.scheduling.admission import Admission, weigh
from sentiment_conv1d.service.telemetry.metrics import Metrics, RouteKind
from tests.service.telemetry.test_metrics import read, value


@pytest.fixture
def metrics() -> Metrics:
    """Create the metrics of one route."""
    return Metrics({"rest": {"/a": RouteKind.MODEL}})


def test_requests(metrics: Metrics) -> None:
    """Small and large requests share the limit on requests, and a finished request makes room for another."""
    admission = Admission(2, 100, metrics)
    admission.enter(1, large=False)
    admission.enter(50, large=True)
    for large in (False, True):
        with pytest.raises(Overloaded, match="2 requests are waiting, which is the limit"):
            admission.enter(1, large=large)
    assert value(read(metrics), "sentiment_requests_waiting") == 2
    assert value(read(metrics), "sentiment_texts_waiting") == 51
    admission.leave(50, large=True)
    admission.enter(1, large=False)
    with pytest.raises(Overloaded, match="2 requests are waiting"):
        admission.enter(1, large=False)


def test_requests_that_leave_together(metrics: Metrics) -> None:
    """Small requests of several callers leave together, each with its own texts."""
    admission = Admission(3, 100, metrics)
    for caller, texts in (("one", 5), ("other", 7), ("other", 2)):
        admission.enter(texts, large=False, caller=caller)
    admission.leave_together([("one", 5), ("other", 2)])
    assert value(read(metrics), "sentiment_requests_waiting") == 1
    assert value(read(metrics), "sentiment_texts_waiting") == 7
    assert admission._requests.ranked() == ["other"]


def test_texts(metrics: Metrics) -> None:
    """Texts of large requests do not count in the limit of small ones, and a request at the limit is admitted."""
    admission = Admission(100, 10, metrics)
    admission.enter(6, large=True)
    with pytest.raises(Overloaded, match="6 texts are waiting and 5 more would exceed the limit of 10"):
        admission.enter(5, large=True)
    admission.enter(4, large=True)
    admission.enter(10, large=False)
    with pytest.raises(Overloaded):
        admission.enter(1, large=False)


def test_pause_after_refusals(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """After many refusals nothing is read for a while, which is counted, unless a quarter of a limit is free."""
    monkeypatch.setattr("sentiment_conv1d.service.scheduling.refusals.perf_counter", lambda: 100.0)
    monkeypatch.setattr("sentiment_conv1d.service.scheduling.refusals.thread_time", count(step=0.01).__next__)
    admission = Admission(100, 10, metrics)
    admission.enter(7, large=True)

    def pause() -> float:
        for _ in range(60):
            with pytest.raises(Overloaded):
                admission.expect(5, 0, large=True)
        return admission.pause()

    assert pause() == 0.0
    admission.enter(1, large=True)
    paused = pause()
    assert paused > 0.01
    assert value(read(metrics), "sentiment_reading_paused_seconds_total") == paused


def test_weight_of_texts() -> None:
    """Every 4,096 characters of a request count as one more text."""
    assert weigh(3, 4095) == 3
    assert weigh(3, 4096) == 4
    assert weigh(1, 4096 * 4095) == 4096


def test_unparsed_requests(metrics: Metrics) -> None:
    """A large request that is not parsed counts as many texts for its bytes as those of its caller that wait."""
    admission = Admission(10, 1000, metrics)
    admission.enter(138, 43_000, large=True, caller="many")
    assert admission.weigh_unparsed(42, 43_000, "many") == 138
    assert admission.weigh_unparsed(42, 86_000, "many") == 276
    assert admission.weigh_unparsed(42, 4_300, "many") == 42  # no fewer than any other
    assert admission.weigh_unparsed(42, 43_000, "other") == 42
    admission.enter(62, 57_000, large=True, caller="many")
    assert admission.weigh_unparsed(42, 50_000, "many") == 100
    for texts, size in ((138, 43_000), (62, 57_000)):
        admission.leave(texts, size, large=True, caller="many")
    assert admission.weigh_unparsed(42, 43_000, "many") == 42


def test_announced_requests(metrics: Metrics) -> None:
    """A request that enters in the next turn counts until then, with its texts and its bytes."""
    admission = Admission(10, 100, metrics)

    async def announce() -> None:
        admission.announce(60, 10_000, caller="one")
        assert admission.weigh_unparsed(42, 10_000, "one") == 60
        with pytest.raises(Overloaded, match="60 texts are waiting and 60 more"):
            admission.announce(60, 10_000, caller="one")
        await asyncio.sleep(0)
        assert admission.weigh_unparsed(42, 10_000, "one") == 42
        admission.announce(60, 10_000, caller="one")

    uvloop.run(announce())


def test_request_that_is_alone(metrics: Metrics) -> None:
    """A request that counts as more texts than the limit runs if no other one waits."""
    admission = Admission(100, 10, metrics)
    admission.enter(11, large=True)
    with pytest.raises(Overloaded):
        admission.enter(1, large=True)
    admission.leave(11, large=True)
    admission.enter(1, large=True)
    with pytest.raises(Overloaded):
        admission.enter(11, large=True)


def test_checking_the_capacity(metrics: Metrics) -> None:
    """Checking the capacity does not reserve it."""
    admission = Admission(1, 10, metrics)
    for _ in range(3):
        admission.check(10, large=True)
    assert value(read(metrics), "sentiment_requests_waiting") == 0


@pytest.mark.parametrize("large", [False, True])
def test_caller_beside_one_that_holds_most(metrics: Metrics, large: bool) -> None:
    """At the limits on requests and on texts, a caller with little work is admitted, and one with most is refused."""
    admission = Admission(10, 100, metrics)
    for _ in range(10):
        admission.enter(10, large=large, caller="most")
    for _ in range(5):
        admission.enter(10, large=large, caller="other")
    for caller in ("most", "other"):
        with pytest.raises(Overloaded):
            admission.enter(1, large=large, caller=caller)
    admission.enter(1, large=large, caller="third")
    for _ in range(10):
        admission.leave(10, large=large, caller="most")
    admission.enter(10, large=large, caller="most")
