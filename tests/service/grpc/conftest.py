"""Fixtures: channels to the server."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from loadtest.stubs import SentimentStub
from tests.processes import ServerProcess
from tests.service.grpc.channels import connect


@pytest.fixture(scope="session")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    """Open a channel to the shared server."""
    with connect(server) as channel:
        yield channel


@pytest.fixture(scope="session")
def stub(channel: grpc.Channel) -> SentimentStub:
    """Return a stub for `sentiment.v1.Sentiment` on the shared server."""
    return SentimentStub(channel)
