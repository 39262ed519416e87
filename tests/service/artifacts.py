"""Small hand-made models: a table with one row per id and one column per label, summed over the review."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sentiment_conv1d.artifact.artifact import Artifact, publish, read_artifact
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.manifest import MANIFEST_FILE
from sentiment_conv1d.artifact.tokenizer import WordTokenizer
from sentiment_conv1d.artifact.tokenizer.document import RESERVED_WORDS
from tests.processes import MODEL_REPOSITORY

WORDS = ("praise", "question", "complaint")
LABELS = ("thanks", "asks", "complains")
MAX_TOKENS = 8

#: The thresholds of a model that gives a text several of these labels.
THRESHOLDS = dict(zip(LABELS, (0.34, 0.74, 0.858), strict=True))

#: Reserved ids have no weight, and each word has a weight for the label at its index.
WEIGHTS = np.vstack([np.zeros((len(RESERVED_WORDS), 3)), 2 * np.eye(3)]).astype(np.float32)


def table_graph(
    weights: npt.NDArray[np.float32] = WEIGHTS,
    *,
    activation: str = "Softmax",
    shape: Sequence[int | str] = ("batch", "time"),
    names: tuple[str, str] = ("tokens", "probabilities"),
) -> bytes:
    """Return the ONNX graph of such a model."""
    nodes = [
        helper.make_node("Gather", ["weights", names[0]], ["rows"], axis=0),
        helper.make_node("ReduceSum", ["rows", "axes"], ["sums"], keepdims=0),
        helper.make_node(activation, ["sums"], [names[1]]),
    ]
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info(names[0], TensorProto.INT32, shape)],
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([-2]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def averaging_graph() -> bytes:
    """Return the graph of such a model that averages over words, so that it returns NaN for a text without any."""
    nodes = [
        helper.make_node("GreaterOrEqual", ["tokens", "unknown"], ["is_word"]),
        helper.make_node("Cast", ["is_word"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["ones", "last"], ["count"]),
        helper.make_node("Div", ["sums", "count"], ["means"]),
        helper.make_node("Softmax", ["means"], ["probabilities"]),
    ]
    model = onnx.load_from_string(table_graph())
    del model.graph.node[-1]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(2, np.int32), "unknown"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1]), "last"))
    content: bytes = model.SerializeToString()
    return content


def endless_graph(questions: int = 0) -> bytes:
    """Return the graph of such a model that never ends for reviews with so many questions, or more."""
    body = helper.make_graph(
        [helper.make_node("Identity", [each], [f"{each}_after"]) for each in ("goes_on", "shares")],
        "body",
        [helper.make_tensor_value_info("round", TensorProto.INT64, []), *_state("")],
        _state("_after"),
    )
    nodes = [
        helper.make_node("Equal", ["tokens", "question"], ["is_question"]),
        helper.make_node("Cast", ["is_question"], ["ones"], to=TensorProto.INT32),
        helper.make_node("ReduceSum", ["ones"], ["count"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["count", "questions"], ["many"]),
        helper.make_node("Loop", ["", "many", "answer"], ["probabilities"], body=body),
    ]
    model = onnx.load_from_string(table_graph(names=("tokens", "answer")))
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(4, np.int32), "question"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(questions, np.int32), "questions"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3]))
    content: bytes = model.SerializeToString()
    return content


def _state(suffix: str) -> list[onnx.ValueInfoProto]:
    """Return the values that a round of the loop passes on."""
    return [
        helper.make_tensor_value_info(f"goes_on{suffix}", TensorProto.BOOL, []),
        helper.make_tensor_value_info(f"shares{suffix}", TensorProto.FLOAT, ["batch", 3]),
    ]


def probabilities(words: Sequence[str], strength: float = 2) -> npt.NDArray[np.float32]:
    """Return the answers of `table_graph()`, or of a table with words of weight `strength`, to words of `WORDS`."""
    sums = np.array([strength * words.count(word) for word in WORDS], np.float32)
    exponentials: npt.NDArray[np.float32] = np.exp(sums)
    shares: npt.NDArray[np.float32] = exponentials / exponentials.sum()
    return shares


GOLDEN = probabilities(["praise", "praise", "question"])


def publish_table(repository: Path, graph: bytes | None = None, **changes: Any) -> Artifact:
    """Write a model of three labels into a repository. `changes` are fields of its manifest."""
    manifest: dict[str, Any] = {
        "name": "tickets",
        "created": "2026-01-01T00:00:00+00:00",
        "labels": LABELS,
        "activation": "softmax",
        "max_tokens": MAX_TOKENS,
        "vocabulary_size": len(RESERVED_WORDS) + len(WORDS),
        "convolution_widths": (),
        "leading_padding": 0,
        "configuration": None,
        "metrics": None,
        "parity": (),
        "golden": {"text": "praise praise question", "probabilities": GOLDEN.tolist()},
        "libraries": {},
    }
    tokenizer = WordTokenizer(WORDS, MAX_TOKENS)
    return publish(repository, manifest | changes, table_graph() if graph is None else graph, tokenizer)


def publish_averaging(repository: Path) -> Artifact:
    """Write a model that has no answer to a text without words."""
    golden = probabilities(["praise", "praise", "question"], 2 / 3)
    golden_answer = {"text": "praise praise question", "probabilities": golden.tolist()}
    return publish_table(repository, averaging_graph(), golden=golden_answer, needs_words=True)


def publish_strength(repository: Path, strength: float, **changes: Any) -> Artifact:
    """Write a model with words of weight `strength`, so that its answers differ from those of other versions."""
    golden = probabilities(["praise", "praise", "question"], strength)
    changes = {"golden": {"text": "praise praise question", "probabilities": golden.tolist()}} | changes
    return publish_table(repository, table_graph((WEIGHTS / 2 * strength).astype(np.float32)), **changes)


def shipped_copy(repository: Path) -> Path:
    """Copy the shipped artifact into another repository."""
    copy = repository / "imdb-cnn" / "1"
    shutil.copytree(MODEL_REPOSITORY / "imdb-cnn" / "1", copy)
    return copy


def publish_limits(repository: Path, name: str, confident_from: Mapping[str, float | None]) -> None:
    """Publish the classic shipped model under another name, with these limits of its labels."""
    shipped = MODEL_REPOSITORY / "imdb-cnn" / "1"
    folder = shutil.copytree(shipped, repository / name / "1")
    changed = {"name": name, "decision": DecisionRule(confident_from=confident_from)}
    manifest = read_artifact(shipped).manifest.model_copy(update=changed)
    (folder / MANIFEST_FILE).write_bytes(manifest.to_bytes())
