"""Texts to send: generated ones with IMDB's lengths and word frequencies, short ones, or those of a file.

Measured on the 25,000 IMDB training reviews: the number of words is log-normal with mu 5.256 and sigma 0.646 (median
177, mean 238), 90.0 % of the words are among the 4,997 most frequent, and those fall with rank as
1 / (rank + 2.7) ** 1.05. The words themselves are the vocabulary of the shipped model, which is in order of rank. Of
100 words 6 end a sentence, 8 have a comma or another mark behind them, and 13 begin with a capital letter; `br` is
the tag.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.errors import LoadTestError
from sentiment_conv1d.model.tokenizer import Tokenizer

_MU, _SIGMA = 5.256, 0.646
_SHIFT, _EXPONENT = 2.7, 1.05
_KNOWN = 0.900
_SENTENCE = 16  # words
_MARKED, _NAMES = 0.08, 0.07

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
    chosen[chosen == "br"] = "<br />"
    names = random.random(ends[-1]) < _NAMES
    chosen[names] = [word.capitalize() for word in chosen[names]]
    chosen[random.random(ends[-1]) < _MARKED] += ","
    texts = []
    for words in np.split(chosen, ends[:-1]):
        sentences = [" ".join(words[start : start + _SENTENCE]) for start in range(0, len(words), _SENTENCE)]
        texts.append(" ".join(f"{sentence[0].upper()}{sentence[1:].rstrip(',')}." for sentence in sentences))
    return texts


def read(path: Path, count: int) -> list[str]:
    """The first texts of a file: column or key `text` of .csv, .jsonl and .parquet, the lines of any other.

    Raises `LoadTestError`.
    """
    reader = {".csv": _csv_texts, ".jsonl": _json_texts, ".parquet": _parquet_texts}.get(path.suffix, _lines)
    try:
        texts = list(islice(reader(path), count))
    except OSError as error:
        raise LoadTestError(f"cannot read texts from {path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise LoadTestError(f"{path} is not UTF-8 with a `text` in every row: {error}") from error
    if not texts or not all(isinstance(text, str) for text in texts):
        raise LoadTestError(f"{path} must hold texts, and holds " + ("none" if not texts else "something else"))
    return texts


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="") as file:
        for line in file:
            yield line.rstrip("\r\n")


def _csv_texts(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["text"]


def _json_texts(path: Path) -> Iterator[Any]:
    for line in _lines(path):
        yield json.loads(line)["text"]


def _parquet_texts(path: Path) -> Iterator[Any]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        problem = "Parquet files are read with pyarrow, which is not installed: pip install 'sentiment-conv1d[parquet]'"
        raise LoadTestError(f"{path}: {problem}") from None
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["text"]):
            yield from batch.column("text").to_pylist()


def shorten(texts: list[str]) -> list[str]:
    """Every text cut to its first words."""
    return [" ".join(text.split()[:SHORT_WORDS]) for text in texts]
