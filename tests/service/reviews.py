"""Generates texts like reviews from the shipped vocabulary."""

from __future__ import annotations

import json
import random

from tests.processes import MODEL_REPOSITORY

_MARKS = ("", "", "", "", ",", ".", "!", "?", " -", " <br />", "…", "'s")


def vocabulary() -> list[str]:
    """Return the words that the shipped model knows, the most frequent first."""
    document = json.loads((MODEL_REPOSITORY / "imdb-cnn" / "1" / "tokenizer.json").read_text())
    ids: dict[str, int] = document["model"]["vocab"]
    return sorted(ids, key=ids.__getitem__)[4:]  # the first ids are reserved


def reviews(count: int, seed: int) -> list[str]:
    """Generate reviews as long as IMDB's, some of them truncated, with a few unknown words, from a seed."""
    chance = random.Random(seed)
    words = vocabulary()

    def word() -> str:
        if chance.random() < 0.03:
            return "".join(chance.choices("abcdefgéß½", k=9))
        chosen = words[int(len(words) * chance.random() ** 3)]  # frequent ones are frequent
        return chance.choice((chosen, chosen, chosen.capitalize())) + chance.choice(_MARKS)

    lengths = (round(chance.lognormvariate(5.2, 0.7)) for _ in range(count))
    return [" ".join(word() for _ in range(length)) for length in lengths]
