"""`sentiment-conv1d convert` writes what it says, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sentiment_conv1d.__main__ import main
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer
from sentiment_conv1d.export.checks.odd_texts import generated_texts
from sentiment_conv1d.export.checks.text_graph import open_text_graph
from sentiment_conv1d.inference.classifier import Classifier
from tests.processes import SHIPPED_MODELS, run
from tests.service.artifacts import publish_table


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_shipped_models(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file of every shipped model names the labels of the service, and gives its probabilities."""
    out = tmp_path / "text.onnx"
    served = read_artifact(SHIPPED_MODELS[name])
    assert main(["convert", str(served.path), "--to", "text-onnx", "--out", str(out)]) == 0
    described, proof, wrote = capsys.readouterr().out.splitlines()
    assert described.endswith(f"probabilities: float32 [batch, {len(served.manifest.labels)}]")
    assert proof.endswith("no label differs, and no probability by more than 0.0e+00")
    assert wrote == f"wrote {out}: {out.stat().st_size:,} bytes"
    assert isinstance(served.tokenizer, VocabularyTokenizer)
    texts = generated_texts(served.tokenizer, seed=1)
    labels, probabilities = open_text_graph(out.read_bytes())(texts)
    expected = Classifier(served).predict(texts)
    assert labels == [each.label for each in expected]
    np.testing.assert_allclose(probabilities, [each.probabilities for each in expected], atol=1e-6, rtol=0)


def test_runtime_dependencies(tmp_path: Path) -> None:
    """The command needs neither TensorFlow nor the library of ONNX."""
    program = (
        "import sys; sys.modules |= dict.fromkeys(['tensorflow', 'keras', 'onnx', 'matplotlib', 'sklearn']); "
        "from sentiment_conv1d.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = (
        "convert",
        str(publish_table(tmp_path).path),
        "--to",
        "text-onnx",
        "--out",
        str(tmp_path / "text.onnx"),
    )
    finished = run("-c", program, *arguments)
    assert finished.returncode == 0, finished.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["text.onnx"]


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An existing file, a missing folder, and a file that is no artifact are refused in one line each."""
    existing, shipped = tmp_path / "text.onnx", SHIPPED_MODELS["imdb-cnn"]
    existing.write_text("mine")
    for artifact, out, message in (
        (shipped, existing, f"{existing} exists; pass another path with --out"),
        (shipped, tmp_path / "missing" / "text.onnx", "cannot be written (No such file or directory)"),
        (tmp_path, tmp_path / "new.onnx", "not a model: it contains none of model.onnx"),
    ):
        assert main(["convert", str(artifact), "--to", "text-onnx", "--out", str(out)]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and message in line
    assert existing.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [existing]
