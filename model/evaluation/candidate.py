"""A model to evaluate: a run, or a published artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sentiment_conv1d.model.artifact import Artifact, read_artifact
from sentiment_conv1d.model.data import Examples, TrainingTexts
from sentiment_conv1d.model.decision import DecisionRule
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.manifest import MANIFEST_FILE
from sentiment_conv1d.model.run import Run, read_run


@dataclass(frozen=True)
class Candidate:
    """A model that can be evaluated on examples, whose labels are indices into `labels`."""

    path: Path
    labels: tuple[str, ...]
    decision: DecisionRule
    trained_on: TrainingTexts | None  # None if it does not say
    evaluate: Callable[[Examples, bool], Evaluation]  # takes the examples, and whether to show a progress bar
    is_artifact: bool


def open_candidate(path: Path) -> Candidate:
    """Open a run folder, or an artifact `<repository>/<name>/<version>`. Raises `RunError` or `ArtifactError`."""
    if (path / MANIFEST_FILE).is_file():
        artifact = read_artifact(path)
        labels, decision = artifact.manifest.labels, artifact.manifest.decision
        return Candidate(path, labels, decision, None, partial(_evaluate_artifact, artifact), True)
    run = read_run(path)
    labels, decision = run.configuration.labels, run.decision
    return Candidate(path, labels, decision, run.trained_on, partial(_evaluate_run, run), False)


def _evaluate_artifact(artifact: Artifact, examples: Examples, progress: bool) -> Evaluation:
    from sentiment_conv1d.model.evaluation import published

    return published.evaluate(artifact, examples, progress)


def _evaluate_run(run: Run, examples: Examples, progress: bool) -> Evaluation:
    from sentiment_conv1d.model.evaluation import trained  # an artifact needs no TensorFlow

    return trained.evaluate_run(run, examples, progress)
