"""A rate allows a burst of one second, and then as many events as time has passed for."""

from __future__ import annotations

import pytest

from sentiment_conv1d.service.feedback import inbox
from sentiment_conv1d.service.feedback.inbox import Rate


@pytest.mark.parametrize(("per_second", "burst"), [(4.0, 4), (0.5, 1)])
def test_rate(monkeypatch: pytest.MonkeyPatch, per_second: float, burst: int) -> None:
    """Time that passes without events allows no larger burst."""
    now = 100.0
    monkeypatch.setattr(inbox, "monotonic", lambda: now)
    limit = Rate(per_second)
    now += 1000
    assert [limit.allows() for _ in range(burst + 1)] == [True] * burst + [False]
    now += 1 / per_second
    assert [limit.allows() for _ in range(2)] == [True, False]
