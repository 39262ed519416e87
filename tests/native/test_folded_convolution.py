"""With the native operator, every model of the family gives the answers of the graph as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.layers import Bank, Dense, Family, Weights
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from sentiment_conv1d.export.graphs.quantized import quantized_graph
from sentiment_conv1d.inference.engine import NATIVE, Engine, GraphError
from tests.ids import shape
from tests.native.conftest import Engines
from tests.processes import SHIPPED_MODELS

VOCABULARY, EMBEDDING, MAX_TOKENS = 50, 4, 40

#: Forms of a bank, and whether they have an 8-bit form.
FORMS: dict[str, tuple[dict[str, Any], bool]] = {
    "relu": ({"activations": ("Relu",)}, True),
    "no activation": ({"activations": ()}, True),
    "two activations": ({"activations": ("Neg", "Tanh")}, True),
    "dilated": ({"activations": ("Relu",), "dilation": 3}, True),
    "padded before": ({"activations": ("Relu",), "padding": (2, 0)}, True),
    "padded on both sides": ({"activations": ("Relu",), "padding": (1, 2)}, True),
    "gelu": ({"activations": ("Gelu",)}, False),
    "average of relu": ({"activations": ("Relu",), "pooling": "mean"}, False),
    "average of sums": ({"activations": (), "pooling": "mean", "padding": (1, 1)}, False),
    "average of gelu": ({"activations": ("Gelu",), "pooling": "mean"}, False),
}


def weights(*sizes: int) -> Weights:
    return np.random.default_rng(sum(sizes)).normal(size=sizes).astype(np.float32)


def family(form: str, filters: dict[int, int]) -> Family:
    """Return a model with a bank of the form for each width, with its number of filters."""
    options, _ = FORMS[form]
    banks = tuple(Bank(weights(width, EMBEDDING, count), weights(count), **options) for width, count in filters.items())
    features = sum(filters.values())
    head = (Dense(weights(features, 5), weights(5), ("Relu",)), Dense(weights(5, 2), weights(2), ("Softmax",)))
    return Family(MAX_TOKENS, weights(VOCABULARY, EMBEDDING), banks, head)


def check(native: Engine, general: Engine, vocabulary: int, shortest: int, longest: int, *, exact: bool) -> None:
    """Compare the answers on batches of random ids, with padding on either side."""
    assert native.operator == NATIVE
    assert general.operator == "this installation does not contain it"
    random = np.random.default_rng(vocabulary)
    for rows, time in ((1, shortest), (1, longest), (2, shortest + 1), (33, longest // 2)):
        ids = random.integers(0, vocabulary, (rows, time)).astype(np.int32)
        for padding in (slice(0, 0), slice(time // 2), slice(time // 3, None), slice(None)):
            ids[-1, padding] = 0
            answers, expected = native.run(ids, time), general.run(ids, time)
            np.testing.assert_allclose(answers, expected, rtol=0, atol=0 if exact else 1e-6)


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_shipped_models(engines: Engines, name: str) -> None:
    """The answers of the shipped models are the same, bit for bit."""
    artifact = read_artifact(SHIPPED_MODELS[name])
    native, general = engines(artifact.graph, artifact.input_shape)
    check(native, general, artifact.manifest.vocabulary_size, 4, artifact.manifest.max_tokens, exact=True)


@pytest.mark.parametrize("form", FORMS)
def test_float32(engines: Engines, form: str) -> None:
    """Every form, with several widths and numbers of filters: sums and maxima bit for bit, averages within 1e-6."""
    model = family(form, {1: 130, 2: 1, 5: 21})
    native, general = engines(folded_graph(model).SerializeToString(), shape(MAX_TOKENS, None, VOCABULARY))
    check(native, general, VOCABULARY, model.leading_padding, MAX_TOKENS, exact="average" not in form)


@pytest.mark.parametrize("form", [form for form, (_, quantized) in FORMS.items() if quantized])
def test_8_bits(engines: Engines, form: str) -> None:
    """The same for tables of 8 bits."""
    model = family(form, {2: 300, 3: 1, 4: 40})
    native, general = engines(quantized_graph(model).SerializeToString(), shape(MAX_TOKENS, None, VOCABULARY))
    check(native, general, VOCABULARY, model.leading_padding, MAX_TOKENS, exact=True)


@pytest.mark.parametrize("wrong", [VOCABULARY, -1, np.iinfo(np.int32).max, np.iinfo(np.int32).min])
def test_ids_out_of_range(engines: Engines, wrong: int) -> None:
    """An id outside of the vocabulary, anywhere in a batch, is an error that names it. The next run succeeds."""
    native, _ = engines(folded_graph(family("relu", {3: 8})).SerializeToString(), shape(MAX_TOKENS, None, VOCABULARY))
    ids = np.ones((4, 10), np.int32)
    for place in ((0, 0), (1, 5), (3, 9)):
        bad = ids.copy()
        bad[place] = wrong
        with pytest.raises(GraphError, match=f"id {wrong} is not below {VOCABULARY}"):
            native.run(bad, 10)
        assert native.run(ids, 10).shape == (4, 2)


def test_extreme_shapes(engines: Engines) -> None:
    """A batch without rows has no answers, and a text that is shorter than a filter is an error."""
    native, _ = engines(folded_graph(family("relu", {3: 8})).SerializeToString(), shape(MAX_TOKENS, None, VOCABULARY))
    assert native.run(np.ones((0, 5), np.int32), 5).shape == (0, 2)
    for time in (0, 2):
        with pytest.raises(GraphError, match=f"{time} ids are fewer than the 3 under a filter"):
            native.run(np.ones((1, time), np.int32), time)
