"""Keras' text examples: the service returns what Keras returns for a text, given the model and its vocabulary."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from keras import layers
from keras.src.legacy.preprocessing.text import Tokenizer as LegacyTokenizer
from keras.src.legacy.preprocessing.text import text_to_word_sequence

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.inference.classifier import Classifier
from tests.export.keras2 import save_as_keras_2

PLAIN = ("the", "film", "a", "story", "of", "two", "people", "in", "town", "and", "it", "has", "an", "ending", "with")
TELLING = (["awful", "dull", "clumsy", "boring"], ["lovely", "bright", "moving", "superb"])
WORDS = [*PLAIN, *TELLING[0], *TELLING[1]]
ROWS = 40

#: Texts besides the reviews: punctuation, unknown words, other alphabets, a long text and an empty one.
ODD = ["A SUPERB film!", "don't; awful-ish?\n", "\u00c9t\u00e9 caf\u00e9", "dull " * 300 + "lovely", "", "..."]

Ids = npt.NDArray[np.int32]


def reviews(count: int, seed: int) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return texts whose label depends on two words, half of them positive."""
    generator = random.Random(seed)
    texts = []
    for number in range(count):
        words = generator.choices([*PLAIN, "unheard"], k=generator.randint(4, 30))
        words += generator.choices(TELLING[number % 2], k=2)
        generator.shuffle(words)
        texts.append(" ".join(words).capitalize() + ".")
    return texts, np.arange(count) % 2


class WordIndex:
    """The vocabulary of `keras.datasets.imdb`: ranks plus three, a start id, padding and truncation at the front."""

    def __init__(self, sequence_length: int) -> None:
        self._sequence_length = sequence_length
        self._ranks = {word: rank for rank, word in enumerate(WORDS, start=1)}

    def save(self, folder: Path) -> Path:
        file = folder / "word_index.json"
        file.write_text(json.dumps(self._ranks))
        return file

    def ids(self, texts: Sequence[str]) -> Ids:
        rows = [[1, *(self._ranks.get(word, -1) + 3 for word in text_to_word_sequence(text))] for text in texts]
        return np.asarray(keras.utils.pad_sequences(rows, self._sequence_length))


class Vectorization:
    """A `TextVectorization` layer, saved in its own model."""

    def __init__(self, sequence_length: int) -> None:
        self.layer = layers.TextVectorization(output_sequence_length=sequence_length)
        self.layer.adapt([*WORDS * 2, "rare"])

    def save(self, folder: Path) -> Path:
        file = folder / "vectorization.keras"
        keras.Sequential([keras.Input((1,), dtype="string"), self.layer]).save(file)
        return file

    def ids(self, texts: Sequence[str]) -> Ids:
        return np.asarray(self.layer(tf.constant(texts)))


class Legacy:
    """The `Tokenizer` of Keras 2, with padding and truncation at the front."""

    def __init__(self, sequence_length: int) -> None:
        self._sequence_length = sequence_length
        self._tokenizer = LegacyTokenizer(num_words=ROWS, oov_token="<oov>")
        self._tokenizer.fit_on_texts([" ".join(WORDS)])

    def save(self, folder: Path) -> Path:
        file = folder / "tokenizer.json"
        file.write_text(self._tokenizer.to_json())
        return file

    def ids(self, texts: Sequence[str]) -> Ids:
        return np.asarray(keras.utils.pad_sequences(self._tokenizer.texts_to_sequences(texts), self._sequence_length))


def imdb_cnn_keras_1(sequence_length: int) -> keras.Model:
    """Build the example of Keras 1 with today's names of its layers and arguments."""
    return keras.Sequential(
        [
            keras.Input((sequence_length,)),
            layers.Embedding(ROWS, 50, embeddings_initializer="uniform"),
            layers.SpatialDropout1D(0.2),
            layers.Conv1D(250, 3, padding="valid", activation="relu", strides=1),
            layers.GlobalMaxPooling1D(),
            layers.Dense(250),
            layers.Dropout(0.2),
            layers.Activation("relu"),
            layers.Dense(1),
            layers.Activation("sigmoid"),
        ]
    )


