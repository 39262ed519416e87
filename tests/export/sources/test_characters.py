"""Models that read single characters: the ids of Keras itself, for any text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.text import Tokenizer as LegacyTokenizer

from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer, WordLevelTokenizer
from sentiment_conv1d.export.checks.odd_texts import generated_texts, spelled_texts
from sentiment_conv1d.export.sources.vocabularies import (
    NOTHING_STATED,
    Asked,
    read_vocabulary,
    vectorization_tokenizer,
)

LENGTH = 12

#: Letters of several scripts, a combining accent, an emoji, white space, punctuation and a zero character.
LEARNED = "the film was good, Don't! \t\n\0 \u00e9 e\u0301 \u0130i\u0307 stra\u00dfe \U0001f600 \u597d\u770b \u00a0"

letters = st.sampled_from(LEARNED + "THEFILM\u00c9STRASSE?-\r\v\f\x85\u2003\u212a\u03c3\ufe0f\u200d\U0001f3fd")
any_texts = st.lists(st.one_of(st.text(letters), st.text(st.characters(exclude_categories=["Cs"]))), max_size=20)


def ids(tokenizer: VocabularyTokenizer, text: str) -> list[int]:
    encoding = tokenizer.encode(text)
    return list(map(int, encoding.ids[: encoding.tokens]))


def vectorization(standardize: str | None) -> tuple[Any, WordLevelTokenizer]:
    """Return a `TextVectorization` layer of characters, and its tokenizer."""
    layer = keras.layers.TextVectorization(
        standardize=standardize, split="character", output_sequence_length=LENGTH, name=f"characters_{standardize}"
    )
    layer.adapt([LEARNED.replace("\0", "")])  # which `get_vocabulary` would return as an empty string
    tokenizer = vectorization_tokenizer(layer, Asked(LENGTH, None, NOTHING_STATED))
    assert isinstance(tokenizer, WordLevelTokenizer)
    return layer, tokenizer


LAYERS = {
    standardize: vectorization(standardize)
    for standardize in (None, "lower", "strip_punctuation", "lower_and_strip_punctuation")
}


@pytest.mark.parametrize("standardize", LAYERS)
@given(some=any_texts)
def test_layers(standardize: str | None, some: list[str]) -> None:
    """A layer that splits at every character returns the same ids, also of white space."""
    layer, tokenizer = LAYERS[standardize]
    texts = ["", " ", *some]
    for text, row in zip(texts, layer(tf.constant(texts)).numpy().tolist(), strict=True):
        assert ids(tokenizer, text) == row[: next((n for n, number in enumerate(row) if not number), LENGTH)]


@pytest.mark.parametrize("standardize", LAYERS)
def test_texts_of_the_export(standardize: str | None) -> None:
    """The texts on which the export compares a model have the same ids, with all characters that become others."""
    layer, tokenizer = LAYERS[standardize]
    texts = [*generated_texts(tokenizer), *spelled_texts(tokenizer)]
    for text, row in zip(texts, layer(tf.constant(texts)).numpy(), strict=True):
        assert ids(tokenizer, text) == row[row != 0].tolist()


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unknown", [None, "?", "unknown"])
@pytest.mark.parametrize("known", [None, 9])
def test_tokenizers(lower: bool, unknown: str | None, known: int | None, tmp_path: Path) -> None:
    """A `Tokenizer` of Keras 2 with `char_level` returns the same ids, also of punctuation and of lone surrogates."""
    original = LegacyTokenizer(char_level=True, lower=lower, oov_token=unknown, num_words=known)
    original.fit_on_texts([LEARNED])
    file = tmp_path / "tokenizer.json"
    file.write_text(original.to_json())
    tokenizer = read_vocabulary(file, Asked(LENGTH, None, NOTHING_STATED))
    assert isinstance(tokenizer, WordLevelTokenizer)

    @given(some=st.lists(st.one_of(st.text(letters), st.text(st.characters(exclude_characters="\u03a3")))))
    def check(some: list[str]) -> None:
        texts = ["", " ", "\ud83d good", *some]
        for text, row in zip(texts, original.texts_to_sequences(texts), strict=True):
            assert ids(tokenizer, text) == row[-LENGTH:]

    check()


def test_a_capital_sigma(tmp_path: Path) -> None:
    """A capital sigma at the end of a word becomes the letter of any other place, and not that of the end."""
    file = tmp_path / "tokenizer.json"
    original = LegacyTokenizer(char_level=True)
    original.fit_on_texts(["\u03c3\u03c2"])
    file.write_text(json.dumps(json.loads(original.to_json())))
    tokenizer = read_vocabulary(file, Asked(LENGTH, None, NOTHING_STATED))
    assert tokenizer.encode("\u039f\u03a3").ids.tolist() == [original.word_index["\u03c3"]]
