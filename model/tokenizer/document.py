"""The `tokenizer.json` of rules whose ids start with three reserved words, followed by the known words by frequency.

The file has the format of Hugging Face's `tokenizers`: normalizers turn everything that separates words into spaces,
pre-tokenizers split at spaces, and a `WordLevel` model looks the words up.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from sentiment_conv1d.model.configuration import RESERVED_IDS
from sentiment_conv1d.model.tokenizer.interface import TokenizerError

#: The words of the first ids in `tokenizer.json`.
RESERVED_WORDS = ("<pad>", "<start>", "<unk>")

#: The pre-tokenizer that splits at spaces.
ON_SPACES: dict[str, Any] = {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False}


def word_document(
    max_tokens: int,
    normalizers: Sequence[dict[str, Any]],
    pre_tokenizers: Sequence[dict[str, Any]],
    words: Sequence[str],
) -> dict[str, Any]:
    """Return the content of `tokenizer.json` for a rule whose words are `RESERVED_WORDS` and then `words`.

    The start word appears in two places. A normalizer adds it to the front of a text. A post-processor would not do,
    because its token survives truncation and Keras' start id does not. The normalizer leaves an empty text empty, so
    padding to at least one id, with the start id, gives such a text its single id.
    """
    _, start, unknown = RESERVED_WORDS
    several = {"type": "Sequence", "pretokenizers": list(pre_tokenizers)}
    return {
        "version": "1.0",
        "truncation": {"direction": "Left", "max_length": max_tokens, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 1},
            "direction": "Left",
            "pad_to_multiple_of": None,
            "pad_id": RESERVED_WORDS.index(start),
            "pad_type_id": 0,
            "pad_token": start,
        },
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*normalizers, {"type": "Prepend", "prepend": f"{start} "}],
        },
        "pre_tokenizer": pre_tokenizers[0] if len(pre_tokenizers) == 1 else several,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate([*RESERVED_WORDS, *words])},
            "unk_token": unknown,
        },
    }


def read_words(document: Any) -> tuple[list[str], int]:
    """Return the words and `max_tokens` of a document that `word_document` made, without checking the rest.

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
