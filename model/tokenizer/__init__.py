"""Text to ids. Which rule applies is stated in the artifact's `tokenizer.json`.

`interface` is what the rest of the project uses, `words` the one implementation, and `vocabulary` its look-up of words.
A second kind of tokenizer is another subclass of `Tokenizer`, chosen by `read_tokenizer`.
"""

from __future__ import annotations

import json

from sentiment_conv1d.model.tokenizer.interface import Encoding, Tokenizer, TokenizerError
from sentiment_conv1d.model.tokenizer.words import WordTokenizer

__all__ = ["Encoding", "Tokenizer", "TokenizerError", "WordTokenizer", "read_tokenizer"]


def read_tokenizer(content: str | bytes) -> Tokenizer:
    """The tokenizer that a `tokenizer.json` describes.

    Raises `TokenizerError` if it asks for a rule that this project does not have: it must not be misread.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"not a tokenizer: not valid JSON ({error})") from error
    return WordTokenizer.from_document(document)
