"""Graphs that refer to other files are refused before ONNX Runtime opens them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from sentiment_conv1d.artifact.artifact import ArtifactError
from sentiment_conv1d.inference.classifier import Classifier
from tests.service.artifacts import WEIGHTS, publish_table, table_graph

SECRET = "secret.bin"

WEIGHTS_INDEX = 0  # of the initializer


def external(name: str = "elsewhere") -> TensorProto:
    """Return the weights of the table as a reference to a file."""
    tensor = numpy_helper.from_array(WEIGHTS, name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=SECRET)
    return tensor


def sparse(*, values: bool) -> SparseTensorProto:
    """Return a sparse tensor whose values or indices are a reference to a file."""
    inside = numpy_helper.from_array(np.ones(1, np.float32), "values")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    return helper.make_sparse_tensor(external() if values else inside, indices if values else external(), [3])


def constant(**attribute: object) -> NodeProto:
    """Return a Constant node with an attribute."""
    return helper.make_node("Constant", [], ["unused"], **attribute)


def subgraph() -> NodeProto:
    """Return a node with two levels of graphs, the inner one with a reference to a file."""
    inner = helper.make_graph([], "inner", [], [], [external()])
    outer = helper.make_graph([helper.make_node("If", [], [], then_branch=inner)], "outer", [], [])
    return helper.make_node("Loop", [], [], body=outer)


def initializer(model: ModelProto) -> None:
    model.graph.initializer[WEIGHTS_INDEX].CopyFrom(external("weights"))


def function(model: ModelProto) -> None:
    declared = helper.make_function("own", "F", [], ["unused"], [constant(value=external())], [])
    model.functions.append(declared)


def default_of_function(model: ModelProto) -> None:
    declared = helper.make_function("own", "F", [], [], [], [])
    declared.attribute_proto.append(helper.make_attribute("value", external()))
    model.functions.append(declared)


def training(model: ModelProto) -> None:
    model.training_info.add().algorithm.node.append(constant(value=external()))


PLACES: dict[str, Callable[[ModelProto], object]] = {
    "initializer": initializer,
    "constant": lambda model: model.graph.node.append(constant(value=external())),
    "tensors": lambda model: model.graph.node.append(constant(values=[external()])),
    "sparse initializer": lambda model: model.graph.sparse_initializer.append(sparse(values=True)),
    "sparse constant": lambda model: model.graph.node.append(constant(sparse_value=sparse(values=False))),
    "sparse tensors": lambda model: model.graph.node.append(constant(sparse_values=[sparse(values=True)])),
    "subgraph": lambda model: model.graph.node.append(subgraph()),
    "graphs": lambda model: model.graph.node.append(constant(all=[helper.make_graph([subgraph()], "g", [], [])])),
    "function": function,
    "default of a function": default_of_function,
    "training": training,
}


@pytest.mark.parametrize("place", PLACES)
def test_data_in_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """A tensor whose data are in another file is refused, wherever it is in the graph, even if the file exists."""
    monkeypatch.chdir(tmp_path)
    Path(SECRET).write_bytes(WEIGHTS.tobytes())
    model = onnx.load_from_string(table_graph())
    PLACES[place](model)
    artifact = publish_table(tmp_path, model.SerializeToString())
    with pytest.raises(ArtifactError, match=rf"model\.onnx: the data of tensor '\w+' are in '{SECRET}'") as error:
        Classifier(artifact)
    assert error.value.fault == "graph"


@pytest.mark.parametrize("later", [0, 7])
def test_second_place_of_a_tensor(tmp_path: Path, later: int) -> None:
    """A second place, which some parsers ignore as unknown, does not hide that the data are elsewhere."""
    model = onnx.load_from_string(table_graph())
    tensor = model.graph.initializer.pop(WEIGHTS_INDEX)
    tensor.data_location = TensorProto.EXTERNAL
    content = tensor.SerializeToString() + bytes([14 << 3, later])
    graph = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
    assert len(content) < 128
    field = bytes([graph << 3 | 2, len(content)]) + content
    body = model.graph.SerializeToString() + field
    model.ClearField("graph")
    whole = model.SerializeToString() + bytes([7 << 3 | 2, len(body) % 128 + 128, len(body) // 128]) + body
    with pytest.raises(ArtifactError, match="the data of tensor 'weights' are in 'an unknown location'"):
        Classifier(publish_table(tmp_path, whole))


def test_format_of_onnx_runtime(tmp_path: Path) -> None:
    """A file in ONNX Runtime's own format is refused, whose references to files would not be checked."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(table_graph(), options, providers=["CPUExecutionProvider"])
    with pytest.raises(ArtifactError, match=r"model\.onnx: it is not an ONNX model"):
        Classifier(publish_table(tmp_path, (tmp_path / "model.ort").read_bytes()))


@pytest.mark.parametrize("operator", [("EPContext", "com.microsoft"), ("ReadFile", "ai.onnx.contrib")])
def test_operators_that_read_files(tmp_path: Path, operator: tuple[str, str]) -> None:
    """Operators of other execution providers and of libraries, which could read files, do not open."""
    model = onnx.load_from_string(table_graph())
    name, domain = operator
    context = {"ep_cache_context": SECRET, "embed_mode": 0, "main_context": 1} if name == "EPContext" else {}
    model.graph.node.append(helper.make_node(name, ["tokens"], ["read"], domain=domain, **context))
    model.opset_import.append(helper.make_opsetid(domain, 1))
    with pytest.raises(ArtifactError, match=r"cannot open the graph"):
        Classifier(publish_table(tmp_path, model.SerializeToString()))
