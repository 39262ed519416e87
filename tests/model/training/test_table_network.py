"""Networks of look-up tables: their gradients, and the mean of several members."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sentiment_conv1d.artifact.configuration import Convolution
from sentiment_conv1d.model.training.table_network import Floats, Ids, TableNetwork

VOCABULARY, LENGTH, MEMBERS = 12, 9, 2
BANKS = (Convolution(width=1, filters=4), Convolution(width=3, filters=6))
FILTERS = 10

#: The initial sums of squared gradients of several members.
SQUARES = 0.02

#: The labels of a text to learn, for one output and for three.
POSITIVE, FIRST = np.array([1], np.float32), np.array([1, 0, 0], np.float32)


def student(seed: int = 0) -> TableNetwork:
    """Return a network with one output."""
    return TableNetwork(VOCABULARY, LENGTH, BANKS, np.random.default_rng(seed))


def ensemble(outputs: int = 3) -> TableNetwork:
    """Return a network of several members, with larger weights than at the start of a training."""
    generator = np.random.default_rng(0)
    made = TableNetwork(VOCABULARY, LENGTH, BANKS, generator, outputs=outputs, members=MEMBERS, initial_squares=SQUARES)
    for array in made.weights_by_name().values():
        array += generator.standard_normal(array.shape, np.float32)
    return made


def text(seed: int = 0) -> Ids:
    return np.random.default_rng(seed).integers(0, VOCABULARY, LENGTH, dtype=np.int32)


def learn(model: TableNetwork, ids: Ids, target: Floats, weight: float = 1, dropout: float = 0) -> Floats:
    chance = np.random.default_rng(1)
    return model.learn(ids, target, learning_rate=0.01, dropout=dropout, generator=chance, weight=weight)


def logits(model: TableNetwork, ids: Ids, member: int) -> Floats:
    """Compute the logits of one member from its own filters, window by window."""
    found: Floats = model.biases[member].copy()
    row = 0
    for bank, table in zip(BANKS, model.tables, strict=True):
        for number in range(bank.filters):
            if number * len(model.biases) // bank.filters == member:
                windows = [
                    sum(table[tap, ids[start + tap], number] for tap in range(bank.width))
                    for start in range(len(ids) - bank.width + 1)
                ]
                found += max(max(windows), 0) * model.weights[row + number]
        row += bank.filters
    return found


def loss(model: TableNetwork, ids: Ids, target: Floats) -> float:
    """Return the sum of the members' cross-entropies."""
    total = 0.0
    for member in range(len(model.biases)):
        z = logits(model, ids, member).astype(np.float64)
        z = np.array([0, z[0]]) if len(z) == 1 else z
        wanted = np.array([1 - target[0], target[0]]) if len(target) == 1 else target
        total += float(np.logaddexp.reduce(z) - wanted @ z)
    return total


def test_mean_of_the_members() -> None:
    """The network answers with the mean of its members' logits, also before a step."""
    model, ids = ensemble(), text()
    expected = np.mean([logits(model, ids, member) for member in range(MEMBERS)], axis=0)
    assert model.predict([ids])[0] == pytest.approx(expected, abs=1e-6)
    assert learn(model, ids, FIRST) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "target", "squares"), [(student(), POSITIVE, 0), (ensemble(), FIRST, SQUARES)], ids=["one", "several"]
)
def test_gradient(model: TableNetwork, target: Floats, squares: float) -> None:
    """A step of Adagrad moves each weight of a member against the gradient of that member's own cross-entropy."""
    ids = text()
    before = {name: array.copy() for name, array in model.weights_by_name().items()}
    gradients: dict[str, npt.NDArray[Any]] = {}
    for name, array in model.weights_by_name().items():
        found = np.zeros(array.size)
        for place in range(array.size):
            value, values = array.flat[place], []
            for change in (1e-3, -1e-3):
                array.flat[place] = value + np.float32(change)
                values.append(loss(model, ids, target))
            array.flat[place] = value
            found[place] = (values[0] - values[1]) / 2e-3
        gradients[name] = found.reshape(array.shape)
    learn(model, ids, target)
    for name, array in model.weights_by_name().items():
        step = array - before[name]
        gradient = gradients[name]
        expected = -0.01 * gradient / (np.sqrt(squares + gradient**2) + 1e-8)
        still = step == 0  # a maximum that is negative or another window's can become the largest within the change
        assert step[~still] == pytest.approx(expected[~still], abs=2e-4)
        assert np.abs(expected[still]).max(initial=0) <= (0.01 if squares == 0 else 1e-9)


def test_changed_entries() -> None:
    """A step changes only the table entries of one window per filter."""
    model, moved = student(), student()
    learn(moved, text(), 1 - POSITIVE)
    for before, after in zip(model.tables, moved.tables, strict=True):
        changed = (before != after).sum(axis=1)
        assert changed.shape == (len(before), before.shape[2])
        assert changed.max() == 1


def test_learning() -> None:
    """The network learns to distinguish two texts with different labels."""
    model, texts = student(), [text(1), text(2)]
    for _ in range(200):
        learn(model, texts[0], 1 - POSITIVE)
        learn(model, texts[1], POSITIVE)
    [[no], [yes]] = model.predict(texts)
    assert no < 0 < yes


def test_weight() -> None:
    """A text of weight 0 changes nothing."""
    model = ensemble()
    before = [array.copy() for array in model.state().values()]
    learn(model, text(), FIRST, weight=0)
    assert all(np.array_equal(*pair) for pair in zip(before, model.state().values(), strict=True))


def test_dropout() -> None:
    """A dropped pooled value changes neither its filter nor the dense layer's row of it."""
    model = ensemble()
    tables, weights = [table.copy() for table in model.tables], model.weights.copy()
    learn(model, text(), FIRST, dropout=0.6)
    filters = np.concatenate([(old != new).any(axis=(0, 1)) for old, new in zip(tables, model.tables, strict=True)])
    assert 0 < filters.sum() < 0.7 * FILTERS
    assert filters.tolist() == (model.weights != weights).any(axis=1).tolist()


def test_state() -> None:
    """A restored network learns like the original one, because its state includes the sums of squared gradients."""
    model, copy = ensemble(), ensemble()
    learn(model, text(), FIRST)
    copy.restore({name: array.copy() for name, array in model.state().items()})
    for each in (model, copy):
        learn(each, text(1), FIRST)
    assert all(np.array_equal(*pair) for pair in zip(model.state().values(), copy.state().values(), strict=True))


def test_scaled_logits() -> None:
    """`scale` multiplies the logits by a factor and adds an offset."""
    model, texts = student(), [text(seed) for seed in range(5)]
    before = model.predict(texts)
    model.scale(2, -0.5)
    assert model.predict(texts) == pytest.approx(2 * before - 0.5, abs=1e-6)


def test_centred_logits() -> None:
    """`centre` subtracts the mean of the logits of a text."""
    model, texts = ensemble(), [text(seed) for seed in range(5)]
    before = model.predict(texts)
    model.centre()
    assert model.predict(texts) == pytest.approx(before - before.mean(axis=1, keepdims=True), abs=1e-6)


def test_offset_of_each_output() -> None:
    """`scale` can add another offset to each output."""
    model, texts = ensemble(), [text(seed) for seed in range(5)]
    before = model.predict(texts)
    model.scale(0.5, [1, -2, 3])
    assert model.predict(texts) == pytest.approx(0.5 * before + [1, -2, 3], abs=1e-6)
