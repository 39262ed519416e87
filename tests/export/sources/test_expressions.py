"""Regular expressions that are stated for a `TextVectorization` layer: the ids of Keras itself, for any text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.tokenizer import Tokenizer
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.vocabularies import (
    Asked,
    Statements,
    read_vocabulary,
    vectorization_tokenizer,
)

LENGTH = 12
WORDS = [
    "the",
    "film",
    "good",
    "goodfilm",
    "don't",
    "dont",
    "don",
    "t",
    "10",
    "a",
    "\u00e9t\u00e9",
    "t\u00e9",
    "\u0301",
    " ",
]

Steps = tuple[tuple[str, str], ...]

#: Steps that are stated with `--regex-replace`.
STEPS: list[Steps] = [
    (("[^a-z ]", ""),),
    (("[^a-z\u00e9 ]+", " "),),
    ((r"\W", " "), (r"\d+", "")),
    ((r"[\d_]+", ""), (r"\pP", " ")),
    (("<br />|<p>", " "), (r"[!?.]", ""), ("-", " ")),
    (("<br />", " "), (r"a\.b", " "), (r"[[:punct:]]", "")),
    (("\n", ""), ("\t", " ")),
]

texts = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text("aAzZ10 \t\n\v.!?-_'<>\0\u00e9\u00c9\u0301\u0130\u212a\u2003\U0001f600"),
        st.lists(st.sampled_from([*WORDS, "Good", "<br />", "<P>", "<BR />", "a.b", "A.B", "-", "!", "\n"])).map(
            " ".join
        ),
        st.lists(st.sampled_from([*WORDS, "<br />", "<p>", "a.b", "10", "?"])).map("".join),
    ),
    max_size=20,
)


def vectorization(steps: Steps, lowercase: str, split: str) -> tuple[Any, Tokenizer]:
    """Return a layer that takes these steps before it splits texts, and the tokenizer for which they are stated."""

    def standardize(some: Any) -> Any:
        some = tf.strings.lower(some) if lowercase == "ascii" else some
        for pattern, rewrite in steps:
            some = tf.strings.regex_replace(some, pattern, rewrite)
        return some

    words = sorted({each for word in WORDS for each in word}) if split == "character" else WORDS[:-1]
    layer = keras.layers.TextVectorization(
        standardize=standardize, split=split, vocabulary=words, output_sequence_length=LENGTH
    )
    statements = Statements(changes={"lowercase": lowercase}, expressions=steps)
    return layer, vectorization_tokenizer(layer, Asked(LENGTH, None, statements))


def check(layer: Any, tokenizer: Tokenizer, some: Sequence[str]) -> None:
    for text, row in zip(some, layer(tf.constant(some)).numpy(), strict=True):
        encoding = tokenizer.encode(text)
        assert encoding.ids[: encoding.tokens].tolist() == row[row != 0].tolist()


@pytest.mark.parametrize("lowercase", ["ascii", "none"])
@pytest.mark.parametrize("steps", STEPS)
def test_words(steps: Steps, lowercase: str) -> None:
    """Words have the ids of a layer that replaces the same."""
    layer, tokenizer = vectorization(steps, lowercase, "whitespace")
    given(texts)(lambda some: check(layer, tokenizer, ["", *some]))()


@pytest.mark.parametrize("steps", [*STEPS[:1], *STEPS[2:4], (("[^a-z\u00e9 ]", " "),)])
def test_characters(steps: Steps) -> None:
    """Single characters have the ids of a layer that replaces the same."""
    layer, tokenizer = vectorization(steps, "ascii", "character")
    given(texts)(lambda some: check(layer, tokenizer, ["", *some]))()


@pytest.mark.parametrize(
    "steps",
    [
        ((r"http\S+", ""),),
        ((r"\d", "#"),),
        (("[z-a]", ""),),
        (("(", ""),),
        (("[!?]", ""), ("<br />", " ")),
        (("<br />", ""),),
        (("ab", " "), ("bc", " ")),
    ],
)
def test_expressions_that_are_refused(steps: Steps) -> None:
    """An expression whose effect a tokenizer cannot have is refused, and so is an invalid one."""
    with pytest.raises(ExportError, match="--regex-replace: the service cannot replace ") as refused:
        vectorization(steps, "ascii", "whitespace")
    assert repr(steps[-1][0]) in str(refused.value)


@pytest.mark.parametrize("steps", [(("<br />", " "),), ((r"\d+", " "),)])
def test_strings_and_characters(steps: Steps) -> None:
    """Several characters cannot become a single one in texts that are split at every character."""
    with pytest.raises(ExportError, match="--regex-replace: the service cannot replace "):
        vectorization(steps, "ascii", "character")


def test_the_vocabulary_of_a_layer(tmp_path: Path) -> None:
    """Expressions can be stated for the words of a layer in a file, and for no other form of vocabulary."""
    file = tmp_path / "words"
    file.write_text("\n".join(["", "[UNK]", "good", "film"]))
    asked = Asked(LENGTH, 9, Statements(expressions=(("[0-9]", " "),), index_from=None))
    assert read_vocabulary(file, asked).encode("good1film").ids.tolist() == [2, 3]
    file.write_text(json.dumps({"good": 1}))
    with pytest.raises(ExportError, match="--regex-replace states what a TextVectorization layer does"):
        read_vocabulary(file, asked)
