"""Stores that commands write to, which the tests of a module share. Each test uses a model of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stores import Bucket, Folder, GoogleBucket, Hub, Store


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """Start an S3 server."""
    with Bucket() as store:
        yield store


@pytest.fixture(scope="module")
def google_bucket() -> Iterator[GoogleBucket]:
    """Start an emulator of Google Cloud Storage."""
    with GoogleBucket() as store:
        yield store


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Start a stand-in for the Hub, with an empty repository."""
    with Hub() as store:
        yield store


@pytest.fixture(params=["S3", "Google", "Hub", "folder"])
def store(request: pytest.FixtureRequest) -> Store:
    """Return a store of each kind."""
    if request.param == "folder":
        return Folder(request.getfixturevalue("tmp_path") / "store")
    fixtures = {"S3": "bucket", "Google": "google_bucket", "Hub": "hub"}
    found: Store = request.getfixturevalue(fixtures[request.param])
    return found
