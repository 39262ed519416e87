"""Answers one inference request: checks the inputs, predicts texts or ids, and builds the requested outputs."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.protocols.oip.tensors import (
    decode_text,
    element_count,
    flatten,
    pack_bytes,
    unpack_bytes,
    unpack_int32,
)
from sentiment_conv1d.service.scheduling.dataplane import INLINE_CHARACTERS, DataPlane
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.request_context import RequestContext

TEXT, TOKENS = "text", "tokens"
LABEL, SCORE, PROBABILITIES = "label", "score", "probabilities"
OUTPUTS = (LABEL, SCORE, PROBABILITIES)

Result = TypeVar("Result")

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Input:
    """A tensor as it was received: either `raw`, its binary form, or `data`, a list that can be nested."""

    name: str
    datatype: str
    shape: Sequence[int]
    raw: bytes | None = None
    data: Any = None


@dataclass(frozen=True)
class RequestedOutput:
    """A requested output; if `classification` is not 0, as that many of the most probable classes."""

    name: str
    classification: int = 0


@dataclass(frozen=True)
class InferenceRequest:
    """An inference request over either transport. `timeout` is in seconds. No outputs means all outputs."""

    model: str
    version: str
    inputs: Sequence[Input]
    outputs: Sequence[RequestedOutput] = ()
    timeout: float | None = None


@dataclass(frozen=True)
class Output:
    """A tensor of the response: BYTES as a flat list, FP32 as a float32 array of `shape`."""

    name: str
    datatype: str
    shape: list[int]
    data: list[bytes] | npt.NDArray[np.float32]

    def raw(self) -> bytes:
        """Return the tensor in binary form."""
        if isinstance(self.data, np.ndarray):
            return self.data.astype("<f4", copy=False).tobytes()
        return pack_bytes(self.data)


def infer(
    dataplane: DataPlane,
    models: LoadedModels,
    context: RequestContext,
    request: InferenceRequest,
    answer: Callable[[Manifest, list[Output]], Result],
) -> Work[Result]:
    """Return the work of a request. `answer` gets the manifest of the model, and the outputs in the requested order.

    Raises `RequestError`: `Invalid` or `Malformed` if a tensor is wrong, and the errors of the data plane.
    """
    classifier = models.get(request.model, request.version)  # raises its error before those of the tensors
    requested = _requested(request.outputs)
    given = _leading_input(request.inputs)

    def answer_with(predictions: list[Prediction]) -> Result:
        outputs = [_output(each, classifier, predictions, shape) for each in requested]
        return answer(classifier.manifest, outputs)

    if given.name == TEXT:
        texts = _texts(dataplane, given)
        shape = list(given.shape)
        return dataplane.read_texts(context, classifier, texts, answer_with, request.timeout)
    ids = _ids(given)
    shape = [len(ids), 1]
    return dataplane.read_ids(context, classifier, ids, answer_with, request.timeout)


def _requested(outputs: Sequence[RequestedOutput]) -> Sequence[RequestedOutput]:
    if not outputs:
        return [RequestedOutput(name) for name in OUTPUTS]
    seen = set()
    for output in outputs:
        if output.name not in OUTPUTS:
            raise Invalid(f"there is no output '{output.name}'; there are: {', '.join(OUTPUTS)}")
        if output.name in seen:
            raise Invalid(f"output '{output.name}' is requested twice")
        if output.classification and output.name != PROBABILITIES:
            raise Invalid(f"output '{output.name}': only '{PROBABILITIES}' supports classification")
        seen.add(output.name)
    return outputs


def _leading_input(inputs: Sequence[Input]) -> Input:
    """Return the input to predict: the text if there is one.

    Load generators send every input in the metadata, with random numbers as `tokens`, so a request can have both. The
    ids must then have as many rows as the text, and are ignored.
    """
    named: dict[str, Input] = {}
    for given in inputs:
        if given.name not in (TEXT, TOKENS):
            raise Invalid(f"there is no input '{given.name}'; there are: {TEXT}, {TOKENS}")
        if given.name in named:
            raise Invalid(f"input '{given.name}' is given twice")
        named[given.name] = given
    if not named:
        raise Invalid(f"one of the inputs {TEXT} and {TOKENS} is needed")
    if len(named) == 2:
        _ids(named[TOKENS])
        if list(named[TEXT].shape[:1]) != list(named[TOKENS].shape[:1]):
            raise Invalid(f"inputs {TEXT} and {TOKENS} have different numbers of rows")
    return named.get(TEXT) or named[TOKENS]


def _check(given: Input, datatype: str, shape: str, fits: bool) -> None:
    if given.datatype != datatype:
        raise Invalid(f"input '{given.name}' has datatype {datatype}, not {given.datatype}")
    if not fits:
        raise Invalid(f"input '{given.name}' has shape {shape}, not {list(given.shape[:8])}")


def _texts(dataplane: DataPlane, given: Input) -> list[str]:
    _check(given, "BYTES", "[batch, 1] or [batch]", len(given.shape) == 1 or list(given.shape[1:]) == [1])
    count = element_count(given.name, given.shape)
    if given.raw is not None:
        if len(given.raw) > INLINE_CHARACTERS:
            dataplane.check_count(count)
        elements: list[Any] = unpack_bytes(given.name, given.raw, count)
    else:
        elements = flatten(given.name, given.data, count)
    return [decode_text(given.name, element, number) for number, element in enumerate(elements)]


def _ids(given: Input) -> npt.NDArray[np.int32]:
    _check(given, "INT32", "[batch, sequence length]", len(given.shape) == 2)
    count = element_count(given.name, given.shape)
    if given.raw is not None:
        flat = unpack_int32(given.name, given.raw, count)
    else:
        elements = flatten(given.name, given.data, count)
        try:  # They can be a million. An array takes less time than NumPy, and checks them.
            numbers = array("i", elements)
        except (TypeError, OverflowError):
            numbers = array("i")
        if not numbers or bool in set(map(type, elements)):  # `bool` is a subclass of `int`
            raise Invalid(f"input '{given.name}': element {_first_other(elements)} is not an INT32")
        flat = np.frombuffer(numbers, np.int32)
    return flat.reshape(tuple(given.shape))


def _first_other(elements: Sequence[Any]) -> int:
    return next(n for n, each in enumerate(elements) if type(each) is not int or not _INT32.min <= each <= _INT32.max)


def _output(
    requested: RequestedOutput, classifier: Classifier, predictions: Sequence[Prediction], shape: list[int]
) -> Output:
    if requested.name == LABEL:
        return Output(LABEL, "BYTES", shape, [prediction.label.encode() for prediction in predictions])
    if requested.name == SCORE:
        scores = np.array([prediction.score for prediction in predictions], np.float32)
        return Output(SCORE, "FP32", shape, scores)
    if requested.classification:
        count = min(requested.classification, len(classifier.labels))
        classes = [each for prediction in predictions for each in _classes(classifier.labels, prediction, count)]
        return Output(PROBABILITIES, "BYTES", [len(predictions), count], classes)
    probabilities = np.array([prediction.probabilities for prediction in predictions], np.float32)
    return Output(PROBABILITIES, "FP32", list(probabilities.shape), probabilities)


def _classes(labels: Sequence[str], prediction: Prediction, count: int) -> list[bytes]:
    """Return `value:index:label`, most probable first (Triton, docs/protocol/extension_classification.md)."""
    ranked = sorted(range(len(labels)), key=lambda index: -prediction.probabilities[index])
    return [f"{prediction.probabilities[index]:f}:{index}:{labels[index]}".encode() for index in ranked[:count]]
