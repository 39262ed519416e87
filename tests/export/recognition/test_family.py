"""Which Keras models belong to the Conv1D family, and the reason why others do not."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from sentiment_conv1d.artifact.layers import Family
from sentiment_conv1d.export.checks.parity import session
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.model.configuration import PRESETS, Configuration
from sentiment_conv1d.model.training.network import build

SEQUENCE_LENGTH, IDS, EMBEDDING, FILTERS = 8, 20, 4, 5


def stack(*chain: Any, **given: Any) -> keras.Model:
    """Build a model of layers one after the other."""
    return keras.Sequential([keras.Input(**({"shape": (SEQUENCE_LENGTH,), "dtype": "int32"} | given)), *chain])


def embedding(**settings: Any) -> Any:
    return layers.Embedding(IDS, EMBEDDING, **({"name": "words"} | settings))


def convolution(width: int = 3, **settings: Any) -> Any:
    return layers.Conv1D(FILTERS, width, **({"name": "filters"} | settings))


def answer(units: int = 1, activation: str | None = "sigmoid", **settings: Any) -> Any:
    return layers.Dense(units, activation=activation, **({"name": "answer"} | settings))


def pooling() -> Any:
    return layers.GlobalMaxPooling1D(name="maximum")


def recognized(model: keras.Model) -> Family:
    family, reason = recognize(model)
    assert family is not None, reason
    assert reason == ""
    return family


def pooling_of(layer: Any) -> Callable[[Any], Any]:
    return lambda tensor: layers.GlobalMaxPooling1D()(layer(tensor))


def refused(model: keras.Model) -> str:
    """Return why a model does not belong to the family."""
    family, reason = recognize(model)
    assert family is None
    return reason


def same_answers(model: keras.Model, width: int) -> Family:
    """Check that the family of a model returns its probabilities, and that its embedding has this width."""
    family = recognized(model)
    assert family.embedding.shape == (IDS, width)
    tokens = np.random.default_rng(0).integers(0, IDS, (50, SEQUENCE_LENGTH), dtype=np.int32)
    found = session(folded_graph(family).SerializeToString())(tokens)
    assert found == pytest.approx(np.asarray(model.predict_on_batch(tokens)), abs=1e-6)
    return family


def side_by_side(branches: Callable[[Any], Sequence[Any]]) -> keras.Model:
    """Build a model of an embedding, the branches that `branches` makes of it, and a dense layer over all."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    features = layers.Concatenate(name="features")(list(branches(embedding()(tokens))))
    return keras.Model(tokens, answer()(features))


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_are_of_the_family(name: str) -> None:
    """The models of the presets belong to the family."""
    configuration = PRESETS[name]
    family = recognized(build(configuration, vocabulary_size=100))
    assert family.max_tokens == configuration.max_tokens
    assert family.embedding.shape == (100, configuration.embedding_width)
    assert [bank.kernel.shape for bank in family.banks] == [
        (bank.width, configuration.embedding_width, bank.filters) for bank in configuration.convolutions
    ]
    assert all(bank.activations == ("Relu",) for bank in family.banks)
    hidden = [("Relu",)] if configuration.hidden_width else []
    assert [dense.activations for dense in family.head] == [*hidden, ("Sigmoid",)]


def test_three_labels_are_of_the_family() -> None:
    """A softmax of three labels belongs to the family."""
    family = recognized(build(Configuration(labels=("a", "b", "c"), max_tokens=9), vocabulary_size=10))
    assert family.head[-1].activations == ("Softmax",)


def test_the_classic_example_is_of_the_family() -> None:
    """A `Sequential` model with dropouts and activation layers, as in Keras' examples, is recognized."""
    model = stack(
        embedding(),
        layers.Dropout(0.2),
        layers.Conv1D(FILTERS, 3, padding="valid", activation="relu", strides=1),
        layers.GlobalMaxPooling1D(),
        layers.Dense(6),
        layers.Dropout(0.2),
        layers.Activation("relu"),
        layers.Dense(1),
        layers.Activation("sigmoid"),
    )
    family = recognized(model)
    bank, (hidden, last) = family.banks[0], family.head
    found = [family.embedding, bank.kernel, bank.bias, hidden.kernel, hidden.bias, last.kernel, last.bias]
    for array, weight in zip(found, model.get_weights(), strict=True):
        assert array is not None
        assert np.array_equal(array, weight)
    assert [dense.activations for dense in family.head] == [("Relu",), ("Sigmoid",)]


