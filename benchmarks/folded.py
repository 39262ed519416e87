"""`python -m benchmarks.folded`: the cost of folded models of other forms, compared with that of `imdb-cnn`.

All models have the same numbers of ids, filters and units, and random weights. Each graph reads one review after the
other on one thread, with as little padding as it needs. The graphs alternate, in several rounds over all reviews.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from benchmarks.baselines.naive import ARTIFACT
from benchmarks.explaining import measure
from benchmarks.markdown import circumstances, table
from loadtest.traffic import texts
from sentiment_conv1d.export.checks.parity import session
from sentiment_conv1d.export.graphs.folded import folded_graph
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.model.artifact import read_artifact
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.tokenizer import Tokenizer

#: The form that the others are compared with, and the limit for forms that do the same work.
BASE, BOUND = "imdb-cnn", 1.3


def model(tokenizer: Tokenizer, *pooled: Any, free: bool = False) -> keras.Model:
    """Return a model with the sizes of `imdb-cnn`. `pooled` are functions from the embedded text to features."""
    ids = keras.Input((None if free else tokenizer.max_tokens,), dtype="int32")
    embedded = layers.Embedding(tokenizer.vocabulary_size, 50)(ids)
    features = [branch(embedded) for branch in pooled]
    joined = layers.Concatenate()(features) if len(features) > 1 else features[0]
    hidden = layers.Dense(250, activation="relu")(joined)
    return keras.Model(ids, layers.Dense(1, activation="sigmoid")(hidden))


def branch(*behind: Any, **convolution: Any) -> Callable[[Any], Any]:
    """Return a convolution followed by layers and the maximum."""

    def features(embedded: Any) -> Any:
        value = layers.Conv1D(**({"filters": 250, "kernel_size": 3, "activation": "relu"} | convolution))(embedded)
        for layer in behind:
            value = layer(value)
        return layers.GlobalMaxPooling1D()(value)

    return features


def both(embedded: Any) -> Any:
    """Apply one convolution, and return its maximum and its average."""
    convolved = layers.Conv1D(250, 3, activation="relu")(embedded)
    return layers.Concatenate()([layers.GlobalMaxPooling1D()(convolved), layers.GlobalAveragePooling1D()(convolved)])


def models(tokenizer: Tokenizer) -> dict[str, keras.Model]:
    """Return all forms by name."""
    normal = (layers.BatchNormalization(), layers.ReLU())
    return {
        BASE: model(tokenizer, branch()),
        "`Input((None,))`": model(tokenizer, branch(), free=True),
        "same padding": model(tokenizer, branch(padding="same")),
        "causal padding": model(tokenizer, branch(padding="causal")),
        "dilation 2": model(tokenizer, branch(dilation_rate=2)),
        "`BatchNormalization`": model(tokenizer, branch(*normal, activation=None)),
        "leaky relu": model(tokenizer, branch(activation="leaky_relu")),
        "gelu": model(tokenizer, branch(activation="gelu")),
        "silu": model(tokenizer, branch(activation="silu")),
        "mish": model(tokenizer, branch(activation="mish")),
        "maximum and average": model(tokenizer, both),
    }


def predictor(network: keras.Model, tokenizer: Tokenizer) -> Callable[[str], object]:
    """Return the folded graph as a function of a text, whose ids are computed once."""
    family, reason = recognize(network, tokenizer.max_tokens, tokenizer.padding_id)
    assert family is not None, reason
    served = session(folded_graph(family).SerializeToString())
    shape = InputShape.of(tokenizer, family.leading_padding)
    ids: dict[str, Any] = {}

    def predict(text: str) -> object:
        if text not in ids:
            ids[text] = shape.pad([tokenizer.encode(text).ids])
        return served(ids[text])

    return predict


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=256)
    options.add_argument("--rounds", type=int, default=9)
    chosen = options.parse_args()

    tokenizer = read_artifact(ARTIFACT).tokenizer
    works = {name: predictor(network, tokenizer) for name, network in models(tokenizer).items()}
    whole = texts.generate(tokenizer, chosen.count)
    kinds = {"whole": whole, "20 words": texts.shorten(whole)}
    for reviews in kinds.values():
        measure(works, reviews, 1)  # computes the ids and allocates memory
    columns = [measure(works, reviews, chosen.rounds) for reviews in kinds.values()]
    print(circumstances())
    print(f"One thread, medians of {chosen.rounds} rounds of {chosen.count} texts. The bound is {BOUND}.\n")
    head = ["form", *(f"{unit}, {kind}" for kind in kinds for unit in ("µs per text", f"to {BASE}"))]
    print(table(head, [[name, *_cells(name, columns)] for name in works]))


def _cells(name: str, columns: list[dict[str, float]]) -> list[str]:
    return [cell for each in columns for cell in (f"{each[name]:,.0f}", f"{each[name] / each[BASE]:.2f}")]


if __name__ == "__main__":
    main()
