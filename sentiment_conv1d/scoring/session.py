"""A reference to an artifact that is cheap to send to other processes, which open the artifact once each."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.options import ProviderChoice
from sentiment_conv1d.inference.provider import CUDA, choose, may_choose_cuda


class Session(NamedTuple):
    """An artifact's folder and how to run it. The folder must exist wherever `classifier` is called."""

    artifact: str
    provider: ProviderChoice = "cpu"
    threads: int = 1
    device: int = 0

    def classifier(self) -> Classifier:
        """Return the classifier of this process, which the first call opens. Raises the errors of `open`."""
        return _open(self)

    def open(self) -> Classifier:
        """Read the files and open a classifier.

        Raises `ArtifactError` if the artifact is damaged, and `ProviderError` if the execution provider does not work.
        """
        artifact = read_artifact(Path(self.artifact))
        return Classifier(artifact, provider=self.provider, threads=self.threads, device=self.device)

    def uses_gpu(self) -> bool:
        """Return whether the classifier will use a GPU. This opens no graph. Raises `ArtifactError`."""
        if not may_choose_cuda(self.provider):
            return False
        return choose(self.provider, read_artifact(Path(self.artifact)), self.device).provider == CUDA


@lru_cache(maxsize=4)
def _open(session: Session) -> Classifier:
    return session.open()
