"""The baseline of a training learns what words and word pairs say."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.baseline import NB_SVM, TFIDF, measure_baseline


def examples(*rows: tuple[str, int]) -> Examples:
    """Return texts with the indices of their labels."""
    return Examples([text for text, _ in rows], np.array([label for _, label in rows], np.int64))


def test_word_pairs() -> None:
    """Negation is learned, so word pairs are features, also of a text that is new."""
    train = [("it was good", 1), ("it was not good", 0), ("it was bad", 0), ("it was not bad", 1)]
    found = measure_baseline(("no", "yes"), examples(*train * 5), examples(("not good", 0), ("not bad", 1)))
    assert found is not None
    assert found.evaluation.accuracy == 1
    assert found.evaluation.outputs.shape == (2, 1)


def test_several_labels() -> None:
    """With three labels, the outputs have one column for each."""
    train = [("where is it", 0), ("thank you", 1), ("it broke", 2)]
    found = measure_baseline(("question", "praise", "complaint"), examples(*train * 3), examples(*train))
    assert found is not None
    assert found.evaluation.accuracy == 1
    assert found.evaluation.outputs.shape == (3, 3)


def test_characters() -> None:
    """Texts without spaces between words are read as n-grams of characters."""
    train = [("这部电影很好看", 1), ("这部电影不好看", 0)]
    found = measure_baseline(("no", "yes"), examples(*train * 3), examples(*train), characters=True)
    assert found is not None
    assert found.evaluation.accuracy == 1


@pytest.mark.parametrize(
    "train", [[("one", 0), ("two", 1)], [("the same", 0), ("the same", 0)]], ids=["rare words", "one label"]
)
def test_no_baseline(train: list[tuple[str, int]]) -> None:
    """There is no baseline if no word occurs in two texts, or the training texts lack a label."""
    assert measure_baseline(("no", "yes"), examples(*train), examples(("one", 0))) is None


def test_choice() -> None:
    """Cross-validation chooses TF-IDF if the frequency of words tells, and NB-SVM if many rare words do."""
    generator = np.random.default_rng(0)

    def often(label: int) -> str:
        words = (
            ["good"] * (1 + 3 * label) + ["bad"] * (4 - 3 * label) + [f"n{n}" for n in generator.integers(30, size=4)]
        )
        return " ".join(generator.permutation(words))

    def rare(label: int) -> str:
        return " ".join([f"w{label}x{generator.integers(20)}", *(f"n{n}" for n in generator.integers(20, size=10))])

    for text, name in ((often, TFIDF), (rare, NB_SVM)):
        train, test = (examples(*((text(number % 2), number % 2) for number in range(60))) for _ in range(2))
        found = measure_baseline(("no", "yes"), train, test)
        assert found is not None
        assert found.name == name
