"""The commands `train` and `evaluate`: their files, errors and interruptions."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.artifact.manifest import Metrics
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import load, plan
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.evaluation.calibration import at_temperature
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.training import fitting, trainer
from sentiment_conv1d.model.training.results import Results, measure
from tests.model.training.runs import fill_disk, weights
from tests.processes import PATIENCE
from tests.tickets import write_tickets
from tests.tiny import FLAGS, write_reviews

PROJECT = Path(__file__).parents[3]
PNG = b"\x89PNG\r\n\x1a\n"


def train(data: Path, out: Path, *flags: str) -> int:
    return main(["train", "--data", str(data), "--out", str(out), *FLAGS, *flags])


@contextmanager
def started(data: Path, out: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start `python -m model train` in a process, so that a test can stop it early."""
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


def wait_for_checkpoint(process: subprocess.Popen[bytes], folder: Path) -> Path:
    """Wait for the checkpoint of the first epoch of a training into `folder / "run"`."""
    while not (found := list(folder.glob("run.stages/*/network.npz"))):
        assert process.poll() is None
        time.sleep(0.05)
    return found[0]


def document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def equal(first: Path, second: Path) -> bool:
    pairs = zip(weights(first), weights(second), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def refused(capsys: pytest.CaptureFixture[str], message: str) -> None:
    """Assert that stderr contains an error with this text."""
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: ")
    assert all(line.startswith(("  ", "hint: ")) for line in lines[1:])
    assert any(message in line for line in lines)


def test_files_of_a_run(run_path: Path) -> None:
    """The run folder contains the model, tokenizer, configuration, history, metrics, plots and report."""
    assert names(run_path) == [
        "configuration.json",
        "data.json",
        "decision.json",
        "history.json",
        "metrics.json",
        "model.keras",
        "plots",
        "report.html",
        "text_statistics.json",
        "tokenizer.json",
        "training_texts.npy",
    ]
    run = read_run(run_path)
    model = trained.load(run)
    assert model.output_shape == (None, 1)
    assert model.get_layer("embedding").input_dim == run.tokenizer.vocabulary_size
    assert run.metrics is not None
    measures = {"accuracy", "log_loss", "roc_auc", "brier", "expected_calibration_error"}
    assert set(run.metrics.values) >= measures | {"baseline_accuracy", "baseline_log_loss"}
    for name in ("learning_curves", "roc", "calibration", "confusion"):
        assert (run_path / "plots" / f"{name}.png").read_bytes().startswith(PNG)
    assert "<html" in (run_path / "report.html").read_text(encoding="utf-8")


def test_network_that_loses_to_its_baseline(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`train` prints the baseline on the same texts, whether it is better, and what may help."""
    assert train(reviews, tmp_path / "run", "--epochs", "1", "--learning-rate", "1e-9") == 0
    printed = capsys.readouterr().out
    name = "(TF-IDF and logistic regression|NB-SVM)"
    assert re.search(rf"^{name} on the same texts:\n  accuracy  ", printed, re.MULTILINE)
    assert re.search(rf"^The network is .* accurate than {name}: -0\.", printed, re.MULTILINE)
    advice = "try --preset text-ensemble or more --epochs"
    assert re.search(rf"^warning: {name} is right more often than this network: {advice}$", printed, re.MULTILINE)


def test_metrics(run_path: Path, reviews: Path, tmp_path: Path) -> None:
    """`evaluate` on the held-out reviews returns the metrics that `train` wrote."""
    run = read_run(run_path)
    work = plan(load(reviews), test_fraction=0.2, validation_fraction=0.2, seed=run.configuration.seed)
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
    assert found.values == pytest.approx({name: run.metrics.values[name] for name in found.values}, abs=1e-6)
    assert (found.measured_on, found.examples) == ("12 texts of held_out.jsonl", 12)
    assert names(out / "plots") == ["calibration.png", "confusion.png", "precision_recall.png", "roc.png"]


def test_evaluation_on_training_data(
    run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`evaluate` on the training file measures only the test texts, not those that chose the epoch and the like."""
    assert main(["evaluate", str(run_path), "--data", str(reviews), "--out", str(tmp_path / "evaluation")]) == 0
    measured_on = "12 of 60 texts of reviews.csv; the others are training or validation texts"
    assert f"measured on {measured_on}:" in capsys.readouterr().out
    found = Metrics.model_validate(document(tmp_path / "evaluation" / "metrics.json"))
    assert (found.measured_on, found.examples) == (measured_on, 12)


def test_evaluation_without_held_out_texts(
    run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output says if only training texts are measured, and if an older run does not know its training texts."""
    run = Path(shutil.copytree(run_path, tmp_path / "run"))
    seed = read_run(run).configuration.seed
    work = plan(load(reviews), test_fraction=0.2, validation_fraction=0.2, seed=seed)
    trained = tmp_path / "trained.csv"
    rows = zip(work.train.texts, work.train.labels.tolist(), strict=True)
    trained.write_text("text,label\n" + "".join(f"{text},{work.label_names[label]}\n" for text, label in rows))
    assert main(["evaluate", str(run), "--data", str(trained)]) == 0
    assert "measured on 38 texts of trained.csv, all of them training or validation texts:" in capsys.readouterr().out
    (run / "training_texts.npy").unlink()
    assert main(["evaluate", str(run), "--data", str(reviews)]) == 0
    assert "measured on 60 texts of reviews.csv, which may include training texts:" in capsys.readouterr().out


def test_history(run_path: Path) -> None:
    """The history contains every point, and a validation after each epoch."""
    history = document(run_path / "history.json")
    assert [point["step"] for point in history["steps"]] == [5, 10]
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2]
    for epoch in history["epochs"]:
        assert epoch["validation_loss"] > 0
        assert 0 <= epoch["validation_accuracy"] <= 1
        assert epoch["seconds"] > 0


def test_points_of_the_learning_curve(reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of an epoch's points, weighted by their numbers of reviews, is the mean of the epoch."""
    monkeypatch.setattr(fitting, "BATCHES_PER_POINT", 2)
    # 48 reviews to train on are two batches of 22 and one of 4.
    assert train(reviews, tmp_path / "run", "--batch-size", "22", "--epochs", "1") == 0
    history = document(tmp_path / "run" / "history.json")
    assert [point["step"] for point in history["steps"]] == [2, 3]
    for name in ("loss", "accuracy"):
        mean = np.average([point[name] for point in history["steps"]], weights=[44, 4])
        assert mean == pytest.approx(history["epochs"][0][name], abs=1e-5)


def test_seed(reviews: Path, tmp_path: Path) -> None:
    """Two processes with the same seed learn exactly the same weights, and another seed gives other weights."""
    outs = [tmp_path / "first", tmp_path / "second"]
    flags = ("--validation-fraction", "0.2", "--seed", "5")
    with started(reviews, outs[0], *flags) as first, started(reviews, outs[1], *flags) as second:
        for process in (first, second):
            output, progress = process.communicate()
            assert process.returncode == 0, progress.decode()
            assert b"labels: negative, positive" in output
            assert progress == b""
    assert equal(*outs)
    for name in ("metrics.json", "tokenizer.json", "configuration.json", "plots/roc.png"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    histories = [document(out / "history.json") for out in outs]
    assert histories[0]["steps"] == histories[1]["steps"]

    assert train(reviews, tmp_path / "other", "--validation-fraction", "0.2", "--seed", "6") == 0
    assert not equal(outs[0], tmp_path / "other")


def test_interrupted_training(reviews: Path, tmp_path: Path) -> None:
    """A training dies of SIGTERM, without a traceback or a run folder."""
    with started(reviews, tmp_path / "run", "--epochs", "1000000") as process:
        wait_for_checkpoint(process, tmp_path)
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=PATIENCE)
    said = b"interrupted: the same command continues from the last checkpoint\n"
    assert (process.returncode, rest) == (-signal.SIGTERM, said)
    assert names(tmp_path) == ["run.stages"]


def test_progress_bar(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal shows the progress of a training."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert train(reviews, tmp_path / "run") == 0
    assert "training: 100%" in capsys.readouterr().err


def test_three_labels(run_of_three_labels: Path) -> None:
    """The outputs are one probability per label, in the order of their names."""
    run = read_run(run_of_three_labels)
    assert run.configuration.labels == ("bad", "good", "so-so")
    model = trained.load(run)
    answers = model.predict_on_batch(trained.encode(run.tokenizer, ["A lovely film.", "", "So-so?"]))
    assert answers.shape == (3, 3)
    assert answers.sum(axis=1) == pytest.approx(1)


def test_run_without_test_texts(reviews: Path, tmp_path: Path) -> None:
    """A run without test texts has learning curves, and its metrics are null."""
    assert train(reviews, tmp_path / "run", "--test-fraction", "0", "--epochs", "1") == 0
    assert read_run(tmp_path / "run").metrics is None
    assert document(tmp_path / "run" / "metrics.json") is None
    assert read_run(tmp_path / "run").statistics is None
    assert names(tmp_path / "run" / "plots") == ["learning_curves.png"]


def test_configuration(run_path: Path) -> None:
    """Flags replace values of the preset, and the labels are those of the data."""
    configuration = Configuration.model_validate(document(run_path / "configuration.json"))
    assert [(bank.width, bank.filters) for bank in configuration.convolutions] == [(2, 5), (3, 6)]
    assert (configuration.batch_size, configuration.epochs, configuration.optimizer) == (8, 2, "adam")
    assert configuration.labels == ("negative", "positive")


def test_overwrite(
    run_path: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An existing `--out` is refused before training, and `--overwrite` replaces it."""
    out = Path(shutil.copytree(run_path, tmp_path / "run"))
    (out / "history.json").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train", None)
        assert train(reviews, out) == 2
    assert capsys.readouterr().err == f"error: {out} exists: choose another folder or pass --overwrite\n"
    assert (out / "history.json").read_text() == "old"

    assert train(reviews, out, "--overwrite", "--epochs", "1") == 0
    assert len(document(out / "history.json")["epochs"]) == 1
    assert names(tmp_path) == ["run"]


def test_overwrite_does_not_replace_other_folders(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--overwrite` does not replace a folder that is not a run."""
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
def test_invalid_numbers(
    flags: tuple[str, str], message: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the flag of an invalid value."""
    assert train(reviews, tmp_path / "run", *flags) == 2
    refused(capsys, message)
    assert names(tmp_path) == []


@pytest.mark.parametrize("flag", ["--test-fraction", "--validation-fraction"])
@pytest.mark.parametrize("value", ["1", "-0.1", "nan", "some"])
def test_invalid_fractions(flag: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fraction that is negative, or 1 or more, is refused with the usage."""
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "none.csv", tmp_path / "run", f"{flag}={value}")
    assert exit_.value.code == 2
    assert f"argument {flag}: {value!r} is not a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file or folder"),
        ("", "there is no header row"),
        ("text,label\n", "there are no labelled texts"),
        ("text,label\na,x\nb,x\n", "only one label, 'x'"),
        ("review,label\na,x\nb,y\n", "there is no column 'text'"),
        ("text,label\na,x\nb,y\nc,y\n", "label 'x' has a single example"),
        (
            f"text,label\na,x\nb,x\nc,{'y' * 201}\nd,{'y' * 201}\n",
            "labels.1: String should have at most 200 characters",
        ),
    ],
    ids=["missing", "empty", "header", "one label", "no column", "single", "long label"],
)
def test_invalid_data(content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what is wrong with the data, and nothing is written."""
    data = tmp_path / "data.csv"
    if content is not None:
        data.write_text(content)
    assert train(data, tmp_path / "run") == 2
    refused(capsys, message)
    assert names(tmp_path) == ([] if content is None else ["data.csv"])


def test_infinite_loss(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A loss that is not finite stops the training, and there is no run folder."""
    assert train(reviews, tmp_path / "run", "--optimizer", "sgd", "--learning-rate", "1e38") == 2
    assert "the loss is not finite" in capsys.readouterr().err.splitlines()[-1]
    assert names(tmp_path) == []


def test_repeated_evaluation(run_of_three_labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By default, `evaluate` writes to the folder `evaluation` of the run, and replaces an earlier evaluation."""
    run = Path(shutil.copytree(run_of_three_labels, tmp_path / "run"))
    data = write_reviews(tmp_path / "new.csv", ("bad", "good", "so-so"), count=90)
    for _ in range(2):
        assert main(["evaluate", str(run), "--data", str(data)]) == 0
    printed = capsys.readouterr().out.splitlines()
    after = printed.index("confusion (rows: true label, columns: predicted label):")
    matrix = [line.split() for line in printed[after + 1 : after + 5]]
    assert matrix[0] == [row[0] for row in matrix[1:]] == ["bad", "good", "so-so"]
    metrics = Metrics.model_validate(document(run / "evaluation" / "metrics.json"))
    assert metrics.measured_on == "42 of 90 texts of new.csv; the others are training or validation texts"
    assert metrics.examples == 42
    for row, scores in zip(matrix[1:], metrics.per_label, strict=True):
        assert [scores.predicted.get(label, 0) for label in matrix[0]] == list(map(int, row[1:]))
        assert (scores.label, scores.support) == (row[0], sum(map(int, row[1:])))
    assert read_run(run).metrics == read_run(run_of_three_labels).metrics


def test_evaluation_does_not_replace_other_folders(
    run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An evaluation does not replace any other folder, such as the run."""
    run = Path(shutil.copytree(run_path, tmp_path / "run"))
    before = names(run)
    assert main(["evaluate", str(run), "--data", str(reviews), "--out", str(run)]) == 2
    refused(capsys, "will not be overwritten")
    assert names(run) == before


def test_invalid_evaluations(run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing run, a damaged model and unknown labels are refused with one line."""
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


#: Flags of a training with early stopping and calibration.
DECIDING = ("--patience", "2", "--calibration", "temperature", "--validation-fraction", "0.25")


def test_resume(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends a training with status 130. The same command continues after the last complete epoch."""
    out = tmp_path / "run"
    with started(reviews, out, "--epochs", "100000") as process:
        checkpoint = wait_for_checkpoint(process, tmp_path)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (130, b"interrupted: the same command continues from the last checkpoint\n")
    assert names(tmp_path) == ["run.stages"]
    with np.load(checkpoint) as state:
        before = json.loads(state["progress"].tobytes())["epochs"]

    assert train(reviews, out, "--batch-size", "9") == 2
    refused(capsys, "contains an interrupted training with other data or another configuration")
    assert train(reviews, out, "--resume", "--epochs", str(len(before) + 2)) == 0
    assert f"continuing the interrupted training in {out}.stages\n" in capsys.readouterr().out
    history = document(out / "history.json")["epochs"]
    assert history[:-2] == before
    assert [epoch["epoch"] for epoch in history] == list(range(1, len(before) + 3))
    assert names(tmp_path) == ["run"]


def test_full_disk(reviews: Path, tmp_path: Path) -> None:
    """If the run folder cannot be written, the checkpoint stays, and the same command writes the folder."""
    out = tmp_path / "run"
    flags = [*FLAGS, "--vocabulary-size", "60"]
    program = (
        "import sys, resource; from pathlib import Path; from sentiment_conv1d.model import run; "
        "from sentiment_conv1d.model.training import trainer; "
        "from sentiment_conv1d.model.__main__ import main; "
        "write = trainer.write_json; "
        "trainer.write_json = lambda *each: (resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)), write(*each)); "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "train", "--data", str(reviews), "--out", str(out), *flags]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert finished.returncode == 2, finished.stderr
    assert "run: cannot be written to (File too large)" in finished.stderr
    assert names(tmp_path) == ["run.stages"]
    assert train(reviews, out, "--vocabulary-size", "60") == 0
    assert names(tmp_path) == ["run"]


def test_run_that_cannot_be_written_at_the_end(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the run folder cannot be written after the training, the error names the folder that has the run instead."""
    out = tmp_path / "run"
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def measured(*arguments: Any) -> Results:
        out.mkdir()  # by another program
        return measure(*arguments)

    monkeypatch.setattr(trainer, "measure", measured)
    assert train(reviews, out) == 2
    [said] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert said.startswith(f"error: {out} exists: choose another folder or pass --overwrite; the run is in ")
    rescued = Path(said.partition("the run is in ")[2].partition(" instead")[0])
    assert rescued.parent.parent == tmp_path / "temporary"
    assert read_run(rescued).metrics is not None


def test_dry_run(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` reads the data, needs none of the packages of the training, and writes nothing."""
    assert train(reviews, tmp_path / "run", "--dry-run") == 0
    assert capsys.readouterr().out.startswith("60 texts of reviews.csv:\n")
    assert names(tmp_path) == []
    program = (
        "import sys; "
        "sys.modules |= dict.fromkeys(('tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'jinja2')); "
        "from sentiment_conv1d.model.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ("train", "--data", str(reviews), "--out", str(tmp_path / "run"), "--dry-run")
    subprocess.run([sys.executable, "-c", program, *arguments], cwd=PROJECT, check=True, capture_output=True)


def test_checkpoint_that_cannot_be_written(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a checkpoint cannot be written, the training continues with a warning."""
    fill_disk(monkeypatch)
    assert train(reviews, tmp_path / "run") == 0
    shown = capsys.readouterr()
    assert "no checkpoint of network (No space left on device)" in shown.out + shown.err
    assert names(tmp_path) == ["run"]


def test_early_stopping(reviews: Path, tmp_path: Path) -> None:
    """The held-out loss stops the training, the best weights are kept, and held-out texts decide on the temperature."""
    out = tmp_path / "run"
    assert train(reviews, out, "--epochs", "200", "--learning-rate", "0.05", *DECIDING) == 0
    epochs = document(out / "history.json")["epochs"]
    losses = [epoch["validation_loss"] for epoch in epochs]
    assert len(epochs) < 200
    assert min(losses[:-2]) < min(losses[-2:]) + 0.001
    run = read_run(out)
    assert run.decision.chosen_on == "12 held out of 60 texts of reviews.csv"
    work = plan(load(reviews), test_fraction=0.2, validation_fraction=0.25, seed=0)
    assert work.validation is not None
    held_out = trained.predict(trained.load(run), run.tokenizer, work.validation.texts)
    # Before the temperature, the loss is that of the best epoch.
    before = at_temperature(held_out, 1 / run.decision.temperature)
    measured = Evaluation(work.label_names, work.validation.labels, before)
    assert measured.log_loss == pytest.approx(losses[-3], abs=1e-4)


def test_early_stopping_without_held_out_texts(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Early stopping without held-out texts is refused."""
    assert train(reviews, tmp_path / "run", "--patience", "2", "--validation-fraction", "0") == 2
    refused(capsys, "--validation-fraction must be above 0")


def test_pretrained_vectors(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The embedding starts with the vectors of the file, and has their width."""
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("3 3\nawful -9 0 1\nunheard-of 1 1 1\nlovely 9 0 1\n")
    out = tmp_path / "run"
    assert train(reviews, out, "--embeddings", str(vectors), "--learning-rate", "1e-9", "--epochs", "1") == 0
    run = read_run(out)
    assert run.configuration.embedding_width == 3
    ids = run.tokenizer.encode("awful lovely").ids.tolist()
    rows = trained.load(run).get_layer("embedding").get_weights()[0][ids[1:]]
    assert rows.tolist() == pytest.approx(np.array([[-9, 0, 1], [9, 0, 1]]), abs=1e-3)
    assert "words of vectors.txt" in (out / "report.html").read_text()
    for content, said in (
        ("a 1 2\nb 1\n", "line 2: 1 number, "),
        ("q 1 2\n", "no vector for any"),
        ("the x y\n", "line 1"),
    ):
        vectors.write_text(content)
        capsys.readouterr()
        assert train(reviews, tmp_path / "other", "--embeddings", str(vectors)) == 2
        refused(capsys, said)


def test_class_weights(tmp_path: Path) -> None:
    """With balanced class weights, the model finds more examples of a rare label."""
    found = []
    for weights_ in ("none", "balanced"):
        data = tmp_path / "rare.csv"
        rows = ["a film to see,positive"] * 90 + ["a film to flee,negative", "a film to see,negative"] * 5
        data.write_text("text,label\n" + "\n".join(rows) + "\n")
        out = tmp_path / weights_
        assert train(data, out, "--class-weights", weights_, "--epochs", "8", "--test-fraction", "0") == 0
        model, run = trained.load(read_run(out)), read_run(out)
        found.append(float(model.predict_on_batch(trained.encode(run.tokenizer, ["a film to see"]))[0, 0]))
    assert found[1] < found[0]


def test_readme_example(tmp_path: Path) -> None:
    """Without flags, training on 600 tickets in three classes stops when further epochs do not improve it."""
    data = write_tickets(tmp_path / "tickets.csv")
    out = tmp_path / "run"
    assert main(["train", "--data", str(data), "--out", str(out), "--name", "tickets"]) == 0
    run = read_run(out)
    assert run.metrics is not None
    assert run.metrics.values["accuracy"] >= 0.95
    assert 4 <= len(document(out / "history.json")["epochs"]) <= 20
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "480 of 600 texts of tickets.csv" in report
    assert "480 training texts, each held out in turn" in report
    assert "120 held out of 600 texts of tickets.csv" in report
    assert run.decision.chosen_on == "480 training texts, each held out in turn"
    assert set(run.decision.confident_from) == set(run.configuration.labels)


def test_sample(tmp_path: Path) -> None:
    """The sample of the README makes a model that is much better than guessing one of its three labels."""
    assert main(["train", "--data", str(PROJECT / "docs" / "tickets.csv"), "--out", str(tmp_path / "run")]) == 0
    metrics = read_run(tmp_path / "run").metrics
    assert metrics is not None
    assert metrics.values["accuracy"] >= 0.7


def test_confident_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Held-out texts decide the limit of each label, and `train`, the report and `evaluate` measure what they mean."""
    data = write_tickets(tmp_path / "tickets.csv")
    flags = ["--max-tokens", "30", "--vocabulary-size", "200", "--validation-fraction", "0.3"]
    assert train(data, tmp_path / "run", *flags, "--epochs", "8") == 0
    lines = re.findall(r"^(?:confident|right if .*): .*$", capsys.readouterr().out, re.MULTILINE)
    run = read_run(tmp_path / "run")
    assert set(run.decision.confident_from) == {"complaint", "praise", "question"}
    assert any(run.decision.confident_from.values())
    assert run.decision.min_precision == 0.9
    assert run.metrics is not None
    values = run.metrics.values
    assert 0 < values["confident_share"] <= 1
    assert lines[0].startswith(f"confident: {values['confident_share']:.4f}, 95% interval ")
    assert lines[1].startswith(f"right if confident: {values['confident_accuracy']:.4f}, 95% interval ")
    assert f"{values['confident_accuracy']:.2%}" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(data)]) == 0
    assert set(lines) < set(capsys.readouterr().out.splitlines())
    assert (
        document(tmp_path / "run" / "evaluation" / "metrics.json")["values"].items()
        >= {name: value for name, value in values.items() if name.startswith("confident_")}.items()
    )


@pytest.mark.parametrize("flags", [("--min-precision", "0.99", "--validation-fraction", "0.3"), ()])
def test_too_few_held_out_texts(tmp_path: Path, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """If the held-out texts are too few to show the precision, or there are none, the model has no limits."""
    data = write_tickets(tmp_path / "tickets.csv")
    assert train(data, tmp_path / "run", "--max-tokens", "30", "--vocabulary-size", "200", "--epochs", "1", *flags) == 0
    assert "without a limit, so `confident` is null: complaint, praise, question\n" in capsys.readouterr().out
    decision = read_run(tmp_path / "run").decision
    assert (decision.confident_from, decision.min_precision) == ({}, None)
    assert "too few texts were held out" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
