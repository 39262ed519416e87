"""A model to evaluate: a run, or a published artifact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from tqdm import tqdm

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError, read_artifact, versions
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.manifest import MANIFEST_FILE, NO_ANSWER
from sentiment_conv1d.commands.default_repository import find_artifact
from sentiment_conv1d.commands.imports import import_tensorflow
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.model.data import DataError, Examples, TrainingTexts
from sentiment_conv1d.model.data.opinions import places
from sentiment_conv1d.model.evaluation.batches import Ids, Outputs, predict_in_batches
from sentiment_conv1d.model.evaluation.evaluation import label_probabilities
from sentiment_conv1d.model.evaluation.multilabel import Measured, evaluated
from sentiment_conv1d.model.run import Run, read_run

#: A probability that is not 0, so that those of a text whose label is surely another one can be divided by their sum.
_LEAST = 1e-12

#: The most characters of a text in a message.
_SHOWN = 40


@dataclass(frozen=True)
class Candidate:
    """A model that can be evaluated on examples, whose labels are indices into `labels`."""

    path: Path
    labels: tuple[str, ...]
    decision: DecisionRule
    trained_on: TrainingTexts | None  # None if it does not say
    evaluate: Callable[[Examples, bool], Measured]  # takes the examples, and whether to show a progress bar
    is_artifact: bool


def open_candidate(path: Path) -> Candidate:
    """Open a run folder, or an artifact: `<repository>/<name>/<version>`, or `<name>/<version>` in the default one.

    Raises `RunError` or `ArtifactError`.
    """
    path = find_artifact(path)
    if (path / MANIFEST_FILE).is_file() or versions(path.parent, path.name):
        artifact = read_artifact(path)
        labels, decision = artifact.manifest.labels, artifact.manifest.decision
        return Candidate(path, labels, decision, None, partial(_evaluate_artifact, artifact), True)
    run = read_run(path)
    labels, decision = run.configuration.labels, run.decision
    return Candidate(path, labels, decision, run.trained_on, partial(_evaluate_run, run), False)


def answers(artifact: Artifact, texts: Sequence[str], progress: bool = False) -> Outputs:
    """Run the graph of an artifact with ONNX Runtime on the CPU. Returns the outputs: float32 [texts, outputs].

    Raises `ArtifactError` if ONNX Runtime cannot open the graph, and `DataError` if the model has no answer to a text.
    """
    try:
        session = onnxruntime.InferenceSession(artifact.graph, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
        raise ArtifactError(f"{artifact.path}: ONNX Runtime cannot open the graph ({error})", "graph") from error
    rows = [encoding.ids for encoding in artifact.tokenizer.encode_batch(texts)]
    with tqdm(total=len(rows), desc="evaluating", unit="text", disable=None if progress else True) as bar:

        def predict(tokens: Ids) -> Outputs:
            outputs: Outputs = session.run(["probabilities"], {"tokens": tokens})[0]
            bar.update(len(tokens))
            return outputs

        outputs = predict_in_batches(predict, rows, artifact.input_shape)
    has_none = np.isnan(outputs).any(axis=1)
    if has_none.any():
        first = texts[int(has_none.argmax())][:_SHOWN]
        raise DataError(f"{counted(int(has_none.sum()), 'text')} without an answer, such as {first!r}: {NO_ANSWER}")
    return outputs


def answers_with(artifact: Artifact, labels: Sequence[str], texts: Sequence[str]) -> Outputs | None:
    """Return the outputs of an artifact for these labels, float32 [texts, outputs]; None if it lacks one of them.

    Of a model with more labels, only the probabilities of these labels count, divided by their sum.
    """
    numbers = [number for number in places(labels, artifact.manifest.labels) if number is not None]
    if len(numbers) < len(labels):
        return None
    found = np.maximum(label_probabilities(answers(artifact, texts))[:, numbers], _LEAST)
    found /= found.sum(axis=1, keepdims=True)
    return np.asarray(found[:, 1:] if len(labels) == 2 else found, np.float32)


def _evaluate_artifact(artifact: Artifact, examples: Examples, progress: bool) -> Measured:
    outputs = answers(artifact, examples.texts, progress)
    return evaluated(artifact.manifest.labels, examples.labels, outputs, artifact.manifest.decision)


def _evaluate_run(run: Run, examples: Examples, progress: bool) -> Measured:
    import_tensorflow()  # which an artifact does not need
    from sentiment_conv1d.model.evaluation import trained

    return trained.evaluate_run(run, examples, progress)
