"""The plan of a training that continues an earlier one."""

import numpy as np
import pytest

from sentiment_conv1d.model.data import DataError, Dataset, Examples, TrainingTexts, parts, plan

SEEN = TrainingTexts.of(f"text {number}" for number in range(20))


def examples(first: int, last: int) -> Examples:
    """Return the texts with these numbers, which have the labels 0 and 1 alternately."""
    return Examples([f"text {number}" for number in range(first, last)], np.arange(first, last) % 2)


def dataset(train: Examples, test: Examples | None = None) -> Dataset:
    return Dataset(("a", "b"), train, test, "some file", None if test is None else "another file")


def test_seen_texts_are_trained_on() -> None:
    """Only new texts are held out, in the shares of the new texts, and all others are trained on."""
    work = plan(dataset(examples(0, 60)), test_fraction=0.25, validation_fraction=0.2, seed=0, seen=SEEN)
    assert work.test is not None and work.validation is not None
    held_out = {*work.test.texts, *work.validation.texts}
    assert (len(work.test), len(work.validation), len(work.train)) == (10, 6, 44)
    assert not held_out & set(examples(0, 20).texts)
    assert set(work.train.texts) == set(examples(0, 60).texts) - held_out
    assert (work.source, work.labelled, work.test_source) == ("some file", 60, "10 held out of some file")


def test_seen_test_texts() -> None:
    """Test texts that were seen are not measured, and the description says so."""
    work = plan(dataset(examples(60, 80), examples(10, 30)), test_fraction=0, validation_fraction=0, seed=0, seen=SEEN)
    assert work.test is not None
    assert work.test.texts == examples(20, 30).texts
    assert work.test_source == "10 new ones of another file"
    work = plan(dataset(examples(60, 80), examples(30, 40)), test_fraction=0, validation_fraction=0, seed=0, seen=SEEN)
    assert work.test_source == "another file"


@pytest.mark.parametrize(
    ("data", "fractions"),
    [
        (dataset(examples(0, 20)), (0.2, 0.0)),
        (dataset(examples(0, 20)), (0.0, 0.2)),
        (dataset(examples(60, 80), examples(0, 10)), (0.0, 0.0)),
    ],
)
def test_nothing_to_hold_out(data: Dataset, fractions: tuple[float, float]) -> None:
    """If texts have to be held out or measured and all were seen, there is an error."""
    with pytest.raises(DataError, match="trained on all texts, so there is none to hold out"):
        plan(data, test_fraction=fractions[0], validation_fraction=fractions[1], seed=0, seen=SEEN)
    if data.test is None:
        assert plan(data, test_fraction=0, validation_fraction=0, seed=0, seen=SEEN).train.texts == data.train.texts


def test_parts() -> None:
    """The parts have as many of each label, rare ones too, and equal texts are in the same part."""
    texts = [f"common {number}" for number in range(30)] + [f"rare {number}" for number in range(4)] + ["common 7"] * 5
    labels = np.array([0] * 30 + [1] * 4 + [0] * 5)
    part = parts(Examples(texts, labels), 3, 0)
    assert np.bincount(part[:30]).tolist() == [10, 10, 10]
    assert sorted(np.bincount(part[30:34]).tolist()) == [1, 1, 2]
    assert set(part[34:]) == {part[7]}
    assert not np.array_equal(part, parts(Examples(texts, labels), 3, 1))
