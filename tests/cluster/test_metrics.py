"""The metrics of several replicas are added up."""

from __future__ import annotations

from unittest import mock

from sentiment_conv1d.cluster import metrics
from sentiment_conv1d.cluster.metrics import Board, SummedMetrics, samples_of

TEXT = b"""# TYPE sentiment_requests_total counter
sentiment_requests_total{status="200"} 3.0
sentiment_requests_total{status="429"} 0.0
sentiment_requests_in_flight 1.0
sentiment_model_info{version="1"} 1.0
"""


class OneReplica:
    """The metrics of one replica."""

    def expose(self, *facts: object) -> bytes:
        """Return the same metrics every time."""
        return TEXT


def test_samples() -> None:
    """`samples_of` returns the samples that are not 0, by name and labels."""
    found = samples_of(TEXT.decode())
    assert found == {
        'sentiment_requests_total{status="200"}': 3.0,
        "sentiment_requests_in_flight": 1.0,
        'sentiment_model_info{version="1"}': 1.0,
    }


def test_sum() -> None:
    """Counts and gauges are added up, information is not, and series of other replicas are included."""
    board = Board()
    own = samples_of(TEXT.decode())
    assert board.report("a", own) == {}
    assert board.report("b", own | {'sentiment_model_info{version="2"}': 1.0}) == own
    summed = SummedMetrics(OneReplica())
    summed.others = board.report("c", own)
    assert summed.expose().decode() == (
        "# TYPE sentiment_requests_total counter\n"
        'sentiment_requests_total{status="200"} 9.0\n'
        'sentiment_requests_total{status="429"} 0.0\n'
        "sentiment_requests_in_flight 3.0\n"
        'sentiment_model_info{version="1"} 1.0\n'
        'sentiment_model_info{version="2"} 1.0\n'
    )


def test_ended_replicas() -> None:
    """The counts of a replica that has ended remain, and its gauges do not."""
    board = Board()
    with mock.patch.object(metrics, "monotonic", return_value=0.0):
        board.report("a", samples_of(TEXT.decode()))
    with mock.patch.object(metrics, "monotonic", return_value=1000.0):
        assert board.report("b", {}) == {'sentiment_requests_total{status="200"}': 3.0}
        assert board.report("b", {}) == {'sentiment_requests_total{status="200"}': 3.0}