def imdb_cnn_keras_2(sequence_length: int) -> keras.Model:
    """Build the example of Keras 2: `model.add(…)`, with a dropout after the embedding."""
    model = keras.Sequential([keras.Input((sequence_length,))])
    model.add(layers.Embedding(ROWS, 50))
    model.add(layers.Dropout(0.2))
    model.add(layers.Conv1D(250, 3, padding="valid", activation="relu", strides=1))
    model.add(layers.GlobalMaxPooling1D())
    model.add(layers.Dense(250))
    model.add(layers.Dropout(0.2))
    model.add(layers.Activation("relu"))
    model.add(layers.Dense(1))
    model.add(layers.Activation("sigmoid"))
    return model


def imdb_cnn_keras_3(
    sequence_length: int, *, padding: str = "valid", free: bool = False, normal: bool = False
) -> keras.Model:
    """Build the functional form, with common variants."""
    ids = keras.Input((None if free else sequence_length,), dtype="int64")
    x = layers.Embedding(ROWS, 50)(ids)
    x = layers.Dropout(0.2)(x)
    x = layers.Conv1D(250, 3, padding=padding, activation=None if normal else "relu")(x)
    if normal:
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dropout(0.2)(layers.Dense(250, activation="relu")(x))
    return keras.Model(ids, layers.Dense(1, activation="sigmoid")(x))


