"""The proof of `text.onnx`: the same labels and probabilities as those of the artifact that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.decision import decide_all, decide_each
from sentiment_conv1d.artifact.graphs.text.file import HAS_LABEL, LABEL, PROBABILITIES, TEXT
from sentiment_conv1d.artifact.manifest import ParityCheck
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer
from sentiment_conv1d.export.checks.odd_texts import generated_texts, long_texts, spelled_texts
from sentiment_conv1d.export.checks.parity import ParityError, opened, session
from sentiment_conv1d.model.evaluation.batches import Outputs, Predict

TOLERANCE = 1e-6

#: The most texts that the graph reads together.
_BATCH = 32

#: The most characters of a text in a message.
_SHOWN = 40

_HINT = "this is a bug in the conversion: please report it with the artifact"

#: A graph as a function: texts -> labels and probabilities float32 [texts, labels].
Answer = Callable[[Sequence[str]], tuple[list[str], Outputs]]


def open_text_graph(content: bytes) -> Answer:
    """Open `text.onnx` in ONNX Runtime. Raises `ParityError` if that fails, and so does the function."""
    run = _opened(content, LABEL, PROBABILITIES)

    def answer(texts: Sequence[str]) -> tuple[list[str], Outputs]:
        labels, probabilities = run(texts)
        return labels.tolist(), probabilities

    return answer


def odd_texts(artifact: Artifact) -> list[str]:
    """Return texts of every length and kind, and those of the manifest. A graph can read all of them."""
    tokenizer, manifest = artifact.tokenizer, artifact.manifest
    assert isinstance(tokenizer, VocabularyTokenizer)  # a graph contains no other one
    texts = [manifest.golden.text, *(sample.text for sample in manifest.samples), *generated_texts(tokenizer)]
    spelled = list(spelled_texts(tokenizer))
    joined = [" ".join(spelled[start::_BATCH]) for start in range(min(_BATCH, len(spelled)))]
    return list(filter(_is_writable, [*texts, *joined, *spelled, *long_texts(tokenizer)]))


def prove(artifact: Artifact, content: bytes, texts: Sequence[str]) -> ParityCheck:
    """Compare `text.onnx` with the artifact on texts, one by one and in batches of any lengths.

    Raises `ParityError`, which shows a text, if a label differs or a probability differs by more than `TOLERANCE`.
    """
    outputs = (LABEL, PROBABILITIES, HAS_LABEL) if artifact.manifest.multilabel else (LABEL, PROBABILITIES)
    predict, run = session(artifact.graph), _opened(content, *outputs)
    differences = [
        _compare(artifact, predict, run, texts[start : start + size])
        for size in (1, _BATCH)
        for start in range(0, len(texts), size)
    ]
    return ParityCheck(
        against="text.onnx",
        inputs="texts",
        examples=len(texts),
        largest_difference=max(differences),
        tolerance=TOLERANCE,
    )


def _opened(content: bytes, *outputs: str) -> Callable[[Sequence[str]], list[Any]]:
    run = opened(content, list(outputs), "text.onnx", _HINT)
    return lambda texts: run({TEXT: np.array(texts, dtype=object)})


def _compare(
    artifact: Artifact, predict: Predict, run: Callable[[Sequence[str]], list[Any]], texts: Sequence[str]
) -> float:
    """Return the largest difference of a probability.

    Both graphs read the same padding, because a sum over many positions, as of average pooling, depends on it. Both
    return NaN for a text that has no answer.
    """
    manifest = artifact.manifest
    output = predict(artifact.input_shape.pad([each.ids for each in artifact.tokenizer.encode_batch(texts)]))
    truth = output if output.shape[1] > 1 else np.concatenate([1 - output, output], axis=1)
    expected = [manifest.labels[index] for index in decide_all(output, manifest.decision.threshold)]
    labels, probabilities, *several = run(texts)
    have_none = np.isnan(probabilities) & np.isnan(truth)
    differences: list[float] = np.where(have_none, 0, np.abs(probabilities - truth)).max(axis=1).tolist()
    for has_label in several:
        thresholds = manifest.decision.each_threshold(manifest.labels)
        wrong = (has_label != decide_each(truth, thresholds)).any(axis=1)
        if wrong.any():
            raise ParityError(f"text.onnx answers {texts[int(wrong.argmax())][:_SHOWN]!r} with other labels", _HINT)
    for text, label, right, difference in zip(texts, labels, expected, differences, strict=True):
        if not difference <= TOLERANCE or label != right:  # negated, so that NaN fails
            raise ParityError(
                f"text.onnx answers {text[:_SHOWN]!r} with {label} instead of {right}, and its "
                f"probabilities are off by {difference:.2g}",
                _HINT,
            )
    return max(differences)


def _is_writable(text: str) -> bool:
    """Return whether a graph can read a text: its strings are UTF-8, which has no lone surrogates."""
    return text.encode(errors="replace") == text.encode(errors="surrogatepass")
