"""The shipped models on the test texts of a training, and the training that continues one of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.commands.default_repository import SHIPPED
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.candidate import answers
from sentiment_conv1d.model.evaluation.evaluation import label_probabilities
from sentiment_conv1d.model.evaluation.shipped import best_shipped, measure_shipped
from sentiment_conv1d.model.run import read_run
from tests.tiny import write_reviews

TEXTS = Examples(["A lovely film.", "an awful story", "so dull", "superb"], np.array([1, 0, 0, 1]))

SMALL = ("--convolutions", "1:6,2:6", "--members", "2", "--max-tokens", "14", "--vocabulary-size", "60")


def test_two_labels() -> None:
    """Every shipped model is measured by the probabilities of the labels that mean the same, in their order."""
    measured = measure_shipped(("good", "bad"), Examples(TEXTS.texts, 1 - TEXTS.labels))
    assert set(measured) == {folder.name for folder in SHIPPED.iterdir() if folder.is_dir()}
    path = best_shipped(("good", "bad"))
    assert path is not None and path.parent.name == "reviews"
    labels = read_artifact(path).manifest.labels
    of_labels = label_probabilities(answers(read_artifact(path), TEXTS.texts))
    good, bad = (of_labels[:, labels.index(label)] for label in ("positive", "negative"))
    assert measured["reviews"].probabilities[:, 0] == pytest.approx(good / (good + bad), abs=1e-6)
    assert measured["reviews"].accuracy == 1


def test_three_labels() -> None:
    """A model without one of the labels is not measured."""
    measured = measure_shipped(("bad", "good", "neutral"), TEXTS)
    assert "accurate" not in measured
    for evaluation in measured.values():
        assert evaluation.outputs.shape == (4, 3)


def test_other_labels() -> None:
    """If the labels are no opinions, nothing is measured and no shipped model is continued."""
    assert measure_shipped(("0", "1"), TEXTS) == {}
    assert best_shipped(("0", "1")) is None


def train(data: Path, out: Path, *flags: str) -> int:
    return main(["train", "--data", str(data), "--out", str(out), *SMALL, *flags])


def test_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of few texts with opinions, a network that continues `reviews` learns more than one that starts anew."""
    data = write_reviews(tmp_path / "reviews.csv", ("bad", "good"), 40)
    assert train(data, tmp_path / "run", "--epochs", "2") == 0
    shown, report = capsys.readouterr().out, (tmp_path / "run" / "report.html").read_text()
    start = read_run(tmp_path / "run").data
    assert start is not None and start.started_from is not None
    line = next(line for line in shown.splitlines() if line.startswith("accuracy: "))
    for name in ("accurate, as shipped", "reviews, as shipped", "your network", f"continued from {start.started_from}"):
        assert f"{name}: " in line
    assert line[1:] in report
    assert f"kept: continued from {start.started_from}, whose log loss on held-out texts is lower" in shown
    assert not (tmp_path / "run.stages").exists()


def test_opinions_that_the_shipped_model_contradicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the held-out texts prefer the network that starts anew, it is kept, and inherits nothing."""
    data = write_reviews(tmp_path / "reviews.csv", ("good", "bad"), 40)  # praise is labelled bad
    assert train(data, tmp_path / "run", "--epochs", "1", "--learning-rate", "1e-6") == 0
    assert "kept: your network, whose log loss" in capsys.readouterr().out
    run = read_run(tmp_path / "run")
    assert run.inherited is None and run.data is not None and run.data.started_from is None


def test_start_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--init-from none`, no shipped model is measured or continued."""
    data = write_reviews(tmp_path / "reviews.csv", ("bad", "good"), 40)
    assert train(data, tmp_path / "run", "--epochs", "2", "--init-from", "none") == 0
    assert "as shipped" not in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "data.json").read_text())["started_from"] is None


def test_explicit_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With an artifact to start with, there is one training, and the shipped models are measured beside it."""
    data = write_reviews(tmp_path / "reviews.csv", ("bad", "good"), 40)
    path = best_shipped(("bad", "good"))
    flags = ["--epochs", "2", "--convolutions", "1:6", "--init-from", str(path)]
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), *flags]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy: "))
    assert "reviews, as shipped: " in line and "continued from reviews" in line and "your network" not in line
