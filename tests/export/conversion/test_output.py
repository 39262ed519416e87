"""A file or folder is written completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment_conv1d.artifact.artifact import ArtifactError
from sentiment_conv1d.export.conversion.output import staged


def test_complete(tmp_path: Path) -> None:
    """The folder appears with all of its files at the end."""
    with staged(tmp_path / "out") as folder:
        folder.mkdir()
        (folder / "file").write_text("content")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "file").read_text() == "content"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_failure(tmp_path: Path) -> None:
    """If an error is raised, nothing is left, and an error of the system becomes one that names the folder."""
    out = tmp_path / "out"
    with pytest.raises(ArtifactError, match=f"^{out}: cannot be written .No space left on device.$"), staged(out):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArtifactError, match="No such file or directory"), staged(tmp_path / "none" / "out"):
        pass
