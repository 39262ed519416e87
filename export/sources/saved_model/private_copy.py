"""A copy of a SavedModel that nobody else changes: what is checked is what TensorFlow loads."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentiment_conv1d.export.errors import ExportError

#: The file with the graphs. TensorFlow also reads `saved_model.pbtxt`, but only if this file is missing.
GRAPHS = "saved_model.pb"

#: The folder of the files that fill look-up tables.
ASSETS = "assets"

#: What TensorFlow needs to load a SavedModel. Nothing else is copied.
_PARTS = (GRAPHS, "variables", ASSETS)

#: The most bytes of a message that protobuf reads.
_MOST = 2**31 - 1


@contextmanager
def private_copy(path: Path) -> Iterator[Path]:
    """Copy a SavedModel to a temporary folder. Raises `ExportError` if it contains links or other special files."""
    if (path / GRAPHS).stat().st_size > _MOST:
        raise ExportError(f"{path}: {GRAPHS} has more than 2 GiB, which TensorFlow does not read", "check the file")
    with tempfile.TemporaryDirectory(prefix="saved_model-") as folder:
        copy = Path(folder)
        waiting = [each for each in path.iterdir() if each.name in _PARTS]
        while waiting:
            source = waiting.pop()
            part, mode = source.relative_to(path), source.lstat().st_mode
            if stat.S_ISDIR(mode):
                (copy / part).mkdir()
                waiting += source.iterdir()
            elif stat.S_ISREG(mode):
                _copy_file(source, copy / part)
            else:
                raise ExportError(
                    f"{path}: {part} is a link or another special file, which could lead to any file of this machine",
                    "copy the folder with `cp -rL` if you trust what its links name",
                )
        yield copy


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file. Raises `OSError` if a link has replaced it."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as read, target.open("xb") as written:
        shutil.copyfileobj(read, written)
