"""The answer for one text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.decision import THRESHOLD, decide, decide_all, decide_each
from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.artifact.tokenizer import Encoding, Tokenizer

#: The smallest probabilities that logits are computed from, because 0 has no finite logit: half the distance between 1
#: and the float32 below it for a sigmoid, and the smallest float32 for a softmax.
_SIGMOID_LEAST, _SOFTMAX_LEAST = 2.0**-25, 2.0**-149


@dataclass(frozen=True, slots=True)
class Decider:
    """The rule that turns the output of a model into an answer.

    The model is confident of an answer if it knows at least half of the words, and one, and if the score reaches the
    limit of the label. If unknown words are not counted, the score decides alone, as it did where the limit was
    measured. Nothing is said about a label without a limit.
    """

    labels: Sequence[str]
    limits: Sequence[float | None]  # the lowest score of each label at which the model is confident; None: not measured
    threshold: float = THRESHOLD  # of a sigmoid
    start_ids: int = 1  # ids of every text that stand for no word
    thresholds: Sequence[float] = ()  # one per label, if a text can have several labels

    @classmethod
    def of(cls, manifest: Manifest, tokenizer: Tokenizer) -> Self:
        """Return the decider of a model."""
        labels, decision = manifest.labels, manifest.decision
        return cls(
            labels,
            decision.limits(labels),
            decision.threshold,
            int(tokenizer.start_id is not None),
            decision.each_threshold(labels),
        )

    def is_confident(self, index: int, score: np.float32, tokens: int, unknown_tokens: int | None) -> bool | None:
        """Return whether the model is confident that a text has the label with this index; None without a limit."""
        limit = self.limits[index]
        if limit is None:
            return None
        unknown = unknown_tokens or 0
        known = tokens - unknown - self.start_ids
        return known >= unknown and known > 0 and float(score) >= limit

    def reached(self, probabilities: Sequence[np.float32]) -> tuple[str, ...] | None:
        """Return the labels at or above their thresholds, given the probability of each; None without thresholds."""
        if not self.thresholds:
            return None
        each = zip(self.labels, probabilities, self.thresholds, strict=True)
        return tuple(label for label, probability, threshold in each if float(probability) >= threshold)

    def reached_in_rows(self, outputs: npt.NDArray[np.float32]) -> list[list[str] | None]:
        """Return what `reached` does for several texts, [texts, outputs]."""
        if not self.thresholds:
            return [None] * len(outputs)
        rows = decide_each(outputs, self.thresholds).tolist()
        return [[label for label, has in zip(self.labels, row, strict=True) if has] for row in rows]


class Prediction(NamedTuple):
    """The answer for one text."""

    label: str
    score: np.float32  # probability of `label`
    probabilities: tuple[np.float32, ...]  # one per label, in the order of the model's labels
    tokens: int  # ids before truncation, including the start id
    unknown_tokens: int | None  # None: not counted, because the tokenizer finds parts of words
    truncated: bool
    confident: bool | None  # half of the words are known, and `score` reaches the limit of `label`; None without one
    labels: tuple[str, ...] | None = None  # those at or above their thresholds; None if a text has just one label

    @classmethod
    def of(cls, decider: Decider, encoding: Encoding, output: npt.NDArray[np.float32]) -> Self:
        """Return the prediction of a model for a text.

        `output` is the output of the model: float32 [1], the probability of the second label (sigmoid), or float32
        [labels], the probability of each label (softmax, or a sigmoid each). A single sigmoid decides for the second
        label from the threshold on.
        """
        probabilities = tuple(output) if len(output) > 1 else (1 - output[0], output[0])
        index = decide(output, decider.threshold)
        score = probabilities[index]
        return cls(
            decider.labels[index],
            score,
            probabilities,
            encoding.tokens,
            encoding.unknown_tokens,
            encoding.tokens > len(encoding.ids),
            decider.is_confident(index, score, encoding.tokens, encoding.unknown_tokens),
            decider.reached(probabilities),
        )

    @property
    def is_answer(self) -> bool:
        """Whether the model has an answer to the text: see `Manifest.needs_words`."""
        return not math.isnan(self.score)

    def document(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the fields by name, with the probabilities by label. `labels` is left out if it is None."""
        document = {
            "label": self.label,
            "score": self.score,
            "probabilities": dict(zip(labels, self.probabilities, strict=True)),
            "tokens": self.tokens,
            "unknown_tokens": self.unknown_tokens,
            "truncated": self.truncated,
            "confident": self.confident,
        }
        if self.labels is not None:
            document["labels"] = self.labels
        return document

    def predicted(self, labels: Sequence[str]) -> Sequence[tuple[str, np.float32]]:
        """Return the predicted labels with their probabilities: `label`, or `labels` if a text can have several."""
        if self.labels is None:
            return ((self.label, self.score),)
        each = zip(labels, self.probabilities, strict=True)
        return [(label, probability) for label, probability in each if label in self.labels]

    def logits(self, activation: str) -> list[np.float32]:
        """Return a logit per label, computed from the probabilities. `activation` is that of the model's manifest.

        The sigmoid of each logit, or the softmax of all of them, is the probability. Float32 has few digits near 1, so
        the error of a sigmoid's logits is up to 7e-4 at 10 and up to 0.1 at 15; they end at 17.3.
        """
        if self.labels is not None:
            return [np.float32(_logit(float(each))) for each in self.probabilities]
        if activation == "sigmoid":
            negative, positive = (max(float(each), _SIGMOID_LEAST) for each in self.probabilities)
            logit = math.log(positive) - math.log(negative)
            return [np.float32(-logit), np.float32(logit)]
        return [np.float32(math.log(max(float(each), _SOFTMAX_LEAST))) for each in self.probabilities]

    def decided(self, decider: Decider, threshold: float) -> Self:
        """Return the prediction of a model with a single sigmoid for another threshold."""
        index = decide(np.array(self.probabilities[1:]), threshold)
        score = self.probabilities[index]
        confident = decider.is_confident(index, score, self.tokens, self.unknown_tokens)
        return self._replace(label=decider.labels[index], score=score, confident=confident)


