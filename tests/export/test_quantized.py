"""The int8 graph: near the float32 graph, the same for a row in any company, and never out of range."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.export.family import Family
from sentiment_conv1d.export.folded import folded_graph
from sentiment_conv1d.export.parity import Ids, session
from sentiment_conv1d.export.quantized import (
    LARGEST_EMBEDDING,
    LARGEST_WEIGHT,
    STEPS,
    QuantizedBank,
    quantize_bank,
    quantize_embedding,
    quantized_graph,
)
from sentiment_conv1d.model.layers import Bank, Dense, Weights
from tests.export.graphs import contract, dead_nodes, idle_constants, repeated_constants
from tests.ids import pad, shape

VOCABULARY = 6


class Filters(NamedTuple):
    """The shape of a bank, and how large its numbers are."""

    width: int
    filters: int
    size: float
    bias: float
    activations: tuple[str, ...]


class Member(NamedTuple):
    """A small member of the family, whose weights are drawn in the test."""

    time: int
    embedding: int
    size: float
    banks: list[Filters]
    seed: int

    def family(self, head: tuple[Dense, ...] | None = None) -> Family:
        """With the head given, or one that answers with the pooled features as they are."""
        random = np.random.default_rng(self.seed)

        def weights(size: float, *shape: int) -> Weights:
            return (size * random.normal(size=shape)).astype(np.float32)

        features = sum(bank.filters for bank in self.banks)
        return Family(
            max_tokens=self.time,
            embedding=weights(self.size, VOCABULARY, self.embedding),
            banks=tuple(
                Bank(
                    weights(bank.size, bank.width, self.embedding, bank.filters),
                    weights(bank.bias, bank.filters),
                    bank.activations,
                )
                for bank in self.banks
            ),
            head=(Dense(np.eye(features, dtype=np.float32), np.zeros(features, np.float32), ()),)
            if head is None
            else head,
        )


NEVER_FALLING = [
    (),
    ("Relu",),
    ("Tanh",),
    ("Sigmoid",),
    ("Softplus",),
    ("Softsign",),
    ("Relu", "Tanh"),
    ("Tanh", "Relu"),
]
ON_INTEGERS = [(), ("Relu",)]


def members(
    activations: list[tuple[str, ...]], sizes: list[float], least_filters: int = 1, least_embedding: int = 1
) -> st.SearchStrategy[Member]:
    size = st.sampled_from(sizes)

    def of_length(time: int) -> st.SearchStrategy[Member]:
        width = st.integers(1, min(time, 3))
        bias = st.just(0.0) | size
        bank = st.builds(Filters, width, st.integers(least_filters, 20), size, bias, st.sampled_from(activations))
        banks = st.lists(bank, min_size=1, max_size=3)
        return st.builds(Member, st.just(time), st.integers(least_embedding, 9), size, banks, st.integers(0, 2**32 - 1))

    return st.integers(1, 9).flatmap(of_length)


def texts(time: int, count: int) -> list[Ids]:
    random = np.random.default_rng(count)
    lengths = [time, 1, *random.integers(1, time + 1, count).tolist()][:count]
    return [random.integers(0, VOCABULARY, length, dtype=np.int32) for length in lengths]


def quantized_banks(family: Family) -> list[QuantizedBank]:
    embedding = quantize_embedding(family.embedding)
    return [quantize_bank(bank, embedding) for bank in family.banks]


def rounding_error(family: Family) -> Weights:
    """How far rounding alone can move each feature: half a unit of every number that was rounded, added up."""
    largest = np.abs(family.embedding).max()
    unit = largest / LARGEST_EMBEDDING
    scale = float(quantize_embedding(family.embedding).scale)  # the same, but for an embedding of nothing
    errors = []
    for bank, quantized in zip(family.banks, quantized_banks(family), strict=True):
        width, embedding, _ = bank.kernel.shape
        heaviest = np.abs(bank.kernel).max(axis=(0, 1))
        weight = quantized.scale.astype(np.float64) * quantized.step
        products = largest * weight / 2 + heaviest * unit / 2 + unit * weight / 4
        errors.append(width * embedding * products + quantized.step / 2 + scale * weight / 2)
    result: Weights = np.concatenate(errors)
    return result


@example(Member(1, 1, 0.0, [Filters(1, 1, 1.0, 1.0, ("Relu",))], 0), 1)
@given(members(NEVER_FALLING, [0.0, 1e-4, 1.0, 30.0]), st.integers(1, 20))
def test_features_are_off_by_no_more_than_rounding(member: Member, count: int) -> None:
    """Whatever the weights, kernels of nothing under a large bias among them; so no sum has left its range."""
    family = member.family()
    tokens = pad(texts(member.time, count), member.time)
    truth = session(folded_graph(family).SerializeToString())(tokens)
    features = session(quantized_graph(family).SerializeToString())(tokens)
    float32 = 1e-5 * (1 + np.abs(truth))
    assert (np.abs(features - truth) <= rounding_error(family) + float32).all()


@given(members(ON_INTEGERS, [1.0]), st.integers(1, 20))
def test_a_row_answers_the_same_in_any_company(member: Member, count: int) -> None:
    """To the last bit: alone or in a batch, padded in full or only as far as a filter sees."""
    rows = texts(member.time, count)
    widest = max(bank.width for bank in member.banks)
    features = session(quantized_graph(member.family()).SerializeToString())

    together = features(pad(rows, member.time))
    longest = shape(member.time, widest).time(max(map(len, rows)))
    assert np.array_equal(features(pad(rows, longest)), together)
    for row, expected in zip(rows, together, strict=True):
        for time in range(shape(member.time, widest).time(len(row)), member.time + 1):
            assert np.array_equal(features(pad([row], time))[0], expected)


@given(members(NEVER_FALLING, [0.0, 1.0]))
def test_the_steps_reach_from_the_least_to_the_most(member: Member) -> None:
    """Over every window there could be, a filter's values lie within its 255 steps; its tables bound them closely."""
    family = member.family()
    embedding = quantize_embedding(family.embedding)
    for bank in quantized_banks(family):
        tables = [embedding.integers @ tap for tap in bank.kernel]
        windows = itertools.product(range(VOCABULARY), repeat=len(tables))
        sums = np.array([sum(table[word] for table, word in zip(tables, window, strict=True)) for window in windows])
        steps = (sums + bank.bias) * embedding.scale * bank.scale
        assert (np.round(steps.max(axis=0)) <= STEPS).all()
        moves = steps.max(axis=0) > 0
        assert np.round(steps.max(axis=0))[moves] == pytest.approx(STEPS)
        if bank.offset is not None:
            assert steps.min(axis=0) == pytest.approx(0, abs=1e-9)


