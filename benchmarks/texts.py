"""Texts to measure with: generated ones with IMDB's lengths and word frequencies, or the lines of a file.

Measured on the 25,000 IMDB training reviews: the number of words is log-normal with mu 5.256 and sigma 0.646 (median
177, mean 238), 90.0 % of the words are among the 4,997 most frequent, and those fall with rank as
1 / (rank + 2.7) ** 1.05.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.tokenizer import Tokenizer

_MU, _SIGMA = 5.256, 0.646
_SHIFT, _EXPONENT = 2.7, 1.05
_KNOWN = 0.900

#: Words of a short text.
SHORT_WORDS = 20


def generate(tokenizer: Tokenizer, count: int, seed: int = 0) -> list[str]:
    """Reviews of made-up sentences."""
    random = np.random.default_rng(seed)
    ranks = np.arange(1, len(tokenizer.words) + 1)
    weights = 1 / (ranks + _SHIFT) ** _EXPONENT
    weights /= weights.sum()
    texts = []
    for length in np.exp(random.normal(_MU, _SIGMA, count)).astype(int).clip(10, 2500).tolist():
        words = random.choice(tokenizer.words, length, p=weights).tolist()
        for place in np.flatnonzero(random.random(length) > _KNOWN):
            words[place] = f"unheard{place}"
        for end in range(12, length, 13):
            words[end] += "."
        texts.append(" ".join(words).capitalize() + ".")
    return texts


def read(path: Path, count: int) -> list[str]:
    """The first texts of a file with a text a line."""
    return path.read_text(encoding="utf-8").splitlines()[:count]


def shorten(texts: list[str]) -> list[str]:
    """Every text cut to its first words."""
    return [" ".join(text.split()[:SHORT_WORDS]) for text in texts]
