"""Common kinds of models: when folded, they return what Keras returns, and their shares add up to the logit."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from sentiment_conv1d.artifact.decision import THRESHOLD
from sentiment_conv1d.artifact.explaining.attribution import attribute
from sentiment_conv1d.artifact.explaining.forward import forward
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.layers import Family
from sentiment_conv1d.export.checks.parity import compare, generated, session
from sentiment_conv1d.export.checks.served import Served
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from sentiment_conv1d.export.graphs.quantized import quantized_graph
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.inference.graph_file import read_network
from tests.export.onnx_graph import dead_nodes, idle_constants, repeated_constants

SEQUENCE_LENGTH, IDS, FILTERS, PADDING_ID = 14, 20, 5, 2

Layers = list[Callable[[Any], Any]]


def convolution(width: int = 3, filters: int = FILTERS, **settings: Any) -> Any:
    return layers.Conv1D(filters, width, **settings)


def pooling() -> Any:
    return layers.GlobalMaxPooling1D()


def answer(units: int = 1) -> Any:
    return layers.Dense(units, "sigmoid" if units == 1 else "softmax")


def model_of(chain: Layers, shape: tuple[int | None, ...] = (SEQUENCE_LENGTH,), **embedding: Any) -> keras.Model:
    """Build a model of an embedding and a chain of layers."""
    tokens = keras.Input(shape, dtype="int32")
    tensor = layers.Embedding(IDS, 4, **embedding)(tokens)
    for layer in chain:
        tensor = layer(tensor)
    return keras.Model(tokens, tensor)


def randomize(model: keras.Model) -> keras.Model:
    """Set random weights for which activations matter and signs differ. Variances are positive."""
    random = np.random.default_rng(1)
    for variable in model.weights:
        values = random.normal(scale=0.7, size=variable.shape)
        variable.assign(np.abs(values) + 0.1 if "variance" in variable.path else values)
    return model


def assert_folds(
    model: keras.Model, sequence_length: int = SEQUENCE_LENGTH, *, explained: bool = True, pads_behind: bool = False
) -> Family:
    """Assert that a model is folded, returns what Keras returns in every form, and has exact shares."""
    randomize(model)
    family, reason = recognize(model, sequence_length, PADDING_ID)
    assert family is not None, reason
    graph = folded_graph(family)
    assert dead_nodes(graph) == idle_constants(graph) == []
    served = session(graph.SerializeToString())
    shape = InputShape(sequence_length, IDS, PADDING_ID, family.leading_padding, pads_behind)
    reviews = generated(shape, count=60)

    def predict(tokens: Any) -> Any:
        return np.asarray(model.predict_on_batch(tokens))

    checks = compare(predict, served, Served(served, shape, THRESHOLD), [reviews])
    assert {check.inputs.split(", ", 1)[1] for check in checks} == {
        "padded, batches",
        "padded, one by one",
        "short, one by one",
        "short, batches",
    }
    truth = predict(shape.pad(reviews.rows, sequence_length))
    assert truth.std() > 1e-3  # otherwise any graph answers as Keras does
    if explained:
        whole = sequence_length if any(bank.pooling == "mean" for bank in family.banks) else None
        assert_explains(graph.SerializeToString(), [shape.pad([row], whole)[0] for row in reviews.rows], truth)
    return family


def assert_explains(graph: bytes, rows: list[Any], truth: Any) -> None:
    """Assert that the network read from a graph returns its logits, and that the shares add up to each."""
    network = read_network(graph)
    assert network is not None
    for row, expected in zip(rows, truth, strict=True):
        taken = forward(network, row)
        for unit in range(len(taken.logits)):
            attribution = attribute(network, taken, unit)
            assert len(attribution.shares) == len(row)
            assert attribution.bias + attribution.shares.sum() == pytest.approx(attribution.logit, abs=1e-4)
        logits = taken.logits
        given = 1 / (1 + np.exp(-logits)) if network.final == "Sigmoid" else np.exp(logits) / np.exp(logits).sum()
        assert given == pytest.approx(expected, abs=1e-5)


def test_a_free_sequence_length() -> None:
    """A model that takes any sequence length gets that of the tokenizer."""
    model = model_of([convolution(activation="relu"), pooling(), answer()], shape=(None,))
    assert assert_folds(model).max_tokens == SEQUENCE_LENGTH
    assert recognize(model)[1] == "its input has shape (None, None), and no sequence length is given"
    assert recognize(model, 2)[1] == "a filter spans 3 words, and the sequence length is 2"


@pytest.mark.parametrize(
    "activation",
    ["elu", "gelu", "hard_sigmoid", "hard_silu", "leaky_relu", "mish", "relu6", "selu", "silu", "softplus", "softsign"],
)
def test_activations(activation: str) -> None:
    """Activations of convolutions and of dense layers are folded."""
    chain = [convolution(activation=activation), pooling(), layers.Dense(4, activation), answer()]
    assert_folds(model_of(chain))


@pytest.mark.parametrize(
    "layer",
    [
        layers.LeakyReLU(negative_slope=0.05),
        layers.ELU(alpha=0.5),
        layers.ReLU(max_value=6),
        layers.ReLU(negative_slope=0.3),
        layers.Activation("gelu"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_activation_layers(layer: Any) -> None:
    """Activation layers are folded, after the convolution and as its activation."""
    assert_folds(model_of([convolution(), layer, pooling(), answer()]))
    assert_folds(model_of([convolution(activation=layer), pooling(), answer()]))


#: All pairs of a padding, a width and a dilation.
PADDED = [
    (("valid", "same", "causal")[(width + dilation) % 3], width, dilation)
    for width in (1, 2, 3, 4, 5)
    for dilation in (1, 2, 3)
]


@pytest.mark.parametrize(("padding", "width", "dilation"), PADDED)
def test_padding_and_dilation(padding: str, width: int, dilation: int) -> None:
    """Filters of any width read zeros beyond both ends of the text, as in Keras, and skip words."""
    settings: dict[str, Any] = {"padding": padding, "dilation_rate": dilation, "activation": "tanh"}
    assert_folds(model_of([convolution(width, **settings), pooling(), answer()]))


@pytest.mark.parametrize("sequence_length", [1, 2, 4])
@pytest.mark.parametrize("padding", ["same", "causal"])
def test_a_filter_wider_than_the_longest_text(padding: str, sequence_length: int) -> None:
    """A filter with padding may be wider than the longest text."""
    assert_folds(model_of([convolution(5, padding=padding), pooling(), answer()], shape=(None,)), sequence_length)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("first", [True, False])
def test_normalization(activation: str, first: bool) -> None:
    """A normalization with scales of both signs is folded before or after any activation except the last."""
    pair = [layers.BatchNormalization(), layers.Activation(activation)]
    chain: Layers = [convolution(padding="same"), *(pair if first else pair[::-1]), pooling()]
    chain += [layers.BatchNormalization(), layers.Dense(4), layers.BatchNormalization(), layers.ReLU()]
    chain += [layers.BatchNormalization(scale=False), answer(3)]
    model = model_of(chain)
    assert_folds(model)
    signs = set(np.sign(next(weight for weight in model.weights if weight.name == "gamma").numpy()))
    assert signs == {-1, 1}


def test_normalization_after_a_gelu() -> None:
    """A normalization after a gelu is folded unless one of its scales is negative."""
    normal = layers.BatchNormalization(name="normal", gamma_constraint="non_neg")
    model = model_of([convolution(activation="gelu"), normal, pooling(), answer()])
    randomize(model)
    assert recognize(model)[1] == "layer normal has negative scales behind gelu"
    model = model_of([convolution(activation="gelu"), layers.BatchNormalization(scale=False), pooling(), answer()])
    assert_folds(model)


#: All pairs of an activation, a dilation, a padding, and whether texts are padded behind.
AVERAGED = [
    ("linear", 1, "valid", False),
    ("linear", 2, "same", True),
    ("linear", 1, "causal", True),
    ("relu", 2, "valid", True),
    ("relu", 1, "same", False),
    ("relu", 2, "causal", False),
    ("gelu", 1, "valid", True),
    ("gelu", 2, "same", False),
    ("gelu", 2, "causal", True),
]


@pytest.mark.parametrize(("activation", "dilation", "padding", "pads_behind"), AVERAGED)
def test_an_average(activation: str, dilation: int, padding: str, pads_behind: bool) -> None:
    """An average counts the padding that a short text lacks, and every window contributes to its words' shares."""
    settings: dict[str, Any] = {"padding": padding, "dilation_rate": dilation, "activation": activation}
    model = model_of([convolution(**settings), layers.GlobalAveragePooling1D(), layers.Dense(4, "relu"), answer()])
    assert_folds(model, pads_behind=pads_behind)


