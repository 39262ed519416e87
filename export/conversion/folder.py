"""Writes a folder completely or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sentiment_conv1d.model.artifact import ArtifactError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder to fill. At the end it becomes `out`; if an error is raised, it is removed.

    Raises `ArtifactError` for an `OSError`.
    """
    try:
        with TemporaryDirectory(prefix=".converting-", dir=out.parent) as temporary:
            folder = Path(temporary, out.name)
            folder.mkdir()
            yield folder
            folder.rename(out)
    except OSError as error:
        raise ArtifactError(f"{out}: cannot be written ({error.strerror})") from error
