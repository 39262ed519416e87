"""Fingerprints detect changes of files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sentiment_conv1d.service.fingerprint import fingerprint
from tests.processes import eventually


def test_every_change_is_seen(tmp_path: Path) -> None:
    """Every kind of change of a file changes the fingerprint, and nothing else does."""
    file, other, link = (tmp_path / name for name in ("file", "other", "link"))
    file.write_text("one")
    link.symlink_to(file)

    def lead_elsewhere() -> None:
        other.write_text("another")
        link.unlink()
        link.symlink_to(other)

    changes: list[Callable[[], object]] = [
        lambda: file.write_text("another"),
        lambda: (other.write_text("another"), other.rename(file)),
        lead_elsewhere,
        other.unlink,
        lambda: other.write_text("another"),
    ]
    seen = [fingerprint([link])]
    for change in changes:
        change()
        seen.append(fingerprint([link]))
        assert seen[-1] == fingerprint([link])
        assert seen[-1] != seen[-2]

    def permissions_are_seen() -> bool:
        other.chmod(0o600)  # timestamps of files have a resolution of some milliseconds
        return fingerprint([link]) != seen[-1]

    eventually(permissions_are_seen)
