"""The texts to send: generated texts with IMDB's lengths and word frequencies, short texts, or the texts of a file.

Measured on the 25,000 IMDB training reviews: the number of words is log-normal with mu 5.256 and sigma 0.646 (median
177, mean 238), 90.0 % of the words are among the 4,997 most frequent, and their frequency falls with rank as
1 / (rank + 2.7) ** 1.05. The words come from the vocabulary of the shipped model, which is ordered by rank. Of 100
words, 6 end a sentence, 8 are followed by a comma or another mark, and 13 begin with a capital letter. `br` is the tag.
"""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path

import numpy as np

from loadtest.errors import LoadTestError
from sentiment_conv1d.artifact.errors import reading
from sentiment_conv1d.artifact.tokenizer import Tokenizer, VocabularyTokenizer
from sentiment_conv1d.tables import READABLE, DataError, extension, open_table
from sentiment_conv1d.tables.text import TxtTable

_MU, _SIGMA = 5.256, 0.646
_SHIFT, _EXPONENT = 2.7, 1.05
_KNOWN = 0.900
_SENTENCE = 16  # words
_MARKED, _NAMES = 0.08, 0.07

#: Words of a short text.
SHORT_WORDS = 20

#: The names of generated texts.
IMDB, SHORT, MIXED = "imdb", "short", "mixed"


def choose(source: str, tokenizer: Tokenizer, count: int) -> list[str]:
    """Return at most `count` texts: `imdb`, `short`, `mixed` (half of each), or the texts of a file.

    Raises `LoadTestError` if the file cannot be read or contains no text.
    """
    if source not in (IMDB, SHORT, MIXED):
        return read(Path(source), count)
    whole = generate(tokenizer, count)
    if source == IMDB:
        return whole
    short = shorten(whole)
    return short if source == SHORT else [each for pair in zip(whole, short, strict=True) for each in pair][:count]


def generate(tokenizer: Tokenizer, count: int, seed: int = 0) -> list[str]:
    """Generate reviews of random words."""
    assert isinstance(tokenizer, VocabularyTokenizer)  # as those of the shipped models are
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
    """Return the first texts of a table (see `sentiment_conv1d.tables`), or the first lines of any other file.

    Raises `LoadTestError`.
    """
    try:
        with (
            reading(path, LoadTestError),
            open_table(path) if extension(path) in READABLE else TxtTable(path, path.open("rb")) as table,
        ):
            table.require("text")
            texts = list(islice(chain.from_iterable(chunk.strings("text") for chunk in table.chunks(["text"])), count))
    except DataError as error:
        raise LoadTestError(str(error)) from error
    known = [text for text in texts if text is not None]
    if not known or len(known) < len(texts):
        raise LoadTestError(f"{path} must have a text in every row" + ("" if texts else ", but is empty"))
    return known


def shorten(texts: list[str]) -> list[str]:
    """Cut every text to its first words."""
    return [" ".join(text.split()[:SHORT_WORDS]) for text in texts]
