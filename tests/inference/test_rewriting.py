"""The operator replaces what it can compute in memory, and an unusable library or graph is no obstacle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, load_from_string

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.inference.engine import Engine
from sentiment_conv1d.inference.graph_file import parse
from sentiment_conv1d.inference.rewriting import MAP, pads_freely, rewrite
from tests.ids import shape
from tests.service.artifacts import table_graph


def rewritten(graph: ModelProto) -> ModelProto:
    """Return the graph with the operator."""
    model = parse(graph.SerializeToString())
    rewrite(model)
    return load_from_string(model.SerializeToString())


def test_rewritten(artifact: Artifact) -> None:
    """One node replaces look-ups, sums and pooling. The other nodes stay, and so do all constants that they read."""
    before = load_from_string(artifact.graph)
    after = rewritten(before)
    operators = [node.op_type for node in after.graph.node]
    assert operators == [
        *["MatMul", "Add", "MatMul", "MatMul"],
        "FoldedConvolution",
        *["Relu", "Gemm", "Relu", "Gemm", "Sigmoid"],
    ]
    read = {name for node in after.graph.node for name in node.input}
    assert {each.name for each in after.graph.initializer} == read & {each.name for each in before.graph.initializer}
    assert (after.graph.input, after.graph.output) == (before.graph.input, before.graph.output)
    assert after.producer_name == before.producer_name and after.ir_version == before.ir_version


def test_padding(artifact: Artifact) -> None:
    """Padding takes no time if the operator pools, unlike without the operator, or if that returns a feature map."""
    model = parse(artifact.graph)
    assert not pads_freely(model)
    rewrite(model)
    assert pads_freely(model)
    [pooling] = [each for node in model.graph.node for each in node.attribute if each.name == "pooling"]
    pooling.i = MAP
    assert not pads_freely(model)


@pytest.mark.parametrize(
    ("node", "attribute", "value"),
    [("MaxPool", "ceil_mode", 0), ("ReduceMax", "keepdims", 1), ("Gather", "axis", 0)],
)
def test_other_attributes(artifact: Artifact, node: str, attribute: str, value: int) -> None:
    """A graph whose nodes compute something else stays as it is."""
    graph = load_from_string(artifact.graph)
    [changed, *_] = [each for each in graph.graph.node if each.op_type == node]
    [given] = [each for each in changed.attribute if each.name == attribute]
    given.i = value
    assert not rewrite(parse(graph.SerializeToString()))


def test_other_slices(artifact: Artifact) -> None:
    """A graph that leaves out the last word stays as it is."""
    graph = load_from_string(artifact.graph)
    [end] = [each for each in graph.graph.initializer if each.name == "int_end"]
    end.raw_data = np.array([-1], np.int64).tobytes()
    assert not rewrite(parse(graph.SerializeToString()))


def test_unknown_graph() -> None:
    """The engine says that it runs a graph of another form without the operator."""
    assert Engine(table_graph(), shape(8)).operator in (
        "the graph is not folded",
        "this installation does not contain it",
    )


def test_unusable_library(artifact: Artifact, tmp_path: Path) -> None:
    """A library that cannot be loaded leaves the graph as it is, and the engine says why."""
    library = tmp_path / "library.so"
    library.write_bytes(b"for another processor")
    opened = Engine(artifact.graph, artifact.input_shape, library=library)
    assert "library.so" in opened.operator
    assert opened.run(np.ones((1, 4), np.int32), 4).shape == (1, 1)
