"""The finished stages of a distillation, on disk. An interrupted distillation continues after them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


class Stages:
    """The arrays of each stage, in a folder that belongs to one training.

    `fingerprint` identifies the configuration and the data. The stages of another training are removed.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self._stages = folder / fingerprint[:16]
        if not self._stages.is_dir():
            self.remove()

    def read(self, stage: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays of a stage, or None if it is not finished."""
        try:
            with np.load(self._path(stage)) as arrays:
                return dict(arrays)
        except FileNotFoundError:
            return None

    def write(self, stage: str, arrays: Arrays) -> None:
        """Write the arrays of a stage atomically, and replace its earlier arrays.

        Raises `OSError` if the disk is full; the earlier arrays stay.
        """
        self._stages.mkdir(parents=True, exist_ok=True)
        temporary = self._stages / "unfinished"
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        temporary.replace(self._path(stage))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, stage: str) -> Path:
        return self._stages / f"{stage}.npz"
