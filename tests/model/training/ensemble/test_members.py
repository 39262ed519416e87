"""The ensemble: its gradients, its average and its Keras network."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sentiment_conv1d.model.configuration import Configuration, Convolution
from sentiment_conv1d.model.training.ensemble.members import Ensemble, Floats, Ids
from sentiment_conv1d.model.training.network import of_tables, table_width

VOCABULARY, LENGTH, MEMBERS = 12, 9, 2
BANKS = (Convolution(width=1, filters=4), Convolution(width=2, filters=6))


def ensemble(outputs: int = 3, members: int = MEMBERS) -> Ensemble:
    """Return an ensemble with larger weights than at the start of a training."""
    made = Ensemble(VOCABULARY, outputs, BANKS, members, np.random.default_rng(0))
    generator = np.random.default_rng(1)
    for array in made.weights_by_name().values():
        array += generator.standard_normal(array.shape, np.float32)
    return made


def text(seed: int = 0, length: int = LENGTH) -> Ids:
    return np.random.default_rng(seed).integers(0, VOCABULARY, length, dtype=np.int32)


def learn(model: Ensemble, ids: Ids, target: Floats, weight: float = 1, dropout: float = 0) -> Floats:
    chance = np.random.default_rng(1)
    return model.learn(ids, target, learning_rate=1e-3, dropout=dropout, generator=chance, weight=weight)


def logits(model: Ensemble, ids: Ids, member: int) -> Floats:
    """Compute the logits of one member from its own filters, window by window."""
    found: Floats = model.biases[member].copy()
    row = 0
    for bank, table in zip(BANKS, model.tables, strict=True):
        for number in range(bank.filters):
            if number * MEMBERS // bank.filters == member:
                windows = [
                    sum(table[tap, ids[start + tap], number] for tap in range(bank.width))
                    for start in range(len(ids) - bank.width + 1)
                ]
                found += max(max(windows), 0) * model.weights[row + number]
        row += bank.filters
    return found


def softmax(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    exponentials = np.exp(values - values.max())
    return np.asarray(exponentials / exponentials.sum())


def test_mean_of_the_members() -> None:
    """The ensemble answers with the softmax of the mean of its members' logits, also before a step."""
    model, ids = ensemble(), text()
    expected = softmax(np.mean([logits(model, ids, member) for member in range(MEMBERS)], axis=0))
    assert model.predict([ids])[0] == pytest.approx(expected, abs=1e-6)
    assert learn(model, ids, np.array([1, 0, 0], np.float32)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("outputs", [1, 3])
def test_keras_network(outputs: int) -> None:
    """One Keras network with the tables of all members returns the probabilities of the ensemble."""
    configuration = Configuration(
        labels=("a", "b", "c")[: max(outputs, 2)],
        max_tokens=LENGTH,
        convolutions=BANKS,
        hidden_width=0,
        embedding_dropout=0,
        optimizer="adagrad",
        batch_size=1,
        recipe="ensemble",
        members=MEMBERS,
    )
    configuration = configuration.model_copy(update={"embedding_width": table_width(configuration)})
    model = ensemble(outputs)
    network = of_tables(configuration, model.tables, *model.dense)
    texts = [text(seed) for seed in range(5)]
    assert network.predict_on_batch(np.array(texts)) == pytest.approx(model.predict(texts), abs=1e-6)


def test_gradient() -> None:
    """A step moves each weight of a member against the gradient of that member's own cross-entropy."""
    model, ids, label = ensemble(), text(), 1
    before = {name: array.copy() for name, array in model.weights_by_name().items()}

    def loss() -> float:
        members = [softmax(logits(model, ids, member).astype(np.float64)) for member in range(MEMBERS)]
        return -sum(float(np.log(each[label])) for each in members)

    gradients = {}
    for name, array in model.weights_by_name().items():
        found = np.zeros(array.size)
        for place in range(array.size):
            value, values = array.flat[place], []
            for change in (1e-3, -1e-3):
                array.flat[place] = value + np.float32(change)
                values.append(loss())
            array.flat[place] = value
            found[place] = (values[0] - values[1]) / 2e-3
        gradients[name] = found.reshape(array.shape)
    learn(model, ids, np.eye(3, dtype=np.float32)[label])
    for name, array in model.weights_by_name().items():
        expected = -1e-3 * gradients[name] / np.sqrt(0.02 + gradients[name] ** 2)
        assert array - before[name] == pytest.approx(expected, abs=2e-5)


def test_weight() -> None:
    """A text of weight 0 changes nothing."""
    model = ensemble()
    before = [array.copy() for array in model.state().values()]
    learn(model, text(), np.array([1, 0, 0], np.float32), weight=0)
    assert all(np.array_equal(*pair) for pair in zip(before, model.state().values(), strict=True))


def test_dropout() -> None:
    """A dropped pooled value changes neither its filter nor the dense layer's row of it."""
    model = ensemble()
    before = model.weights.copy()
    learn(model, text(), np.array([1, 0, 0], np.float32), dropout=0.6)
    changed = (model.weights != before).any(axis=1).mean()
    assert 0 < changed < 0.7


def test_state() -> None:
    """A restored ensemble continues as the original does."""
    model, copy, target = ensemble(), ensemble(), np.array([0, 1, 0], np.float32)
    learn(model, text(), target)
    copy.restore({name: array.copy() for name, array in model.state().items()})
    for each in (model, copy):
        learn(each, text(1), target)
    assert all(np.array_equal(*pair) for pair in zip(model.state().values(), copy.state().values(), strict=True))
