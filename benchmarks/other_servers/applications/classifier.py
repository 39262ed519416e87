"""A function from texts to probabilities, for every server."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers

from benchmarks.baselines.competent import Competent
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.artifact import read_artifact
from sentiment_conv1d.model.manifest import MANIFEST_FILE

MAX_TOKENS = 400

#: From texts to probabilities of `positive`, in the same order.
Classify = Callable[[Sequence[str]], list[float]]


def load() -> Classify:
    """Load the classifier from the folder in the environment variable `MODEL_FOLDER`.

    An artifact runs in this service's classifier. Any other folder contains a `tokenizer.json` and a `model.onnx` that
    maps `tokens`, int32 [batch, sequence_length], to `probabilities`, float32 [batch, 1]. The graph of the competent
    application takes any sequence length, that of the naive application takes 400.
    """
    folder = Path(os.environ["MODEL_FOLDER"])
    if (folder / MANIFEST_FILE).exists():
        return _folded(folder)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return _naive(folder) if session.get_inputs()[0].shape[1] == MAX_TOKENS else _competent(folder)


def _competent(folder: Path) -> Classify:
    return Competent((folder / "model.onnx").read_bytes(), (folder / "tokenizer.json").read_bytes()).predict


def _naive(folder: Path) -> Classify:
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
