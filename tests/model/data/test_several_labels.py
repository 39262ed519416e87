"""Texts with several labels, or none, are read from every form, and divided so that each label is on both sides."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
from pyarrow import parquet

from sentiment_conv1d.model.data import BadDataError, Columns, Examples, Reading, load, load_examples, split

SEVERAL = Reading(columns=Columns(several=True))
EACH = Reading(columns=Columns(several=True, of_labels=("toxic", "insult", "threat")))
TEXTS = ["go away", "you fool", "nice day", "you damn fool", "i will find you"]
LABELS = [["toxic"], ["insult", "toxic"], [], ["insult"], ["threat", "toxic"]]


def named(examples: Examples, names: Sequence[str]) -> list[list[str]]:
    return [[names[place] for place in np.flatnonzero(row).tolist()] for row in examples.labels]


def write_cells(path: Path) -> Path:
    """Write the labels separated by bars, in any order and with spaces."""
    cells = ["toxic", " toxic |insult", "", "insult|insult", "toxic|threat|"]
    lines = [f"{text},{cell}\n" for text, cell in zip(TEXTS, cells, strict=True)]
    path.write_text("text,label\n" + "".join(lines))
    return path


def write_json_cells(path: Path) -> Path:
    with path.open("w", newline="") as file:
        cells = [json.dumps(each) for each in LABELS]
        csv.writer(file).writerows([("text", "label"), *zip(TEXTS, cells, strict=True)])
    return path


def write_json_lines(path: Path) -> Path:
    rows = [json.dumps({"text": text, "label": each}) for text, each in zip(TEXTS, LABELS, strict=True)]
    path.write_text("\n".join(rows))
    return path


def write_parquet(path: Path) -> Path:
    parquet.write_table(arrow.table({"text": TEXTS, "label": LABELS}), path)
    return path


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_cells, "a.csv"),
        (write_json_cells, "b.csv"),
        (write_json_lines, "c.jsonl"),
        (write_parquet, "d.parquet"),
    ],
)
def test_forms(write: object, name: str, tmp_path: Path) -> None:
    """A cell with bars, a JSON list in a cell, and a list of JSON or Parquet are the same labels."""
    dataset = load(write(tmp_path / name), reading=SEVERAL)  # type: ignore[operator]
    assert dataset.label_names == ("insult", "threat", "toxic")
    assert named(dataset.train, dataset.label_names) == LABELS
    assert dataset.train.texts == TEXTS


@pytest.mark.parametrize("marks", [("1", "0"), ("true", "False"), (1, 0), (True, False), (1.0, 0.0)])
def test_a_column_for_each_label(marks: tuple[object, object], tmp_path: Path) -> None:
    """Each column contains 0 or 1, and the labels have the order of the flag."""
    names = EACH.columns.of_labels
    columns = {name: [marks[0] if name in each else marks[1] for each in LABELS] for name in names}
    parquet.write_table(arrow.table({"text": TEXTS, **columns}), tmp_path / "data.parquet")
    dataset = load(tmp_path / "data.parquet", reading=EACH)
    assert dataset.label_names == names
    assert [sorted(each) for each in named(dataset.train, names)] == LABELS


@pytest.mark.parametrize(
    ("reading", "row", "reason"),
    [
        (EACH, {"toxic": 2, "insult": 0, "threat": 0}, "the column 'toxic' contains 2, not 0 or 1"),
        (EACH, {"toxic": 1, "insult": None, "threat": 0}, "the column 'insult' contains None, not 0 or 1"),
        (EACH, {"toxic": 1, "insult": 0}, "there is no column 'threat'"),
        (SEVERAL, {"label": ["a|b"]}, "the label 'a|b' contains '|', which separates labels"),
        (SEVERAL, {"label": "[1, 2"}, "contains '[1, 2', which is not a JSON list"),
        (SEVERAL, {"label": [["a"]]}, "contains [['a']], not a list of strings or integers"),
        (Reading(), {"label": ["a"]}, "--several-labels reads lists of labels"),
    ],
)
def test_faults(reading: Reading, row: dict[str, object], reason: str, tmp_path: Path) -> None:
    """The message names the row, the column and what is wrong with it."""
    good = {"text": "fine", "label": "a", "toxic": 1, "insult": 1, "threat": 1}
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(json.dumps(each) for each in (good, {"text": "odd", **row})))
    with pytest.raises(BadDataError) as caught:
        load(file, reading=reading)
    assert reason in str(caught.value)
    assert "line 2" in str(caught.value)


def test_renamed_labels(tmp_path: Path) -> None:
    """`--label-map` names every label of a text."""
    reading = SEVERAL._replace(label_map=(("toxic", "rude"), ("threat", "menace")))
    dataset = load(write_cells(tmp_path / "data.csv"), reading=reading)
    assert dataset.label_names == ("insult", "menace", "rude")


def test_examples_of_a_model(tmp_path: Path) -> None:
    """Examples to measure on have the labels of the model in its order; others are faults."""
    loaded = load_examples(
        write_cells(tmp_path / "data.csv"), ("toxic", "insult", "threat", "obscene"), reading=SEVERAL
    )
    assert loaded.examples.labels.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0]]
    with pytest.raises(BadDataError, match="label 'threat' is none of the labels 'toxic', 'insult'"):
        load_examples(tmp_path / "data.csv", ("toxic", "insult"), reading=SEVERAL)


def test_split() -> None:
    """Every label has texts on both sides, in about the shares of the fraction, and so have texts without a label."""
    random = np.random.default_rng(1)
    labels = (random.random((400, 3)) < (0.3, 0.05, 0.01)).astype(np.int64)
    labels[:2] = [[0, 0, 1], [1, 1, 1]]
    kept, held_out = split(Examples([f"text {number}" for number in range(400)], labels), 0.2, 3)
    assert len(kept) + len(held_out) == 400
    for counts, total in zip(held_out.labels.sum(axis=0), labels.sum(axis=0), strict=True):
        assert 1 <= counts < total
        assert abs(counts - 0.2 * total) <= 0.05 * total + 1
    without = [int((~part.labels.any(axis=1)).sum()) for part in (kept, held_out)]
    assert abs(without[1] - 0.2 * sum(without)) <= 10


def test_split_of_labels_that_share_texts() -> None:
    """A label of two texts has one on each side, whichever other labels they have."""
    for seed in range(20):
        labels = np.array([[1, 1, 1], [1, 1, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]], np.int64)
        parts = split(Examples([f"text {number}" for number in range(6)], labels), 0.5, seed)
        assert all((part.labels.sum(axis=0) > 0).all() for part in parts)
