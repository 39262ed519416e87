"""The linear model of an ensemble, and the mean of it and the networks."""

import numpy as np
import numpy.typing as npt
import pytest

from sentiment_conv1d.artifact.configuration import RESERVED_IDS, Convolution
from sentiment_conv1d.artifact.explaining.forward import forward
from sentiment_conv1d.artifact.explaining.network import from_keras
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.evaluation.evaluation import probabilities
from sentiment_conv1d.model.training.linear import SHARE, Ensemble, Linear, solve
from sentiment_conv1d.model.training.network import of_tables
from sentiment_conv1d.model.training.table_network import Floats, Ids, TableNetwork

VOCABULARY, LENGTH = 12, 9

#: The texts of a label each contain one of three words more often than those of the other labels.
WORDS = (4, 7, 9)


def texts(count: int = 60, labels: int = 3) -> tuple[list[Ids], npt.NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, labels, count)
    return [
        np.concatenate([generator.integers(0, VOCABULARY, LENGTH - 3), [WORDS[label]] * 3]).astype(np.int32)
        for label in truth
    ], truth


def solved(outputs: int, weights: Floats | None = None) -> Linear:
    rows, labels = texts(labels=max(outputs, 2))
    return solve(rows, labels, np.ones(len(rows), np.float32) if weights is None else weights, VOCABULARY, outputs)


@pytest.mark.parametrize("outputs", [1, 3])
def test_words_of_a_label(outputs: int) -> None:
    """The words of a label add most to its logit, and the reserved ids add nothing to any."""
    linear = solved(outputs)
    own = WORDS[1:2] if outputs == 1 else WORDS
    assert linear.weights.argmax(axis=0).tolist() == list(own)
    assert not linear.weights[:RESERVED_IDS].any()
    rows, labels = texts(labels=max(outputs, 2))
    logits = linear.predict(rows)
    found = logits[:, 0] > 0 if outputs == 1 else logits.argmax(axis=1)
    assert np.mean(found == labels) > 0.95


def test_counts() -> None:
    """Every occurrence of a word adds its weight, and neither the order nor the padding matters."""
    linear = Linear(np.arange(24, dtype=np.float32).reshape(VOCABULARY, 2), np.array([0.5, -1], np.float32))
    [once, twice, none] = linear.predict([np.array(ids, np.int32) for ids in ([0, 1, 5], [5, 5, 0, 0, 2], [])])
    assert once.tolist() == [10.5, 10]
    assert twice.tolist() == [20.5, 21]
    assert none.tolist() == [0.5, -1]


def test_weights_of_texts() -> None:
    """Heavier texts of a label make this label more probable on average."""
    rows, labels = texts(labels=2)
    heavier = solved(1, np.where(labels == 1, 10, 1).astype(np.float32))
    assert heavier.predict(rows).mean() > solved(1).predict(rows).mean() + 0.01


@pytest.mark.parametrize("outputs", [1, 3])
def test_one_label(outputs: int) -> None:
    """If all texts have the same label, no word adds anything, and the bias prefers this label."""
    rows, labels = texts()
    linear = solve(rows, np.zeros_like(labels), np.ones(len(rows), np.float32), VOCABULARY, outputs)
    assert not linear.weights.any()
    assert (linear.bias < 0).tolist() == [True] if outputs == 1 else [False, True, True]


@pytest.mark.parametrize("with_linear", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
def test_keras_network(outputs: int, with_linear: bool) -> None:
    """One Keras network computes the mean of the networks and the linear model, and its tables can be read."""
    configuration = Configuration(
        labels=("a", "b", "c")[: max(outputs, 2)],
        max_tokens=LENGTH,
        convolutions=(Convolution(width=1, filters=4), Convolution(width=3, filters=6)),
        hidden_width=0,
        embedding_dropout=0,
        optimizer="adagrad",
        batch_size=1,
        recipe="ensemble",
        members=2,
    )
    generator = np.random.default_rng(0)
    network = TableNetwork(VOCABULARY, LENGTH, configuration.convolutions, generator, outputs=outputs, members=2)
    for array in network.weights_by_name().values():
        array += generator.standard_normal(array.shape, np.float32)
    linear = solved(outputs) if with_linear else None
    ensemble = Ensemble(network, linear)
    rows, _ = texts()
    logits = ensemble.predict(rows)
    expected = network.predict(rows)
    if linear is not None:
        expected = expected + SHARE * (linear.predict(rows) - expected)
    assert logits == pytest.approx(expected, abs=1e-5)
    whole = ensemble.configured(configuration)
    assert len(whole.convolutions) == 2 + with_linear
    model = of_tables(whole, ensemble.tables, *ensemble.dense)
    assert model.predict_on_batch(np.array(rows)) == pytest.approx(probabilities(logits), abs=1e-5)
    read = from_keras(model, whole)
    assert np.array([forward(read, ids).logits for ids in rows]) == pytest.approx(logits, abs=1e-4)
