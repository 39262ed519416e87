"""Fixtures: the shipped model in this process and in a server, and small hand-made models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import MODEL_REPOSITORY, ServerProcess
from tests.service.artifacts import THRESHOLDS, publish_limits, publish_table
from tests.service.grpc.channels import connect


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """Serve the shipped models with default settings and administration, for tests that change nothing."""
    with ServerProcess("--admin", "open", repository=MODEL_REPOSITORY) as process:
        yield process


@pytest.fixture(scope="session")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    """Open a channel to the shared server."""
    with connect(server) as channel:
        yield channel


@pytest.fixture(scope="session")
def stub(channel: grpc.Channel) -> SentimentStub:
    """Return a stub for `sentiment.v1.Sentiment` on the shared server."""
    return SentimentStub(channel)


@pytest.fixture(scope="session")
def oip(channel: grpc.Channel) -> Any:
    """Return a stub of Triton's client for the shared server."""
    return GRPCInferenceServiceStub(channel)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Create a repository with version 1 of `tickets`, a small model."""
    publish_table(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve a model of three widths, two dense layers and three labels, for tests that change nothing."""
    # Importing this module imports Keras, which takes seconds.
    from tests.inference.explaining.families import publish, several_widths

    repository = tmp_path_factory.mktemp("repository")
    publish(repository, several_widths())
    with ServerProcess("--workers", "1", repository=repository) as process:
        yield process


@pytest.fixture(scope="session")
def opinions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve a model with the labels negative, neutral and positive, for tests that change nothing."""
    from tests.inference.explaining.families import OPINIONS, publish, several_widths

    repository = tmp_path_factory.mktemp("opinions")
    publish(repository, several_widths(), labels=OPINIONS)
    with ServerProcess("--workers", "1", repository=repository) as process:
        yield process


@pytest.fixture(scope="session")
def several_labels(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Publish a folded network that gives a text several of three labels, with a sigmoid and a threshold for each."""
    from tests.inference.explaining.families import publish, several_widths

    return publish(tmp_path_factory.mktemp("several_labels"), several_widths(), thresholds=[*THRESHOLDS.values()])


@pytest.fixture(scope="session")
def toxic(several_labels: Artifact) -> Iterator[ServerProcess]:
    """Serve the model of `several_labels`, for tests that change nothing."""
    with ServerProcess("--workers", "1", repository=several_labels.path.parents[1]) as process:
        yield process


@pytest.fixture(scope="session")
def doubtful_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a repository with two copies of a shipped model.

    `imdb-cnn` is confident of `positive` from 0.9 on and never of `negative`, and `unmeasured` has no limits.
    """
    repository = tmp_path_factory.mktemp("doubtful")
    limits: dict[str, dict[str, float | None]] = {"imdb-cnn": {"negative": None, "positive": 0.9}, "unmeasured": {}}
    for name, confident_from in limits.items():
        publish_limits(repository, name, confident_from)
    return repository


@pytest.fixture(scope="session")
def doubtful(doubtful_repository: Path) -> Iterator[ServerProcess]:
    """Serve the model of `doubtful_repository`."""
    with ServerProcess("--workers", "1", repository=doubtful_repository) as process:
        yield process


@pytest.fixture(scope="session")
def classifier(artifact: Artifact) -> ServedClassifier:
    """Return the classifier of the shipped model."""
    return ServedClassifier(Classifier(artifact))
