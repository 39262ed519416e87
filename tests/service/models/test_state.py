"""What the routes use of a worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.service.models import state
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.state import NEW_BYTES_PER_SECOND, SHARED_SECONDS, ServiceState
from sentiment_conv1d.service.scheduling.served import ServedClassifier

NOTHING = cast(Any, None)


def test_ready(classifier: ServedClassifier) -> None:
    """The service is ready while the default model is loaded and the worker does not drain."""
    models = LoadedModels("imdb-cnn")
    worker = ServiceState(NOTHING, NOTHING, models, NOTHING, NOTHING)
    with pytest.raises(Unavailable, match="there is no model 'imdb-cnn'"):
        worker.check_ready()
    assert not worker.ready
    models.put(classifier)
    worker.check_ready()
    assert worker.ready
    worker.draining = True
    with pytest.raises(Unavailable, match="shutting down"):
        worker.check_ready()
    assert not worker.ready


def test_shared_exposition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes within a fifth of a second share one exposition, a large one for longer, and later ones get a new one."""
    large = bytes(NEW_BYTES_PER_SECOND)
    now, expositions = [0.0], iter((b"first", large, b"third"))
    monkeypatch.setattr(state, "monotonic", lambda: now[0])
    models = SimpleNamespace(states=list, labelled=list)
    metrics = SimpleNamespace(expose=lambda *contents: next(expositions))
    service = ServiceState(NOTHING, NOTHING, cast(Any, models), NOTHING, cast(Any, metrics))
    assert [service.exposition() for _ in range(3)] == [b"first"] * 3
    now[0] += SHARED_SECONDS * 0.99
    assert service.exposition() == b"first"
    now[0] += SHARED_SECONDS * 0.01
    assert service.exposition() is large
    now[0] += 0.99
    assert service.exposition() is large
    now[0] += 0.01
    assert service.exposition() == b"third"
