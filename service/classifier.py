"""A loaded model: texts in, predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model.artifact import GRAPH_FILE, Artifact, ArtifactError
from model.padding import pad, padded_length
from model.tokenizer import Encoding
from service.engine import Engine, GraphError, ProviderChoice
from service.statistics import Statistics

#: Rows of one run. More would not be faster on a CPU and would hold the padded matrix of all of them in memory.
MAX_ROWS = 32

#: How far the golden answer may be off: other processors sum in another order.
GOLDEN_TOLERANCE = 1e-4


class Prediction(NamedTuple):
    """The answer for one text."""

    label: str
    score: np.float32  # probability of `label`
    probabilities: tuple[np.float32, ...]  # one a label, in the order of the model's labels
    tokens: int  # ids before truncation, the start id included
    unknown_tokens: int
    truncated: bool


class Classifier:
    """An artifact, its tokenizer and a session on its graph.

    Raises `ArtifactError` where the graph is not the one the manifest speaks of or does not give the golden answer,
    so that whoever holds a classifier may serve it.
    """

    def __init__(
        self, artifact: Artifact, *, provider: ProviderChoice = "cpu", threads: int = 1, device: int = 0
    ) -> None:
        self.manifest = artifact.manifest
        self.labels = artifact.manifest.labels
        self._tokenizer = artifact.tokenizer
        self._max_tokens = artifact.manifest.max_tokens
        self._leading_padding = artifact.manifest.leading_padding
        self._sigmoid = artifact.manifest.activation == "sigmoid"
        self.statistics = Statistics()
        try:
            self.engine = Engine(artifact.graph, provider=provider, threads=threads, device=device)
            self._warm_up(artifact)
        except GraphError as error:
            raise ArtifactError(f"{artifact.path / GRAPH_FILE}: {error}") from error

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predictions in the order of the texts."""
        return self.classify(self.encode(texts))

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The ids of every text."""
        return [self._tokenizer.encode(text) for text in texts]

    def classify(self, encodings: Sequence[Encoding]) -> list[Prediction]:
        """Predictions in the order of the encodings, which must hold ids of the vocabulary.

        Reviews of like length run together, so that padding costs little.
        """
        if len(encodings) == 1:
            return self._run(encodings)
        order = sorted(range(len(encodings)), key=lambda number: len(encodings[number].ids))
        predictions: dict[int, Prediction] = {}
        for start in range(0, len(order), MAX_ROWS):
            rows = order[start : start + MAX_ROWS]
            predictions.update(zip(rows, self._run([encodings[row] for row in rows]), strict=True))
        return [predictions[number] for number in range(len(encodings))]

    def _run(self, encodings: Sequence[Encoding]) -> list[Prediction]:
        longest = max(len(encoding.ids) for encoding in encodings)
        time = padded_length(longest, self._max_tokens, self._leading_padding)
        outputs = self.engine.run(pad([encoding.ids for encoding in encodings], time))
        return [self._prediction(*pair) for pair in zip(encodings, outputs, strict=True)]

    def _prediction(self, encoding: Encoding, output: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Prediction:
        if self._sigmoid:
            positive = output[0]
            probabilities: tuple[np.float32, ...] = (1 - positive, positive)
            index = 1 if positive >= 0.5 else 0
        else:
            probabilities = tuple(output)
            index = int(output.argmax())
        return Prediction(
            self.labels[index],
            probabilities[index],
            probabilities,
            encoding.tokens,
            encoding.unknown_tokens,
            encoding.tokens > self._max_tokens,
        )

    def _warm_up(self, artifact: Artifact) -> None:
        """The golden answer, then the largest shapes and id, so that no request pays for allocations or fails."""
        golden = artifact.manifest.golden
        encoding = self._tokenizer.encode(golden.text)
        time = padded_length(len(encoding.ids), self._max_tokens, self._leading_padding)
        if self.engine.time not in (None, time):
            raise GraphError(f"takes {self.engine.time} tokens, not {time}")
        answer = self.engine.run(pad([encoding.ids], time))[0]
        expected = np.array(golden.probabilities)
        if answer.shape != expected.shape or not np.allclose(answer, expected, rtol=0, atol=GOLDEN_TOLERANCE):
            raise GraphError(f"answers the golden text with {answer.tolist()} instead of {expected.tolist()}")
        longest = np.full(self._max_tokens, artifact.manifest.vocabulary_size - 1, np.int32)
        self.engine.run(pad([longest] * MAX_ROWS, self._max_tokens))
