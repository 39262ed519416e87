"""The folded graph computes the convolutions, poolings and dense layers of a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from sentiment_conv1d.artifact.graphs.folded import write_folded
from sentiment_conv1d.artifact.graphs.graph import Graph
from sentiment_conv1d.artifact.graphs.network import read_network
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.layers import Bank, Dense, Family, Weights, apply
from sentiment_conv1d.export.graphs.onnx_file import onnx_model
from tests.artifact.graphs.test_network import EMBEDDING, FILTERS, FORMS, VOCABULARY, family, weights
from tests.ids import pad

#: More than two of the windows in which the graph pools, and a shorter one.
MAX_TOKENS = 75

#: The forms that a model can have. The maximum of a falling activation is not that of its sums.
COMPUTED = tuple(form for form in FORMS if form != "two activations")


def model(*banks: Bank) -> Family:
    """Return a model with these banks and probabilities that are neither 0 nor 1."""
    features = FILTERS * len(banks)
    head = Dense(weights(features, 1) / np.float32(features), weights(1), ("Sigmoid",))
    return Family(MAX_TOKENS, weights(VOCABULARY, EMBEDDING), banks, (head,))


def run(graph: Graph, tokens: npt.NDArray[np.int32]) -> Weights:
    """Return the probabilities that ONNX Runtime computes."""
    session = onnxruntime.InferenceSession(onnx_model(graph, outputs=1).SerializeToString())
    probabilities: Weights = session.run(None, {"tokens": tokens})[0]
    return probabilities


def compute(family: Family, tokens: npt.NDArray[np.int32]) -> Weights:
    """Compute the probabilities with a multiplication at every position: int32 [batch, max_tokens] -> [batch, 1]."""
    pooled = []
    for bank in family.banks:
        embedded = np.pad(family.embedding[tokens], ((0, 0), bank.padding, (0, 0)))
        positions = embedded.shape[1] - bank.span + 1
        taps = (embedded[:, tap * bank.dilation :][:, :positions] @ bank.kernel[tap] for tap in range(bank.width))
        activated = apply(bank.activations, sum(taps) + bank.bias)
        pooled.append(activated.mean(1) if bank.pooling == "mean" else activated.max(1))
    [dense] = family.head
    return apply(dense.activations, np.concatenate(pooled, 1) @ dense.kernel + dense.bias)


def assert_computed(family: Family) -> None:
    """Compare the graph with `compute` for long and short texts, which get as little padding as possible."""
    rows = [np.random.default_rng(size).integers(0, VOCABULARY, size, np.int32) for size in (MAX_TOKENS, 74, 66, 3, 1)]
    expected = compute(family, pad(rows, MAX_TOKENS))
    shape = InputShape(MAX_TOKENS, VOCABULARY, family.padding_id, family.leading_padding)
    for some in (slice(None), slice(3, None), slice(4, None)):
        assert run(write_folded(family), shape.pad(rows[some])) == pytest.approx(expected[some], abs=1e-5)


@pytest.mark.parametrize("forms", [*((form,) for form in COMPUTED), COMPUTED], ids=" and ".join)
def test_answers(forms: tuple[str, ...]) -> None:
    """The graph returns the probabilities of the model for every form of a bank, and for all of them in one model."""
    assert_computed(model(*family(*forms).banks))


def test_padded_average() -> None:
    """An average counts the positions that the padding of a convolution adds."""
    [bank] = family("average").banks
    assert_computed(model(replace(bank, padding=(2, 1))))


def test_bias_of_one_word() -> None:
    """A filter of one word has its bias."""
    [bank] = family("relu").banks
    assert_computed(model(replace(bank, kernel=weights(1, EMBEDDING, FILTERS))))


def test_shared_feature_map() -> None:
    """Banks with the same filters share a feature map, unless they read other words."""
    [bank] = family("relu").banks
    alike = model(bank, replace(bank, pooling="mean"), replace(bank, dilation=2), replace(bank, bias=-bank.bias))
    assert_computed(alike)
    operators = [node.operator for node in write_folded(alike).nodes.values()]
    assert operators.count("MatMul") == 3 * bank.width


def test_two_maxima_of_different_banks() -> None:
    """The maximum of a largest and a smallest sum belongs to a bank only if both have its activation."""
    graph = write_folded(family("gelu"))
    assert read_network(graph) is not None
    [lowest] = [name for name, node in graph.nodes.items() if node.operator == "Gelu" and "least" in node.inputs[0]]
    changed = Graph(graph.nodes | {lowest: replace(graph.nodes[lowest], operator="Silu")}, graph.constants)
    assert read_network(changed) is None
