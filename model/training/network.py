"""The Keras network of a configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np

from sentiment_conv1d.artifact.configuration import RESERVED_IDS, BaseConfiguration, Convolution
from sentiment_conv1d.artifact.layers import Weights
from sentiment_conv1d.model.training.embeddings import Vectors

_OPTIMIZERS = {
    "adagrad": keras.optimizers.Adagrad,
    "adam": keras.optimizers.Adam,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


def build(configuration: BaseConfiguration, vocabulary_size: int) -> keras.Model:
    """Build and compile a network: ids int32 [batch, max_tokens] -> probabilities float32 [batch, outputs].

    `vocabulary_size` is the tokenizer's. It is smaller than the configuration's if the texts contain fewer words.
    """
    tokens = keras.Input((configuration.max_tokens,), dtype="int32", name="tokens")
    embedded = keras.layers.Embedding(vocabulary_size, configuration.embedding_width, name="embedding")(tokens)
    embedded = keras.layers.Dropout(configuration.embedding_dropout, name="embedding_dropout")(embedded)
    pooled = [_pool(convolution, embedded) for convolution in configuration.convolutions]
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


def _pool(bank: Convolution, embedded: keras.KerasTensor) -> keras.KerasTensor:
    """Return the pooled values of a bank: float32 [batch, filters]."""
    pooling, activation = {
        "max": (keras.layers.GlobalMaxPooling1D, "relu"),
        "mean": (keras.layers.GlobalAveragePooling1D, None),
    }[bank.pooling]
    feature_map = keras.layers.Conv1D(bank.filters, bank.width, activation=activation, name=bank.name)(embedded)
    return pooling(name=bank.name.replace("convolution", "pool"))(feature_map)


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

    The embedding of a word consists of its rows in all tables, side by side, so the embedding width of `configuration`
    must be `table_width(configuration)`. The kernel of each tap selects that tap's row. Tables of averages contain the
    parts of the sum divided by the square root of `max_tokens`.
    """
    scaled = [
        table * _scale(bank, configuration) for table, bank in zip(tables, configuration.convolutions, strict=True)
    ]
    rows = np.concatenate([row for table in scaled for row in table], axis=1)
    model = build(configuration, len(rows))
    model.get_layer("embedding").set_weights([rows])
    first = 0
    for bank in configuration.convolutions:
        taps = np.zeros((bank.width, rows.shape[1], bank.filters), np.float32)
        for tap in taps:
            tap[first : first + bank.filters] = np.eye(bank.filters)
            first += bank.filters
        model.get_layer(bank.name).set_weights([taps, np.zeros(bank.filters, np.float32)])
    model.get_layer("probabilities").set_weights([kernel, bias])
    return model


def read_tables(model: keras.Model, configuration: BaseConfiguration) -> tuple[list[Weights], Weights, Weights]:
    """Return the tables, the kernel and the bias that `of_tables` was given."""
    (rows,) = model.get_layer("embedding").get_weights()
    tables, first = [], 0
    for bank in configuration.convolutions:
        last = first + bank.width * bank.filters
        table = rows[:, first:last].reshape(len(rows), bank.width, bank.filters).transpose(1, 0, 2)
        tables.append(table / _scale(bank, configuration))
        first = last
    return tables, *model.get_layer("probabilities").get_weights()


def _scale(bank: Convolution, configuration: BaseConfiguration) -> np.float32:
    """Return the factor of a table in the embedding. An average is the sum divided by `max_tokens`."""
    return np.float32(1 if bank.pooling == "max" else math.sqrt(configuration.max_tokens))


def table_width(configuration: BaseConfiguration) -> int:
    """Return the number of entries of a word in the look-up tables of all banks."""
    return sum(bank.width * bank.filters for bank in configuration.convolutions)
