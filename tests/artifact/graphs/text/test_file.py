"""`text.onnx` names the label and its probabilities as the service does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.inference.classifier import Classifier
from tests.processes import run
from tests.service.artifacts import LABELS, publish_table

TEXTS = ["A gripping, beautifully acted film.", "", "Two dull hours."]


def answers(artifact: Artifact) -> tuple[list[str], list[list[float]]]:
    """Return the labels and the probabilities of `text.onnx`."""
    session = onnxruntime.InferenceSession(text_graph(artifact), providers=["CPUExecutionProvider"])
    label, probabilities = session.run(["label", "probabilities"], {"text": np.array(TEXTS, dtype=object)})
    return label.tolist(), probabilities.tolist()


def test_sigmoid(artifact: Artifact) -> None:
    """A sigmoid has two probabilities and the label of the larger one."""
    label, probabilities = answers(artifact)
    expected = Classifier(artifact).predict(TEXTS)
    assert label == [each.label for each in expected] == ["positive", "positive", "negative"]
    np.testing.assert_allclose(probabilities, [each.probabilities for each in expected], atol=1e-6, rtol=0)


def test_softmax(tmp_path: Path) -> None:
    """A softmax has a probability for each label, and of equal ones the first label."""
    artifact = publish_table(tmp_path)
    label, probabilities = answers(artifact)
    assert label == [LABELS[0]] * 3
    np.testing.assert_allclose(probabilities, np.full((3, 3), 1 / 3), atol=1e-6, rtol=0)
    [prediction] = Classifier(artifact).predict([TEXTS[0]])
    assert prediction.label == LABELS[0]


@pytest.mark.parametrize(("above", "expected"), [(0.0, "positive"), (1e-12, "negative")])
def test_threshold(artifact: Artifact, above: float, expected: str) -> None:
    """A sigmoid decides for its second label from the threshold on, which has the precision of the manifest."""
    positive = float(Classifier(artifact).predict(TEXTS)[0].probabilities[1])
    decision = DecisionRule(threshold=positive + above)
    changed = replace(artifact, manifest=artifact.manifest.model_copy(update={"decision": decision}))
    assert Classifier(changed).predict(TEXTS)[0].label == answers(changed)[0][0] == expected


def test_valid_file(artifact: Artifact) -> None:
    """ONNX knows the operators that are its own, and the file declares one input and two outputs."""
    model = onnx.load_from_string(text_graph(artifact))
    onnx.checker.check_model(model)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["text", "label", "probabilities"]
    assert {each.domain: each.version for each in model.opset_import} == {"": 20, "ai.onnx.ml": 2, "com.microsoft": 1}


_DIGESTS = """
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from tests.text_graphs import artifact_of
from sentiment_conv1d.artifact.graphs.text.file import text_graph
with TemporaryDirectory() as folder:
    for name in ("imdb-cnn", "TextVectorization"):
        print(sha256(text_graph(artifact_of(name, Path(folder, name)))).hexdigest())
"""


def test_same_bytes() -> None:
    """Every process converts an artifact into the same bytes, so the digest of a download identifies the model."""
    first, second = (run("-W", "ignore", "-c", _DIGESTS, PYTHONHASHSEED=seed).stdout.split() for seed in "12")
    assert len(first) == 2
    assert first == second
