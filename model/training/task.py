"""What to train, from what, and where to write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import Plan
from sentiment_conv1d.model.run import Run
from sentiment_conv1d.model.training.checkpoint import fingerprint
from sentiment_conv1d.model.training.initial import digest


@dataclass(frozen=True)
class Task:
    """What to train, and the run folder to write, next to which checkpoints are written."""

    configuration: Configuration
    work: Plan
    out: Path
    embeddings: Path | None = None  # a file of pretrained word vectors
    start: Run | None = None  # whose weights the training starts with
    overwrite: bool = False
    resume: bool = False  # continue after the last checkpoint; recipes other than `labels` always do
    progress: bool = False  # whether to show it

    @property
    def fingerprint(self) -> str:
        """What identifies the training, see `model.training.checkpoint`."""
        return fingerprint(self.configuration, self.work, "" if self.start is None else digest(self.start))
