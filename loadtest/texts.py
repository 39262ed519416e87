"""Texts to send: generated ones with IMDB's lengths and word frequencies, short ones, or those of a file.

Measured on the 25,000 IMDB training reviews: the number of words is log-normal with mu 5.256 and sigma 0.646 (median
177, mean 238), 90.0 % of the words are among the 4,997 most frequent, and those fall with rank as
1 / (rank + 2.7) ** 1.05. The words themselves are the vocabulary of the shipped model, which is in order of rank.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from loadtest.errors import LoadTestError
from model.tokenizer import Tokenizer

_MU, _SIGMA = 5.256, 0.646
_SHIFT, _EXPONENT = 2.7, 1.05
_KNOWN = 0.900
_SENTENCE = 13  # words

#: Words of a short text.
SHORT_WORDS = 20

#: What can be asked for by name.
IMDB, SHORT, MIXED = "imdb", "short", "mixed"


def choose(source: str, tokenizer: Tokenizer, count: int) -> list[str]:
    """At most `count` texts: `imdb`, `short`, `mixed` (half of each), or those of a file.

    Raises `LoadTestError` where the file cannot be read or holds no text.
    """
    if source not in (IMDB, SHORT, MIXED):
        return read(Path(source), count)
    whole = generate(tokenizer, count)
    if source == IMDB:
        return whole
    short = shorten(whole)
    return short if source == SHORT else [each for pair in zip(whole, short, strict=True) for each in pair][:count]


def generate(tokenizer: Tokenizer, count: int, seed: int = 0) -> list[str]:
    """Reviews of made-up sentences."""
    random = np.random.default_rng(seed)
    ranks = np.arange(1, len(tokenizer.words) + 1)
    weights = 1 / (ranks + _SHIFT) ** _EXPONENT
    weights /= weights.sum()
    lengths = np.exp(random.normal(_MU, _SIGMA, count)).astype(int).clip(10, 2500)
    ends = np.cumsum(lengths)
    chosen = np.array(tokenizer.words, object)[random.choice(len(ranks), ends[-1], p=weights)]
    unknown = np.flatnonzero(random.random(ends[-1]) > _KNOWN)
    chosen[unknown] = [f"unheard{place % 1000}" for place in unknown]
    texts = []
    for words in np.split(chosen, ends[:-1]):
        sentences = [" ".join(words[start : start + _SENTENCE]) for start in range(0, len(words), _SENTENCE)]
        texts.append(". ".join(sentences).capitalize() + ".")
    return texts


def read(path: Path, count: int) -> list[str]:
    """The first texts of a file: column or key `text` of .csv and .jsonl, the lines of any other.

    Raises `LoadTestError`.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                texts = [row["text"] for row, _ in zip(csv.DictReader(file), range(count), strict=False)]
            elif path.suffix == ".jsonl":
                texts = [json.loads(line)["text"] for line, _ in zip(file, range(count), strict=False)]
            else:
                texts = [line.rstrip("\r\n") for line, _ in zip(file, range(count), strict=False)]
    except OSError as error:
        raise LoadTestError(f"cannot read texts from {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise LoadTestError(f"{path} is not UTF-8 with a `text` in every row: {error}") from error
    if not texts or not all(isinstance(text, str) for text in texts):
        raise LoadTestError(f"{path} must hold texts, and holds " + ("none" if not texts else "something else"))
    return texts


def shorten(texts: list[str]) -> list[str]:
    """Every text cut to its first words."""
    return [" ".join(text.split()[:SHORT_WORDS]) for text in texts]
