"""Parity: the exported graph returns what Keras returns, alone and in batches, with full and with minimal padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, Self, TypeVar

import numpy as np
import onnxruntime

from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.manifest import ParityCheck
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.export.checks.served import Served
from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.model.evaluation.batches import Ids, Outputs, Predict

#: The largest accepted difference of a probability, for short texts and for texts of any length. A loader accepts no
#: larger difference from the golden answer.
_TOLERANCE, _MOST = 1e-5, 1e-4

#: The largest number of real texts that answers are compared on.
MAX_TEXTS = 1000

#: The hint if ONNX Runtime fails.
_OPERATORS = (
    "replace the operation that the message names with layers that ONNX Runtime supports, in float32 and with a fixed "
    "sequence length"
)

T = TypeVar("T")


class ParityError(ExportError):
    """The graph does not return what the Keras model returns; no artifact is written."""

    def __init__(
        self,
        message: str,
        hint: str = "a small difference is due to rounding: save the model in float32 if it computes in half "
        "precision, or train smaller weights; a large one is a bug in the export: please report it with the model",
    ) -> None:
        super().__init__(message, hint)


@dataclass(frozen=True)
class Inputs:
    """Ids to compare answers on, each int32 [at most max_tokens], and where they come from."""

    source: str
    rows: list[Ids]

    def where(self, kept: Sequence[bool]) -> Self:
        """Return the inputs for which `kept` is true, in their order."""
        return replace(self, rows=list(compress(self.rows, kept)))


def tolerance(max_tokens: int) -> float:
    """Return the largest accepted difference of a probability: a sum of n numbers is off by up to n roundings."""
    return min(max(_TOLERANCE, max_tokens * 2**-24), _MOST)


def every_nth(values: Sequence[T], most: int) -> Sequence[T]:
    """Return at most `most` of the values, evenly spaced."""
    return values[:: max(1, -(-len(values) // most))]


def generated(shape: InputShape, seed: int = 0, count: int = 256) -> Inputs:
    """Generate random ids of many lengths, including the shortest and the longest, and the highest id."""
    max_tokens, vocabulary_size = shape.max_tokens, shape.vocabulary_size
    random = np.random.default_rng(seed)
    edges = [1, 2, 3, 4, max_tokens - 4, max_tokens - 3, max_tokens - 2, max_tokens - 1, max_tokens]
    lengths = [length for length in edges if 1 <= length <= max_tokens]
    lengths += random.integers(1, max_tokens + 1, count - len(lengths)).tolist()
    rows = [random.integers(0, vocabulary_size, length, dtype=np.int32) for length in lengths]
    rows[0][0] = vocabulary_size - 1
    return Inputs("generated ids", rows)


def session(graph: bytes) -> Predict:
    """Open a graph in ONNX Runtime and return a function that runs it on ids.

    Raises `ParityError` if ONNX Runtime fails, and so does the function.
    """
    run = opened(graph, ["probabilities"])

    def predict(tokens: Ids) -> Outputs:
        answers: Outputs = run({"tokens": tokens})[0]
        return answers

    return predict


def opened(
    graph: bytes, outputs: list[str], name: str = "the graph", hint: str = _OPERATORS
) -> Callable[[dict[str, Any]], list[Any]]:
    """Open a graph in ONNX Runtime and return a function from its inputs to these outputs.

    Raises `ParityError` with this name and hint if ONNX Runtime fails, and so does the function.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        found = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime raises a dozen unrelated classes, RuntimeError among them.
        raise ParityError(f"ONNX Runtime cannot open {name}: {quoted(error)}", hint) from error

    def run(inputs: dict[str, Any]) -> list[Any]:
        try:
            return list(found.run(outputs, inputs))
        except Exception as error:
            raise ParityError(f"ONNX Runtime cannot run {name}: {quoted(error)}", hint) from error

    return run


def compare(keras_predict: Predict, reference: Predict, served: Served, inputs: Sequence[Inputs]) -> list[ParityCheck]:
    """Compare the served graph, and the ONNX graph that Keras wrote, with Keras on each set of inputs.

    Raises `ParityError` if an output differs by more than `tolerance`, or a label differs.
    """
    checks = []
    for each in inputs:
        padded = served.shape.pad(each.rows, served.shape.max_tokens)
        truth = in_blocks(keras_predict, padded)
        checks += [
            _check("Keras' ONNX graph", each, "padded, batches", truth, in_blocks(reference, padded), served),
            _check("Keras", each, "padded, batches", truth, in_blocks(served.predict, padded), served),
            *_other_forms("Keras", each, truth, served),
        ]
    return checks


def compare_forms(served: Served, inputs: Sequence[Inputs]) -> list[ParityCheck]:
    """Compare a graph with itself: single rows and minimal padding against batches with full padding.

    Raises `ParityError` as `compare` does.
    """
    checks = []
    for each in inputs:
        truth = in_blocks(served.predict, served.shape.pad(each.rows, served.shape.max_tokens))
        checks += _other_forms("itself", each, truth, served)
    return checks


def _other_forms(against: str, inputs: Inputs, truth: Outputs, served: Served) -> list[ParityCheck]:
    rows, shape = inputs.rows, served.shape
    single = shape.pad(rows[:64], shape.max_tokens)
    alone = in_blocks(served.predict, single, 1)
    checks = [_check(against, inputs, "padded, one by one", truth[: len(single)], alone, served)]
    if shape.leading_padding is not None:
        one_by_one = np.concatenate([served.predict(shape.pad([row])) for row in rows])
        checks += [
            _check(against, inputs, "short, one by one", truth, one_by_one, served),
            _check(against, inputs, "short, batches", truth, served.predict_rows(rows), served),
        ]
    return checks


def _check(against: str, inputs: Inputs, form: str, truth: Outputs, answers: Outputs, served: Served) -> ParityCheck:
    described, accepted = f"{inputs.source}, {form}", tolerance(served.shape.max_tokens)
    if truth.shape != answers.shape:
        raise ParityError(f"{described}: {answers.shape} answers instead of {truth.shape}")
    difference = np.abs(truth - answers)
    # Negated, so that NaN fails.
    if not float(difference.max()) <= accepted:
        worst = int(difference.max(axis=1).argmax())
        raise ParityError(
            f"{described}: off by {difference.max():.2e} from {against}, more than {accepted:.0e} "
            f"(row {worst}: {answers[worst].tolist()} instead of {truth[worst].tolist()})"
        )
    changed = np.flatnonzero(served.changed(truth, answers))
    if len(changed):
        raise ParityError(
            f"{described}: {counted(len(changed), 'different label')} from {against}, the first in row {changed[0]}"
        )
    return ParityCheck(
        against=against,
        inputs=described,
        examples=len(truth),
        largest_difference=float(difference.max()),
        tolerance=accepted,
    )


def in_blocks(predict: Predict, tokens: Ids, size: int = 64) -> Outputs:
    """Run a graph on ids int32 [rows, sequence_length], `size` rows at a time."""
    return np.concatenate([predict(tokens[start : start + size]) for start in range(0, len(tokens), size)])