def _logit(probability: float) -> float:
    return math.log(max(probability, _SOFTMAX_LEAST)) - math.log(max(1 - probability, _SIGMOID_LEAST))


class PredictionColumns(NamedTuple):
    """The answers for several texts: a column for each field of `Prediction`, with one value per text."""

    label: list[str]
    score: npt.NDArray[np.float32]
    probabilities: tuple[npt.NDArray[np.float32], ...]  # one column per label
    tokens: list[int]
    unknown_tokens: list[int | None]
    truncated: list[bool]
    confident: list[bool | None]
    labels: list[list[str] | None]

    @classmethod
    def of(cls, decider: Decider, encodings: Sequence[Encoding], outputs: npt.NDArray[np.float32]) -> Self:
        """Return the predictions of a model for texts. `outputs` has a row for each text, see `Prediction.of`."""
        probabilities = outputs if outputs.shape[1] > 1 else np.concatenate([1 - outputs, outputs], axis=1)
        decided = decide_all(outputs, decider.threshold)
        scores = probabilities[np.arange(len(decided)), decided]
        indices = decided.tolist()
        return cls(
            [decider.labels[index] for index in indices],
            scores,
            tuple(probabilities.T),
            [encoding.tokens for encoding in encodings],
            [encoding.unknown_tokens for encoding in encodings],
            [encoding.tokens > len(encoding.ids) for encoding in encodings],
            [
                decider.is_confident(index, score, encoding.tokens, encoding.unknown_tokens)
                for index, score, encoding in zip(indices, scores, encodings, strict=True)
            ],
            decider.reached_in_rows(outputs),
        )


def prediction_body(manifest: Manifest, prediction: Prediction) -> dict[str, Any]:
    """Return a prediction with the name and version of its model, as the native REST API and the Python API answer."""
    document = prediction.document(manifest.labels)
    document["model"] = {"name": manifest.name, "version": str(manifest.version)}
    return document
