"""A teacher for one domain: a published model, whose answers to texts of the domain a student learns too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime
from scipy.special import logit

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.tokenizer import WordTokenizer
from sentiment_conv1d.commands.default_repository import SHIPPED
from sentiment_conv1d.model.training.fitting import TrainingError

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

#: Probabilities closer to 0 or 1 would have very large log-odds.
_CLOSEST = 1e-4


class DomainTeacher:
    """Computes the log-odds of label 1 of texts, given as ids of another tokenizer, with an artifact."""

    def __init__(self, name: str, words: Sequence[str]) -> None:
        """Open the shipped artifact `NAME/VERSION`. `words` are those of the ids.

        Raises `ArtifactError` or `TrainingError`.
        """
        artifact = read_artifact(SHIPPED / name)
        if artifact.manifest.outputs != 1 or not isinstance(artifact.tokenizer, WordTokenizer):
            raise TrainingError(f"{SHIPPED / name}: a teacher has two labels and the tokenizer words")
        self._shape = artifact.input_shape
        self._max_tokens = artifact.manifest.max_tokens
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # sums are in the same order on every machine
        self._session = onnxruntime.InferenceSession(artifact.graph, options, providers=["CPUExecutionProvider"])
        tokenizer = artifact.tokenizer
        ids = [tokenizer.ids.get(word, tokenizer.unknown_id) for word in words]
        self._ids = np.array([tokenizer.padding_id, tokenizer.start_id, tokenizer.unknown_id, *ids], np.int32)

    def predict(self, reviews: Sequence[Ids]) -> Floats:
        """Return the log-odds of label 1: float32 [reviews]."""
        return np.array([self._answer(self._ids[review[-self._max_tokens :]]) for review in reviews], np.float32)

    def _answer(self, ids: Ids) -> np.float32:
        [[probability]] = self._session.run(["probabilities"], {"tokens": self._shape.pad([ids])})[0]
        return np.float32(logit(np.clip(np.float64(probability), _CLOSEST, 1 - _CLOSEST)))
