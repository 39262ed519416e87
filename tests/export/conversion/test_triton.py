"""Triton's configuration fits the file that `convert --to triton` writes. No test runs Triton itself.

Its clients' package parses the configuration with the messages that Triton reads it with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from sentiment_conv1d.__main__ import main
from sentiment_conv1d.model.artifact import read_artifact
from sentiment_conv1d.service.inference.classifier import Classifier
from tests.service.artifacts import LABELS, publish_strength, publish_table

#: What Triton calls the types of ONNX Runtime.
TYPES = {"tensor(string)": model_config_pb2.TYPE_STRING, "tensor(float)": model_config_pb2.TYPE_FP32}


def shape(tensor: Any) -> list[int]:
    """Return the shape, without the batch, of the tensor that Triton exchanges with the graph."""
    return list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)


def test_repository(tmp_path: Path) -> None:
    """Inputs, outputs, types, shapes and labels are those of the graph, which answers as the service does."""
    _, artifact = (publish_strength(tmp_path / "source", strength).path for strength in (1, 2))
    out = tmp_path / "out"
    assert main(["convert", str(artifact), "--to", "triton", "--out", str(out)]) == 0
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == ["tickets/2/model.onnx", "tickets/config.pbtxt", "tickets/labels.txt"]
    configuration = text_format.Parse((out / "tickets/config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert (configuration.name, configuration.backend) == ("tickets", "onnxruntime")
    session = onnxruntime.InferenceSession(out / "tickets/2/model.onnx")
    for tensors, values in (
        (configuration.input, session.get_inputs()),
        (configuration.output, session.get_outputs()),
    ):
        declared = {each.name: (each.data_type, ["batch", *shape(each)]) for each in tensors}
        assert declared == {each.name: (TYPES[each.type], each.shape) for each in values}
    [file] = [each.label_filename for each in configuration.output if each.label_filename]
    assert (out / "tickets" / file).read_text().splitlines() == list(LABELS)
    assert configuration.max_batch_size > 1 and configuration.HasField("dynamic_batching")
    assert [each.kind for each in configuration.instance_group] == [model_config_pb2.ModelInstanceGroup.KIND_CPU]
    texts = ["praise", "question complaint complaint"]
    labels, probabilities = session.run(None, {"text": np.array(texts, object)})
    expected = Classifier(read_artifact(artifact)).predict(texts)
    assert list(labels) == [each.label for each in expected]
    np.testing.assert_allclose(probabilities, [each.probabilities for each in expected], atol=1e-6)


def test_label_with_a_line_break(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A label that would be two lines of the file of labels is refused."""
    artifact = publish_table(tmp_path / "source", labels=("one", "two\nlines", "three")).path
    assert main(["convert", str(artifact), "--to", "triton", "--out", str(tmp_path / "out")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("Triton cannot read the label 'two\\nlines', which has a line break")
    assert not (tmp_path / "out").exists()
