"""What the routes use of a worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sentiment_conv1d.service.models import state
from sentiment_conv1d.service.models.state import NEW_BYTES_PER_SECOND, SHARED_SECONDS, ServiceState


def test_shared_exposition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes within a fifth of a second share one exposition, a large one for longer, and later ones get a new one."""
    large = bytes(NEW_BYTES_PER_SECOND)
    now, expositions = [0.0], iter((b"first", large, b"third"))
    monkeypatch.setattr(state, "monotonic", lambda: now[0])
    models = SimpleNamespace(states=list, missing=list)
    metrics = SimpleNamespace(expose=lambda *contents: next(expositions))
    nothing = cast(Any, None)
    service = ServiceState(nothing, nothing, cast(Any, models), nothing, nothing, cast(Any, metrics))
    assert [service.exposition() for _ in range(3)] == [b"first"] * 3
    now[0] += SHARED_SECONDS * 0.99
    assert service.exposition() == b"first"
    now[0] += SHARED_SECONDS * 0.01
    assert service.exposition() is large
    now[0] += 0.99
    assert service.exposition() is large
    now[0] += 0.01
    assert service.exposition() == b"third"
