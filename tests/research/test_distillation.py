"""Training by distillation, with the recipe of the model `accurate`, on generated reviews."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.__main__ import main
from sentiment_conv1d.artifact.tokenizer import MarksTokenizer
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.model.__main__ import main as model
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.training.checkpoint import Stages
from tests.model.training.runs import fill_disk, weights
from tests.tiny import write_reviews

FLAGS = (
    *("--convolutions", "2:6"),
    *("--embedding-width", "12"),
    *("--vocabulary-size", "40"),
    *("--max-tokens", "14"),
    *("--epochs", "3"),
    *("--validation-fraction", "0.3"),
)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an aclImdb folder of forty training reviews, twenty test reviews and forty reviews without a label."""
    lines = write_reviews(tmp_path_factory.mktemp("data") / "all.csv", count=100).read_text().splitlines()[1:]
    root = tmp_path_factory.mktemp("data") / "aclImdb"
    folders = {"train": range(40), "test": range(40, 60), "unsup": range(60, 100)}
    for part, numbers in folders.items():
        for number in numbers:
            text, _, label = lines[number].rpartition(",")
            folder = root / "train" / "unsup" if part == "unsup" else root / part / label[:3]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}_0.txt").write_text(text)
    return root


def train(data: Path, out: Path, *flags: str) -> int:
    return main(["accurate", "--data", str(data), "--out", str(out), *FLAGS, *flags])


@pytest.fixture(scope="module")
def run_path(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with the recipe."""
    out = tmp_path_factory.mktemp("runs") / "accurate"
    assert train(reviews, out) == 0
    return out


def test_run(run_path: Path) -> None:
    """A distilled run can be evaluated, exported and folded, and contains no checkpoint."""
    run = read_run(run_path)
    assert run.metrics is not None
    assert run.metrics.values["accuracy"] > 0.8
    assert (run.decision.threshold, run.decision.temperature) == (0.5, 1)
    assert "40 without a label" in (run_path / "report.html").read_text()
    assert run.configuration.recipe == "distillation"
    family, reason = recognize(trained.load(run))
    assert family is not None, reason
    assert [entry.name for entry in run_path.parent.iterdir()] == [run_path.name]
    epochs = json.loads((run_path / "history.json").read_text())["epochs"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    assert set(epochs[0]) == {"epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds"}


def test_metrics(run_path: Path, reviews: Path, tmp_path: Path) -> None:
    """`evaluate`, which runs the saved Keras model, finds the metrics that the student measured."""
    out = tmp_path / "evaluation"
    assert model(["evaluate", str(run_path), "--data", str(reviews), "--out", str(out)]) == 0
    run = read_run(run_path)
    assert run.metrics is not None
    found = json.loads((out / "metrics.json").read_text())["values"]
    assert found == pytest.approx({name: run.metrics.values[name] for name in found}, abs=1e-5)


def test_marks(reviews: Path, tmp_path: Path) -> None:
    """A distillation with the rule `words:marks` learns its most frequent words."""
    assert train(reviews, tmp_path / "run", "--tokenizer", "words:marks", "--vocabulary-size", "12") == 0
    run = read_run(tmp_path / "run")
    assert isinstance(run.tokenizer, MarksTokenizer)
    assert len(run.tokenizer.words) == 9
    assert run.metrics is not None
    assert run.metrics.values["accuracy"] > 0.5


@pytest.mark.parametrize("stage", ["vectors", "teacher-1", "student"])
def test_resumed_training(
    stage: str,
    run_path: Path,
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A training that was interrupted at any stage resumes to the weights of an uninterrupted training."""
    out = tmp_path / "accurate"
    write: Callable[..., None] = Stages.write

    def interrupted(self: Stages, name: str, arrays: Any) -> None:
        write(self, name, arrays)
        if name == stage:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Stages, "write", interrupted)
        assert train(reviews, out) == 130
    assert "interrupted: the same command continues from the last checkpoint" in capsys.readouterr().err
    assert not out.exists()
    assert train(reviews, out) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["accurate"]
    assert all(np.array_equal(*pair) for pair in zip(weights(out), weights(run_path), strict=True))


def test_checkpoint_that_cannot_be_written(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a checkpoint cannot be written, the training continues with a warning."""
    fill_disk(monkeypatch)
    assert train(reviews, tmp_path / "run") == 0
    shown = capsys.readouterr()
    assert "no checkpoint of teacher-0 (No space left on device)" in shown.out + shown.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_threshold(reviews: Path, tmp_path: Path) -> None:
    """With `f1`, the threshold is chosen on held-out reviews, and the metrics use it."""
    assert train(reviews, tmp_path / "run", "--threshold", "f1") == 0
    decision = read_run(tmp_path / "run").decision
    assert decision.temperature == 1
    assert decision.chosen_on is not None
    assert "held out" in decision.chosen_on


def test_without_unlabelled_reviews(reviews: Path, tmp_path: Path) -> None:
    """Without unlabelled reviews, the student learns from labelled reviews only."""
    data = write_reviews(tmp_path / "reviews.csv")
    assert train(data, tmp_path / "run") == 0
    metrics = read_run(tmp_path / "run").metrics
    assert metrics is not None
    assert metrics.values["accuracy"] > 0.6


def test_without_held_out_reviews(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training without held-out reviews is refused, because the probabilities are calibrated on them."""
    assert train(reviews, tmp_path / "run", "--validation-fraction", "0") == 2
    assert "--validation-fraction must be above 0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
