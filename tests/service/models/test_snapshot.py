"""Snapshots of the files of an artifact in memory."""

import os
from pathlib import Path

import pytest

from sentiment_conv1d.model.artifact import read_artifact, verify
from sentiment_conv1d.service.models import snapshot
from tests.service.artifacts import publish_table


def test_contents(tmp_path: Path) -> None:
    """A snapshot can be read repeatedly, even after the files have changed."""
    artifact = publish_table(tmp_path)
    descriptor = snapshot.take(artifact.contents)
    for file in artifact.path.iterdir():
        file.unlink()
    for _ in range(2):
        assert snapshot.contents(descriptor) == artifact.contents
    assert verify(artifact.path, snapshot.contents(descriptor)).manifest == artifact.manifest
    os.close(descriptor)


def test_read_only(tmp_path: Path) -> None:
    """A process with the descriptor can only read the snapshot."""
    descriptor = snapshot.take(read_artifact(publish_table(tmp_path).path).contents)
    for attempt in (lambda: os.pwrite(descriptor, b"x", 0), lambda: os.ftruncate(descriptor, 0)):
        with pytest.raises(PermissionError):
            attempt()
    os.close(descriptor)
