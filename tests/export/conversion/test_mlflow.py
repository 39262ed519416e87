"""MLflow, in an environment of its own, loads what `convert --to mlflow` writes, and answers as the service does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentiment_conv1d.__main__ import main
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.inference.classifier import Classifier
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT
from tests.programs import needed

PYTHON = Path(sys.prefix) / "extras" / "bin" / "python"

ARTIFACT = MODEL_REPOSITORY / "imdb-cnn" / "1"

#: Loads a model and prints the answers to texts, the schema, and where the code came from.
PROGRAM = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
frame = model.predict(pandas.DataFrame({"text": json.loads(sys.argv[2])}, index=[7, 9, 11]))
code = sys.modules["sentiment_conv1d"].__file__
print(json.dumps([frame.to_dict("index"), model.metadata.signature.to_dict(), code]))
"""


def python(*arguments: str, folder: Path) -> str:
    """Run Python in the environment of MLflow, and return what it prints. It must succeed."""
    needed(PYTHON)
    variables = {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}
    finished = subprocess.run(
        [str(PYTHON), *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_answers(tmp_path: Path) -> None:
    """MLflow gets the service's answers from the folder alone, keeps the index, and knows the columns."""
    out = tmp_path / "model"
    command = ("convert", str(ARTIFACT), "--to", "mlflow", "--out", str(out))
    written = python("-m", "sentiment_conv1d", *command, folder=PROJECT).splitlines()
    assert written[-1] == f"wrote {out}, for example for: mlflow models serve --model-uri {out}"
    assert list(tmp_path.iterdir()) == [out]
    texts = ["A gripping film.", "", "Two dull hours that I will never get back."]
    printed = python("-c", PROGRAM, str(out), json.dumps(texts), folder=tmp_path).splitlines()[-1]
    answers, signature, code = json.loads(printed)
    expected = Classifier(read_artifact(ARTIFACT)).predict(texts)
    labels = ("negative", "positive")
    for index, each in zip(("7", "9", "11"), expected, strict=True):
        probabilities = dict(zip(labels, map(float, each.probabilities), strict=True))
        assert answers[index] == {
            "label": each.label,
            "score": pytest.approx(probabilities[each.label], abs=1e-6),
            "probabilities": pytest.approx(probabilities, abs=1e-6),
        }
    assert json.loads(signature["inputs"]) == [{"type": "string", "name": "text", "required": True}]
    assert [each["name"] for each in json.loads(signature["outputs"])] == ["label", "score", "probabilities"]
    assert Path(code) == out / "code" / "sentiment_conv1d" / "__init__.py"


def test_without_mlflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without MLflow, the command says how to install it, and writes nothing."""
    assert main(["convert", str(ARTIFACT), "--to", "mlflow", "--out", str(tmp_path / "model")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --to mlflow needs MLflow: install the `mlflow` extra")
    assert list(tmp_path.iterdir()) == []
