"""The competent version: a dictionary of words, and the graph over as many positions as the texts have.

It needs only NumPy and ONNX Runtime, so that every server can run it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import onnxruntime

MAX_TOKENS = 400

_SPACES = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " "))
_PADDING, _START, _UNKNOWN = 0, 1, 2

#: Pad ids in front of a text: as many as a filter is wide are equivalent to any larger number.
_FRONT = [_PADDING, _PADDING, _PADDING, _START]


class Competent:
    """Classifies texts in process on one thread, with an unfolded graph and its tokenizer.json."""

    def __init__(self, graph: bytes, tokenizer: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._ids: dict[str, int] = json.loads(tokenizer)["model"]["vocab"]

    def predict(self, texts: Sequence[str]) -> list[float]:
        """Return the probabilities of `positive`, from one run of the graph.

        The service splits texts only at spaces; this version also splits at other white space.
        """
        ids = self._ids
        rows = [
            [*_FRONT, *(ids.get(word, _UNKNOWN) for word in text.lower().translate(_SPACES).split())][-MAX_TOKENS:]
            for text in texts
        ]
        tokens = np.zeros((len(rows), max(map(len, rows))), np.int32)
        for row, padded in zip(rows, tokens, strict=True):
            padded[-len(row) :] = row
        probabilities: list[float] = self._session.run(["probabilities"], {"tokens": tokens})[0][:, 0].tolist()
        return probabilities
