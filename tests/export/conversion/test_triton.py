"""Triton's configuration fits the file that `convert --to triton` writes. No test runs Triton itself.

Its clients' package parses the configuration with the messages that Triton reads it with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from sentiment_conv1d.__main__ import main
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.inference.classifier import Classifier
from tests.processes import run
from tests.service.artifacts import LABELS, publish_strength, publish_table

#: What Triton calls the types of ONNX Runtime.
TYPES = {"tensor(string)": "TYPE_STRING", "tensor(float)": "TYPE_FP32"}

#: Prints a configuration as JSON. The messages have the names of the service's own, so a process cannot load both.
PROGRAM = """
import pathlib, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
configuration = text_format.Parse(pathlib.Path(sys.argv[1]).read_text(), ModelConfig())
print(json_format.MessageToJson(configuration, preserving_proto_field_name=True))
"""


def parsed(file: Path) -> dict[str, Any]:
    """Return a configuration as Triton reads it. Numbers of 64 bits are strings."""
    finished = run("-c", PROGRAM, str(file))
    assert finished.returncode == 0, finished.stderr
    configuration: dict[str, Any] = json.loads(finished.stdout)
    return configuration


def shape(tensor: dict[str, Any]) -> list[int]:
    """Return the shape, without the batch, of the tensor that Triton exchanges with the graph."""
    return list(map(int, tensor["reshape"].get("shape", ()) if "reshape" in tensor else tensor["dims"]))


def test_repository(tmp_path: Path) -> None:
    """Inputs, outputs, types, shapes and labels are those of the graph, which answers as the service does."""
    _, artifact = (publish_strength(tmp_path / "source", strength).path for strength in (1, 2))
    out = tmp_path / "out"
    assert main(["convert", str(artifact), "--to", "triton", "--out", str(out)]) == 0
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == ["tickets/2/model.onnx", "tickets/config.pbtxt", "tickets/labels.txt"]
    configuration = parsed(out / "tickets/config.pbtxt")
    assert (configuration["name"], configuration["backend"]) == ("tickets", "onnxruntime")
    session = onnxruntime.InferenceSession(out / "tickets/2/model.onnx")
    for tensors, values in (
        (configuration["input"], session.get_inputs()),
        (configuration["output"], session.get_outputs()),
    ):
        declared = {each["name"]: (each["data_type"], ["batch", *shape(each)]) for each in tensors}
        assert declared == {each.name: (TYPES[each.type], each.shape) for each in values}
    [file] = [each["label_filename"] for each in configuration["output"] if "label_filename" in each]
    assert (out / "tickets" / file).read_text().splitlines() == list(LABELS)
    assert configuration["max_batch_size"] > 1 and "dynamic_batching" in configuration
    assert [each["kind"] for each in configuration["instance_group"]] == ["KIND_CPU"]
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