@pytest.mark.parametrize("sequence_length", [5, 6, SEQUENCE_LENGTH])
def test_an_average_next_to_a_maximum(sequence_length: int) -> None:
    """A model may pool one convolution by average and by maximum, and others too."""
    tokens = keras.Input((sequence_length,), dtype="int32")
    embedded = layers.Embedding(IDS, 4)(tokens)
    shared, wide = convolution(2, activation="tanh")(embedded), convolution(5, activation="silu")(embedded)
    pooled = [pooling()(shared), layers.GlobalAveragePooling1D()(shared), layers.GlobalAveragePooling1D()(wide)]
    model = keras.Model(tokens, answer(3)(layers.Concatenate()(pooled)))
    family = assert_folds(model, sequence_length)
    assert [bank.pooling for bank in family.banks] == ["max", "mean", "mean"]
    graph = folded_graph(family)
    assert repeated_constants(graph) == []
    lookups = [node for node in graph.graph.node if node.op_type == "Gather" and "tokens" in str(node.input)]
    ids = [node for node in graph.graph.node if node.op_type == "Slice" and node.input[0] == "tokens"]
    assert (len(lookups), len(ids)) == (0, 7)


def test_a_normalized_average() -> None:
    """A normalization with scales of both signs is folded before and after average pooling."""
    normal = layers.BatchNormalization
    for chain in (
        [convolution(activation="gelu"), normal(), layers.GlobalAveragePooling1D()],
        [convolution(), normal(), layers.ReLU(), layers.GlobalAveragePooling1D(), normal()],
    ):
        assert_folds(model_of([*chain, answer()]))


