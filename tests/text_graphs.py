"""Artifacts with every form of vocabulary, and their `text.onnx`, for tests of other runtimes."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.artifact import Artifact, publish, read_artifact
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.artifact.tokenizer import (
    MarksTokenizer,
    Rule,
    Tokenizer,
    UnicodeTokenizer,
    WordLevelTokenizer,
    WordTokenizer,
)
from sentiment_conv1d.export.checks.text_graph import odd_texts
from sentiment_conv1d.inference.classifier import Classifier
from tests.artifact.tokenizer.test_marks import PIECES
from tests.artifact.tokenizer.test_marks import WORDS as MARKS
from tests.processes import SHIPPED_MODELS
from tests.service.artifacts import LABELS, table_graph
from tests.service.reviews import reviews, vocabulary

MAX_TOKENS = 50

#: The default rule of a `TextVectorization` layer. Others are changes of it.
_VECTORIZATION = Rule(
    max_tokens=MAX_TOKENS,
    lowercase="ascii",
    removed=string.punctuation,
    separators="\t\n\v\f\r",
    padding_id=0,
    start_id=None,
    unknown_id=1,
    keeps_first=True,
    pads_behind=True,
)


_LETTERS = [word for word in vocabulary()[:2000] if word.isalpha()]


def _vectorization(**changes: Any) -> Tokenizer:
    words = dict.fromkeys(word.replace("'", "") for word in vocabulary()[:2000])
    ids = {word: number for number, word in enumerate(words, start=2)}
    return WordLevelTokenizer(ids, replace(_VECTORIZATION, **changes))


#: The vocabularies of docs/own-models.md, and those that this project learns.
VOCABULARIES: dict[str, Callable[[], Tokenizer]] = {
    "keras.datasets.imdb": lambda: WordTokenizer(vocabulary()[:2000], MAX_TOKENS),
    "TextVectorization": _vectorization,
    "TextVectorization with <br />": lambda: _vectorization(replaced=("<br />",)),
    "Tokenizer of Keras 2": lambda: _vectorization(
        lowercase="unicode",
        removed="",
        separators='!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n',
        unknown_id=None,
        keeps_first=False,
        pads_behind=False,
    ),
    "tokenizer.json of Hugging Face": lambda: _vectorization(lowercase="unicode", removed="", keeps_first=False),
    "a list of words": lambda: _vectorization(lowercase="none", removed="", separators="", pads_behind=False),
    "words of any script": lambda: UnicodeTokenizer(_LETTERS, MAX_TOKENS, cuts=False),
    "words, marks, emojis and ratings": lambda: MarksTokenizer([*dict.fromkeys([*MARKS, *_LETTERS])], MAX_TOKENS),
    "characters": lambda: WordLevelTokenizer(
        {each: number for number, each in enumerate(" .,!'\neaoinstrhld\u00e9", start=2)},
        replace(_VECTORIZATION, removed="-", separators="", splits_characters=True),
    ),
    "character n-grams": lambda: UnicodeTokenizer(
        sorted({word[:size] for word in _LETTERS for size in (1, 2, 3)}), MAX_TOKENS, cuts=True
    ),
}

#: The number of texts that a file answers, and of those among them that people type beside emojis and ratings.
_TEXTS, _TYPED = 5000, 500

NAMES = [*SHIPPED_MODELS, *VOCABULARIES]


class Case(NamedTuple):
    """A file, and what the service answers to some texts."""

    file: Path
    texts: list[str]
    labels: list[str]
    probabilities: npt.NDArray[np.float32]  # [texts, labels]

    def check(self, labels: Sequence[str], probabilities: npt.NDArray[np.float32]) -> None:
        """Compare with the answers of another runtime."""
        differences = np.abs(probabilities - self.probabilities).max(axis=1)
        assert differences.max() <= 1e-6, self.texts[int(differences.argmax())][:100]
        assert list(labels) == self.labels


def case(name: str, folder: Path) -> Case:
    """Write the file of a shipped model or a vocabulary, to answer odd texts, reviews and many of their passages.

    The runtimes of JavaScript end a text at a zero character, so no text has one.
    """
    artifact = artifact_of(name, folder)
    file = folder / "text.onnx"
    file.write_bytes(text_graph(artifact))
    texts = [text.replace("\0", "") for text in (*reviews(60, 3), *odd_texts(artifact), *_typed())]
    texts.extend(islice(_passages(), _TEXTS - len(texts)))
    answers = Classifier(artifact).predict(texts)
    probabilities = np.array([each.probabilities for each in answers])
    return Case(file, texts, [each.label for each in answers], probabilities)


def _typed() -> Iterator[str]:
    """Yield emojis, ratings and marks in any order."""
    random = np.random.default_rng(6)
    yield from ("".join(random.choice(PIECES, random.integers(1, 30))) for _ in range(_TYPED))


def _passages() -> Iterator[str]:
    """Yield passages of 1 to 30 words of generated reviews."""
    words, sizes = iter(" ".join(reviews(400, 4)).split(" ")), cycle(range(1, 31))
    while passage := " ".join(islice(words, next(sizes))):
        yield passage


def artifact_of(name: str, folder: Path) -> Artifact:
    """Return a shipped model, or publish one with a vocabulary."""
    if name not in VOCABULARIES:
        return read_artifact(SHIPPED_MODELS[name])
    tokenizer = VOCABULARIES[name]()
    weights = np.random.default_rng(5).normal(scale=0.2, size=(tokenizer.vocabulary_size, 3)).astype(np.float32)
    manifest = {
        "name": "own",
        "created": "2026-01-01T00:00:00+00:00",
        "labels": LABELS,
        "activation": "softmax",
        "max_tokens": tokenizer.max_tokens,
        "vocabulary_size": tokenizer.vocabulary_size,
        "convolution_widths": (),
        "leading_padding": None,
        "configuration": None,
        "metrics": None,
        "parity": (),
        "libraries": {},
    }
    ids = np.full(MAX_TOKENS, tokenizer.padding_id)
    ids[-1] = tokenizer.padding_id if tokenizer.start_id is None else tokenizer.start_id
    exponentials = np.exp(weights[ids].sum(axis=0))
    golden = {"text": "", "probabilities": (exponentials / exponentials.sum()).tolist()}
    return publish(folder / "repository", manifest | {"golden": golden}, table_graph(weights), tokenizer)
