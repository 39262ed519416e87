"""What a report says about the learned, deciding and measured texts is what the learners got."""

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.export.__main__ import main as export
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.training import averaging, fitting, recipes
from tests.tiny import write_reviews

SMALL = ("--max-tokens", "12", "--vocabulary-size", "40", "--convolutions", "1:4,2:4")
KERAS = ("--embedding-width", "4", "--hidden-width", "5")
ENSEMBLE = ("--preset", "text-ensemble", "--members", "1", "--init-from", "none")

#: The smallest network of each preset.
PRESETS = {
    "text-ensemble": ENSEMBLE,
    "text-cnn": ("--preset", "text-cnn", *KERAS),
    "imdb-cnn": ("--preset", "imdb-cnn", *KERAS),
    "kim-cnn": ("--preset", "kim-cnn", *KERAS),
}


class Got:
    """The numbers of texts with each label that the last network of a training learned, and that decided."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.learned: Counter[int] = Counter()
        self.decided: Counter[int] = Counter()
        fit, start, learn = fitting.fit, averaging._Learner.__init__, averaging._Learner.learn
        judge, whole = averaging._Training._judge, averaging._Learner.whole

        def fitted(model: Any, configuration: Any, train: Any, validation: Any, *others: Any, **flags: Any) -> Any:
            self.learned = counted(train[1])
            self.decided = Counter() if validation is None else counted(validation[1])
            return fit(model, configuration, train, validation, *others, **flags)

        def started(learner: Any, task: Any, initial: Any, examples: Examples, *others: Any) -> None:
            learner.seen, learner.examples = Counter(), examples
            start(learner, task, initial, examples, *others)

        def learned(learner: Any, *others: Any) -> Any:
            learner.seen = counted(learner.examples.labels)
            return learn(learner, *others)

        def judged(training: Any, epoch: int) -> Any:
            assert all(len(each.answers()) for each in training._learners)
            self.decided = counted(training._judged.labels)
            return judge(training, epoch)

        def finished(learner: Any) -> Any:
            self.learned = learner.seen
            return whole(learner)

        patch.setattr(recipes, "fit", fitted)
        patch.setattr(averaging._Learner, "__init__", started)
        patch.setattr(averaging._Learner, "learn", learned)
        patch.setattr(averaging._Learner, "whole", finished)
        patch.setattr(averaging._Training, "_judge", judged)


def counted(labels: Any) -> Counter[int]:
    return Counter(np.asarray(labels).tolist())


def table(printed: str) -> list[tuple[int, ...]]:
    """Return the numbers of each label in the table of `train` or `check-data`."""
    found = re.findall(r"^  \w+ +([\d,]+) to train on +([\d,]+) to decide on +([\d,]+) to measure on$", printed, re.M)
    return [tuple(int(number.replace(",", "")) for number in row) for row in found]


def stated(report: str) -> list[tuple[int, ...]]:
    """Return the numbers of each label in the report."""
    body = re.search(r"Decided on</th>.*?<tbody>(.*?)</tbody>", report, re.S)
    assert body is not None
    rows = re.findall(r"<tr>(.*?)</tr>", body[1], re.S)
    cells = [[re.sub(r"<.*?>", "", cell).strip() for cell in re.findall(r"<td.*?>.*?</td>", row)] for row in rows]
    return [tuple(int(cell.replace(",", "")) for cell in row[-3:]) for row in cells]


def check(got: Got, run: Path, printed: str, planned: Sequence[str] = ()) -> str:
    """Compare the run, its report and what was printed with what the learners got. Returns the learned texts in words.

    `planned` is what `check-data` printed.
    """
    data, report = json.loads((run / "data.json").read_text()), (run / "report.html").read_text()
    labels = list(data["labels"])
    assert list(data["labels"].values()) == [got.learned[number] for number in range(len(labels))]
    rows = stated(report)
    assert [row[:2] for row in rows] == [(got.learned[n], got.decided[n]) for n in range(len(labels))]
    metrics = json.loads((run / "metrics.json").read_text())
    assert sum(row[2] for row in rows) == (0 if metrics is None else metrics["examples"])
    assert f"<dt>Trained on</dt><dd>{data['source']}</dd>" in report
    for output in (printed, *planned):
        assert table(output) == rows
    learned = f"{got.learned.total():,}"
    assert data["source"].startswith(f"{learned} of ") or data["source"].startswith(f"{learned} texts of ")
    if planned:
        assert f"training on {data['source']}, " in printed
    return str(data["source"])


@pytest.mark.parametrize("count", [60, 2_600], ids=["few", "many"])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets(
    preset: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Report, `data.json`, `train` and `check-data` state what every preset learns, below and above 2,000 rows."""
    got, data = Got(monkeypatch), write_reviews(tmp_path / "reviews.csv", count=count)
    flags = ["--validation-fraction", "0.2"]
    assert main(["check-data", str(data), *flags, "--preset", preset]) == 0
    planned = capsys.readouterr().out
    flags += [*SMALL, *PRESETS[preset], "--epochs", "1"]
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), *flags]) == 0
    check(got, tmp_path / "run", capsys.readouterr().out, [planned])
    learned = {60: 48, 2_600: 2_080} if preset == "text-ensemble" else {60: 38, 2_600: 1_664}
    assert got.learned.total() == learned[count]
    assert got.decided.total() == {60: 48 if preset == "text-ensemble" else 10, 2_600: 416}[count]


