"""Training with the recipe of the preset `text-ensemble`, on generated reviews."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sentiment_conv1d
from sentiment_conv1d.export.__main__ import main as export_main
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.data import use
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.training import averaging
from sentiment_conv1d.model.training.checkpoint import Stages
from tests.model.training.runs import fill_disk, weights
from tests.tiny import write_reviews

FLAGS = (
    *("--convolutions", "1:6,2:6"),
    *("--members", "2"),
    *("--vocabulary-size", "40"),
    *("--max-tokens", "14"),
    *("--epochs", "12"),
    *("--validation-fraction", "0.3"),
    *("--init-from", "none"),
)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write reviews with three labels."""
    return write_reviews(tmp_path_factory.mktemp("data") / "reviews.csv", ("bad", "good", "so-so"), count=120)


def train(data: Path, out: Path, *flags: str) -> int:
    return main(["train", "--data", str(data), "--out", str(out), *FLAGS, *flags])


@pytest.fixture(scope="module")
def run_path(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with the default preset."""
    out = tmp_path_factory.mktemp("runs") / "ensemble"
    assert train(reviews, out) == 0
    return out


def test_run(run_path: Path) -> None:
    """The default training writes a run that is folded when it is exported, and leaves no checkpoint."""
    run = read_run(run_path)
    assert (run.configuration.recipe, run.configuration.embedding_width) == ("ensemble", 6 + 2 * 6 + 3)
    assert run.metrics is not None
    assert run.metrics.values["accuracy"] > 0.7
    family, reason = recognize(trained.load(run))
    assert family is not None, reason
    assert [(bank.width, bank.pooling) for bank in family.banks] == [(1, "max"), (2, "max"), (1, "mean")]
    assert [entry.name for entry in run_path.parent.iterdir()] == [run_path.name]


@pytest.mark.parametrize("flags", [(), ("--quantize",)], ids=["float32", "8-bit"])
def test_averages_are_explained(flags: tuple[str, ...], run_path: Path, tmp_path: Path) -> None:
    """The shares of an exported run add up to the logit, and a filter with average pooling has no window."""
    assert export_main([str(run_path), "--name", "tiny", "--repository", str(tmp_path), *flags]) == 0
    model = sentiment_conv1d.load(tmp_path / "tiny" / "1")
    explanation = model.explain("the film was good and the cast was good", filters=16)
    total = explanation["bias"] + explanation["padding"] + sum(word["share"] for word in explanation["words"])
    assert total == pytest.approx(explanation["logit"], abs=1e-4)
    windows = {
        (each["start"], each["end"]) for each in explanation["filters"] if each["width"] == 1 and each["index"] >= 6
    }
    assert windows == {(0, 0)}


def test_history(run_path: Path) -> None:
    """The history contains each epoch with the loss of the held-out texts, and points for the learning curves."""
    history = json.loads((run_path / "history.json").read_text())
    assert set(history["epochs"][0]) == {
        "epoch",
        "loss",
        "accuracy",
        "validation_loss",
        "validation_accuracy",
        "seconds",
    }
    assert history["epochs"][-1]["loss"] < history["epochs"][0]["loss"]
    texts = 120 * 0.8 * 2  # each of three ensembles learns two thirds
    assert history["steps"][-1]["step"] == pytest.approx(len(history["epochs"]) * texts, rel=0.05)


def test_few_texts(run_path: Path) -> None:
    """All of few texts are held out in turn, so all of them decide."""
    decision = read_run(run_path).decision
    assert decision.chosen_on == "96 training texts, each held out in turn"
    assert decision.calibration is not None and decision.calibration.texts == 96


def test_many_texts(reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many texts, a share decides."""
    monkeypatch.setattr(use, "FEW", 90)
    assert train(reviews, tmp_path / "run", "--epochs", "2") == 0
    run, history = read_run(tmp_path / "run"), json.loads((tmp_path / "run" / "history.json").read_text())
    assert run.decision.chosen_on is not None and run.decision.chosen_on.endswith(
        " held out of 120 texts of reviews.csv"
    )
    assert history["steps"][-1]["step"] == pytest.approx(2 * 120 * 0.8 * 0.7, rel=0.05)


def test_gain_beyond_chance() -> None:
    """A small gain for all texts is one, and the same gain on average, of some texts at the cost of others, is not."""
    labels = np.ones(40, np.int64)
    before, for_all = np.full((40, 1), 0.6, np.float32), np.full((40, 1), 0.612, np.float32)
    for_some = np.where(np.arange(40)[:, np.newaxis] < 20, 0.72, 0.52).astype(np.float32)
    assert np.log(for_some).mean() == pytest.approx(np.log(for_all).mean(), abs=1e-3)
    assert averaging.is_gain(before, for_all, labels)
    assert not averaging.is_gain(before, before, labels)
    assert not averaging.is_gain(before, for_some, labels)


def test_held_out_texts_are_learned_at_the_end(tmp_path: Path) -> None:
    """The ensemble of the run has learned the held-out texts too, so it knows the words that only they contain."""
    data = tmp_path / "reviews.csv"
    rows = [f"{'good' if number % 2 else 'bad'} only{number},{number % 2}" for number in range(40)]
    data.write_text("\n".join(["text,label", *rows]))
    assert train(data, tmp_path / "run", "--test-fraction", "0", "--epochs", "2", "--vocabulary-size", "50") == 0
    assert {f"only{number}" for number in range(40)} <= set(read_run(tmp_path / "run").tokenizer.words)


def test_metrics(run_path: Path, reviews: Path, tmp_path: Path) -> None:
    """`evaluate`, which runs the saved Keras model, finds the metrics that the ensemble measured."""
    out = tmp_path / "evaluation"
    assert main(["evaluate", str(run_path), "--data", str(reviews), "--out", str(out)]) == 0
    run = read_run(run_path)
    assert run.metrics is not None
    found = json.loads((out / "metrics.json").read_text())["values"]
    assert found == pytest.approx({name: run.metrics.values[name] for name in found}, abs=1e-5)


@pytest.mark.parametrize("stage", ["part", "all"])
def test_resumed_training(
    stage: str,
    run_path: Path,
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A training that was interrupted after an epoch resumes to the weights of an uninterrupted training."""
    out = tmp_path / "ensemble"
    write: Callable[..., None] = Stages.write
    epochs: list[str] = []

    def interrupted(self: Stages, name: str, arrays: Any) -> None:
        write(self, name, arrays)
        epochs.append(name)
        if epochs.count(stage) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Stages, "write", interrupted)
        assert train(reviews, out) == 130
    assert "interrupted: the same command continues from the last checkpoint" in capsys.readouterr().err
    assert train(reviews, out) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["ensemble"]
    assert all(np.array_equal(*pair) for pair in zip(weights(out), weights(run_path), strict=True))


def test_checkpoint_that_cannot_be_written(
    run_path: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a checkpoint cannot be written, the training continues with a warning, to the same weights."""
    fill_disk(monkeypatch)
    assert train(reviews, tmp_path / "run") == 0
    shown = capsys.readouterr()
    assert "no checkpoint of part (No space left on device)" in shown.out + shown.err
    assert all(np.array_equal(*pair) for pair in zip(weights(tmp_path / "run"), weights(run_path), strict=True))


def test_without_held_out_texts(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without early stopping and calibration, all texts are trained on for all epochs."""
    flags = ("--validation-fraction", "0", "--patience", "0", "--calibration", "none")
    assert train(reviews, tmp_path / "run", *flags) == 0
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [row["epoch"] for row in history["epochs"]] == list(range(1, 13))
    assert set(history["epochs"][0]) == {"epoch", "loss", "accuracy", "seconds"}
    assert "calibration:" not in capsys.readouterr().out


def test_threshold_and_class_weights(tmp_path: Path) -> None:
    """Two labels make a sigmoid, whose threshold is chosen on held-out texts, also with weights of labels."""
    data = write_reviews(tmp_path / "two.csv", count=100)
    assert train(data, tmp_path / "run", "--threshold", "f1", "--class-weights", "balanced") == 0
    run = read_run(tmp_path / "run")
    assert run.metrics is not None
    assert run.metrics.values["accuracy"] > 0.7
    assert run.decision.chosen_on is not None and "held out" in run.decision.chosen_on


def test_loss_that_is_not_finite(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A learning rate that is far too large ends the training with an error, and leaves nothing."""
    with np.errstate(all="ignore"):
        assert train(reviews, tmp_path / "run", "--learning-rate", "1e30") == 2
    assert "try a smaller --learning-rate" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--hidden-width", "5"), "an ensemble has no hidden layer"),
        (("--members", "7"), "7 members need as many filters"),
        (("--preset", "text-cnn"), "only an ensemble has members"),
    ],
)
def test_configurations_of_other_recipes(
    flags: tuple[str, ...], reason: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an ensemble does not compute, and members of another recipe, are refused before the training."""
    assert train(reviews, tmp_path / "run", *flags) == 2
    assert reason in capsys.readouterr().err


def test_pretrained_vectors(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pretrained vectors are refused, because the embedding contains the look-up tables of the members."""
    assert train(reviews, tmp_path / "run", "--preset", "text-ensemble", "--embeddings", "vectors.txt") == 2
    assert "pass --preset text-cnn" in capsys.readouterr().err
