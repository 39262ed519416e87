"""The Keras network of a configuration."""

import keras
import numpy as np
import pytest

from sentiment_conv1d.artifact.configuration import Convolution
from sentiment_conv1d.artifact.explaining.attribution import attribute
from sentiment_conv1d.artifact.explaining.forward import forward
from sentiment_conv1d.artifact.explaining.network import from_keras
from sentiment_conv1d.model.configuration import PRESETS, Configuration
from sentiment_conv1d.model.training.network import build

TINY = Configuration(
    name="tiny",
    vocabulary_size=20,
    max_tokens=8,
    embedding_width=4,
    convolutions=(Convolution(width=3, filters=5),),
    hidden_width=6,
)


def shapes(model: keras.Model) -> dict[str, list[tuple[int, ...]]]:
    return {
        layer.name: [tuple(weight.shape) for weight in layer.get_weights()] for layer in model.layers if layer.weights
    }


def ids(rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    return np.random.default_rng(0).integers(0, TINY.vocabulary_size, (rows, TINY.max_tokens), dtype=np.int32)


def test_classic_preset() -> None:
    """`imdb-cnn` has the layers and the number of weights of Keras' example."""
    model = build(PRESETS["imdb-cnn"], vocabulary_size=5000)
    assert shapes(model) == {
        "embedding": [(5000, 50)],
        "convolution_3": [(3, 50, 250), (250,)],
        "hidden": [(250, 250), (250,)],
        "probabilities": [(250, 1), (1,)],
    }
    assert model.count_params() == 5000 * 50 + (3 * 50 * 250 + 250) + (250 * 250 + 250) + 251
    assert model.get_layer("convolution_3").output.shape == (None, 398, 250)
    assert model.get_layer("embedding_dropout").rate == model.get_layer("hidden_dropout").rate == 0.2
    assert (model.inputs[0].shape, model.inputs[0].dtype) == ((None, 400), "int32")
    assert model.output_shape == (None, 1)


def test_several_widths() -> None:
    """`kim-cnn` pools three banks of filters and concatenates them."""
    model = build(PRESETS["kim-cnn"], vocabulary_size=5000)
    assert {name: sizes[0] for name, sizes in shapes(model).items()} == {
        "embedding": (5000, 50),
        "convolution_3": (3, 50, 100),
        "convolution_4": (4, 50, 100),
        "convolution_5": (5, 50, 100),
        "hidden": (300, 250),
        "probabilities": (250, 1),
    }
    assert model.get_layer("features").output.shape == (None, 300)


def test_two_labels() -> None:
    """The output is the probability of the second label, with binary cross-entropy."""
    model = build(TINY, TINY.vocabulary_size)
    answers = model.predict_on_batch(ids(3))
    assert answers.shape == (3, 1)
    assert ((answers > 0) & (answers < 1)).all()
    assert (model.get_layer("probabilities").activation, model.loss) == (
        keras.activations.sigmoid,
        "binary_crossentropy",
    )


def test_three_labels() -> None:
    """The outputs are one probability per label and sum to 1."""
    model = build(TINY.model_copy(update={"labels": ("bad", "fair", "good")}), TINY.vocabulary_size)
    answers = model.predict_on_batch(ids(3))
    assert answers.shape == (3, 3)
    assert answers.sum(axis=1) == pytest.approx(1)
    assert (model.get_layer("probabilities").activation, model.loss) == (
        keras.activations.softmax,
        "sparse_categorical_crossentropy",
    )


def test_rows_of_the_embedding() -> None:
    """The embedding has no rows for words that the texts do not contain."""
    assert shapes(build(TINY, vocabulary_size=7))["embedding"] == [(7, 4)]


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("adam", keras.optimizers.Adam), ("rmsprop", keras.optimizers.RMSprop), ("sgd", keras.optimizers.SGD)],
)
def test_optimizer(name: str, optimizer: type[keras.optimizers.Optimizer]) -> None:
    """The optimizer and its learning rate are those of the configuration."""
    model = build(TINY.model_copy(update={"optimizer": name, "learning_rate": 0.25}), TINY.vocabulary_size)
    assert type(model.optimizer) is optimizer
    assert float(model.optimizer.learning_rate) == 0.25


@pytest.mark.parametrize("name", ["0", "a.b", "9-to-5_x.y"])
def test_names(name: str) -> None:
    """Every valid model name is a valid name for Keras."""
    build(TINY.model_copy(update={"name": name}), TINY.vocabulary_size).predict_on_batch(ids(1))


@pytest.mark.parametrize("hidden_width", [0, 6])
@pytest.mark.parametrize("labels", [("a", "b"), ("a", "b", "c")])
def test_explained_network(labels: tuple[str, ...], hidden_width: int) -> None:
    """The logits of the network's arrays give Keras' probabilities, and shares and bias add up to each logit."""
    changes = {
        "labels": labels,
        "hidden_width": hidden_width,
        "convolutions": (Convolution(width=2, filters=3), Convolution(width=3, filters=5)),
    }
    configuration = TINY.model_copy(update=changes)
    model = build(configuration, vocabulary_size=20)
    network = from_keras(model, configuration)
    for row, answer in zip(ids(4), np.asarray(model.predict_on_batch(ids(4))), strict=True):
        taken = forward(network, row)
        exponentials = np.exp(taken.logits)
        expected = 1 / (1 + 1 / exponentials) if len(labels) == 2 else exponentials / exponentials.sum()
        assert answer == pytest.approx(expected, abs=1e-6)
        for unit, logit in enumerate(taken.logits):
            found = attribute(network, taken, unit)
            assert found.bias + found.shares.sum() == pytest.approx(logit, abs=1e-6)
