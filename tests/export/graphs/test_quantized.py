"""The 8-bit graph is close to the float32 graph, independent of the batch, and never overflows."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.explaining.attribution import attribute
from sentiment_conv1d.artifact.explaining.forward import forward
from sentiment_conv1d.artifact.graphs.feature_map import padded_embedding
from sentiment_conv1d.artifact.graphs.graph import Graph
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.layers import Bank, Dense, Family, Pooling, Weights
from sentiment_conv1d.export.checks.parity import session
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from sentiment_conv1d.export.graphs.quantized import LARGEST_SUM, quantize, quantized_graph
from sentiment_conv1d.inference.graph_file import read_network
from sentiment_conv1d.model.evaluation.batches import Ids
from tests.export.onnx_graph import contract, dead_nodes, idle_constants, repeated_constants
from tests.ids import pad

VOCABULARY = 6
EMULATOR = shutil.which("qemu-x86_64")


class Filters(NamedTuple):
    """The shape of a bank, and the size of its numbers."""

    width: int
    filters: int
    size: float
    bias: float
    activations: tuple[str, ...]
    dilation: int = 1
    padding: str = "valid"
    pooling: Pooling = "max"

    @property
    def span(self) -> int:
        """The number of positions from the first word under a filter to the last."""
        return (self.width - 1) * self.dilation + 1

    @property
    def pads(self) -> tuple[int, int]:
        """The numbers of zero vectors before and after the text."""
        outside = self.span - 1
        return {"valid": (0, 0), "causal": (outside, 0), "same": (outside // 2, outside - outside // 2)}[self.padding]


class Member(NamedTuple):
    """A small model of the family, whose weights the test draws."""

    sequence_length: int
    embedding: int
    size: float
    banks: list[Filters]
    seed: int

    def family(self, head: tuple[Dense, ...] | None = None) -> Family:
        """Return the model with the given head, or with one that returns the pooled features."""
        random = np.random.default_rng(self.seed)

        def weights(size: float, *shape: int) -> Weights:
            return (size * random.normal(size=shape)).astype(np.float32)

        features = sum(bank.filters for bank in self.banks)
        return Family(
            max_tokens=self.sequence_length,
            embedding=weights(self.size, VOCABULARY, self.embedding),
            banks=tuple(
                Bank(
                    weights(bank.size, bank.width, self.embedding, bank.filters),
                    weights(bank.bias, bank.filters),
                    bank.activations,
                    bank.dilation,
                    bank.pads,
                    bank.pooling,
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
    ("LeakyRelu(0.2)",),
    ("Neg", "Relu"),
    ("Relu", "Tanh"),
    ("Tanh", "Relu"),
]
EXACT = [(), ("Relu",), ("Neg", "Relu")]


def members(
    activations: list[tuple[str, ...]], sizes: list[float], least_filters: int = 1, least_embedding: int = 1
) -> st.SearchStrategy[Member]:
    size = st.sampled_from(sizes)

    def of_length(sequence_length: int) -> st.SearchStrategy[Member]:
        bank = st.builds(
            Filters,
            st.integers(1, 6),
            st.integers(least_filters, 20),
            size,
            st.just(0.0) | size,
            st.sampled_from(activations),
            st.integers(1, 2),
            st.sampled_from(["valid", "same", "causal"]),
            st.just("max"),
        ).filter(lambda bank: bank.span <= sequence_length + sum(bank.pads))
        banks = st.lists(bank, min_size=1, max_size=3)
        return st.builds(
            Member, st.just(sequence_length), st.integers(least_embedding, 9), size, banks, st.integers(0, 2**32 - 1)
        )

    return st.integers(1, 9).flatmap(of_length)


def texts(sequence_length: int, count: int) -> list[Ids]:
    random = np.random.default_rng(count)
    lengths = [sequence_length, 1, *random.integers(1, sequence_length + 1, count).tolist()][:count]
    return [random.integers(0, VOCABULARY, length, dtype=np.int32) for length in lengths]


def random_head(random: np.random.Generator, inputs: int, outputs: int) -> tuple[Dense, ...]:
    def weights(*shape: int) -> Weights:
        return random.normal(size=shape).astype(np.float32)

    last = ("Sigmoid",) if outputs == 1 else ("Softmax",)
    return Dense(weights(inputs, 7), weights(7), ("Relu",)), Dense(weights(7, outputs), weights(outputs), last)


def rounding_error(family: Family) -> Weights:
    """Return the largest change of each feature by rounding: half a step for each tap."""
    embedding = padded_embedding(Graph(), family)  # a step depends on the zero vectors of a padding too
    return np.concatenate([bank.width * quantize(bank, embedding).step / 2 for bank in family.banks])


@example(Member(1, 1, 0.0, [Filters(1, 1, 1.0, 1.0, ("Relu",))], 0), 1)
@given(members(NEVER_FALLING, [0.0, 1e-4, 1.0, 30.0]), st.integers(1, 20))
def test_features_differ_by_rounding_at_most(member: Member, count: int) -> None:
    """The features of both graphs differ by at most half a step for each tap."""
    family = member.family()
    tokens = pad(texts(member.sequence_length, count), member.sequence_length)
    truth = session(folded_graph(family).SerializeToString())(tokens)
    features = session(quantized_graph(family).SerializeToString())(tokens)
    float32 = 1e-5 * (1 + np.abs(truth))
    assert (np.abs(features - truth) <= 1.001 * rounding_error(family) + float32).all()


@given(members(EXACT, [1.0]), st.integers(1, 20))
def test_a_row_has_one_answer(member: Member, count: int) -> None:
    """The features of a row are exactly the same alone, in a batch, and with any number of pad ids."""
    rows = texts(member.sequence_length, count)
    family = member.family()
    features = session(quantized_graph(family).SerializeToString())
    shape = InputShape(member.sequence_length, VOCABULARY, 0, family.leading_padding)

    together = features(pad(rows, member.sequence_length))
    assert np.array_equal(features(pad(rows, shape.sequence_length(max(map(len, rows))))), together)
    for row, expected in zip(rows, together, strict=True):
        for sequence_length in range(shape.sequence_length(len(row)), member.sequence_length + 1):
            assert np.array_equal(features(pad([row], sequence_length))[0], expected)


@given(members(NEVER_FALLING, [0.0, 1e-30, 1e-4, 1.0, 30.0]))
def test_no_sum_overflows(member: Member) -> None:
    """The largest entries of all taps add up to 255 at most, and to nearly 255."""
    family = member.family()
    for bank in family.banks:
        tables = quantize(bank, family.embedding)
        largest = tables.entries.max(axis=1).sum(axis=0, dtype=np.int64)
        assert (largest <= LARGEST_SUM).all()
        moves = np.ptp(family.embedding @ bank.kernel, axis=1).sum(axis=0) > 1e-37
        assert (largest[moves] >= LARGEST_SUM - bank.width).all()
        assert (tables.entries.min(axis=1) == 0).all()


@given(members(NEVER_FALLING, [1.0]))
def test_entries_are_values_in_steps(member: Member) -> None:
    """Every entry represents the value of its word under its tap, to half a step."""
    family = member.family()
    for bank in family.banks:
        tables = quantize(bank, family.embedding)
        stands_for = tables.entries * tables.step + tables.lowest[:, np.newaxis]
        difference = np.abs(stands_for - family.embedding @ bank.kernel)
        assert (difference <= 0.501 * tables.step + 1e-6).all()


@given(members(NEVER_FALLING, [1.0]), st.sampled_from([1, 3]), st.integers(0, 5))
def test_shares_add_up_to_its_own_logit(member: Member, outputs: int, seed: int) -> None:
    """The network read from the graph returns its probabilities, and the shares add up to its logits."""
    head = random_head(np.random.default_rng(seed), sum(bank.filters for bank in member.banks), outputs)
    family = member.family(head)
    graph = quantized_graph(family).SerializeToString()
    network = read_network(graph)
    assert network is not None
    rows = pad(texts(member.sequence_length, 5), member.sequence_length)
    for row, expected in zip(rows, session(graph)(rows), strict=True):
        taken = forward(network, row)
        for unit in range(outputs):
            attribution = attribute(network, taken, unit)
            scale = 1 + np.abs(attribution.shares).sum()
            assert attribution.bias + attribution.shares.sum() == pytest.approx(attribution.logit, abs=1e-5 * scale)
        logits = taken.logits.astype(np.float64)
        given = 1 / (1 + np.exp(-logits)) if outputs == 1 else np.exp(logits - logits.max())
        assert given / (1 if outputs == 1 else given.sum()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("activations", [(), ("Relu",)])
@pytest.mark.parametrize("width", [1, 2])
def test_averages(activations: tuple[str, ...], width: int) -> None:
    """An average differs from that of the float32 graph by rounding at most, and its shares are exact."""
    filters = [Filters(2, 5, 1.0, 1.0, ("Relu",)), Filters(width, 4, 1.0, 1.0, activations, pooling="mean")]
    member = Member(9, 5, 1.0, filters, 3)
    family = member.family()
    tokens = pad(texts(9, 20), 9)
    graph = quantized_graph(family).SerializeToString()
    features, truth = session(graph)(tokens), session(folded_graph(family).SerializeToString())(tokens)
    assert (np.abs(features - truth) <= 1.1 * rounding_error(family) + 1e-5).all()
    assert np.abs(features - truth).max() > 1e-4

    head = random_head(np.random.default_rng(0), 9, 1)
    graph = quantized_graph(member.family(head)).SerializeToString()
    network = read_network(graph)
    assert network is not None
    assert network.averages
    for row, expected in zip(tokens, session(graph)(tokens), strict=True):
        taken = forward(network, row)
        attribution = attribute(network, taken, 0)
        assert attribution.bias + attribution.shares.sum() == pytest.approx(attribution.logit, abs=1e-5)
        assert 1 / (1 + np.exp(-taken.logits)) == pytest.approx(expected, abs=1e-5)


def test_padding_of_an_average() -> None:
    """Pad ids whose embedding is zero add exactly nothing to an average, also in 8 bits."""
    family = Member(50, 5, 1.0, [Filters(1, 4, 1.0, 0.0, (), pooling="mean")], 3).family()
    family.embedding[0] = 0
    features = session(quantized_graph(family).SerializeToString())
    assert not features(np.zeros((1, 50), np.int32)).any()
    assert not features(np.zeros((1, 2), np.int32)).any()


# Few and small numbers may round to the same integers in two banks, which is no fault.
@given(members(NEVER_FALLING, [1.0], least_filters=4, least_embedding=4))
def test_no_unused_or_repeated_nodes(member: Member) -> None:
    """Every node and constant exists once and is needed, and only pooling is not an ONNX operator."""
    model = quantized_graph(member.family())
    assert dead_nodes(model) == []
    assert idle_constants(model) == []
    assert repeated_constants(model) == []
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {node.op_type for node in model.graph.node if node.domain} == {"NhwcMaxPool"}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17), ("com.microsoft", 1)]


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_contract_of_the_artifact(outputs: int) -> None:
    """Input and output are those of the float32 graph: int32 [batch, time], float32 [batch, outputs]."""
    member = Member(9, 5, 1.0, [Filters(2, 3, 1.0, 0.0, ("Relu",)), Filters(3, 4, 1.0, 1.0, ("Tanh",))], 1)
    family = member.family(random_head(np.random.default_rng(2), 7, outputs))
    assert contract(quantized_graph(family)) == contract(folded_graph(family))
    assert contract(quantized_graph(family)) == (
        [("tokens", "tensor(int32)", ["batch", "time"])],
        [("probabilities", "tensor(float)", ["batch", outputs])],
    )


def test_every_window_of_a_small_vocabulary() -> None:
    """Every text of three words has the feature that the tables imply."""
    family = Member(3, 4, 1.0, [Filters(3, 8, 1.0, 1.0, ())], 5).family()
    windows = np.array(list(itertools.product(range(VOCABULARY), repeat=3)), np.int32)
    tables = quantize(family.banks[0], family.embedding)
    sums = sum(tables.entries[tap][windows[:, tap]].astype(np.int64) for tap in range(3))
    expected = sums * tables.step + tables.lowest.sum(axis=0) + family.banks[0].bias
    assert session(quantized_graph(family).SerializeToString())(windows) == pytest.approx(expected, abs=1e-5)


def test_size_of_the_file() -> None:
    """The tables take one byte per entry, and the head is float32."""
    random = np.random.default_rng(6)
    bank = Bank(random.normal(size=(3, 50, 250)).astype(np.float32), np.zeros(250, np.float32), ("Relu",))
    embedding = random.normal(size=(5000, 50)).astype(np.float32)
    family = Family(400, embedding, (bank,), random_head(random, 250, 1))
    size = len(quantized_graph(family).SerializeToString())
    assert 3 * 5000 * 250 < size < 3 * 5000 * 250 + 20_000


#: Prints the answers to the ids in a file, in hexadecimal, without TensorFlow, which the emulator cannot run.
_PROGRAM = """
import json, sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
graph, ids = sys.argv[1:]
session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
rows = [numpy.array(row, numpy.int32)[None] for row in json.load(open(ids))]
print(json.dumps([session.run(["probabilities"], {"tokens": row})[0].tobytes().hex() for row in rows]))
"""


@pytest.mark.skipif(EMULATOR is None, reason="qemu-x86_64 (Debian's qemu-user) is not installed")
@pytest.mark.parametrize("processor", ["SandyBridge", "Haswell"])
def test_older_processors_compute_the_same_features(processor: str, tmp_path: Path) -> None:
    """Emulated processors without AVX2, or without AVX-512 and VNNI, compute exactly the same features."""
    assert EMULATOR is not None
    banks = [Filters(3, 40, 1.0, 1.0, ("Relu",)), Filters(4, 17, 1.0, 0.0, (), 2, "same")]
    graph = quantized_graph(Member(40, 9, 1.0, banks, 7).family()).SerializeToString()
    rows = [row for row in texts(40, 20) if len(row) > 6]
    (tmp_path / "model.onnx").write_bytes(graph)
    (tmp_path / "ids.json").write_text(json.dumps([row.tolist() for row in rows]))
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path / "model.onnx"), str(tmp_path / "ids.json")]
    emulated = subprocess.run(
        [EMULATOR, "-cpu", processor, *command], capture_output=True, text=True, check=True, timeout=300
    )
    opened = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    here = [opened.run(["probabilities"], {"tokens": row[np.newaxis]})[0].tobytes().hex() for row in rows]
    assert json.loads(emulated.stdout) == here
