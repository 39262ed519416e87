"""Training and evaluation as a user runs them: what they write, what they refuse, what an interrupt leaves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.model import training
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.artifact import Metrics
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import load
from sentiment_conv1d.model.run import read_run
from tests.tiny import FLAGS, write_reviews

PROJECT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


def train(data: Path, out: Path, *flags: str) -> int:
    return main(["train", "--data", str(data), "--out", str(out), *FLAGS, *flags])


@contextmanager
def started(data: Path, out: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m model train` in a process of its own, which a test may leave early."""
    command = [sys.executable, "-m", "model", "train", "--data", str(data), "--out", str(out), *FLAGS, *flags]
    # A process started in the background ignores Ctrl-C, and so would its children.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, ignored)
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_progress(process: subprocess.Popen[bytes]) -> None:
    """Read the progress bar until it counts the first batches."""
    assert process.stderr is not None
    seen = b""
    while not re.search(rb"training: +\d+%.* [1-9]\d*/\d+ ", seen):
        chunk = os.read(process.stderr.fileno(), 4096)
        assert chunk, seen.decode()
        seen += chunk


def document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def weights(run: Path) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    return [np.asarray(array) for array in training.load(read_run(run)).get_weights()]


def equal(first: Path, second: Path) -> bool:
    pairs = zip(weights(first), weights(second), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def refused(capsys: pytest.CaptureFixture[str], message: str) -> None:
    """One line on stderr, and it says this."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_a_run_holds_everything(run_path: Path) -> None:
    """The model, how it reads, how it was made, what it is worth, and something for a person to look at."""
    assert names(run_path) == [
        "configuration.json",
        "history.json",
        "metrics.json",
        "model.keras",
        "plots",
        "report.html",
        "tokenizer.json",
    ]
    run = read_run(run_path)
    model = training.load(run)
    assert model.output_shape == (None, 1)
    assert model.get_layer("embedding").input_dim == run.tokenizer.vocabulary_size
    assert run.metrics is not None
    assert set(run.metrics.values) >= {"accuracy", "log_loss", "roc_auc", "brier", "expected_calibration_error"}
    for name in ("learning_curves", "roc", "calibration", "confusion"):
        assert (run_path / "plots" / f"{name}.png").read_bytes().startswith(PNG)
    assert "<html" in (run_path / "report.html").read_text(encoding="utf-8")


def test_the_metrics_are_those_of_the_saved_model(run_path: Path, reviews: Path, tmp_path: Path) -> None:
    """`evaluate` on the held out reviews finds what `train` wrote down."""
    run = read_run(run_path)
    work = training.plan(load(reviews), test_fraction=0.2, validation_fraction=0.2, seed=run.configuration.seed)
    assert work.test is not None
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text(
        "".join(
            json.dumps({"text": text, "label": work.label_names[label]}) + "\n"
            for text, label in zip(work.test.texts, work.test.labels.tolist(), strict=True)
        )
    )
    out = tmp_path / "evaluation"
    assert main(["evaluate", str(run_path), "--data", str(held_out), "--out", str(out)]) == 0
    found = Metrics.model_validate(document(out / "metrics.json"))
    assert run.metrics is not None
    assert found.values == pytest.approx(run.metrics.values, abs=1e-6)
    assert (found.measured_on, found.examples) == ("held_out.jsonl", 12)
    assert names(out / "plots") == ["calibration.png", "confusion.png", "roc.png"]


def test_the_history_adds_up(run_path: Path) -> None:
    """Every point of the curve is there, and validation was measured after each epoch."""
    history = document(run_path / "history.json")
    assert [point["step"] for point in history["steps"]] == [5, 10]
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2]
    for epoch in history["epochs"]:
        assert epoch["validation_loss"] > 0
        assert 0 <= epoch["validation_accuracy"] <= 1
        assert epoch["seconds"] > 0


def test_points_of_the_curve_are_means_over_their_reviews(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weighted by their reviews, the last and smaller batch included, they give the mean of the epoch."""
    monkeypatch.setattr(training, "BATCHES_PER_POINT", 2)
    # 48 reviews to train on are two batches of 22 and one of 4.
    assert train(reviews, tmp_path / "run", "--batch-size", "22", "--epochs", "1") == 0
    history = document(tmp_path / "run" / "history.json")
    assert [point["step"] for point in history["steps"]] == [2, 3]
    for name in ("loss", "accuracy"):
        mean = np.average([point[name] for point in history["steps"]], weights=[44, 4])
        assert mean == pytest.approx(history["epochs"][0][name], abs=1e-5)


def test_the_same_seed_gives_the_same_run(reviews: Path, tmp_path: Path) -> None:
    """Two processes learn the same weights to the bit, print no more than their progress; another seed differs."""
    outs = [tmp_path / "first", tmp_path / "second"]
    flags = ("--validation-fraction", "0.2", "--seed", "5")
    with started(reviews, outs[0], *flags) as first, started(reviews, outs[1], *flags) as second:
        for process in (first, second):
            output, progress = process.communicate()
            assert process.returncode == 0, progress.decode()
            assert b"labels: negative, positive" in output
            lines = re.split(r"[\r\n]+", progress.decode().strip())
            assert [line for line in lines if not line.startswith(("training: ", "evaluating: "))] == []
    assert equal(*outs)
    for name in ("metrics.json", "tokenizer.json", "configuration.json", "plots/roc.png"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    histories = [document(out / "history.json") for out in outs]
    assert histories[0]["steps"] == histories[1]["steps"]

    assert train(reviews, tmp_path / "other", "--validation-fraction", "0.2", "--seed", "6") == 0
    assert not equal(outs[0], tmp_path / "other")


def test_an_interrupted_training_leaves_nothing(reviews: Path, tmp_path: Path) -> None:
    """Ctrl-C and the stop of a container end it with 130, without a traceback and without half a run."""
    endless = ("--epochs", "1000000")
    with (
        started(reviews, tmp_path / "int", *endless) as interrupted,
        started(reviews, tmp_path / "term", *endless) as terminated,
    ):
        for process, number in ((interrupted, signal.SIGINT), (terminated, signal.SIGTERM)):
            wait_for_progress(process)
            assert names(tmp_path) != []
            process.send_signal(number)
            _, rest = process.communicate()
            assert process.returncode == 130
            assert rest.decode().endswith("interrupted: nothing was written\n")
            assert b"Traceback" not in rest
    assert names(tmp_path) == []


def test_three_labels_make_a_softmax(run_of_three_labels: Path) -> None:
    """One probability a label, in the order of their names."""
    run = read_run(run_of_three_labels)
    assert run.configuration.labels == ("bad", "good", "so-so")
    model = training.load(run)
    answers = model.predict_on_batch(training.encode(run.tokenizer, ["A lovely film.", "", "So-so?"]))
    assert answers.shape == (3, 3)
    assert answers.sum(axis=1) == pytest.approx(1)


def test_nothing_held_out_is_nothing_measured(reviews: Path, tmp_path: Path) -> None:
    """A run on all there is has its curves, and null for its metrics."""
    assert train(reviews, tmp_path / "run", "--test-fraction", "0", "--epochs", "1") == 0
    assert read_run(tmp_path / "run").metrics is None
    assert document(tmp_path / "run" / "metrics.json") is None
    assert names(tmp_path / "run" / "plots") == ["learning_curves.png"]


def test_the_configuration_is_what_was_asked_for(run_path: Path) -> None:
    """Flags replace numbers of the preset; the labels are those of the data."""
    configuration = Configuration.model_validate(document(run_path / "configuration.json"))
    assert [(bank.width, bank.filters) for bank in configuration.convolutions] == [(2, 5), (3, 6)]
    assert (configuration.batch_size, configuration.epochs, configuration.optimizer) == (8, 2, "adam")
    assert configuration.labels == ("negative", "positive")


def test_a_run_is_replaced_only_when_asked(
    run_path: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any training, `--out` that exists is refused; with `--overwrite` it is replaced as a whole."""
    out = Path(shutil.copytree(run_path, tmp_path / "run"))
    (out / "history.json").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", None)
        assert train(reviews, out) == 2
    assert capsys.readouterr().err == f"error: {out} exists: choose another folder or pass --overwrite\n"
    assert (out / "history.json").read_text() == "old"

    assert train(reviews, out, "--overwrite", "--epochs", "1") == 0
    assert len(document(out / "history.json")["epochs"]) == 1
    assert names(tmp_path) == ["run"]


def test_a_folder_that_is_no_run_is_never_replaced(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even with `--overwrite`."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    assert train(reviews, tmp_path / "thesis", "--overwrite") == 2
    assert "will not be overwritten" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--epochs", "0"), "--epochs: Input should be greater than or equal to 1"),
        (("--epochs", "many"), "--epochs: Input should be a valid integer"),
        (("--batch-size", "-1"), "--batch-size: "),
        (("--vocabulary-size", "3"), "--vocabulary-size: "),
        (("--hidden-dropout", "1"), "--hidden-dropout: Input should be less than 1"),
        (("--learning-rate", "nan"), "--learning-rate: "),
        (("--optimizer", "sorcery"), "--optimizer: Input should be 'adam', 'rmsprop', 'sgd' or 'adagrad'"),
        (("--seed", "-1"), "--seed: "),
        (("--name", "../up"), "--name: "),
        (("--convolutions", "3:x"), "--convolutions: Input should be a valid integer"),
        (("--convolutions", "3"), "--convolutions: Input should be a valid integer"),
        (("--convolutions", ""), "--convolutions: "),
        (("--convolutions", "3:4,0:4"), "--convolutions: "),
        (("--convolutions", "3:4,3:5"), "error: filter widths repeat: [3, 3]"),
        (("--convolutions", "13:4"), "error: a filter of width 13 does not fit into 12 tokens"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_its_flag(
    flags: tuple[str, str], message: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says which flag to mend."""
    assert train(reviews, tmp_path / "run", *flags) == 2
    refused(capsys, message)
    assert names(tmp_path) == []


@pytest.mark.parametrize("flag", ["--test-fraction", "--validation-fraction"])
@pytest.mark.parametrize("value", ["1", "-0.1", "nan", "some"])
def test_a_share_lies_between_none_and_all(
    flag: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The usage is shown where the share is none."""
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "none.csv", tmp_path / "run", f"{flag}={value}")
    assert exit_.value.code == 2
    assert f"argument {flag}: {value!r} is not a share" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file or folder"),
        ("", "there is no header row"),
        ("text,label\n", "there are no labelled texts"),
        ("text,label\na,x\nb,x\n", "only one label, 'x'"),
        ("review,label\na,x\nb,y\n", "there is no column 'text'"),
        ("text,label\na,x\nb,y\n", "has a single example"),
        (
            f"text,label\na,x\nb,x\nc,{'y' * 201}\nd,{'y' * 201}\n",
            "labels.1: String should have at most 200 characters",
        ),
    ],
    ids=["missing", "empty", "header", "one label", "no column", "single", "long label"],
)
def test_data_that_cannot_be_learned_from_is_refused(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is wrong with it, and nothing is written."""
    data = tmp_path / "data.csv"
    if content is not None:
        data.write_text(content)
    assert train(data, tmp_path / "run") == 2
    refused(capsys, message)
    assert names(tmp_path) == ([] if content is None else ["data.csv"])


def test_a_training_that_goes_astray_is_stopped(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loss that is no number ends the training, and no run of it is left."""
    assert train(reviews, tmp_path / "run", "--optimizer", "sgd", "--learning-rate", "1e38") == 2
    assert "astray" in capsys.readouterr().err.splitlines()[-1]
    assert names(tmp_path) == []


def test_an_evaluation_lies_in_its_run_and_is_renewed(
    run_of_three_labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `--out` it is the folder `evaluation`, which the next one replaces."""
    run = Path(shutil.copytree(run_of_three_labels, tmp_path / "run"))
    data = write_reviews(tmp_path / "new.csv", ("bad", "good", "so-so"), count=30)
    for _ in range(2):
        assert main(["evaluate", str(run), "--data", str(data)]) == 0
    assert "confusion (rows: truth, columns: answer):" in capsys.readouterr().out
    metrics = Metrics.model_validate(document(run / "evaluation" / "metrics.json"))
    assert (metrics.measured_on, metrics.examples) == ("new.csv", 30)
    assert read_run(run).metrics == read_run(run_of_three_labels).metrics


def test_an_evaluation_does_not_take_the_place_of_anything(
    run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Least of all of the run it measures."""
    run = Path(shutil.copytree(run_path, tmp_path / "run"))
    before = names(run)
    assert main(["evaluate", str(run), "--data", str(reviews), "--out", str(run)]) == 2
    refused(capsys, "will not be overwritten")
    assert names(run) == before


def test_what_cannot_be_evaluated_is_refused(
    run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No run, a run whose model is broken, data with other labels: one line each, and nothing is written."""
    assert main(["evaluate", str(tmp_path / "none"), "--data", str(reviews)]) == 2
    refused(capsys, "there is no such run folder")

    broken = Path(shutil.copytree(run_path, tmp_path / "broken"))
    (broken / "model.keras").write_bytes(b"not a model")
    before = names(broken)
    assert main(["evaluate", str(broken), "--data", str(reviews)]) == 2
    refused(capsys, "model.keras: not a Keras model that can be loaded")
    assert names(broken) == before

    other = write_reviews(tmp_path / "other.csv", ("sad", "glad"))
    assert main(["evaluate", str(run_path), "--data", str(other)]) == 2
    refused(capsys, "label 'sad' is none of the labels 'negative', 'positive'")
    assert "evaluation" not in names(run_path)
