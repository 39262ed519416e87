"""Snapshots of the files of an artifact in memory."""

import os
import resource
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.artifact import ArtifactError, read_artifact, verify
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.order import Order
from tests.processes import in_child
from tests.service.artifacts import publish_table

ORDER = Order("serve", "tickets", 1, digest="new")


def test_contents(tmp_path: Path) -> None:
    """A snapshot can be read repeatedly, even after the files have changed."""
    artifact = publish_table(tmp_path)
    descriptor = snapshot.create()
    snapshot.write(descriptor, ORDER, artifact.contents)
    for file in artifact.path.iterdir():
        file.unlink()
    for _ in range(2):
        assert snapshot.contents(descriptor) == artifact.contents
        assert snapshot.order(descriptor) == ORDER
    assert verify(artifact.path, snapshot.contents(descriptor)).manifest == artifact.manifest
    os.close(descriptor)


def test_read_only(tmp_path: Path) -> None:
    """A process with the descriptor can only read the snapshot."""
    descriptor = snapshot.create()
    snapshot.write(descriptor, ORDER, read_artifact(publish_table(tmp_path).path).contents)
    for attempt in (lambda: os.pwrite(descriptor, b"x", 0), lambda: os.ftruncate(descriptor, 0)):
        with pytest.raises(PermissionError):
            attempt()
    os.close(descriptor)


def test_no_room(tmp_path: Path) -> None:
    """If the system has no room for the files, the version cannot be read, and a refusal can be written instead."""
    artifact = publish_table(tmp_path)
    refusal = ORDER.refusal("unreadable", "no room")

    def fail() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
        descriptor = snapshot.create()
        before = sorted(Path("/proc/self/fd").iterdir())
        with pytest.raises(ArtifactError, match=r"^its files cannot be kept in memory \(File too large\)$"):
            snapshot.write(descriptor, ORDER, artifact.contents)
        assert sorted(Path("/proc/self/fd").iterdir()) == before
        snapshot.write(descriptor, refusal, {})
        assert snapshot.order(descriptor) == refusal

    in_child(fail)