def test_an_average_in_front_of_an_activation() -> None:
    """A model with an activation after average pooling is not folded."""
    mean = layers.GlobalAveragePooling1D(name="mean")
    model = model_of([convolution(), mean, layers.ReLU(), answer()])
    assert recognize(model)[1] == "layer mean averages before an activation"


def test_a_masked_average() -> None:
    """An average with a mask leaves out the padding, so the model is not folded."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    embedding = layers.Embedding(IDS, 4, mask_zero=True)
    with pytest.warns(UserWarning, match="does not support masking"):
        convolved = convolution(padding="same")(embedding(tokens))
    masked = layers.GlobalAveragePooling1D(name="mean")(convolved, mask=embedding.compute_mask(tokens))
    assert recognize(keras.Model(tokens, answer()(masked)))[1] == "layer mean reads a mask"


def test_several_widths_are_normalized_together() -> None:
    """A normalization after the concatenation is split among the banks."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    embedded = layers.Embedding(IDS, 4)(tokens)
    banks = [
        pooling()(
            layers.BatchNormalization()(convolution(width, width + 1, padding=padding, activation="relu")(embedded))
        )
        for width, padding in ((2, "same"), (3, "valid"), (4, "causal"))
    ]
    joined = layers.Dropout(0.5)(layers.BatchNormalization()(layers.Concatenate()(banks)))
    assert_folds(keras.Model(tokens, answer()(joined)))


