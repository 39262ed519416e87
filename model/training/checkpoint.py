"""Checkpoints, from which an interrupted training resumes.

Those of the recipe `labels` are folders next to the run folder: `<run>.checkpoint/<epoch>/`. One is written after every
epoch to a temporary folder and renamed, so it is never incomplete. The previous one is removed after that.

The other recipes write the arrays of each finished stage to `<run>.stages/`, and always continue after them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import Examples, Plan
from sentiment_conv1d.model.run import RunError, checkpoint_folder, checkpointed_epochs

_MODEL, _BEST, _STATE = "model.keras", "best.npz", "state.json"

Weights = list[npt.NDArray[Any]]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass
class Progress:
    """The progress of a training."""

    epochs: list[dict[str, float]] = field(default_factory=list)  # of the history
    steps: list[dict[str, float]] = field(default_factory=list)  # of the history, one for several batches
    best_epoch: int = 0  # with the lowest held-out loss; 0 without held-out texts
    best_loss: float = float("inf")

    @property
    def history(self) -> dict[str, Any]:
        """The history, for `history.json` and the learning curves."""
        return {"steps": self.steps, "epochs": self.epochs}

    @property
    def epoch(self) -> int:
        """The number of complete epochs."""
        return len(self.epochs)

    def is_over(self, configuration: Configuration) -> bool:
        """Return whether all epochs are complete, or the held-out loss no longer falls."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= configuration.epochs or (0 < configuration.patience <= waited and self.best_epoch > 0)


class Checkpoints:
    """The checkpoints of one run folder. `fingerprint` identifies the configuration and the data."""

    def __init__(self, run: Path, fingerprint: str) -> None:
        self._run = run
        self.folder = checkpoint_folder(run)
        self._fingerprint = fingerprint

    def start(self, overwrite: bool) -> None:
        """Remove old checkpoints before a new training. Raises `RunError` if there are any, unless `overwrite`."""
        if checkpointed_epochs(self._run) and not overwrite:
            raise RunError(
                f"{self.folder} contains an interrupted training: pass --resume to continue it, or --overwrite"
            )
        self.remove()

    def save(self, model: keras.Model, progress: Progress, best: Weights | None) -> None:
        """Write the state after an epoch. Raises `OSError` if the disk is full; the previous checkpoint stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / ".writing"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            model.save(temporary / _MODEL)
            if best is not None:
                np.savez(temporary / _BEST, *best)
            state = {"fingerprint": self._fingerprint, **asdict(progress)}
            (temporary / _STATE).write_text(json.dumps(state), encoding="utf-8")
            temporary.rename(self.folder / str(progress.epoch))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for epoch in checkpointed_epochs(self._run):
            if epoch != progress.epoch:
                shutil.rmtree(self.folder / str(epoch), ignore_errors=True)

    def load(self) -> tuple[keras.Model, Progress, Weights | None]:
        """Read the model with the state of its optimizer, the progress, and the best weights.

        There must be a checkpoint. The best weights are None if they are those of the model. Raises `RunError` if the
        checkpoint belongs to another training.
        """
        folder = self.folder / str(checkpointed_epochs(self._run)[-1])
        try:
            state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            if state.pop("fingerprint") != self._fingerprint:
                raise RunError(
                    f"{folder}: the checkpoint belongs to other data or another configuration; train without --resume"
                )
            best = None
            if (folder / _BEST).exists():
                with np.load(folder / _BEST) as arrays:
                    best = list(arrays.values())
            return keras.models.load_model(folder / _MODEL), Progress(**state), best
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RunError(f"{folder}: the checkpoint cannot be read ({error})") from error

    def remove(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)


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


def fingerprint(configuration: Configuration, work: Plan, initial: str = "") -> str:
    """Return a digest of everything that decides what is trained, except the number of epochs.

    So a training can continue with more epochs. `initial` identifies the weights that it starts with, if they are not
    random.
    """
    asked = configuration.model_dump(mode="json", exclude={"epochs", "name"})
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    for examples in (work.train, work.validation or Examples([], np.array([], np.int64))):
        digest.update(examples.labels.astype("<i8").tobytes())
        for text in examples.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    for text in work.unlabelled:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(initial.encode())
    if work.sampling is not None:
        digest.update(work.sampling.domains.astype("<i8").tobytes())
    if work.answers is not None:
        digest.update(work.answers.digests.tobytes() + work.answers.log_odds.tobytes())
    return digest.hexdigest()
