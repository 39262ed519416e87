"""What to train, from what, and where to write it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import Plan
from sentiment_conv1d.model.errors import reading
from sentiment_conv1d.model.run import Run, RunError, stages_folder
from sentiment_conv1d.model.training.checkpoint import Stages, fingerprint


@dataclass(frozen=True)
class Task:
    """What to train, and the run folder to write, next to which checkpoints are written."""

    configuration: Configuration
    work: Plan
    out: Path
    embeddings: Path | None = None  # a file of pretrained word vectors
    start: Run | None = None  # whose weights the training starts with
    overwrite: bool = False
    progress: bool = False  # whether to show it

    def stages(self) -> Stages:
        """Return the checkpoints of the training. Raises `RunError`."""
        initial = self.embeddings if self.start is None else self.start.keras_file
        digest = ""
        if initial is not None:
            with reading(initial, RunError), initial.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Stages(stages_folder(self.out), fingerprint(self.configuration, self.work, digest), self.overwrite)
