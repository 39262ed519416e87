"""Fixtures: the shipped model in this process."""

import pytest

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.artifact import Artifact, read_artifact
from tests.processes import MODEL_REPOSITORY


@pytest.fixture(scope="session")
def artifact() -> Artifact:
    """Return the artifact of the shipped model."""
    return read_artifact(MODEL_REPOSITORY / "imdb-cnn" / "1")


@pytest.fixture(scope="session")
def classifier(artifact: Artifact) -> Classifier:
    """Return the classifier of the shipped model."""
    return Classifier(artifact)
