"""The folded graph returns what Keras returns, with fewer operations, in a small file."""

from typing import Any, NamedTuple

import keras
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from sentiment_conv1d.artifact.configuration import Convolution
from sentiment_conv1d.export.checks.parity import session
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.model.configuration import PRESETS, Configuration
from sentiment_conv1d.model.evaluation.batches import Ids
from sentiment_conv1d.model.training.network import build
from tests.export.onnx_graph import contract, dead_nodes, idle_constants, repeated_constants
from tests.ids import pad, shape

VOCABULARY = 12


def folded(model: keras.Model) -> onnx.ModelProto:
    family, reason = recognize(model)
    assert family is not None, reason
    return folded_graph(family)


class Bank(NamedTuple):
    """A bank: filters of one width."""

    width: int
    filters: int
    use_bias: bool
    activation: str


class Layer(NamedTuple):
    """A dense layer."""

    units: int
    use_bias: bool
    activation: str


class Member(NamedTuple):
    """A small model of the family. The test builds it, because Keras draws its weights."""

    sequence_length: int
    embedding: int
    banks: list[Bank]
    head: list[Layer]
    seed: int

    def build(self) -> keras.Model:
        """Build the network, with weights large enough for activations to matter."""
        tokens = keras.Input((self.sequence_length,), dtype="int32")
        embedded = layers.Embedding(VOCABULARY, self.embedding)(tokens)
        pooled = [
            layers.GlobalMaxPooling1D()(
                layers.Conv1D(bank.filters, bank.width, use_bias=bank.use_bias, activation=bank.activation)(embedded)
            )
            for bank in self.banks
        ]
        value = pooled[0] if len(pooled) == 1 else layers.Concatenate()(pooled)
        for layer in self.head:
            value = layers.Dense(layer.units, layer.activation, use_bias=layer.use_bias)(value)
        model = keras.Model(tokens, value)
        random = np.random.default_rng(self.seed)
        model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
        return model


def members() -> st.SearchStrategy[Member]:
    never_falling = st.sampled_from(["relu", "linear", "tanh", "sigmoid", "softplus", "softsign"])
    hidden = st.builds(Layer, st.integers(2, 4), st.booleans(), st.sampled_from(["relu", "linear", "softmax"]))
    last = st.sampled_from([Layer(1, True, "sigmoid"), Layer(2, False, "softmax"), Layer(3, True, "softmax")])
    head = st.builds(lambda before, end: [*before, end], st.lists(hidden, max_size=2), last)

    def of_length(sequence_length: int) -> st.SearchStrategy[Member]:
        bank = st.builds(Bank, st.integers(1, sequence_length), st.integers(1, 4), st.booleans(), never_falling)
        banks = st.lists(bank, min_size=1, max_size=3)
        return st.builds(Member, st.just(sequence_length), st.integers(1, 4), banks, head, st.integers(0, 2**32 - 1))

    return st.integers(1, 9).flatmap(of_length)


def reviews(sequence_length: int, count: int) -> list[Ids]:
    random = np.random.default_rng(count)
    lengths = [sequence_length, 1, *random.integers(1, sequence_length + 1, count - 1).tolist()][:count]
    return [random.integers(0, VOCABULARY, length, dtype=np.int32) for length in lengths]


@given(members(), st.integers(1, 20))
def test_same_outputs_as_keras(member: Member, count: int) -> None:
    """The outputs are those of Keras, alone or in any batch, with full or minimal padding."""
    model, sequence_length = member.build(), member.sequence_length
    widest = max(bank.width for bank in member.banks)
    rows = reviews(sequence_length, count)
    truth = np.asarray(model(pad(rows, sequence_length), training=False))
    predict = session(folded(model).SerializeToString())

    assert predict(pad(rows, sequence_length)) == pytest.approx(truth, abs=1e-5)
    longest = max(len(row) for row in rows)
    assert predict(pad(rows, shape(sequence_length, widest).sequence_length(longest))) == pytest.approx(truth, abs=1e-5)
    for row, expected in zip(rows, truth, strict=True):
        assert predict(pad([row], shape(sequence_length, widest).sequence_length(len(row))))[0] == pytest.approx(
            expected, abs=1e-5
        )


