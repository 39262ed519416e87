"""Labels that a model of the other texts contradicts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.data import DataError, load
from sentiment_conv1d.model.evaluation.label_errors import cross_validate
from tests.tickets import write_chinese_reviews, write_tickets

#: The lines of the tickets with a wrong label. The header is line 1.
WRONG = [12, 47, 103, 211, 302, 419]


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 600 tickets, six of them with a wrong label."""
    path = write_tickets(tmp_path_factory.mktemp("data") / "tickets.csv")
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    for line in WRONG:
        text, label = rows[line - 2]
        rows[line - 2] = [text, "praise" if label == "complaint" else "complaint"]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_wrong_labels_come_first(tickets: Path) -> None:
    """The six texts with a wrong label contradict it most, and each has words that favour the predicted label."""
    dataset = load(tickets)
    found = cross_validate(dataset.label_names, dataset.train, characters=False)
    suspects = [found.suspect(index) for index in found.suspects[: len(WRONG)]]
    assert sorted(suspect.place for suspect in suspects) == sorted(f"{tickets}: line {line}" for line in WRONG)
    for suspect in suspects:
        assert suspect.label != suspect.predicted
        assert suspect.probability > suspect.probability_of_label
        assert all(word in suspect.text.lower() and share > 0 for word, share in suspect.words if " " not in word)


def test_shares_of_words(tickets: Path) -> None:
    """The shares of all words and the intercepts are the difference of the log-odds that the model predicts."""
    dataset = load(tickets)
    found = cross_validate(dataset.label_names, dataset.train, characters=False)
    index = found.suspects[0]
    label, predicted = found.examples.labels[index], found.probabilities[index].argmax()
    weights = found.weights[found.folds[index]]
    of_words = found.features @ (weights[predicted] - weights[label])
    log_odds = np.log(found.probabilities[:, predicted] / found.probabilities[:, label])
    same = found.folds == found.folds[index]
    offsets = (log_odds - of_words)[same]
    assert offsets == pytest.approx(np.full(len(offsets), offsets[0]), abs=1e-4)


def test_equal_texts(tickets: Path, tmp_path: Path) -> None:
    """Copies of a text are in one fold, so that a copy does not confirm a wrong label."""
    copied = "Great service and thank you, the lamp works very well."
    path = tmp_path / "copies.csv"
    path.write_text(tickets.read_text(encoding="utf-8") + f'"{copied}",complaint\n' * 3, encoding="utf-8")
    dataset = load(path)
    found = cross_validate(dataset.label_names, dataset.train, characters=False)
    assert len(set(found.folds[-3:])) == 1
    assert {600, 601, 602} <= set(found.suspects)


def test_characters(tmp_path: Path) -> None:
    """In a script without spaces, the words responsible are n-grams of characters."""
    dataset = load(write_chinese_reviews(tmp_path / "chinese.csv"))
    flipped = dataset.train.labels.copy()
    flipped[3] = 1 - flipped[3]
    dataset.train.labels[:] = flipped
    found = cross_validate(dataset.label_names, dataset.train, characters=True)
    assert found.suspects[0] == 3
    assert all(1 <= len(word) <= 3 for word, _ in found.suspect(3).words)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["good,1", "bad,0", "fine,1", "dull,0"], "no word occurs in two texts"),
        (["a good film,1"] * 4 + ["a bad film,0"] * 4, "there are too few different texts of each label"),
        (["a film,1", "a film,0"] * 4, "there are too few different texts of each label"),
    ],
)
def test_few_texts(tmp_path: Path, rows: list[str], message: str) -> None:
    """Texts that tell nothing about each other are an error."""
    path = tmp_path / "few.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    dataset = load(path)
    with pytest.raises(DataError, match=message):
        cross_validate(dataset.label_names, dataset.train, characters=False)


def test_command(tickets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check-data --label-errors` prints the most suspicious texts of all parts, and `--out` gets all of them."""
    out = tmp_path / "label_errors.jsonl"
    assert main(["check-data", str(tickets), "--label-errors", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {f"{tickets}: line {line}" for line in WRONG} == {row["place"] for row in rows[: len(WRONG)]}
    assert f"predicts another label for {len(rows)} of 600 texts" in printed
    assert all(f"  {row['place']}: labelled {row['label']} (" in printed for row in rows[:10])
    assert main(["check-data", str(tickets), "--out", str(out)]) == 2
    assert capsys.readouterr().err == "error: --out needs --label-errors\n"
    missing = str(tmp_path / "missing" / "file.jsonl")
    assert main(["check-data", str(tickets), "--label-errors", "--out", missing]) == 2
    assert f"{missing}: cannot be written (No such file or directory)" in capsys.readouterr().err
