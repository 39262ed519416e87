"""What to train, from what, and where to write it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.errors import reading
from sentiment_conv1d.model.data import Plan
from sentiment_conv1d.model.run import Run, RunError, stages_folder
from sentiment_conv1d.model.training.checkpoint import Stages, fingerprint
from sentiment_conv1d.model.training.pretrained import Pretrained


@dataclass(frozen=True)
class Task:
    """What to train, and the run folder to write, next to which checkpoints are written."""

    configuration: BaseConfiguration
    work: Plan
    out: Path
    embeddings: Path | None = None  # a file of pretrained word vectors
    start: Run | Pretrained | None = None  # whose weights the training starts with
    shipped: Pretrained | None = None  # that a second training starts with; the better one of both is kept
    overwrite: bool = False
    progress: bool = False  # whether to show it

    def stages(self, *others: bytes) -> Stages:
        """Return the checkpoints of the training, which `others` identify too. Raises `RunError`."""
        starts = [each.weights_file for each in (self.start, self.shipped) if each is not None]
        for initial in starts if self.embeddings is None else [self.embeddings, *starts]:
            with reading(initial, RunError), initial.open("rb") as file:
                others = (hashlib.file_digest(file, "sha256").digest(), *others)
        return Stages(stages_folder(self.out), fingerprint(self.configuration, self.work, *others), self.overwrite)
