"""Checkpoints, from which an interrupted training continues: the arrays of each finished stage, in `<run>.stages/`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.model.data import Examples, Plan
from sentiment_conv1d.model.run import RunError

Arrays = Mapping[str, npt.NDArray[Any]]

#: Increase it when the arrays of a stage change, so that the checkpoints of earlier versions do not fit.
_FORMAT = 3


class Stages:
    """The arrays of each stage, in a folder that belongs to one training.

    `fingerprint` identifies the configuration and the data. Raises `RunError` if the folder has the stages of another
    training, unless `overwrite`, which removes them.
    """

    def __init__(self, folder: Path, fingerprint: str, overwrite: bool = False) -> None:
        self.folder = folder
        self._stages = folder / fingerprint[:16]
        if folder.is_dir() and not self._stages.is_dir():
            if not overwrite:
                raise RunError(
                    f"{folder} contains an interrupted training with other data or another configuration, or of an "
                    "earlier version: pass --overwrite to remove it"
                )
            self.remove()
        if self._stages.is_dir():
            tqdm.write(f"continuing the interrupted training in {folder}")

    def read(self, stage: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays of a stage, or None if it is not finished. Raises `RunError`."""
        try:
            with self._path(stage).open("rb") as file, np.load(file) as arrays:
                return dict(arrays)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, BadZipFile) as error:
            path = self._path(stage)
            raise RunError(f"{path}: the checkpoint cannot be read ({error}): remove {self.folder}") from error

    def write(self, stage: str, arrays: Arrays) -> None:
        """Write the arrays of a stage atomically, and replace its earlier arrays.

        Raises `OSError` if the disk is full; the earlier arrays stay.
        """
        self._stages.mkdir(parents=True, exist_ok=True)
        temporary = self._stages / "unfinished"
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        temporary.replace(self._path(stage))

    def keep(self, stage: str, arrays: Arrays) -> None:
        """Write the arrays of a stage, or warn that they cannot be written: losing them is better than the training."""
        try:
            self.write(stage, arrays)
        except OSError as error:
            tqdm.write(f"warning: {self.folder}: no checkpoint of {stage} ({error.strerror or error})")

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, stage: str) -> Path:
        return self._stages / f"{stage}.npz"


def fingerprint(configuration: BaseConfiguration, work: Plan, *others: bytes) -> str:
    """Return a digest of everything that decides what is trained, except the number of epochs.

    So a training can continue with more epochs. `others` identify what else decides, such as the weights that it starts
    with.
    """
    asked = configuration.model_dump(mode="json", exclude={"epochs", "name"})
    digest = hashlib.sha256(json.dumps([_FORMAT, asked], sort_keys=True).encode())
    for examples in (work.train, work.validation or Examples([], np.array([], np.int64))):
        digest.update(examples.labels.astype("<i8").tobytes())
        for text in examples.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    for text in work.unlabelled:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    for other in others:
        digest.update(other)
    return digest.hexdigest()
