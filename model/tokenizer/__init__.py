"""Text to ids. Which rule applies is stated in the artifact's `tokenizer.json`.

`interface` is what the rest of the project uses. `words` implements the rule that this project trains with, and
`word_level` the rules of models from elsewhere; `vocabulary` looks up the words of both. `read_tokenizer` chooses by
the content of the file.
"""

from __future__ import annotations

import json

from sentiment_conv1d.model.tokenizer.interface import Encoding, Tokenizer, TokenizerError
from sentiment_conv1d.model.tokenizer.word_level import Rule, WordLevelTokenizer
from sentiment_conv1d.model.tokenizer.words import WordTokenizer

__all__ = ["Encoding", "Rule", "Tokenizer", "TokenizerError", "WordLevelTokenizer", "WordTokenizer", "read_tokenizer"]


def read_tokenizer(content: str | bytes) -> Tokenizer:
    """The tokenizer that a `tokenizer.json` describes.

    Raises `TokenizerError` if it asks for a rule that this project does not have: it must not be misread.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"not a tokenizer: not valid JSON ({error})") from error
    try:
        return WordTokenizer.from_document(document)
    except TokenizerError:
        return WordLevelTokenizer.from_document(document)
