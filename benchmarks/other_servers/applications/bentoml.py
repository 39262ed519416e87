"""BentoML: worker processes, each with adaptive batching."""

from __future__ import annotations

import os
import sys

import bentoml

from benchmarks import ARTIFACT
from benchmarks.baselines.competent import Competent


@bentoml.service(workers=int(os.environ.get("WORKERS", 1)), logging={"access": {"enabled": False}})
class Sentiment:
    """`{"texts": [...]}` to a list of probabilities."""

    def __init__(self) -> None:
        self._classifier = Competent(ARTIFACT)

    @bentoml.api(batchable=True, max_batch_size=16)
    def predict(self, texts: list[str]) -> list[float]:
        """Predict a batch, which contains the texts of several requests."""
        return self._classifier.predict(texts)


def main() -> None:
    """Serve."""
    port, workers = sys.argv[1:]
    arguments = ["bentoml", "serve", "benchmarks.other_servers.applications.bentoml:Sentiment", "--host", "127.0.0.1"]
    os.execvpe(sys.executable, [sys.executable, "-m", *arguments, "--port", port], {**os.environ, "WORKERS": workers})


if __name__ == "__main__":
    main()