def test_activation_after_the_concatenation() -> None:
    """An activation after the concatenation is computed on the maxima of every bank."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    embedded = layers.Embedding(IDS, 4)(tokens)
    banks = [pooling()(convolution(width)(embedded)) for width in (2, 3)]
    assert_folds(keras.Model(tokens, answer()(layers.ReLU()(layers.Concatenate()(banks)))))


#: Layers that read each word alone.
PER_WORD: dict[str, Callable[[], Layers]] = {
    "convolution": lambda: [convolution(1, 6, padding="same")],
    "convolution and activation": lambda: [convolution(1, 6, activation="gelu")],
    "dense": lambda: [layers.Dense(6, use_bias=False)],
    "dense and activation": lambda: [layers.Dense(6, "tanh"), layers.Dropout(0.1), layers.Dense(3)],
    "time distributed": lambda: [layers.TimeDistributed(layers.Dense(6, "relu"))],
    "normalization": lambda: [layers.BatchNormalization(), layers.Activation("relu")],
}


@pytest.mark.parametrize("name", PER_WORD)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_layers_that_read_each_word_alone(name: str, padding: str) -> None:
    """What the model computes of each word alone becomes part of the embedding."""
    family = assert_folds(model_of([*PER_WORD[name](), convolution(padding=padding), pooling(), answer()]))
    assert [bank.width for bank in family.banks] == [3]


@pytest.mark.parametrize("name", PER_WORD)
@pytest.mark.parametrize("mean", [True, False])
def test_layers_of_width_1_after_a_convolution(name: str, mean: bool) -> None:
    """A layer that reads each position alone is composed with a convolution without an activation."""
    settings: dict[str, Any] = {"padding": "same", "dilation_rate": 2}
    pool = layers.GlobalAveragePooling1D() if mean else pooling()
    family = assert_folds(model_of([convolution(**settings), *PER_WORD[name]()[:1], pool, answer()]))
    assert [(bank.width, bank.dilation) for bank in family.banks] == [(3, 2)]


def test_layers_of_width_1_only() -> None:
    """Without a wider convolution, the last layer before the pooling is one of width 1."""
    for chain in ([layers.Dense(6, "relu"), convolution(1)], [convolution(1, 6), layers.Dense(5, "relu")]):
        family = assert_folds(model_of([*chain, pooling(), answer()]))
        assert [bank.width for bank in family.banks] == [1]


def test_layers_of_width_1_after_a_normalization() -> None:
    """A normalization between a convolution and a layer of width 1 is merged into both."""
    chain = [convolution(), layers.BatchNormalization(), layers.Dense(4, "relu"), layers.BatchNormalization()]
    assert_folds(model_of([*chain, pooling(), answer()]))


def test_without_a_dense_layer() -> None:
    """A model may return the pooled values, with or without an activation."""
    assert_folds(model_of([convolution(filters=1, activation="sigmoid"), pooling()]), explained=False)
    assert_folds(model_of([convolution(filters=1), pooling(), layers.Activation("sigmoid")]))
    assert_folds(model_of([convolution(filters=3), pooling(), layers.Softmax()]))


def test_models_inside_a_model() -> None:
    """Inner models count as their layers, at any depth and for every call."""
    chain = [keras.Sequential([convolution(padding="same"), pooling()]), keras.Sequential([layers.Dense(4), answer()])]
    assert_folds(model_of(chain))
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    embedder = keras.Sequential([keras.Input((SEQUENCE_LENGTH,), dtype="int32"), layers.Embedding(IDS, 4)])
    filters = keras.Input((SEQUENCE_LENGTH, 4))
    convolved = keras.Model(filters, keras.Sequential([convolution(), layers.Dropout(0.1)])(filters))
    assert_folds(keras.Model(tokens, answer()(pooling()(convolved(embedder(tokens))))))
    shared = keras.Sequential([layers.Dense(FILTERS, "relu")])
    assert_folds(model_of([convolution(), pooling(), shared, shared, answer()]))


def test_unused_mask() -> None:
    """`mask_zero` changes nothing, because Keras' convolution drops the mask."""
    with pytest.warns(UserWarning, match="does not support masking"):
        model = model_of([layers.Dropout(0.1), convolution(activation="relu"), pooling(), answer()], mask_zero=True)
        assert_folds(model)


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_8_bit_form(padding: str, dilation: int) -> None:
    """The 8-bit form pads and dilates like the folded graph."""
    settings: dict[str, Any] = {"padding": padding, "dilation_rate": dilation, "activation": "relu"}
    model = randomize(model_of([convolution(4, **settings), pooling(), answer()]))
    family, _ = recognize(model)
    assert family is not None
    shape = InputShape(SEQUENCE_LENGTH, IDS, 0, family.leading_padding)
    rows = generated(shape, count=60).rows
    quantized = session(quantized_graph(family).SerializeToString())
    truth = np.asarray(model.predict_on_batch(shape.pad(rows, SEQUENCE_LENGTH)))
    assert quantized(shape.pad(rows, SEQUENCE_LENGTH)) == pytest.approx(truth, abs=0.05)
    assert np.concatenate([quantized(shape.pad([row])) for row in rows]) == pytest.approx(truth, abs=0.05)


def test_a_gelu_has_no_8_bit_form() -> None:
    """A gelu has no 8-bit form, and the error names the layer and what to do."""
    family, _ = recognize(model_of([convolution(activation="gelu", name="rising"), pooling(), answer()]))
    assert family is not None
    with pytest.raises(ExportError, match="layer rising has no 8-bit form: its activation, Gelu, falls") as refused:
        quantized_graph(family)
    assert refused.value.hint.startswith("export it without --quantize")
