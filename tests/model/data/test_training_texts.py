"""Digests of training texts, and what is left to measure on."""

from pathlib import Path

import numpy as np
import pytest

from sentiment_conv1d.model.data import DataError, Examples, LabelledTexts, TrainingTexts, measurable

TEXTS = ["a film", "A film", "", "\u00c9t\u00e9", "\ud800"]


def examples(texts: list[str]) -> Examples:
    return Examples(texts, np.arange(len(texts)) % 2)


def test_texts_are_recognized_in_any_order_and_file(tmp_path: Path) -> None:
    """By every character; a repeated text is one text."""
    TrainingTexts.of([*TEXTS, *TEXTS]).write(tmp_path / "texts.npy")
    read = TrainingTexts.read(tmp_path / "texts.npy")
    assert len(read.digests) == len(TEXTS)
    held_out = read.held_out(examples(["new", *TEXTS[::-1], "a film "]))
    assert held_out.texts == ["new", "a film "]
    assert held_out.labels.tolist() == [0, 0]


def test_eight_bytes_a_text(tmp_path: Path) -> None:
    """The file stays small: that of 25,000 reviews has 200 kB."""
    TrainingTexts.of(map(str, range(25_000))).write(tmp_path / "texts.npy")
    assert (tmp_path / "texts.npy").stat().st_size == 8 * 25_000 + 128


@pytest.mark.parametrize(
    ("trained", "measured", "words"),
    [
        (None, 5, "5 reviews of a.csv, which may include training texts"),
        (["other"], 5, "5 reviews of a.csv"),
        (TEXTS[:2], 3, "3 of 5 reviews of a.csv; the others are training texts"),
        (TEXTS, 5, "5 reviews of a.csv, all of them training texts"),
    ],
)
def test_what_is_measured_is_said(trained: list[str] | None, measured: int, words: str) -> None:
    """Training texts are left out unless they are unknown or there is nothing else."""
    trained_on = None if trained is None else TrainingTexts.of(trained)
    found, said = measurable(LabelledTexts(examples(TEXTS), "a.csv"), trained_on)
    assert (len(found), said) == (measured, words)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2), np.uint64), np.array([{}], object)])
def test_other_arrays_are_refused(array: np.ndarray, tmp_path: Path) -> None:
    """A pickle among them is not read."""
    np.save(tmp_path / "texts.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=r"texts\.npy: "):
        TrainingTexts.read(tmp_path / "texts.npy")
