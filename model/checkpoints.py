"""Checkpoints of a long training, from which an interrupted one continues."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


class Checkpoints:
    """Arrays by the name of their stage, in a folder that belongs to one training.

    `identity` is all that decides what is trained. A folder with the checkpoints of another training is emptied first.
    """

    def __init__(self, folder: Path, identity: Iterable[str]) -> None:
        digest = hashlib.sha256()
        for text in identity:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        self._folder = folder
        self._stages = folder / digest.hexdigest()[:16]
        if not self._stages.is_dir():
            self.remove()
            self._stages.mkdir(parents=True)

    def read(self, stage: str) -> dict[str, npt.NDArray[Any]] | None:
        """The arrays of a stage, None if it was not reached."""
        try:
            with np.load(self._path(stage)) as arrays:
                return dict(arrays)
        except FileNotFoundError:
            return None

    def write(self, stage: str, arrays: Arrays) -> None:
        """Keep the arrays of a stage, in place of its earlier ones. A stage is on disk completely or not at all."""
        temporary = self._stages / "unfinished"
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        temporary.replace(self._path(stage))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, stage: str) -> Path:
        return self._stages / f"{stage}.npz"
