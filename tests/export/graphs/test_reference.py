"""The graph that Keras writes, under this project's names, for models that cannot be folded."""

from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.graphs.reference import reference_graph
from tests.export.onnx_graph import answers, contract, dead_nodes, idle_constants, random_ids

SEQUENCE_LENGTH, IDS = 8, 20


def over_ids(*chain: Any, dtype: str = "int32", name: str | None = None) -> keras.Model:
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((SEQUENCE_LENGTH,), dtype=dtype, name=name), layers.Embedding(IDS, 4), *chain])


def answer(units: int = 1, activation: str = "sigmoid") -> Any:
    return layers.Dense(units, activation=activation)


def averaging(**given: Any) -> keras.Model:
    return over_ids(layers.GlobalAveragePooling1D(), answer(), **given)


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize(
    "model",
    [
        averaging(),
        averaging(name="probabilities"),
        over_ids(layers.LSTM(3), answer()),
        over_ids(layers.GRU(3), answer()),
        over_ids(layers.GlobalAveragePooling1D(), layers.Dense(3, activation="gelu"), answer()),
        over_ids(
            layers.Conv1D(4, 3, padding="same", activation="relu"), layers.GlobalMaxPooling1D(), answer(3, "softmax")
        ),
    ],
    ids=["averaging", "odd name", "lstm", "gru", "gelu", "convolution"],
)
def test_same_outputs_as_keras(model: keras.Model) -> None:
    """The outputs are those of Keras, one by one and in a batch, also if a loop reads values from outside."""
    graph = reference_graph(model, SEQUENCE_LENGTH)
    tokens = random_ids(7, SEQUENCE_LENGTH, IDS)
    truth = model.predict_on_batch(tokens)
    assert answers(graph, tokens) == pytest.approx(truth, abs=1e-5)
    assert answers(graph, tokens[:1]) == pytest.approx(truth[:1], abs=1e-5)
    assert dead_nodes(graph) == []
    assert idle_constants(graph) == []
    assert contract(graph) == (
        [("tokens", "tensor(int32)", ["batch", SEQUENCE_LENGTH])],
        [("probabilities", "tensor(float)", ["batch", truth.shape[1]])],
    )


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("name", [None, "tokens"])
def test_ids_of_another_type_are_cast(dtype: str, name: str | None) -> None:
    """The graph takes int32, whatever the type of the ids in the Keras model."""
    model = averaging(dtype=dtype, name=name)
    graph = reference_graph(model, SEQUENCE_LENGTH)
    assert contract(graph)[0] == [("tokens", "tensor(int32)", ["batch", SEQUENCE_LENGTH])]
    assert "Cast" in operators(graph)
    tokens = random_ids(5, SEQUENCE_LENGTH, IDS)
    assert answers(graph, tokens) == pytest.approx(model.predict_on_batch(tokens), abs=1e-5)


def test_a_free_length_is_fixed() -> None:
    """A model that takes any sequence length is exported with `max_tokens`."""
    model = keras.Sequential(
        [keras.Input((None,), dtype="int32"), layers.Embedding(IDS, 4), layers.GlobalMaxPooling1D(), answer()]
    )
    graph = reference_graph(model, SEQUENCE_LENGTH)
    assert contract(graph)[0] == [("tokens", "tensor(int32)", ["batch", SEQUENCE_LENGTH])]
    tokens = random_ids(3, SEQUENCE_LENGTH, IDS)
    assert answers(graph, tokens) == pytest.approx(np.asarray(model(tokens)), abs=1e-5)


def test_grouped_convolutions() -> None:
    """Grouped convolutions, which ONNX does not have, are refused."""
    model = over_ids(layers.Conv1D(4, 3, groups=2), layers.GlobalMaxPooling1D(), answer())
    with pytest.raises(ExportError, match="Keras cannot export this model to ONNX"):
        reference_graph(model, SEQUENCE_LENGTH)


def test_several_inputs_are_refused() -> None:
    """A model with several inputs is refused."""
    first, second = keras.Input((SEQUENCE_LENGTH,), dtype="int32"), keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    words = layers.Embedding(IDS, 4)
    pooled = [layers.GlobalMaxPooling1D()(words(tokens)) for tokens in (first, second)]
    with pytest.raises(ExportError):
        reference_graph(keras.Model([first, second], answer()(layers.Concatenate()(pooled))), SEQUENCE_LENGTH)
