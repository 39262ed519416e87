"""Texts to probabilities, for whichever server."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers

from sentiment_conv1d.model.artifact import MANIFEST_FILE, read_artifact
from sentiment_conv1d.service.inference.classifier import Classifier

MAX_TOKENS = 400

#: Texts to probabilities of `positive`, in their order.
Classify = Callable[[Sequence[str]], list[float]]


def load() -> Classify:
    """What is in the folder that the environment's `MODEL_FOLDER` names.

    An artifact goes through this service's classifier. Any other folder holds `model.onnx`, which takes `tokens`, int32
    [batch, 400], and gives `probabilities`, float32 [batch, 1], and the `tokenizer.json` of the tokenizers library.
    """
    folder = Path(os.environ["MODEL_FOLDER"])
    return _folded(folder) if (folder / MANIFEST_FILE).exists() else _unfolded(folder)


def _unfolded(folder: Path) -> Classify:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))

    def classify(texts: Sequence[str]) -> list[float]:
        tokens = np.zeros((len(texts), MAX_TOKENS), np.int32)  # id 0 pads
        for row, text in zip(tokens, texts, strict=True):
            ids = tokenizer.encode(text).ids
            row[MAX_TOKENS - len(ids) :] = ids
        probabilities: list[float] = session.run(["probabilities"], {"tokens": tokens})[0][:, 0].tolist()
        return probabilities

    return classify


def _folded(folder: Path) -> Classify:
    classifier = Classifier(read_artifact(folder))
    return lambda texts: [float(each.probabilities[1]) for each in classifier.predict(texts)]
