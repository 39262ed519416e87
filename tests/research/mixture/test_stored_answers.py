"""The answers of another model, in a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.mixture.stored_answers import StoredAnswers
from sentiment_conv1d.model.data import DataError


def test_answers(tmp_path: Path) -> None:
    """Every text gets its own answer, wherever it is; another text gets none."""
    texts = [f"text {number}" for number in range(100)]
    written = StoredAnswers.of([*texts, "text 3"], np.arange(101, dtype=np.float32))
    written.write(tmp_path / "answers.npz")
    answers = StoredAnswers.read(tmp_path / "answers.npz")
    assert answers.to(["text 99", "text 3", "text 0"]).tolist() == [99, 3, 0]
    assert np.isnan(answers.to(["another", "z" * 10, ""])).all()
    assert answers.to(texts).tolist() == list(range(100))
    assert np.isnan(StoredAnswers.none().to(texts)).all()


@pytest.mark.parametrize(
    "arrays",
    [
        {"digests": np.zeros(2, np.uint64)},
        {"digests": np.zeros(2, np.uint64), "log_odds": np.zeros(3, np.float16)},
        {"digests": np.zeros(2, np.int64), "log_odds": np.zeros(2, np.float16)},
        {"digests": np.zeros((2, 1), np.uint64), "log_odds": np.zeros((2, 1), np.float16)},
        {"digests": np.array(["a", None]), "log_odds": np.zeros(2, np.float16)},
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
