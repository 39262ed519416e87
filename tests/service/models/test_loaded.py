"""The loaded models: which versions answer, and their states in the index."""

import os
import shutil
from pathlib import Path

import pytest

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.version_policy import VersionPolicy
from tests.service.artifacts import publish_table
from tests.service.models.test_late_workers import put
from tests.service.models.test_startup import load, states


@pytest.fixture
def models() -> LoadedModels:
    """Serve versions 1, 2 and 3 of `tickets`, the default model."""
    models = LoadedModels("tickets")
    for version in (1, 2, 3):
        put(models, "tickets", version)
    return models


def label(models: LoadedModels, name: str = "tickets", **labels: int) -> None:
    models.follow(Order("label", name, version_labels=labels))


def answering(models: LoadedModels, version: str = "") -> int:
    """Return the version that answers requests for a model by its name, and for the default model."""
    [found] = {models.get(name, version).manifest.version for name in ("", "tickets")}
    return found


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


def test_label_default(models: LoadedModels) -> None:
    """The version with the label `default` answers the requests that name none. Without it, the newest answers."""
    assert answering(models) == 3
    label(models, default=1, candidate=2)
    assert [answering(models, version) for version in ("", "default", "candidate", "3")] == [1, 1, 2, 3]
    label(models, candidate=2)
    assert answering(models) == 3


def test_default_version_that_is_not_served(models: LoadedModels) -> None:
    """While the version with the label `default` is not served, none answers requests that name no version."""
    label(models, default=9)
    for name in ("", "tickets"):
        with pytest.raises(Unavailable, match="tickets: version 9, labelled 'default', is not served; requests that"):
            models.get(name)
    with pytest.raises(Unavailable, match="version 9"):
        models.check_ready()
    assert not models.holds()
    assert answering(models, "2") == 2
    assert models.name_of("") == "tickets"
    assert [each.manifest.version for each in models.select("tickets")] == [3, 2, 1]
    put(models, "tickets", 9)
    assert answering(models) == 9
    models.check_ready()
    models.follow(Order("unload", "tickets"))
    with pytest.raises(NotFound, match="model 'tickets' was unloaded"):
        models.get()


def test_default_version_that_others_have_opened(models: LoadedModels) -> None:
    """A process that has not opened the version with the label `default` yet is not ready."""
    label(models, default=9)
    models.follow(Order("serve", "tickets", 9), os.open(os.devnull, os.O_RDONLY))
    assert models.missing() == []
    with pytest.raises(Unavailable, match="version 9"):
        models.check_ready()
    models.follow(Order("drop", "tickets", 9))


def test_missing_versions(models: LoadedModels) -> None:
    """All labelled versions that are not served are reported. Only `default` stops requests."""
    label(models, default=1, old=7, new=8)
    assert answering(models) == 1
    models.check_ready()
    assert [str(each) for each in models.missing()] == [
        "tickets: version 7, labelled 'old', is not served",
        "tickets: version 8, labelled 'new', is not served",
    ]


def test_label_default_of_an_unknown_model(models: LoadedModels) -> None:
    """The service is not ready if `default` is a label of a model that does not exist, whose name may be a typo."""
    label(models, "tikets", default=1)
    assert answering(models) == 3
    with pytest.raises(Unavailable, match="tikets: version 1, labelled 'default', is not served"):
        models.check_ready()
    models.follow(Order("unload", "tikets"))
    models.check_ready()