def test_functional_and_sequential_are_the_same_family() -> None:
    """A functional and a `Sequential` model of the same layers are the same `Family`."""
    chain = [embedding(), convolution(), pooling(), answer()]
    sequential = recognized(stack(*chain))
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    tensor = tokens
    for layer in chain:
        tensor = layer(tensor)
    functional = recognized(keras.Model(tokens, tensor))
    assert np.array_equal(sequential.embedding, functional.embedding)
    assert np.array_equal(sequential.banks[0].kernel, functional.banks[0].kernel)


def test_several_widths_keep_their_order() -> None:
    """Banks have the order of the concatenation, in which the dense layer reads them."""
    model = side_by_side(lambda e: [pooling_of(convolution(width, name=f"w{width}"))(e) for width in (4, 1, 3)])
    assert [bank.width for bank in recognized(model).banks] == [4, 1, 3]


@pytest.mark.parametrize(
    "chain",
    [
        (convolution(1),),
        (convolution(SEQUENCE_LENGTH),),
        (convolution(use_bias=False),),
        (convolution(activation="tanh"),),
        (convolution(activation="sigmoid"),),
        (convolution(activation="softplus"),),
        (convolution(activation="softsign"),),
        (convolution(activation="linear"),),
        (convolution(activation="relu"), layers.Activation("relu")),
        (convolution(), layers.ReLU()),
        (layers.SpatialDropout1D(0.1), layers.GaussianNoise(0.1), convolution(), layers.Dropout(0.1)),
    ],
    ids=[
        "width 1",
        "full width",
        "no bias",
        "tanh",
        "sigmoid",
        "softplus",
        "softsign",
        "linear",
        "relu twice",
        "relu layer",
        "noise",
    ],
)
def test_filters_and_activations(chain: tuple[Any, ...]) -> None:
    """Filters may have any width, a bias or none, and any monotone activation."""
    recognized(stack(embedding(), *chain, layers.GlobalMaxPooling1D(), answer()))


def test_dense_layers_of_any_number_and_bias() -> None:
    """The head may have any number of dense layers, with or without a bias."""
    chain = [layers.Dense(3, use_bias=False), layers.Dense(3, activation="softmax"), layers.Dense(2), layers.Softmax()]
    family = recognized(stack(embedding(), convolution(), pooling(), *chain))
    assert [(dense.bias.tolist(), dense.activations) for dense in family.head] == [
        ([0, 0, 0], ()),
        ([0, 0, 0], ("Softmax",)),
        ([0, 0], ("Softmax",)),
    ]


def test_one_layer_used_twice_is_two_steps() -> None:
    """A layer that is used twice appears twice in the head."""
    shared = layers.Dense(FILTERS, activation="tanh")
    family = recognized(stack(embedding(), convolution(), pooling(), shared, answer()))
    assert len(family.head) == 2
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    tensor = pooling()(convolution()(embedding()(tokens)))
    assert len(recognized(keras.Model(tokens, answer()(shared(shared(tensor))))).head) == 3


def test_one_embedding_called_twice_is_one_embedding() -> None:
    """An embedding may be called twice if both calls read the model's input."""
    words = embedding()
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    banks = [pooling_of(layers.Conv1D(2, width))(words(tokens)) for width in (2, 3)]
    assert len(recognized(keras.Model(tokens, answer()(layers.Concatenate()(banks)))).banks) == 2


