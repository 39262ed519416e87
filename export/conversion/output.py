"""Writes a file or folder completely or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sentiment_conv1d.artifact.artifact import ArtifactError
from sentiment_conv1d.artifact.errors import writing


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield a path to write to. At the end it becomes `out`; if an error is raised, what was written is removed.

    Raises `ArtifactError` for an `OSError`.
    """
    with writing(out, ArtifactError), TemporaryDirectory(prefix=".converting-", dir=out.parent) as temporary:
        written = Path(temporary, out.name)
        yield written
        written.rename(out)
