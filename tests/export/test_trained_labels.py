"""Texts with several labels, from training to the service's answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.export.__main__ import main as export
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.run import read_run
from tests.processes import ServerProcess

LABELS = ("angry", "billing", "praise")

#: Words for each label.
WORDS = {
    "angry": ["awful", "furious", "useless"],
    "billing": ["invoice", "refund", "charge"],
    "praise": ["lovely", "thanks", "perfect"],
}
FLAGS = ["--epochs", "20", "--embedding-width", "16", "--hidden-width", "16", "--max-tokens", "12"]
FLAGS += ["--convolutions", "2:16", "--learning-rate", "0.01", "--name", "tickets", "--validation-fraction", "0.2"]


def tickets(number: int = 600) -> list[tuple[str, list[str]]]:
    """Make up texts whose words say which of three labels they have: several, one or none."""
    random = np.random.default_rng(3)
    rows = []
    for place in range(number):
        own = [label for label in LABELS if random.random() < 0.4]
        words = [*(str(random.choice(WORDS[label])) for label in own), "about", "my", f"order{place % 7}", "today"]
        rows.append((" ".join(random.permutation(words)) + f" number {place}", own))
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the texts with their labels in one column, and in a column for each label."""
    folder = tmp_path_factory.mktemp("tickets")
    rows = tickets()
    (folder / "cells.csv").write_text("text,label\n" + "".join(f"{text},{'|'.join(own)}\n" for text, own in rows))
    marks = [",".join(str(int(label in own)) for label in LABELS) for _, own in rows]
    lines = [f"{text},{each}\n" for (text, _), each in zip(rows, marks, strict=True)]
    (folder / "columns.csv").write_text(f"text,{','.join(LABELS)}\n" + "".join(lines))
    return folder


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    """Train a run."""
    flags = ["--several-labels", "--out", str(data / "run"), *FLAGS]
    assert main(["train", "--data", str(data / "cells.csv"), *flags]) == 0
    return data / "run"


@pytest.fixture(scope="module")
def artifact(run: Path, data: Path) -> Artifact:
    """Export the run, and measure it on its texts."""
    arguments = ["--repository", str(data / "repository"), "--data", str(data / "cells.csv"), "--text-input"]
    assert export([str(run), *arguments]) == 0
    return read_artifact(data / "repository" / "tickets" / "1")


@pytest.fixture(scope="module")
def served(artifact: Artifact) -> Iterator[ServerProcess]:
    """Serve the artifact."""
    with ServerProcess("--workers", "1", repository=artifact.path.parents[1]) as process:
        yield process


def test_run(run: Path) -> None:
    """The network has a sigmoid for each label, and the held-out texts chose their thresholds."""
    found = read_run(run)
    assert (found.configuration.labels, found.configuration.outputs) == (LABELS, 3)
    assert found.configuration.activation == "sigmoid"
    assert {*found.decision.thresholds} == {*LABELS}
    assert found.decision.chosen_on is not None
    assert "held out of 600 texts of cells.csv" in found.decision.chosen_on
    assert found.metrics is not None
    assert found.metrics.values["micro_f1"] > 0.9
    assert found.metrics.values["average_precision"] > 0.9
    assert found.statistics is not None
    assert found.statistics.multilabel
    history = json.loads((run / "history.json").read_text())
    assert history["epochs"][-1]["accuracy"] > 0.9


def test_report(run: Path) -> None:
    """The report has the scores and thresholds of each label."""
    report = (run / "report.html").read_text()
    assert "Micro F1" in report
    assert "Average precision" in report
    for label in LABELS:
        assert f"<summary>{label}</summary>" in report
    assert report.count("(chosen)") == 3
    assert report.count("<figure") == 3  # learning curves, ROC, precision and recall
    assert sorted(path.name for path in (run / "plots").iterdir()) == [
        "learning_curves.png",
        "precision_recall.png",
        "roc.png",
    ]


