"""`TextVectorization` layers: what a layer says about its ids, and which layers the service can replace."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from sentiment_conv1d.export.errors import ExportError

#: White space at which TensorFlow splits texts, besides the space.
ASCII_SPACES = "\t\n\v\f\r"

#: The value of `split` of a layer that reads single characters.
CHARACTERS = "character"

#: The ids of padding and of unknown words.
RESERVED = 2


def check_supported(layer: Any) -> None:
    """Raise `ExportError`, which names the layer, unless it returns the ids of words or of single characters."""
    configuration = layer.get_config()
    mode = configuration["output_mode"]
    if mode != "int":
        raise ExportError(
            f"layer {layer.name} has output_mode={mode!r}: the model reads how often each word occurs in a text, and "
            "the service only ids in the order of the words",
            "train a model with output_mode='int' and an embedding",
        )
    split = configuration["split"]
    if split not in ("whitespace", CHARACTERS):
        shown = f"the function {split.__name__}" if callable(split) else repr(split)
        raise ExportError(
            f"layer {layer.name} has split={shown}, which the service does not support",
            "train the model with split='whitespace' or 'character' and output_mode='int'",
        )
    if codecs.lookup(configuration["encoding"]) != codecs.lookup("utf-8"):
        raise ExportError(
            f"layer {layer.name} has encoding={configuration['encoding']!r}, and the service reads UTF-8",
            "train the model with encoding='utf-8'",
        )
    if layer.vocabulary_size() <= RESERVED:
        raise ExportError(
            f"layer {layer.name} has no vocabulary: an .h5 file does not contain what the layer learned with adapt()",
            "save the model or the layer as .keras, which contains it",
        )


def n_grams(layer: Any) -> tuple[int, ...]:
    """Return how many words in a row a layer looks up: first everywhere the first number, and so on."""
    stated = layer.get_config()["ngrams"]
    if stated is None:
        return (1,)
    return tuple(range(1, stated + 1)) if isinstance(stated, int) else tuple(stated)


def known_words(layer: Any) -> list[str]:
    """Return the vocabulary of a layer, without padding and unknown words."""
    return list(map(str, layer.get_vocabulary(include_special_tokens=False)))


def own_standardization(layer: Any) -> str | None:
    """Return the name of the function by which a layer standardizes texts; None if it is one of Keras."""
    standardize = layer.get_config()["standardize"]
    return str(getattr(standardize, "__name__", standardize)) if callable(standardize) else None


def not_run(name: str) -> Callable[[Any], Any]:
    """Return a function that stands for one in a file, whose code is not loaded. Returns its argument."""

    def function(texts: Any) -> Any:
        return texts

    function.__name__ = name
    return function


def output_length(layer: Any) -> int | None:
    """Return the number of ids that a layer returns for every text; None if it differs."""
    length = layer.get_config()["output_sequence_length"]
    return None if length is None else int(length)
