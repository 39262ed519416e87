"""Fixtures: the shipped model in this process and in a server, and small hand-made models."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest
from google.protobuf import descriptor_pool

from sentiment_conv1d.model.artifact import Artifact, read_artifact
from sentiment_conv1d.service.inference.classifier import Classifier
from tests.processes import MODEL_REPOSITORY, ServerProcess

# Triton's client declares the protobuf package `inference`, and so does the service, while a pool of declarations takes
# a name once. Tests of either may run in this process, so the client gets a pool of its own.
with mock.patch.object(descriptor_pool, "Default", return_value=descriptor_pool.DescriptorPool()):
    import tritonclient.grpc  # noqa: F401


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """Serve the shipped model with default settings and administration, for tests that change nothing."""
    with ServerProcess("--admin", "open") as process:
        yield process


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve a model of three widths, two dense layers and three labels, for tests that change nothing."""
    # Here, since it brings Keras along, which takes seconds.
    from tests.service.inference.explaining.families import publish, several_widths

    repository = tmp_path_factory.mktemp("repository")
    publish(repository, several_widths())
    with ServerProcess("--workers", "1", repository=repository) as process:
        yield process


@pytest.fixture(scope="session")
def artifact() -> Artifact:
    """Return the artifact of the shipped model."""
    return read_artifact(MODEL_REPOSITORY / "imdb-cnn" / "1")


@pytest.fixture(scope="session")
def classifier(artifact: Artifact) -> Classifier:
    """Return the classifier of the shipped model."""
    return Classifier(artifact)
