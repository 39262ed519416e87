"""The Keras network of a configuration."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from sentiment_conv1d.artifact.configuration import RESERVED_IDS, BaseConfiguration, Convolution
from sentiment_conv1d.artifact.layers import Weights
from sentiment_conv1d.model.training.embeddings import Vectors

_OPTIMIZERS = {
    "adagrad": keras.optimizers.Adagrad,
    "adam": keras.optimizers.Adam,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}

_POOLINGS = {"max": keras.layers.GlobalMaxPooling1D, "mean": keras.layers.GlobalAveragePooling1D}

#: The activation of a bank with each pooling.
_ACTIVATIONS = {"max": "relu", "mean": "linear"}


def build(configuration: BaseConfiguration, vocabulary_size: int) -> keras.Model:
    """Build and compile a network: ids int32 [batch, max_tokens] -> probabilities float32 [batch, outputs].

    `vocabulary_size` is the tokenizer's. It is smaller than the configuration's if the texts contain fewer words.
    """
    tokens = keras.Input((configuration.max_tokens,), dtype="int32", name="tokens")
    embedded = keras.layers.Embedding(vocabulary_size, configuration.embedding_width, name="embedding")(tokens)
    embedded = keras.layers.Dropout(configuration.embedding_dropout, name="embedding_dropout")(embedded)
    feature_maps = [
        keras.layers.Conv1D(bank.filters, bank.width, activation=_ACTIVATIONS[bank.pooling], name=bank.name)(embedded)
        for bank in configuration.convolutions
    ]
    return _compiled(configuration, tokens, feature_maps)


def _compiled(
    configuration: BaseConfiguration, tokens: keras.KerasTensor, feature_maps: Sequence[keras.KerasTensor]
) -> keras.Model:
    """Return the network whose convolutions have these feature maps: float32 [batch, positions, filters] each."""
    pooled = [
        _POOLINGS[bank.pooling](name=bank.name.replace("convolution", "pool"))(feature_map)
        for bank, feature_map in zip(configuration.convolutions, feature_maps, strict=True)
    ]
    features = pooled[0] if len(pooled) == 1 else keras.layers.Concatenate(name="features")(pooled)
    hidden = features
    if configuration.hidden_width:
        hidden = keras.layers.Dense(configuration.hidden_width, name="hidden")(hidden)
    hidden = keras.layers.Dropout(configuration.hidden_dropout, name="hidden_dropout")(hidden)
    if configuration.hidden_width:
        hidden = keras.layers.Activation("relu", name="hidden_relu")(hidden)
    probabilities = keras.layers.Dense(
        configuration.outputs, activation=configuration.activation, name="probabilities"
    )(hidden)
    model = keras.Model(tokens, probabilities, name=configuration.name.replace(".", "_"))
    binary = configuration.activation == "sigmoid"
    model.compile(
        optimizer=_OPTIMIZERS[configuration.optimizer](learning_rate=configuration.learning_rate),
        loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
        # Keras takes several sigmoids for a softmax, and would compare the most probable labels.
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy") if configuration.multilabel else "accuracy"],
    )
    return model


def set_vectors(model: keras.Model, vectors: Vectors) -> None:
    """Initialize the embedding with pretrained vectors, which must have its width, for the words that have one."""
    layer = model.get_layer("embedding")
    (weights,) = layer.get_weights()
    for place, vector in vectors.rows.items():
        weights[RESERVED_IDS + place] = vector
    layer.set_weights([weights])


def divide_logits(model: keras.Model, temperature: float) -> None:
    """Fold a temperature into the last layer: dividing its weights and biases by it divides the logits."""
    layer = model.get_layer("probabilities")
    layer.set_weights([array / temperature for array in layer.get_weights()])


def of_tables(
    configuration: BaseConfiguration, tables: Sequence[Weights], kernel: Weights, bias: Weights
) -> keras.Model:
    """Build a network from the look-up tables of each bank, [width, vocabulary, filters], and the last dense layer.

    Each table is an embedding, and the feature map of a bank is the sum of its embeddings, each shifted to its place in
    the window. That is a convolution of all embeddings side by side, in a small part of the time and memory. Tables of
    averages contain what the words add to a sum over the text.
    """
    tokens = keras.Input((configuration.max_tokens,), dtype="int32", name="tokens")
    banks = list(zip(configuration.convolutions, tables, strict=True))
    model = _compiled(configuration, tokens, [_feature_map(tokens, bank, table.shape[1]) for bank, table in banks])
    for bank, table in banks:
        for place, rows in enumerate(table):
            model.get_layer(bank.table_name(place)).set_weights([rows * _scale(bank, configuration)])
    model.get_layer("probabilities").set_weights([kernel, bias])
    return model


def _feature_map(tokens: keras.KerasTensor, bank: Convolution, vocabulary: int) -> keras.KerasTensor:
    """Return the activated sums of the filters of a bank at every position: float32 [batch, positions, filters]."""
    width = bank.width
    embedded = [
        keras.layers.Embedding(vocabulary, bank.filters, name=bank.table_name(place))(tokens) for place in range(width)
    ]
    sums = embedded[0]
    if width > 1:
        shifted = [keras.layers.Cropping1D((place, width - 1 - place))(each) for place, each in enumerate(embedded)]
        sums = keras.layers.Add(name=bank.name)(shifted)
    return keras.layers.Activation(_ACTIVATIONS[bank.pooling])(sums)


def _scale(bank: Convolution, configuration: BaseConfiguration) -> int:
    """Return the factor of a table in the network. An average is the sum divided by `max_tokens`."""
    return 1 if bank.pooling == "max" else configuration.max_tokens