@pytest.mark.parametrize("positions", [1, 31, 32, 33, 63, 64, 65, 398])
def test_every_position_is_pooled(positions: int) -> None:
    """A word that differs counts at every position, including those of a last shorter window."""
    keras.utils.set_random_seed(0)
    model = build(Configuration(max_tokens=positions + 2), vocabulary_size=VOCABULARY)
    embedding, *others = model.get_weights()
    model.set_weights([20 * embedding, *others])  # so that a word makes a difference
    quiet = np.full((1, positions + 2), 5, np.int32)
    loud = np.repeat(quiet, positions, axis=0)
    loud[range(positions), range(1, positions + 1)] = 9
    truth: Any = model(loud, training=False)
    assert abs(truth - model(quiet, training=False)).numpy().min() > 1e-4
    assert session(folded(model).SerializeToString())(loud) == pytest.approx(np.asarray(truth), abs=1e-5)


@given(members())
def test_no_unused_or_repeated_nodes(member: Member) -> None:
    """Every node and every constant exists once and contributes to the output."""
    graph = folded(member.build())
    assert dead_nodes(graph) == []
    assert idle_constants(graph) == []
    assert repeated_constants(graph) == []
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("labels", "columns"), [(("no", "yes"), 1), (("a", "b", "c"), 3)])
def test_the_contract_of_the_artifact(labels: tuple[str, ...], columns: int) -> None:
    """Input is int32 [batch, time] and output float32 [batch, outputs]; batch and time are free."""
    model = build(Configuration(labels=labels, max_tokens=9), vocabulary_size=VOCABULARY)
    assert contract(folded(model)) == (
        [("tokens", "tensor(int32)", ["batch", "time"])],
        [("probabilities", "tensor(float)", ["batch", columns])],
    )


def test_the_names_are_those_of_the_widths() -> None:
    """Weights are named after the width of their bank, with a number if a width repeats."""
    tokens = keras.Input((9,), dtype="int32")
    embedded = layers.Embedding(VOCABULARY, 2)(tokens)
    pooled = [layers.GlobalMaxPooling1D()(layers.Conv1D(2, width)(embedded)) for width in (2, 3, 2)]
    answer = layers.Dense(1, activation="sigmoid", bias_initializer="ones")(layers.Concatenate()(pooled))
    graph = folded(keras.Model(tokens, answer)).graph
    constants = {constant.name for constant in graph.initializer}
    assert constants >= {
        "embedding",
        "convolution_2_kernel_0",
        "convolution_2_kernel_1",
        "convolution_3_kernel_2",
        "convolution_2_2_kernel_0",
        "dense_0_kernel",
        "dense_0_bias",
    }


@pytest.mark.parametrize("name", ["imdb-cnn", "text-cnn", "kim-cnn"])
def test_size_of_the_file(name: str) -> None:
    """The file contains the factors of the tables, which the session multiplies."""
    model = build(PRESETS[name], vocabulary_size=5000)
    size = len(folded(model).SerializeToString())
    assert size < 4 * model.count_params() + 10_000
    tables = sum(4 * 5000 * bank.width * bank.filters for bank in PRESETS[name].convolutions)
    assert size < tables / 5


def test_filter_as_wide_as_the_review() -> None:
    """A filter as wide as the longest review has one window, and reviews are padded in full."""
    configuration = Configuration(max_tokens=6, convolutions=(Convolution(width=6, filters=3),))
    model = build(configuration, vocabulary_size=VOCABULARY)
    rows = reviews(6, 8)
    predict = session(folded(model).SerializeToString())
    truth: Any = model(pad(rows, 6), training=False)
    assert shape(6, 6).sequence_length(1) == 6
    assert predict(pad(rows, 6)) == pytest.approx(np.asarray(truth), abs=1e-5)
