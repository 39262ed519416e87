"""The answers of another model, in a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logit, softmax

from research.mixture.stored_answers import StoredAnswers
from sentiment_conv1d.model.data import DataError


def test_answers(tmp_path: Path) -> None:
    """Every text gets its own answer, wherever it is; another text gets none."""
    texts = [f"text {number}" for number in range(100)]
    logits = np.random.default_rng(0).standard_normal((101, 3)).astype(np.float32)
    written = StoredAnswers.of([*texts, "text 3"], logits)
    written.write(tmp_path / "answers.npz")
    answers = StoredAnswers.read(tmp_path / "answers.npz")
    shares = softmax(logits, axis=1)
    expected = np.stack([logit(shares[:, 1]), logits[:, 2] - logits[:, 0]], axis=1)
    assert answers.to(["text 99", "text 3", "text 0"]) == pytest.approx(expected[[99, 3, 0]], abs=0.01)
    assert np.isnan(answers.to(["another", "z" * 10, ""])).all()
    assert answers.to(texts) == pytest.approx(expected[:100], abs=0.01)
    assert np.isnan(StoredAnswers.none().to(texts)).all()


def test_answers_of_two_models() -> None:
    """The other model decides whether a text is neutral, and the opinions stay that are known already."""
    opinions = StoredAnswers(np.array([3, 5], np.uint64), np.array([[np.nan, 1], [np.nan, -2]], np.float16))
    others = StoredAnswers(np.array([4, 5], np.uint64), np.array([[-1, 7], [2, 8]], np.float16))
    both = opinions.joined(others)
    assert both.digests.tolist() == [3, 4, 5]
    assert np.array_equal(both.log_odds, np.array([[np.nan, 1], [-1, 7], [2, -2]], np.float16), equal_nan=True)


@pytest.mark.parametrize(
    "arrays",
    [
        {"digests": np.zeros(2, np.uint64)},
        {"digests": np.zeros(2, np.uint64), "log_odds": np.zeros((3, 2), np.float16)},
        {"digests": np.zeros(2, np.uint64), "log_odds": np.zeros(2, np.float16)},
        {"digests": np.zeros(2, np.int64), "log_odds": np.zeros((2, 2), np.float16)},
        {"digests": np.zeros((2, 1), np.uint64), "log_odds": np.zeros((2, 2), np.float16)},
        {"digests": np.array(["a", None]), "log_odds": np.zeros((2, 2), np.float16)},
    ],
)
def test_other_arrays(arrays: dict[str, Any], tmp_path: Path) -> None:
    """An archive with other arrays is refused with its name."""
    path = tmp_path / "other.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"other\.npz: "):
        StoredAnswers.read(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    """A file that is no archive, and a file that does not exist, are refused with their name."""
    (tmp_path / "other.npz").write_bytes(content)
    for name in ("other.npz", "missing.npz"):
        with pytest.raises(DataError, match=f"{name}: cannot be read as stored answers"):
            StoredAnswers.read(tmp_path / name)
