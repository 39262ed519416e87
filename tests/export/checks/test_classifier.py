"""A model is a classifier if it returns probabilities, and answers each text by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import WordTokenizer
from sentiment_conv1d.export.checks.classifier import check_classifier
from sentiment_conv1d.export.checks.parity import Inputs, generated
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.trained import Trained

TOKENIZER = WordTokenizer([f"word{number}" for number in range(20)], 6)

Tail = Callable[[Any], Any]


def checked(tail: Tail) -> str:
    """Check a model whose last layers are `tail`, which does not change it."""
    keras.utils.set_random_seed(3)
    ids = keras.Input((TOKENIZER.max_tokens,), dtype="int32")
    value = layers.Embedding(TOKENIZER.vocabulary_size, 4)(ids)
    trained = Trained(keras.Model(ids, tail(layers.GlobalMaxPooling1D()(value))), TOKENIZER, ("no", "yes"))
    weights = trained.model.get_weights()
    found = check_classifier(trained, generated(trained.input_shape))
    assert all(map(np.array_equal, weights, trained.model.get_weights()))
    return found


def dense(activation: str | None, units: int = 1) -> Any:
    """Return a layer whose outputs are near 0.5 if it has no activation."""
    half = keras.initializers.Constant(0.5)
    return layers.Dense(units, activation, bias_initializer=half, kernel_initializer="random_uniform", name="answer")


@pytest.mark.parametrize(
    ("tail", "activation"),
    [
        (dense("sigmoid"), "sigmoid"),
        (dense("hard_sigmoid"), "sigmoid"),
        (dense("softmax", 2), "softmax"),
        (lambda value: layers.Softmax()(dense(None, 2)(value)), "softmax"),
        (lambda value: layers.Reshape((2,))(dense("softmax", 2)(value)), "softmax"),
        (lambda value: layers.Average()([dense("sigmoid")(value), layers.Dense(1, "sigmoid")(value)]), "sigmoid"),
    ],
)
def test_probabilities(tail: Tail, activation: str) -> None:
    """Sigmoid and softmax are recognized, also before layers that only change the shape."""
    assert checked(tail) == activation


@pytest.mark.parametrize(
    "tail",
    [
        *(dense(activation) for activation in (None, "relu", "leaky_relu", "exponential", "relu6")),
        lambda value: layers.Reshape((1,))(dense(None)(value)),
        lambda value: layers.Flatten()(layers.Dropout(0.1)(dense(None)(value))),
        lambda value: layers.Add(name="answer")([layers.Dense(1)(value), layers.Dense(1, "sigmoid")(value)]),
    ],
)
def test_outputs_that_are_probabilities_by_chance(tail: Tail) -> None:
    """Other activations are refused although all outputs for the generated ids are between 0 and 1."""
    with pytest.raises(ExportError, match="layer answer does not return probabilities"):
        checked(tail)


def test_answers_that_depend_on_the_batch() -> None:
    """A model that compares a text with the others of its batch is refused."""
    with pytest.raises(ExportError, match="depends on the texts before it or beside it"):
        checked(lambda value: dense("sigmoid")(100 * (value - keras.ops.mean(value, axis=0, keepdims=True))))


@pytest.mark.parametrize("layer", [layers.Dropout(0.5, name="forced"), layers.BatchNormalization(name="forced")])
def test_layers_that_are_called_in_training(layer: Any) -> None:
    """A layer that is called with training=True is named."""
    with pytest.raises(ExportError, match="layer forced is called with training=True"):
        checked(lambda value: dense("sigmoid")(layer(value, training=True)))


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (layers.Dense(1, "softmax"), "a softmax of one unit is always 1"),
        (lambda value: layers.Softmax()(dense(None)(value)), "a softmax of one unit is always 1"),
        (
            layers.Dense(1, "sigmoid", kernel_initializer="zeros"),
            "all texts that it was trained on have the same label",
        ),
        (
            layers.Dense(2, "softmax", kernel_initializer="zeros"),
            "all texts that it was trained on have the same label",
        ),
    ],
)
def test_the_same_answer_to_everything(tail: Tail, message: str) -> None:
    """A model that gives every text the same answer is refused, with the likely cause."""
    with pytest.raises(ExportError, match=f"the model gives every text the same answer: .*{message}"):
        checked(tail)


def test_a_model_that_learned_one_label() -> None:
    """A model whose training texts all have the same label is refused, although its probabilities differ a little."""
    keras.utils.set_random_seed(3)
    shape = InputShape.of(TOKENIZER)
    model = keras.Sequential(
        [
            keras.Input((TOKENIZER.max_tokens,), dtype="int32"),
            layers.Embedding(TOKENIZER.vocabulary_size, 4),
            layers.Conv1D(8, 2, activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    tokens = shape.pad(generated(shape, seed=1).rows)
    model.fit(tokens, np.ones(len(tokens)), epochs=20, verbose=0)
    assert np.ptp(model.predict_on_batch(tokens)[:, 0]) > 1e-4
    with pytest.raises(ExportError, match="all texts that it was trained on have the same label"):
        check_classifier(Trained(model, TOKENIZER, ("no", "yes")), generated(shape))


def test_a_label_of_few_words() -> None:
    """A model that is sure of one label for almost all texts is a classifier if a single word changes its answer."""
    model = keras.Sequential(
        [
            keras.Input((TOKENIZER.max_tokens,), dtype="int32"),
            layers.Embedding(TOKENIZER.vocabulary_size, 1),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, "sigmoid"),
        ]
    )
    values = np.linspace(0, 0.1, TOKENIZER.vocabulary_size, dtype=np.float32)
    values[-1] = 10  # repeated, it decides; among other words, it does not
    model.set_weights([values[:, np.newaxis], np.array([[1]], np.float32), np.array([-5], np.float32)])
    rows = [row for row in generated(InputShape.of(TOKENIZER)).rows if (row == len(values) - 1).sum() < 2]
    assert check_classifier(Trained(model, TOKENIZER, ("no", "yes")), Inputs("few", rows)) == "sigmoid"
