"""The `tokenizer.json` of every rule, in the format of Hugging Face's `tokenizers`.

Normalizers turn everything that separates words into spaces, pre-tokenizers split at spaces, and a model looks the
words up.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from sentiment_conv1d.artifact.configuration import RESERVED_IDS
from sentiment_conv1d.artifact.tokenizer.interface import TokenizerError

#: The words of the first ids in `tokenizer.json`.
RESERVED_WORDS = PADDING, START, UNKNOWN = ("<pad>", "<start>", "<unk>")

_SIDES = {False: "Left", True: "Right"}


def document(
    max_tokens: int,
    normalizers: Sequence[dict[str, Any]],
    pre_tokenizer: dict[str, Any],
    model: dict[str, Any],
    empty: tuple[str, int],
    *,
    keeps_first: bool = False,
    pads_behind: bool = False,
) -> dict[str, Any]:
    """Return the content of `tokenizer.json`. `empty` is the word, and its id, that an empty text gets.

    A start word appears in two places. A normalizer adds it to the front of a text. A post-processor would not do,
    because its token survives truncation and Keras' start id does not. The normalizer leaves an empty text empty, so
    padding to at least one id, with the start id, gives such a text its single id.
    """
    return {
        "version": "1.0",
        "truncation": {
            "direction": _SIDES[keeps_first],
            "max_length": max_tokens,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 1},
            "direction": _SIDES[pads_behind],
            "pad_to_multiple_of": None,
            "pad_id": empty[1],
            "pad_type_id": 0,
            "pad_token": empty[0],
        },
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": None,
        "model": model,
    }


def words_document(
    max_tokens: int, normalizers: Sequence[dict[str, Any]], pre_tokenizer: dict[str, Any], ids: dict[str, int]
) -> dict[str, Any]:
    """Return the content of `tokenizer.json` for words whose `ids` follow the reserved ones, after a start word."""
    reserved = {word: number for number, word in enumerate(RESERVED_WORDS)}
    start = {"type": "Prepend", "prepend": f"{START} "}
    return document(
        max_tokens, [*normalizers, start], pre_tokenizer, word_level(reserved | ids), (START, reserved[START])
    )


def on_spaces(behavior: str = "Removed") -> dict[str, Any]:
    """Return the pre-tokenizer that splits at spaces."""
    return {"type": "Split", "pattern": {"String": " "}, "behavior": behavior, "invert": False}


def word_level(vocabulary: dict[str, int]) -> dict[str, Any]:
    """Return the model that looks words up, and that knows an id for all others."""
    return {"type": "WordLevel", "vocab": vocabulary, "unk_token": UNKNOWN}


def numbered(words: Sequence[str]) -> dict[str, int]:
    """Return the ids of words that follow the reserved ones."""
    return {word: number for number, word in enumerate(words, start=RESERVED_IDS)}


def unique(words: Sequence[str], max_tokens: int) -> dict[str, int]:
    """Return the ids of words. Raises `TokenizerError` if one repeats, or if a text gets no token."""
    if max_tokens < 1:
        raise TokenizerError(f"a text needs at least one token, not {max_tokens}")
    ids = numbered(words)
    if len(ids) < len(words):
        raise TokenizerError("a word of the vocabulary repeats")
    return ids


def read_words(document: Any) -> tuple[list[str], int]:
    """Return the words, which follow the reserved ones, and `max_tokens` of a document, without checking the rest.

    Raises `TokenizerError` if they cannot be read.
    """
    try:
        max_tokens = operator.index(document["truncation"]["max_length"])
        vocabulary = document["model"]["vocab"]
        ordered = sorted(vocabulary, key=vocabulary.__getitem__)
        ids = [vocabulary[word] for word in ordered]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise TokenizerError(f"not a tokenizer in the format of this project ({error!r})") from error
    if ids != list(range(len(ids))) or tuple(ordered[:RESERVED_IDS]) != RESERVED_WORDS:
        raise TokenizerError(f"ids must count from 0 without a gap and start with {', '.join(RESERVED_WORDS)}")
    return ordered[RESERVED_IDS:], max_tokens
