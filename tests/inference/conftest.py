"""Fixtures: the shipped model in this process."""

import pytest

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.inference.classifier import Classifier


@pytest.fixture(scope="session")
def classifier(artifact: Artifact) -> Classifier:
    """Return the classifier of the shipped model."""
    return Classifier(artifact)
