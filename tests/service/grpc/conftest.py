"""Fixtures: a stub for the server."""

from __future__ import annotations

import grpc
import pytest

from loadtest.stubs import SentimentStub


@pytest.fixture(scope="session")
def stub(channel: grpc.Channel) -> SentimentStub:
    """Return a stub for `sentiment.v1.Sentiment` on the shared server."""
    return SentimentStub(channel)
