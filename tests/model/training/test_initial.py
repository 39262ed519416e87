"""Trainings that start with the weights of an earlier run."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.artifact.configuration import RESERVED_IDS
from sentiment_conv1d.artifact.explaining.network import from_keras
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.data import load, plan
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import Run, RunError, read_run
from sentiment_conv1d.model.training import network
from sentiment_conv1d.model.training.initial import set_weights
from sentiment_conv1d.model.training.task import Task
from tests.tiny import write_reviews

TEXTS = ["A lovely film.", "an awful, clumsy story of two people", "zzz", ""]


def outputs(run: Run) -> np.ndarray[Any, np.dtype[np.float32]]:
    model = trained.load(run)
    return np.asarray(model.predict_on_batch(trained.encode(run.tokenizer, TEXTS)))


def continued(start: Path, data: Path, out: Path, *flags: str) -> int:
    return main(["train", "--data", str(data), "--out", str(out), "--init-from", str(start), *flags])


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """Write new reviews, a third of them with a new label, all with a new word."""
    path = write_reviews(tmp_path / "more.csv", ("negative", "positive", "so-so"), 90)
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    lines = [f'"popcorn {text}",{label}' for text, label in rows[1:]]
    path.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return path


def test_same_labels(run_path: Path, reviews: Path, tmp_path: Path) -> None:
    """The new run has the configuration and vocabulary of the earlier one, and starts with its weights."""
    assert continued(run_path, reviews, tmp_path / "run", "--learning-rate", "1e-12", "--test-fraction", "0.5") == 0
    start, run = read_run(run_path), read_run(tmp_path / "run")
    assert run.configuration == start.configuration.model_copy(update={"learning_rate": 1e-12})
    assert run.tokenizer.words == start.tokenizer.words
    assert outputs(run) == pytest.approx(outputs(start), abs=1e-5)
    assert f"Started with the weights of</dt><dd>{run_path}</dd>" in (tmp_path / "run" / "report.html").read_text()


def test_texts_of_the_earlier_run(run_path: Path, reviews: Path, tmp_path: Path) -> None:
    """Only texts that the earlier run has not seen are held out, and the new run knows the texts of both."""
    start = read_run(run_path)
    assert start.trained_on is not None
    assert continued(run_path, reviews, tmp_path / "run", "--test-fraction", "0.5", "--validation-fraction", "0") == 0
    run = read_run(tmp_path / "run")
    assert run.trained_on is not None and run.metrics is not None
    # The earlier run trained on 38 of 60 texts and validated on 10. Half of the 12 others are held out.
    assert run.metrics.measured_on == "6 held out of 60 texts of reviews.csv"
    assert set(start.trained_on.digests) < set(run.trained_on.digests)
    assert len(run.trained_on.held_out(load(reviews).train)) == 6


def test_no_new_texts(run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the earlier run has seen all texts, none can be held out, but they can be trained on."""
    seen = tmp_path / "seen.csv"
    start = read_run(run_path)
    assert start.trained_on is not None
    every = load(reviews)
    known = every.train.take(np.flatnonzero(start.trained_on.contains(every.train)))
    rows = [f'"{text}",{every.label_names[label]}' for text, label in zip(known.texts, known.labels, strict=True)]
    seen.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    assert continued(run_path, seen, tmp_path / "run") == 2
    assert "the earlier run was trained on all texts, so there is none to hold out" in capsys.readouterr().err
    assert continued(run_path, seen, tmp_path / "run", "--test-fraction", "0", "--validation-fraction", "0") == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) is None
    capsys.readouterr()
    assert continued(run_path, reviews, tmp_path / "other", "--test-data", str(seen)) == 2
    assert "so there is none to hold out" in capsys.readouterr().err


