"""The comparison of `text.onnx` with its artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from sentiment_conv1d.artifact.artifact import Artifact, publish
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.layers import Bank, Dense, Family
from sentiment_conv1d.artifact.tokenizer import WordTokenizer
from sentiment_conv1d.export.checks.parity import session
from sentiment_conv1d.export.checks.text_graph import TOLERANCE, odd_texts, prove
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from tests.service.artifacts import WORDS

LABELS = ("negative", "positive")


def averages(repository: Path) -> Artifact:
    """Publish a model that averages over 1,000 positions."""
    random = np.random.default_rng(3)

    def weights(scale: float, *shape: int) -> npt.NDArray[np.float32]:
        return random.normal(scale=scale, size=shape).astype(np.float32)

    tokenizer = WordTokenizer(WORDS, 1000)
    bank = Bank(weights(0.2, 3, 8, 64), np.zeros(64, np.float32), ("Relu",), pooling="mean")
    head = Dense(weights(0.3, 64, 1), np.zeros(1, np.float32), ("Sigmoid",))
    family = Family(tokenizer.max_tokens, weights(1, tokenizer.vocabulary_size, 8), (bank,), (head,))
    graph = folded_graph(family).SerializeToString()
    ids = InputShape.of(tokenizer, family.leading_padding).pad([tokenizer.encode("praise").ids])
    [answer] = onnxruntime.InferenceSession(graph).run(["probabilities"], {"tokens": ids})
    manifest = {
        "name": "averages",
        "created": "2026-01-01T00:00:00+00:00",
        "labels": LABELS,
        "activation": "sigmoid",
        "max_tokens": tokenizer.max_tokens,
        "vocabulary_size": tokenizer.vocabulary_size,
        "convolution_widths": (bank.width,),
        "leading_padding": family.leading_padding,
        "configuration": None,
        "metrics": None,
        "parity": (),
        "golden": {"text": "praise", "probabilities": answer[0].tolist()},
        "libraries": {},
    }
    return publish(repository, manifest, graph, tokenizer)


def test_average_pooling(tmp_path: Path) -> None:
    """A sum over many positions, which the padding of a batch changes in the last digits, is no difference."""
    artifact = averages(tmp_path)
    ids = [artifact.tokenizer.encode("praise").ids]
    short, long = (session(artifact.graph)(artifact.input_shape.pad(ids, length)) for length in (5, 1000))
    assert abs(short - long).max() > TOLERANCE
    assert prove(artifact, text_graph(artifact), odd_texts(artifact)).largest_difference <= TOLERANCE
