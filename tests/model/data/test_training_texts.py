"""Digests of training texts, which keep an evaluation from measuring them."""

from pathlib import Path

import numpy as np
import pytest

from sentiment_conv1d.model.data import DataError, Examples, LabelledTexts, TrainingTexts, measurable

TEXTS = ["a film", "A film", "", "\u00c9t\u00e9", "\ud800"]


def examples(texts: list[str]) -> Examples:
    return Examples(texts, np.arange(len(texts)) % 2)


def test_held_out_texts(tmp_path: Path) -> None:
    """Training texts are recognized in any order by all of their characters. A repeated text has one digest."""
    TrainingTexts.of([*TEXTS, *TEXTS]).write(tmp_path / "texts.npy")
    read = TrainingTexts.read(tmp_path / "texts.npy")
    assert len(read.digests) == len(TEXTS)
    held_out = read.held_out(examples(["new", *TEXTS[::-1], "a film "]))
    assert held_out.texts == ["new", "a film "]
    assert held_out.labels.tolist() == [0, 0]


def test_size_of_the_file(tmp_path: Path) -> None:
    """The file takes eight bytes per text, which is 200 kB for 25,000 reviews."""
    TrainingTexts.of(map(str, range(25_000))).write(tmp_path / "texts.npy")
    assert (tmp_path / "texts.npy").stat().st_size == 8 * 25_000 + 128


@pytest.mark.parametrize(
    ("trained", "measured", "words"),
    [
        (None, 5, "5 texts of a.csv, which may include training texts"),
        (["other"], 5, "5 texts of a.csv"),
        (TEXTS[:2], 3, "3 of 5 texts of a.csv; the others are training or validation texts"),
        (TEXTS, 5, "5 texts of a.csv, all of them training or validation texts"),
    ],
)
def test_measurable_texts(trained: list[str] | None, measured: int, words: str) -> None:
    """Training texts are left out unless they are not known or there are no other texts."""
    trained_on = None if trained is None else TrainingTexts.of(trained)
    found, said = measurable(LabelledTexts(examples(TEXTS), "a.csv"), trained_on)
    assert (len(found), said) == (measured, words)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2), np.uint64), np.array([{}], object)])
def test_invalid_files(array: np.ndarray, tmp_path: Path) -> None:
    """Arrays of another type or shape are refused, and pickled ones are not read."""
    np.save(tmp_path / "texts.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=r"texts\.npy: "):
        TrainingTexts.read(tmp_path / "texts.npy")