@given(members(NEVER_FALLING, [0.0, 1e-4, 1.0, 30.0]))
def test_a_pair_of_products_fits_into_16_bits(member: Member) -> None:
    """Processors without VNNI add pairs in 16 bits and saturate: the kernel stays so small that they never do."""
    family = member.family()
    integers = quantize_embedding(family.embedding).integers
    assert np.abs(integers).max() <= LARGEST_EMBEDDING
    assert all(np.abs(bank.kernel).max() <= LARGEST_WEIGHT for bank in quantized_banks(family))
    assert 2 * np.iinfo(np.uint8).max * LARGEST_WEIGHT <= np.iinfo(np.int16).max


# Few and small numbers may round to the same integers in two banks, which is no fault.
@given(members(NEVER_FALLING, [1.0], least_filters=4, least_embedding=4))
def test_nothing_in_it_is_idle_or_twice(member: Member) -> None:
    """Every node and every constant is there once, and for the answer; all operators are ONNX's own."""
    model = quantized_graph(member.family())
    assert dead_nodes(model) == []
    assert idle_constants(model) == []
    assert repeated_constants(model) == []
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {node.domain for node in model.graph.node} == {""}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]


def random_head(random: np.random.Generator, inputs: int, outputs: int) -> tuple[Dense, ...]:
    def weights(*shape: int) -> Weights:
        return random.normal(size=shape).astype(np.float32)

    last = ("Sigmoid",) if outputs == 1 else ("Softmax",)
    return Dense(weights(inputs, 7), weights(7), ("Relu",)), Dense(weights(7, outputs), weights(outputs), last)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_contract_of_the_artifact(outputs: int) -> None:
    """That of the float32 graph: ids int32 [batch, time] in, probabilities float32 [batch, outputs] out."""
    member = Member(9, 5, 1.0, [Filters(2, 3, 1.0, 0.0, ("Relu",)), Filters(3, 4, 1.0, 1.0, ("Tanh",))], 1)
    family = member.family(random_head(np.random.default_rng(2), 7, outputs))
    assert contract(quantized_graph(family)) == contract(folded_graph(family))
    assert contract(quantized_graph(family)) == (
        [("tokens", "tensor(int32)", ["batch", "time"])],
        [("probabilities", "tensor(float)", ["batch", outputs])],
    )


def test_the_head_weighs_each_filter_as_before() -> None:
    """Filters that only fill up a bank stand between those that count, and add nothing."""
    member = Member(9, 5, 1.0, [Filters(1, 3, 1.0, 1.0, ("Sigmoid",)), Filters(3, 17, 1.0, 0.0, ("Relu",))], 3)
    first, last = random_head(np.random.default_rng(4), 20, 1)
    tokens = pad(texts(9, 20), 9)
    features = session(quantized_graph(member.family()).SerializeToString())(tokens)
    answers = session(quantized_graph(member.family((first, last))).SerializeToString())(tokens)
    logits = np.maximum(features @ first.kernel + first.bias, 0) @ last.kernel + last.bias
    assert answers == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)


def test_a_filter_as_wide_as_the_review() -> None:
    """Then there is one window, and padding always goes all the way."""
    family = Member(6, 4, 1.0, [Filters(6, 3, 1.0, 1.0, ("Relu",))], 5).family()
    tokens = pad(texts(6, 8), 6)
    truth = session(folded_graph(family).SerializeToString())(tokens)
    features = session(quantized_graph(family).SerializeToString())(tokens)
    assert (np.abs(features - truth) <= rounding_error(family) + 1e-5).all()


def test_the_file_is_less_than_half_as_large() -> None:
    """The convolution takes a byte a weight; the head stays float32."""
    random = np.random.default_rng(6)
    bank = Bank(random.normal(size=(3, 50, 250)).astype(np.float32), np.zeros(250, np.float32), ("Relu",))
    embedding = random.normal(size=(5000, 50)).astype(np.float32)
    family = Family(400, embedding, (bank,), random_head(random, 250, 1))
    assert len(quantized_graph(family).SerializeToString()) < len(folded_graph(family).SerializeToString()) / 2
