"""The loaded models: which versions answer, and their states in the index."""

import shutil
from pathlib import Path

import pytest

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.version_policy import VersionPolicy
from tests.service.artifacts import publish_table
from tests.service.models.test_startup import load, states


def test_put_and_drop(tmp_path: Path) -> None:
    """A version answers from when it is added until it is removed, and the newest of a model is its default."""
    publish_table(tmp_path)
    models = load(tmp_path)
    second = publish_table(tmp_path)
    models.follow(Order("refuse", "tickets", 2, "fingerprint", fault="damaged", reason="broken"))
    assert states(models, tmp_path)[1] == ("2", "UNAVAILABLE", "broken")
    models.follow(Order("serve", "tickets", 2))
    artifact = Repository(tmp_path, VersionPolicy("")).read("tickets", 2)
    models.put(ServedClassifier(Classifier(artifact)))
    assert models.get().manifest.version == 2
    assert [state for _, state, _ in states(models, tmp_path)] == ["READY", "READY"]
    shutil.rmtree(second.path)
    assert states(models, tmp_path)[1] == ("2", "READY", "its folder was removed")
    models.follow(Order("drop", "tickets", 2))
    assert models.get().manifest.version == 1
    assert [version for version, _, _ in states(models, tmp_path)] == ["1"]
    models.follow(Order("refuse", "tickets", 1, "fingerprint", fault="damaged", reason="broken"))
    assert states(models, tmp_path) == [("1", "READY", "the files in its folder were refused: broken")]
    models.follow(Order("forget", "tickets", 1))
    models.follow(Order("unload", "tickets"))
    assert not models.holds()
    assert states(models, tmp_path) == [("1", "UNAVAILABLE", "unloaded")]
    with pytest.raises(NotFound, match=r"model 'tickets' was unloaded; POST .* serves it again"):
        models.get()
