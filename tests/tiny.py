"""A small data set and configuration for fast training."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

#: Flags of `python -m model train`: every layer of the family, with numbers as small as possible.
FLAGS = (
    *("--preset", "imdb-cnn"),
    *("--name", "tiny"),
    *("--vocabulary-size", "40"),
    *("--max-tokens", "12"),
    *("--embedding-width", "4"),
    *("--convolutions", "2:5,3:6"),
    *("--hidden-width", "5"),
    *("--batch-size", "8"),
    *("--epochs", "2"),
    *("--learning-rate", "0.01"),
    *("--validation-fraction", "0"),
    *("--init-from", "none"),
)

_PLAIN = "the film a story of two people in town and it has an ending with some music by her"
_TELLING = (
    "awful dull clumsy boring stale noisy",
    "lovely bright moving funny superb warm",
    "average ordinary passable usual middling plain",
)


def write_reviews(path: Path, labels: Sequence[str] = ("negative", "positive"), count: int = 60) -> Path:
    """Write a CSV file of short reviews, each with two words that reveal its label. Always the same reviews."""
    generator = random.Random(7)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for number in range(count):
            kind = number % len(labels)
            words = generator.choices(_PLAIN.split(), k=generator.randint(1, 14)) + generator.choices(
                _TELLING[kind].split(), k=2
            )
            generator.shuffle(words)
            table.writerow([" ".join(words).capitalize() + ".", labels[kind]])
    return path


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write sixty reviews, half of them positive."""
    return write_reviews(tmp_path_factory.mktemp("data") / "reviews.csv")