def text_classification_from_scratch(sequence_length: int) -> keras.Model:
    """Build two convolutions with strides over an input of any length."""
    ids = keras.Input((None,), dtype="int64")
    x = layers.Embedding(ROWS, 128)(ids)
    x = layers.Dropout(0.5)(x)
    x = layers.Conv1D(128, 7, padding="valid", activation="relu", strides=3)(x)
    x = layers.Conv1D(128, 7, padding="valid", activation="relu", strides=3)(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(ids, layers.Dense(1, activation="sigmoid", name="predictions")(x))


def pretrained_word_embeddings(sequence_length: int) -> keras.Model:
    """Build a frozen embedding, three convolutions with pooling between them, and a softmax."""
    embedding = layers.Embedding(ROWS, 100, trainable=False)
    ids = keras.Input((None,), dtype="int64")
    x = embedding(ids)
    embedding.set_weights([np.random.default_rng(2).normal(size=(ROWS, 100))])
    x = layers.Conv1D(128, 5, activation="relu")(x)
    x = layers.MaxPooling1D(5)(x)
    x = layers.Conv1D(128, 5, activation="relu")(x)
    x = layers.MaxPooling1D(5)(x)
    x = layers.Conv1D(128, 5, activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(ids, layers.Dense(2, activation="softmax")(x))


def kim_cnn(sequence_length: int) -> keras.Model:
    """Build filters of widths 3, 4 and 5 in parallel."""
    ids = keras.Input((sequence_length,), dtype="int32")
    x = layers.Embedding(ROWS, 50)(ids)
    pooled = [layers.GlobalMaxPooling1D()(layers.Conv1D(100, width, activation="relu")(x)) for width in (3, 4, 5)]
    x = layers.Dropout(0.5)(layers.Concatenate()(pooled))
    return keras.Model(ids, layers.Dense(1, activation="sigmoid")(x))


@dataclass(frozen=True)
class Example:
    """An example: its model, its vocabulary, the format of its file, and the widths that are folded."""

    build: Callable[..., keras.Model]
    vocabulary: Callable[[int], Any]
    widths: tuple[int, ...] = (3,)
    file: str = "model.keras"
    keras_2: str = ""
    inside: bool = False
    sequence_length: int = 60
    variant: tuple[tuple[str, Any], ...] = ()


EXAMPLES = {
    "imdb_cnn of Keras 1": Example(imdb_cnn_keras_1, WordIndex, file="model.h5"),
    "imdb_cnn of Keras 2.0": Example(imdb_cnn_keras_2, WordIndex, file="model.h5", keras_2="2.0.8"),
    "imdb_cnn of Keras 2.2": Example(imdb_cnn_keras_2, WordIndex, file="model.h5", keras_2="2.2.4"),
    "imdb_cnn of Keras 3": Example(imdb_cnn_keras_3, WordIndex),
    "text_classification_from_scratch": Example(
        text_classification_from_scratch, Vectorization, widths=(), inside=True
    ),
    "pretrained_word_embeddings": Example(pretrained_word_embeddings, Vectorization, widths=(), sequence_length=200),
    "Kim's CNN": Example(kim_cnn, WordIndex, widths=(3, 4, 5)),
    "Input((None,))": Example(imdb_cnn_keras_3, WordIndex, variant=(("free", True),)),
    "same padding": Example(imdb_cnn_keras_3, WordIndex, variant=(("padding", "same"),)),
    "BatchNormalization": Example(imdb_cnn_keras_3, WordIndex, variant=(("normal", True),)),
    "TextVectorization inside": Example(imdb_cnn_keras_3, Vectorization, inside=True, variant=(("free", True),)),
    "TextVectorization outside": Example(imdb_cnn_keras_3, Vectorization),
    "Tokenizer": Example(imdb_cnn_keras_3, Legacy),
}


def save(example: Example, model: keras.Model, vocabulary: Any, folder: Path) -> list[str]:
    """Write the files of an example; returns the arguments that name them."""
    source = folder / example.file
    if example.inside:
        text = keras.Input((1,), dtype="string")
        keras.Model(text, model(vocabulary.layer(text))).save(source)
        return [str(source)]
    if example.keras_2:
        save_as_keras_2(model, source, example.keras_2)
    else:
        model.save(source)
    length = [] if model.inputs[0].shape[1] else ["--max-tokens", str(example.sequence_length)]
    ranks = ["--index-from", "3"] if isinstance(vocabulary, WordIndex) else []
    return [str(source), "--vocabulary", str(vocabulary.save(folder)), *length, *ranks]


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_example(example: Example, tmp_path: Path) -> None:
    """The service's outputs and accuracy are those of Keras on ids that Keras made."""
    keras.utils.set_random_seed(5)
    vocabulary = example.vocabulary(example.sequence_length)
    model = example.build(example.sequence_length, **dict(example.variant))
    softmax = model.outputs[0].shape[1] > 1
    loss = "sparse_categorical_crossentropy" if softmax else "binary_crossentropy"
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)  # otherwise Keras traces the first step twice
    texts, labels = reviews(256, seed=1)
    model.fit(vocabulary.ids(texts), labels, batch_size=32, epochs=6, verbose=0)
    arguments = save(example, model, vocabulary, tmp_path)

    held_out, truth = reviews(100, seed=2)
    with (tmp_path / "held_out.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("text", "label"), *zip(held_out, np.where(truth, "positive", "negative"), strict=True)]
        )
    arguments += ["--labels", "negative,positive", "--data", str(tmp_path / "held_out.csv")]
    assert main([*arguments, "--name", "own", "--repository", str(tmp_path / "repository")]) == 0

    artifact = read_artifact(tmp_path / "repository" / "own" / "1")
    assert artifact.manifest.convolution_widths == example.widths
    served = [each.probabilities for each in Classifier(artifact).predict([*held_out, *ODD])]
    expected = model.predict(vocabulary.ids([*held_out, *ODD]), verbose=0)[:, -1]
    np.testing.assert_allclose(np.array(served)[:, 1], expected, atol=1e-5, rtol=0)

    accuracy = np.mean((expected[: len(held_out)] > 0.5) == truth)
    assert accuracy > 0.8
    assert artifact.manifest.metrics is not None
    assert artifact.manifest.metrics.values["accuracy"] == pytest.approx(accuracy)