@pytest.mark.parametrize(
    "flags",
    [
        ("--validation-fraction", "0", "--calibration", "none", "--patience", "0"),
        ("--validation-fraction", "0.3"),
        ("--test-fraction", "0"),
    ],
    ids=["without held-out texts", "with held-out texts", "without test texts"],
)
def test_repeated_texts(
    flags: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows with equal texts count one by one."""
    got, data = Got(monkeypatch), write_reviews(tmp_path / "reviews.csv")
    with data.open("a", newline="") as file:
        csv.writer(file).writerows([["A lovely bright film", "positive"]] * 9 + [["A dull film", "negative"]] * 4)
    arguments = [*SMALL, *ENSEMBLE, "--epochs", "1", *flags]
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), *arguments]) == 0
    check(got, tmp_path / "run", capsys.readouterr().out)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Train and publish a small model. Returns the run and the artifact."""
    folder = tmp_path_factory.mktemp("published")
    data = write_reviews(folder / "reviews.csv", count=120)
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *SMALL, *ENSEMBLE]) == 0
    assert export([str(folder / "run"), "--name", "small", "--repository", str(folder)]) == 0
    return folder / "run", folder / "small" / "1"


def test_start_from_a_run(
    published: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training that continues a run states the old texts that it learns again, and only new ones decide."""
    got, data = Got(monkeypatch), write_reviews(tmp_path / "reviews.csv", count=180)
    arguments = ["--init-from", str(published[0]), "--epochs", "2", "--vocabulary-size", "60"]
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), *arguments]) == 0
    check(got, tmp_path / "run", capsys.readouterr().out)
    assert got.learned.total() > 96 and 0 < got.decided.total() < 10


def test_kept_start(
    published: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If no epoch is better than the artifact that a training continues, run, manifest and card say "none"."""
    got, data = Got(monkeypatch), write_reviews(tmp_path / "reviews.csv", count=60)
    arguments = ["--init-from", str(published[1]), "--convolutions", "1:4", "--vocabulary-size", "20"]
    arguments += ["--max-tokens", "12", "--learning-rate", "1e-9", "--name", "kept"]
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), *arguments]) == 0
    assert "it answers as small 1 does, and has learned none of the texts" in capsys.readouterr().out
    assert got.learned.total() == 0
    assert stated((tmp_path / "run" / "report.html").read_text()) == [(0, 24, 6), (0, 24, 6)]
    assert export([str(tmp_path / "run"), "--repository", str(tmp_path)]) == 0
    artifact = read_artifact(tmp_path / "kept" / "1")
    data_of = artifact.manifest.training_data
    assert data_of is not None
    assert (data_of.source, data_of.labels) == ("none of 60 texts of reviews.csv", {"negative": 0, "positive": 0})
    card = (artifact.path / "README.md").read_text()
    assert "Trained on none of 60 texts of reviews.csv, starting with the weights of small 1:" in card