class Halved(layers.Dense):  # type: ignore[misc]
    """A dense layer that returns half of its output."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return super().call(inputs) / 2


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ([convolution(strides=2), pooling(), answer()], "layer filters has strides (2,)"),
        ([layers.Conv1D(4, 3, groups=2, name="filters"), pooling(), answer()], "layer filters has groups 2"),
        ([convolution(activation="softmax"), pooling(), answer()], "layer filters has a softmax over its"),
        ([convolution(activation="celu"), pooling(), answer()], "layer filters has the activation 'celu'"),
        ([convolution(activation=lambda x: x * x), pooling(), answer()], "layer filters has the activation '<lambda>'"),
        ([convolution(activation=layers.PReLU()), pooling(), answer()], "layer filters has the activation '<PReLU"),
        ([convolution(), layers.ReLU(max_value=0.0, name="capped"), pooling(), answer()], "layer capped is where"),
        ([convolution(), layers.ReLU(threshold=0.5, name="late"), pooling(), answer()], "layer late is where"),
        ([convolution(), layers.PReLU(name="leaky"), pooling(), answer()], "layer leaky is where"),
        ([convolution(), layers.BatchNormalization(axis=1, name="normal"), pooling(), answer()], "normal is where"),
        (
            [
                convolution(activation="relu"),
                layers.BatchNormalization(name="normal"),
                layers.Activation("tanh"),
                pooling(),
                answer(),
            ],
            "layer normal is between two activations",
        ),
        (
            [convolution(), pooling(), answer(), layers.BatchNormalization(name="normal")],
            "normal comes after the last",
        ),
        ([layers.LayerNormalization(name="normal"), convolution(), pooling(), answer()], "layer normal is where"),
        ([layers.Dense(3, "softmax", name="mix"), convolution(), pooling(), answer()], "layer mix has a softmax over"),
        (
            [convolution(activation="relu"), convolution(1, name="mix"), pooling(), answer()],
            "layer mix has width 1 and follows the activation of layer filters",
        ),
        (
            [convolution(strides=2), convolution(1, name="mix"), pooling(), answer()],
            "layer filters has strides (2,)",
        ),
        ([layers.LSTM(3, name="memory"), answer()], "layer memory is where"),
        ([convolution(), layers.MaxPooling1D(2, name="half"), pooling(), answer()], "layer half is where"),
        (
            [convolution(), layers.GlobalMaxPooling1D(keepdims=True, name="kept"), layers.Flatten(), answer()],
            "is where",
        ),
        (
            [convolution(), layers.GlobalMaxPooling1D(keepdims=True, name="kept"), answer()],
            "layer kept keeps its dimensions or pools along the channels",
        ),
        (
            [layers.GlobalMaxPooling1D(data_format="channels_first", name="words_kept"), answer()],
            "layer words_kept keeps its dimensions or pools along the channels",
        ),
        ([convolution(), convolution(name="again"), pooling(), answer()], "layer filters is where an embedding"),
        ([layers.SeparableConv1D(5, 3, name="separable"), pooling(), answer()], "layer separable is where"),
        (
            [convolution(), pooling(), layers.Activation("gelu"), answer()],
            "layer filters has activations that do not commute with pooling",
        ),
        (
            [convolution(activation="gelu"), layers.Activation("silu"), pooling(), answer()],
            "layer filters has activations that do not commute with pooling",
        ),
        (
            [layers.LSTM(3, return_sequences=True, name="lstm"), pooling(), answer()],
            "layer lstm is where a convolution",
        ),
        ([convolution(), pooling(), Halved(1, activation="sigmoid", name="half")], "layer half is where a dense"),
        ([convolution(), pooling(), answer(activation="celu")], "layer answer has the activation 'celu'"),
    ],
)
def test_unsupported_layers(chain: list[Any], reason: str) -> None:
    """The reason names the layer that cannot be folded."""
    assert reason in refused(stack(embedding(), *chain))


def test_two_embeddings() -> None:
    """The embedding of convolutions that read different ones has the columns of both."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    banks = [pooling_of(layers.Conv1D(2, 2))(embedding(name=name)(tokens)) for name in ("static", "tuned")]
    same_answers(keras.Model(tokens, answer()(layers.Concatenate()(banks))), 2 * EMBEDDING)


def test_embeddings_of_different_vocabularies_are_refused() -> None:
    """Embeddings with different numbers of rows are not joined."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    words = [layers.Embedding(size, EMBEDDING, name=f"words_{size}")(tokens) for size in (IDS, IDS + 1)]
    banks = [pooling_of(layers.Conv1D(2, 2))(each) for each in words]
    model = keras.Model(tokens, answer()(layers.Concatenate()(banks)))
    assert refused(model) == "its convolutions read embeddings of different vocabularies: words_20, words_21"


def test_pooled_embedding() -> None:
    """An embedding that is pooled without a convolution counts as filters of width 1."""
    for pooled in (layers.GlobalAveragePooling1D(), layers.GlobalMaxPooling1D()):
        family = same_answers(stack(embedding(), layers.Dropout(0.5), pooled, answer()), EMBEDDING)
        assert [bank.width for bank in family.banks] == [1]


def test_tables() -> None:
    """The sum of embeddings, each shifted to its place in a window, is a convolution."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    shifted = [layers.Cropping1D((place, 2 - place))(embedding(name=f"table_{place}")(tokens)) for place in (1, 2, 0)]
    pairs = [layers.Cropping1D(each)(embedding(name=f"pair_{each[0]}")(tokens)) for each in ((0, 1), (1, 0))]
    banks = [
        layers.GlobalMaxPooling1D()(layers.ReLU()(layers.Add()(shifted))),
        layers.GlobalAveragePooling1D()(layers.Add()(pairs)),
    ]
    family = same_answers(keras.Model(tokens, answer()(layers.Concatenate()(banks))), 5 * EMBEDDING)
    assert [bank.width for bank in family.banks] == [3, 2]


