"""`train --search`: several configurations are trained, and the held-out texts choose one."""

import json
from pathlib import Path

import pytest

from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.configuration import PRESETS, Configuration
from sentiment_conv1d.model.data import load, plan
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.training.fitting import TrainingError
from sentiment_conv1d.model.training.search import search
from sentiment_conv1d.model.training.task import Task
from tests.tiny import FLAGS

SMALL = ("--max-tokens", "14", "--epochs", "2", "--members", "2", "--convolutions", "1:6,2:6")

NOTHING_HELD_OUT = ("--validation-fraction", "0", "--patience", "0", "--calibration", "none")


def train(data: Path, out: Path, *flags: str) -> int:
    return main(["train", "--data", str(data), "--out", str(out), "--validation-fraction", "0.3", *flags])


def test_search(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run has the configuration with the lowest held-out loss, and its folder and report list all of them."""
    assert train(reviews, tmp_path / "run", *SMALL, "--search", "4") == 0
    document = json.loads((tmp_path / "run" / "search.json").read_text())
    losses = [trial["log_loss"] for trial in document["trials"]]
    assert len(losses) == document["asked"] == 4
    assert document["measured_on"] == "14 held out of 60 reviews of reviews.csv"
    assert document["chosen"] == 1 + losses.index(min(losses))
    changes = document["trials"][document["chosen"] - 1]["changes"]
    found = read_run(tmp_path / "run").configuration.model_dump()
    assert {name: f"{found[name]:g}" for name in changes} == changes
    assert document["trials"][0]["changes"] == {}
    assert not any("convolutions" in trial["changes"] for trial in document["trials"])  # a flag states them
    out = capsys.readouterr().out
    assert "search: 4 of 4 configurations, measured on 14 held out of 60 reviews of reviews.csv:" in out
    assert f"{document['chosen']} (chosen)" in out
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Search</h2>" in report
    assert all(f"{loss:.4f}" in report for loss in losses)


def test_repeated_search(reviews: Path, tmp_path: Path) -> None:
    """A search gives the same losses when it is repeated, and the test texts do not matter."""
    configuration = PRESETS["text-ensemble"].model_copy(update={"epochs": 2, "max_tokens": 14})
    fixed = ("convolutions", "vocabulary_size")
    losses = []
    for test_fraction in (0.2, 0.2):
        work = plan(load(reviews), test_fraction=test_fraction, validation_fraction=0.3, seed=0)
        found = search(Task(configuration, work, tmp_path / "run"), 3, fixed=fixed)
        losses.append([(trial.changes, trial.log_loss) for trial in found.trials])
    assert losses[0] == losses[1]
    assert len({str(changes) for changes, _ in losses[0]}) == 3


def test_time(reviews: Path, tmp_path: Path) -> None:
    """After the time is over, no other training starts; the first one always runs."""
    work = plan(load(reviews), test_fraction=0.2, validation_fraction=0.3, seed=0)
    configuration = PRESETS["text-ensemble"].model_copy(update={"epochs": 1, "max_tokens": 14})
    found = search(Task(configuration, work, tmp_path / "run"), 5, minutes=1e-9, fixed=("convolutions",))
    assert len(found.trials) == 1
    assert next(found.lines()).startswith("search: 1 of 5 configurations, ")


def test_keras_network(reviews: Path, tmp_path: Path) -> None:
    """The recipe `labels` is searched too, without a checkpoint in the way of the training that follows."""
    assert train(reviews, tmp_path / "run", *FLAGS, "--hidden-width", "0", "--search", "2") == 0
    assert len(json.loads((tmp_path / "run" / "search.json").read_text())["trials"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_loss_that_is_not_finite(reviews: Path, tmp_path: Path) -> None:
    """If no configuration has a finite loss, the search says so."""
    work = plan(load(reviews), test_fraction=0.2, validation_fraction=0.3, seed=0)
    configuration = Configuration(max_tokens=14, learning_rate=1e38, optimizer="sgd", epochs=1)
    with pytest.raises(TrainingError, match="no configuration has a finite loss"):
        search(Task(configuration, work, tmp_path / "run"), 1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--search", "0"], "'0' is not a number from 1"),
        (["--search", "2", "--search-minutes", "0"], "'0' is not a number above 0"),
        (["--search-minutes", "5"], "--search-minutes needs --search"),
        (["--search", "2", *NOTHING_HELD_OUT], "--search chooses on held-out texts"),
    ],
)
def test_refused_flags(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    """Impossible numbers are refused, and a search needs held-out texts."""
    try:
        status = train(reviews, tmp_path / "run", *SMALL, *flags)
    except SystemExit as stop:
        status = stop.code  # type: ignore[assignment]
    assert status == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
