"""`TextVectorization` layers with `ngrams`: the ids of Keras itself, for any text."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer
from sentiment_conv1d.export.checks.odd_texts import generated_texts, spelled_texts
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.vocabularies import (
    NOTHING_STATED,
    Asked,
    vectorization_tokenizer,
)

LENGTH = 16
LEARNED = ["the film was good", "the film was not good , don't", "\u00e9t\u00e9 \u597d\u770b film the the the"]

texts = st.lists(
    st.one_of(
        st.lists(st.sampled_from([*" ".join(LEARNED).split(), "THE", "Film!", "\0", "\n", "<br />", "\u2003"])).map(
            " ".join
        ),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    max_size=20,
)


def vectorization(n_grams: int | tuple[int, ...], standardize: str | None) -> tuple[Any, VocabularyTokenizer]:
    layer = keras.layers.TextVectorization(
        standardize=standardize, ngrams=n_grams, output_sequence_length=LENGTH, name="words"
    )
    layer.adapt(LEARNED)
    return layer, vectorization_tokenizer(layer, Asked(LENGTH, None, NOTHING_STATED))


@pytest.mark.parametrize("standardize", [None, "lower_and_strip_punctuation"])
@pytest.mark.parametrize("n_grams", [1, 2, 3, (2,), (3, 1), (2, 1)])
def test_layers(n_grams: int | tuple[int, ...], standardize: str | None) -> None:
    """Words, pairs and triples have the ids of the layer, in its order, also in texts with fewer words."""
    layer, tokenizer = vectorization(n_grams, standardize)

    def check(some: list[str]) -> None:
        for text, row in zip(some, layer(tf.constant(some)).numpy(), strict=True):
            encoding = tokenizer.encode(text)
            assert encoding.ids[: encoding.tokens].tolist() == row[row != 0].tolist()

    check(["", "film", *generated_texts(tokenizer), *spelled_texts(tokenizer)])
    given(texts)(lambda some: check(["", *some]))()


def test_long_n_grams() -> None:
    """More than five words in a row are refused, because their text would be many times as long."""
    with pytest.raises(ExportError, match="layer words: an n-gram has 1 to 5 words"):
        vectorization(6, None)