def test_more_words_and_labels(run_path: Path, more: Path, tmp_path: Path) -> None:
    """Known words keep their ids and vectors, new ones start as unknown ones, and old labels keep their odds."""
    assert continued(run_path, more, tmp_path / "run", "--vocabulary-size", "60", "--epochs", "1") == 0
    start, run = read_run(run_path), read_run(tmp_path / "run")
    assert run.configuration.labels == ("negative", "positive", "so-so")
    assert run.tokenizer.words[: len(start.tokenizer.words)] == start.tokenizer.words
    assert "popcorn" in run.tokenizer.words[len(start.tokenizer.words) :]

    model = network.build(run.configuration, run.tokenizer.vocabulary_size)
    set_weights(model, start, run.configuration.labels)
    old, new = (each.get_layer("embedding").get_weights()[0] for each in (trained.load(start), model))
    assert np.array_equal(new[: len(old)], old)
    assert np.array_equal(new[len(old) :], np.repeat(old[[2]], len(new) - len(old), axis=0))
    found = np.asarray(model.predict_on_batch(trained.encode(run.tokenizer, TEXTS)))
    expected = outputs(start)[:, 0]
    assert found[:, 1] / (found[:, 0] + found[:, 1]) == pytest.approx(expected, abs=1e-5)


def test_softmax_with_one_more_label(run_of_three_labels: Path) -> None:
    """The logits of the old labels are the same after a label is added between them."""
    start = read_run(run_of_three_labels)
    labels = ("bad", "excellent", "good", "so-so")
    configuration = start.configuration.model_copy(update={"labels": labels})
    model = network.build(configuration, start.tokenizer.vocabulary_size)
    set_weights(model, start, labels)
    found = np.asarray(model.predict_on_batch(trained.encode(start.tokenizer, TEXTS)))[:, [0, 2, 3]]
    assert found / found.sum(axis=1, keepdims=True) == pytest.approx(outputs(start), abs=1e-5)


def test_checkpoint_of_other_initial_weights(
    run_path: Path, run_of_three_labels: Path, reviews: Path, tmp_path: Path
) -> None:
    """A checkpoint belongs to a training with the same initial weights or word vectors."""
    start, other = read_run(run_path), read_run(run_of_three_labels)
    work = plan(load(reviews), test_fraction=0.2, validation_fraction=0, seed=0)
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("film 1 2")
    task = Task(start.configuration, work, tmp_path / "run")
    tasks = [task, *(replace(task, **each) for each in ({"start": start}, {"start": other}, {"embeddings": vectors}))]
    for number, each in enumerate(tasks):
        each.stages().write("network", {})
        assert each.stages().read("network") == {}
        for another in (*tasks[:number], *tasks[number + 1 :]):
            with pytest.raises(RunError, match="interrupted training"):
                another.stages()
        each.stages().remove()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--embedding-width", "9"], "--embedding-width: a training from"),
        (["--convolutions", "2:5"], "--convolutions: a training from"),
        (["--tokenizer", "words:unicode"], "--tokenizer: a training from"),
        (["--vocabulary-size", "20"], "--vocabulary-size 20: "),
        (["--preset", "text-cnn"], "--preset: a training with --init-from has the configuration of that run"),
        (["--embeddings", "vectors.txt"], "the run to start from has word vectors"),
        (["--init-from", "no-such-run"], "no-such-run: there is no such run folder"),
    ],
)
def test_refused_flags(
    run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    """What the weights of the earlier run decide cannot be changed."""
    assert continued(run_path, reviews, tmp_path / "run", *flags) == 2
    assert message in capsys.readouterr().err


def test_missing_labels(
    run_of_three_labels: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts that lack a label of the earlier run are refused by its name."""
    assert continued(run_of_three_labels, reviews, tmp_path / "run") == 2
    assert "the training texts have no text with the label bad, good, so-so of" in capsys.readouterr().err


ENSEMBLE = (
    *("--preset", "text-ensemble"),
    *("--convolutions", "1:6,2:6"),
    *("--members", "2"),
    *("--vocabulary-size", "60"),
    *("--max-tokens", "14"),
    *("--epochs", "6"),
    *("--validation-fraction", "0.3"),
    *("--init-from", "none"),
)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with the default recipe."""
    folder = tmp_path_factory.mktemp("ensemble")
    data = write_reviews(folder / "reviews.csv", count=120)
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *ENSEMBLE]) == 0
    return folder / "run"


