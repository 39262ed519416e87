"""The classifier of the applications in Python: a dictionary of words, and the shipped graph.

It needs only NumPy and ONNX Runtime, so that every server can run it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
import onnxruntime

MAX_TOKENS = 400

_SPACES = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " "))
_PADDING, _START, _UNKNOWN = 0, 1, 2

#: Pad ids in front of a text: as many as a filter is wide are equivalent to any larger number.
_FRONT = [_PADDING, _PADDING, _PADDING, _START]


class Competent:
    """Classifies texts in process on one thread, with the graph and the tokenizer of a version's folder."""

    def __init__(self, artifact: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        graph = artifact / "model.onnx"
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._ids: dict[str, int] = json.loads((artifact / "tokenizer.json").read_bytes())["model"]["vocab"]

    def predict(self, texts: Sequence[str]) -> list[float]:
        """Return the probabilities of `positive`, from one run of the graph.

        The service splits texts only at spaces; this version also splits at other white space.
        """
        rows = [self._encode(text) for text in texts]
        longest = max(map(len, rows))
        tokens = np.array([[_PADDING] * (longest - len(row)) + row for row in rows], np.int32)
        probabilities: list[float] = self._session.run(["probabilities"], {"tokens": tokens})[0][:, 0].tolist()
        return probabilities

    def _encode(self, text: str) -> list[int]:
        words = text.lower().translate(_SPACES).split()[-MAX_TOKENS:]
        return [*_FRONT, *map(self._ids.get, words, repeat(_UNKNOWN))][-MAX_TOKENS:]
