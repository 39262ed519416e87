"""The answer for one text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.decision import THRESHOLD, decide, decide_all
from sentiment_conv1d.model.manifest import Manifest
from sentiment_conv1d.model.tokenizer import Encoding

#: The smallest probabilities that logits are computed from, because 0 has no finite logit: half the distance between 1
#: and the float32 below it for a sigmoid, and the smallest float32 for a softmax.
_SIGMOID_LEAST, _SOFTMAX_LEAST = 2.0**-25, 2.0**-149


class Prediction(NamedTuple):
    """The answer for one text."""

    label: str
    score: np.float32  # probability of `label`
    probabilities: tuple[np.float32, ...]  # one per label, in the order of the model's labels
    tokens: int  # ids before truncation, including the start id
    unknown_tokens: int
    truncated: bool

    @classmethod
    def of(
        cls, labels: Sequence[str], encoding: Encoding, output: npt.NDArray[np.float32], threshold: float = THRESHOLD
    ) -> Self:
        """Return the prediction of a model with these labels for a text.

        `output` is the output of the model: float32 [1], the probability of the second label (sigmoid), or float32
        [labels], the probability of each label (softmax). A sigmoid decides for the second label from `threshold` on.
        """
        probabilities = tuple(output) if len(output) > 1 else (1 - output[0], output[0])
        index = decide(output, threshold)
        return cls(
            labels[index],
            probabilities[index],
            probabilities,
            encoding.tokens,
            encoding.unknown_tokens,
            encoding.tokens > len(encoding.ids),
        )

    def document(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the fields by name, with the probabilities by label."""
        return {
            "label": self.label,
            "score": self.score,
            "probabilities": dict(zip(labels, self.probabilities, strict=True)),
            "tokens": self.tokens,
            "unknown_tokens": self.unknown_tokens,
            "truncated": self.truncated,
        }

    def logits(self, activation: str) -> list[np.float32]:
        """Return a logit per label, computed from the probabilities. `activation` is that of the model's manifest.

        The sigmoid of each logit, or the softmax of all of them, is the probability. Float32 has few digits near 1, so
        the error of a sigmoid's logits is up to 7e-4 at 10 and up to 0.1 at 15; they end at 17.3.
        """
        if activation == "sigmoid":
            negative, positive = (max(float(each), _SIGMOID_LEAST) for each in self.probabilities)
            logit = math.log(positive) - math.log(negative)
            return [np.float32(-logit), np.float32(logit)]
        return [np.float32(math.log(max(float(each), _SOFTMAX_LEAST))) for each in self.probabilities]

    def decided(self, labels: Sequence[str], threshold: float) -> Self:
        """Return the prediction of a sigmoid model with another threshold."""
        index = decide(np.array(self.probabilities[1:]), threshold)
        return self._replace(label=labels[index], score=self.probabilities[index])


class PredictionColumns(NamedTuple):
    """The answers for several texts: a column for each field of `Prediction`, with one value per text."""

    label: list[str]
    score: npt.NDArray[np.float32]
    probabilities: tuple[npt.NDArray[np.float32], ...]  # one column per label
    tokens: list[int]
    unknown_tokens: list[int]
    truncated: list[bool]

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        encodings: Sequence[Encoding],
        outputs: npt.NDArray[np.float32],
        threshold: float = THRESHOLD,
    ) -> Self:
        """Return the predictions of a model for texts. `outputs` has a row for each text, see `Prediction.of`."""
        probabilities = outputs if outputs.shape[1] > 1 else np.concatenate([1 - outputs, outputs], axis=1)
        indices = decide_all(outputs, threshold)
        return cls(
            [labels[index] for index in indices.tolist()],
            probabilities[np.arange(len(indices)), indices],
            tuple(probabilities.T),
            [encoding.tokens for encoding in encodings],
            [encoding.unknown_tokens for encoding in encodings],
            [encoding.tokens > len(encoding.ids) for encoding in encodings],
        )


def prediction_body(manifest: Manifest, prediction: Prediction) -> dict[str, Any]:
    """Return a prediction with the name and version of its model, as the native REST API and the Python API answer."""
    document = prediction.document(manifest.labels)
    document["model"] = {"name": manifest.name, "version": str(manifest.version)}
    return document
