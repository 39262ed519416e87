"""The shipped model, in this process and in a server of its own; and small hand-made models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model.artifact import Artifact, read_artifact
from service.classifier import Classifier
from tests.processes import MODEL_REPOSITORY, ServerProcess


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A server with the shipped model and default settings, for every test that only asks."""
    with ServerProcess() as process:
        yield process


@pytest.fixture(scope="session")
def artifact() -> Artifact:
    """The shipped model's artifact."""
    return read_artifact(MODEL_REPOSITORY / "imdb-cnn" / "1")


@pytest.fixture(scope="session")
def classifier(artifact: Artifact) -> Classifier:
    """The shipped model."""
    return Classifier(artifact)