def test_columns_train_the_same_run(run: Path, data: Path) -> None:
    """The same labels in a column for each give the same weights."""
    flags = ["--label-columns", ",".join(LABELS), "--out", str(data / "columns"), *FLAGS]
    assert main(["train", "--data", str(data / "columns.csv"), *flags]) == 0
    thresholds = [read_run(each).decision.thresholds for each in (run, data / "columns")]
    assert thresholds[0] == pytest.approx(thresholds[1], abs=1e-5)


def test_evaluate(run: Path, artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluate` measures runs and artifacts on either form of the data, and needs no flag for lists."""
    for model, source, flags in (
        (run, "cells.csv", []),
        (artifact.path, "columns.csv", ["--label-columns", ",".join(LABELS)]),
    ):
        assert main(["evaluate", str(model), "--data", str(data / source), *flags]) == 0
        printed = capsys.readouterr().out
        assert "average_precision" in printed
        assert all(f"\n  {label} " in printed for label in LABELS)


def test_label_errors(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check-data` lists for each label the texts that a model of the others contradicts."""
    arguments = ["check-data", str(data / "cells.csv"), "--several-labels", "--label-errors"]
    assert main([*arguments, "--out", str(tmp_path / "errors.jsonl")]) == 0
    assert capsys.readouterr().out.count("label errors: ") == 3
    for line in (tmp_path / "errors.jsonl").read_text().splitlines():
        assert {json.loads(line)["label"], json.loads(line)["predicted"]} in [{each, f"not {each}"} for each in LABELS]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset", "text-ensemble"], "pass --preset text-cnn"),
        (["--threshold", "0.7"], "--threshold: "),
        (["--class-weights", "balanced"], "--class-weights: "),
        (["--by", "label"], "--by: "),
    ],
)
def test_refusals(
    flags: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training says what it does not do for several labels, and a dry run too."""
    arguments = ["train", "--data", str(data / "cells.csv"), "--several-labels", "--out", str(tmp_path / "run")]
    assert main([*arguments, *flags, "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_artifact(run: Path, artifact: Artifact) -> None:
    """The artifact has the thresholds of the run, and its measures on the data."""
    manifest = artifact.manifest
    assert manifest.decision == read_run(run).decision
    assert manifest.metrics is not None
    assert manifest.metrics.values["macro_f1"] > 0.9
    assert [each.label for each in manifest.metrics.per_label] == [*LABELS]
    assert manifest.statistics is not None
    assert manifest.statistics.multilabel


def test_thresholds_of_the_export(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a Keras file, `--thresholds f1` chooses the thresholds on the data, whose form a flag states."""
    flags = ["--labels", ",".join(LABELS), "--vocabulary", str(run / "tokenizer.json"), "--name", "own"]
    arguments = [str(run / "model.keras"), *flags, "--repository", str(data / "own"), "--thresholds", "f1"]
    assert export(arguments) == 2
    assert "f1 needs --data" in capsys.readouterr().err
    columns = ["--data", str(data / "columns.csv"), "--label-columns", ",".join(LABELS)]
    assert export([*arguments, *columns]) == 0
    manifest = read_artifact(data / "own" / "own" / "1").manifest
    assert manifest.decision.chosen_on == "600 texts of columns.csv, which may include training texts"
    assert manifest.metrics is not None
    assert manifest.metrics.values["macro_f1"] > 0.9


def test_served_answers(served: ServerProcess, artifact: Artifact) -> None:
    """The service answers new texts with the labels that their words say: several, one or none."""
    for text, expected in (
        ("furious about my refund today", ["angry", "billing"]),
        ("lovely thanks about my order3", ["praise"]),
        ("about my order2 today", []),
    ):
        answer = served.client.post("/v1/predict", json={"text": text}).json()
        assert answer["labels"] == expected
        [offline] = Classifier(artifact).predict([text])
        assert list(offline.labels or ()) == expected