@pytest.mark.parametrize(
    ("croppings", "reason"),
    [
        ([(0, 2), (2, 0)], "layer sum does not add the first, second, ... word of a window"),
        ([(0, 1), (0, 1)], "layer sum does not add the first, second, ... word of a window"),
        ([(1, 1), (0, 2), (2, 0), (1, 1)], "layer sum does not add the first, second, ... word of a window"),
    ],
)
def test_sums_of_other_places_are_refused(croppings: list[tuple[int, int]], reason: str) -> None:
    """A sum that skips or repeats a place of the window is no convolution."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    words = embedding()(tokens)
    summed = layers.Add(name="sum")([layers.Cropping1D(each)(words) for each in croppings])
    assert reason in refused(keras.Model(tokens, answer()(pooling()(summed))))


def test_sums_of_other_embeddings_are_refused() -> None:
    """The embeddings of a sum have the same shape and read the same ids."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")

    def reason(first: Any, second: Any) -> str:
        cropped = [layers.Cropping1D(each)(words) for each, words in (((0, 1), first), ((1, 0), second))]
        return refused(keras.Model(tokens, answer()(pooling()(layers.Add(name="sum")(cropped)))))

    words = embedding()
    narrow = layers.Embedding(IDS, 1)
    assert reason(words(tokens), narrow(tokens)) == "layer sum adds embeddings of different shapes"
    assert reason(words(tokens), words(keras.ops.flip(tokens, 1))) == "layer sum adds words of different inputs"
    convolved = layers.Conv1D(EMBEDDING, 2, padding="same", name="filters")(words(tokens))
    assert reason(words(tokens), convolved) == "layer filters is where an embedding should be"


def test_several_inputs_or_outputs_are_refused() -> None:
    """A model with several inputs or outputs is refused."""
    first, second = keras.Input((SEQUENCE_LENGTH,), dtype="int32"), keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    words = embedding()
    banks = [pooling_of(layers.Conv1D(2, 2))(words(tokens)) for tokens in (first, second)]
    out = answer()(layers.Concatenate()(banks))
    assert refused(keras.Model([first, second], out)) == "it has several inputs or outputs"
    one = pooling()(convolution()(words(first)))
    assert refused(keras.Model(first, [answer()(one), answer(name="other")(one)])) == "it has several inputs or outputs"


def test_embedding_of_changed_ids() -> None:
    """An embedding of ids that another layer changed is refused."""
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    words = embedding()
    banks = [
        pooling_of(layers.Conv1D(2, 2))(words(tokens)),
        pooling_of(layers.Conv1D(2, 3))(words(keras.ops.flip(tokens, 1))),
    ]
    model = keras.Model(tokens, answer()(layers.Concatenate()(banks)))
    assert refused(model) == "layer words does not read the model's input everywhere"
    chained = keras.Model(tokens, answer()(pooling()(convolution()(words(keras.ops.flip(tokens, 1))))))
    assert refused(chained) == "layer words does not read the model's input everywhere"


def test_branches_that_read_other_vectors() -> None:
    """A layer that reads each word alone belongs to the embedding of the convolution after it."""
    model = side_by_side(
        lambda words: [
            pooling_of(convolution())(words),
            pooling_of(convolution(2, name="pairs"))(layers.Dense(4, name="mix")(words)),
        ]
    )
    same_answers(model, 2 * EMBEDDING)


def test_banks_joined_along_another_axis_are_refused() -> None:
    """Banks must be concatenated along their features."""
    model = side_by_side(lambda e: [pooling_of(layers.Conv1D(2, width))(e) for width in (2, 3)])
    recognized(model)
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    words = embedding()(tokens)
    banks = [pooling_of(layers.Conv1D(2, width))(words) for width in (2, 3)]
    joined = layers.Concatenate(axis=0, name="stacked")(banks)
    assert refused(keras.Model(tokens, answer()(joined))) == "layer stacked concatenates along axis 0"


def test_quantized_layers() -> None:
    """A layer whose weights are integers is not folded, because its scales would be lost."""
    model = stack(embedding(), convolution(), pooling(), answer())
    for layer in (model.layers[0], model.layers[-1]):
        layer.quantize("int8")
    assert refused(model) == "layer answer is quantized"