def test_ensemble(ensemble: Path, tmp_path: Path) -> None:
    """A run of the default recipe starts with the weights of the earlier one, and gives the same when repeated."""
    later = write_reviews(tmp_path / "later.csv", count=240)  # half of them are those of the earlier run
    flags = ("--learning-rate", "1e-12", "--test-fraction", "0.5", "--calibration", "none", "--seed", "7")
    for name in ("run", "again"):
        assert continued(ensemble, later, tmp_path / name, *flags) == 0
    start, run = read_run(ensemble), read_run(tmp_path / "run")
    assert run.tokenizer.words[: len(start.tokenizer.words)] == start.tokenizer.words
    assert outputs(run) == pytest.approx(outputs(start), abs=1e-5)
    assert np.array_equal(outputs(run), outputs(read_run(tmp_path / "again")))
    assert run.trained_on is not None and start.trained_on is not None
    assert set(start.trained_on.digests) < set(run.trained_on.digests)
    assert json.loads((tmp_path / "run" / "data.json").read_text())["started_from"] == "run"


def test_ensemble_with_more_words_and_labels(ensemble: Path, more: Path, tmp_path: Path) -> None:
    """Known words keep their rows, new ones get those of unknown words, and old labels keep their odds."""
    flags = ("--learning-rate", "1e-12", "--vocabulary-size", "70", "--calibration", "none")
    assert continued(ensemble, more, tmp_path / "run", *flags) == 0
    start, run = read_run(ensemble), read_run(tmp_path / "run")
    assert run.configuration.labels == ("negative", "positive", "so-so")
    assert "popcorn" in run.tokenizer.words[len(start.tokenizer.words) :]
    found, expected = outputs(run), outputs(start)[:, 0]
    assert found[:, 1] / (found[:, 0] + found[:, 1]) == pytest.approx(expected, abs=1e-5)
    (*old_tables, _), (*new_tables, words) = (
        from_keras(trained.load(each), each.configuration).tables for each in (start, run)
    )
    assert not words.entries[0, len(start.tokenizer.words) + RESERVED_IDS :].any()  # in the linear model
    for old, new in zip((each.entries for each in old_tables), (each.entries for each in new_tables), strict=True):
        known = old.shape[1]
        assert new[:, :known] == pytest.approx(old, abs=1e-5)
        assert new[:, known:] == pytest.approx(np.repeat(old[:, [2]], new.shape[1] - known, axis=1), abs=1e-5)


def test_ensemble_of_another_start(
    ensemble: Path, run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe is that of the earlier run."""
    for start, recipe in ((ensemble, "labels"), (run_path, "ensemble")):
        flags = ["--recipe", recipe, "--members", "1", "--word-dropout", "0"]
        if recipe == "ensemble":
            flags += ["--hidden-width", "0", "--embedding-dropout", "0", "--batch-size", "1", "--optimizer", "adagrad"]
        assert continued(start, reviews, tmp_path / "run", *flags) == 2
        assert f"--recipe: a training from {start} cannot change it" in capsys.readouterr().err


def test_other_recipes(run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run with a recipe of another program cannot be continued."""
    start = shutil.copytree(run_path, tmp_path / "start")
    recorded = json.loads((start / "configuration.json").read_text())
    (start / "configuration.json").write_text(json.dumps(recorded | {"recipe": "mixture", "mixture": {}}))
    assert continued(start, reviews, tmp_path / "run") == 2
    assert f"a run with the recipe mixture cannot be continued: {start}" in capsys.readouterr().err
