"""Readiness of the service."""

import pytest

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.readiness import Readiness
from sentiment_conv1d.service.scheduling.served import ServedClassifier


def test_ready(classifier: ServedClassifier) -> None:
    """The service is ready while the default model is loaded and the worker does not drain."""
    models = LoadedModels("imdb-cnn")
    readiness = Readiness(models)
    with pytest.raises(Unavailable, match="there is no model 'imdb-cnn'"):
        readiness.check()
    assert not readiness.ready
    models.put(classifier)
    readiness.check()
    assert readiness.ready
    readiness.draining = True
    with pytest.raises(Unavailable, match="shutting down"):
        readiness.check()
    assert not readiness.ready
