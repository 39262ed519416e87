"""What is written into a graph is read back from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.artifact.explaining.network import QuantizedTables
from sentiment_conv1d.artifact.graphs.folded import write_folded
from sentiment_conv1d.artifact.graphs.graph import Graph
from sentiment_conv1d.artifact.graphs.network import read_network
from sentiment_conv1d.artifact.graphs.quantized import write_quantized
from sentiment_conv1d.artifact.layers import Bank, Dense, Family, Weights

VOCABULARY, EMBEDDING, FILTERS = 7, 4, 3

#: Forms of a bank. Some have no 8-bit form.
FORMS: dict[str, dict[str, Any]] = {
    "relu": {"activations": ("Relu",)},
    "no activation": {"activations": ()},
    "an activation with alpha": {"activations": ("LeakyRelu(0.25)",)},
    "two activations": {"activations": ("Neg", "Tanh")},
    "dilated": {"activations": ("Relu",), "dilation": 2},
    "padded": {"activations": ("Relu",), "padding": (1, 2)},
    "gelu": {"activations": ("Gelu",)},
    "average": {"activations": ("Relu",), "pooling": "mean"},
}
FLOAT32_ONLY = {"gelu", "average"}


def weights(*shape: int) -> Weights:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def family(*forms: str) -> Family:
    """Return a model with a bank of each form, the widths 2, 3, …, and two dense layers."""
    banks = tuple(
        Bank(weights(width, EMBEDDING, FILTERS), weights(FILTERS), **FORMS[form])
        for width, form in enumerate(forms, start=2)
    )
    features = FILTERS * len(banks)
    head = (Dense(weights(features, 5), weights(5), ("Selu",)), Dense(weights(5, 1), weights(1), ("Sigmoid",)))
    return Family(20, weights(VOCABULARY, EMBEDDING), banks, head)


def assert_equal(read: Bank, written: Bank) -> None:
    assert np.array_equal(read.bias, written.bias)
    for name in ("activations", "dilation", "padding", "pooling"):
        assert getattr(read, name) == getattr(written, name)


@pytest.mark.parametrize("forms", [*((form,) for form in FORMS), tuple(FORMS)], ids=" and ".join)
def test_float32(forms: tuple[str, ...]) -> None:
    """The network of a float32 graph is the model's, except for the last activation."""
    written = family(*forms)
    network = read_network(write_folded(written))
    assert network is not None and network.embedding is not None
    assert np.array_equal(network.embedding[:VOCABULARY], written.embedding)
    for bank, original in zip(network.banks, written.banks, strict=True):
        assert np.array_equal(bank.kernel, original.kernel)
        assert_equal(bank, original)
    hidden, last = network.head
    assert np.array_equal(hidden.kernel, written.head[0].kernel) and hidden.activations == ("Selu",)
    assert np.array_equal(last.bias, written.head[1].bias) and last.activations == ()
    assert network.final == "Sigmoid"


@pytest.mark.parametrize("form", [form for form in FORMS if form not in FLOAT32_ONLY])
def test_8_bits(form: str) -> None:
    """The network of an 8-bit graph has the tables that were written."""
    tables: list[QuantizedTables] = []

    def quantize(bank: Bank, embedding: Weights) -> QuantizedTables:
        entries = np.arange(bank.width * len(embedding) * FILTERS, dtype=np.uint8)
        shape = (bank.width, len(embedding), FILTERS)
        tables.append(QuantizedTables(entries.reshape(shape), weights(FILTERS), weights(bank.width, FILTERS)))
        return tables[-1]

    written = family(form, form)
    network = read_network(write_quantized(written, quantize))
    assert network is not None and network.embedding is None
    for bank, original, read, table in zip(network.banks, written.banks, network.stored, tables, strict=True):
        assert_equal(bank, original)
        for name in ("entries", "step", "lowest"):
            assert np.array_equal(getattr(read, name), getattr(table, name))


def test_another_graph() -> None:
    """A graph of another form has no network."""
    assert read_network(Graph()) is None
    graph = write_folded(family("relu"))
    for name in ("ReduceMax", "MaxPool", "Gather", "MatMul"):
        [output] = [output for output, node in graph.nodes.items() if node.operator == name][:1]
        changed = Graph(graph.nodes | {output: replace(graph.nodes[output], operator="Relu6")}, graph.constants)
        assert read_network(changed) is None
