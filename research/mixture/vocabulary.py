"""A vocabulary that contains the key words of typed texts, such as emojis and ratings, even if they are rare."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from sentiment_conv1d.artifact.configuration import RESERVED_IDS, BaseConfiguration
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer, learn
from sentiment_conv1d.model.training.fitting import TrainingError

_RATING = re.compile(r"\d+(?:[.,]\d+)?/\d+|\d[\N{BLACK STAR}\N{WHITE MEDIUM STAR}]\N{VARIATION SELECTOR-16}?")


def with_keys(
    configuration: BaseConfiguration, tokenizer: VocabularyTokenizer, keys: Iterable[str]
) -> VocabularyTokenizer:
    """Return a tokenizer that knows these keys, too, in place of the least frequent words.

    A key that the rule of the configuration splits is left out.
    """
    wanted: dict[str, None] = {}
    for key in keys:
        alone = learn(configuration, [key])
        if len([*alone.spans(key)]) == 1:
            wanted |= dict.fromkeys(alone.words)
    room = max(0, configuration.vocabulary_size - RESERVED_IDS - len(wanted))
    kept = {*[word for word in tokenizer.words if word not in wanted][:room], *wanted}
    frequent = [word for word in tokenizer.words if word in kept]
    return learn(configuration, (), list(dict.fromkeys([*frequent, *wanted])))


def check_keys(tokenizer: VocabularyTokenizer, texts: Iterable[str]) -> None:
    """Raise `TrainingError`, which names the text, if a key word in one is unknown.

    The label of such a text would be learned for all unknown words.
    """
    for text in texts:
        words = [text[start:end] for start, end in tokenizer.spans(text)]
        for word, known in zip(reversed(words), reversed(tokenizer.encode(text).ids.tolist()), strict=False):
            if known == tokenizer.unknown_id and _is_key(word):
                raise TrainingError(f"the vocabulary has no {word!r}, which decides the label of the text {text!r}")


def _is_key(word: str) -> bool:
    """Return whether a word is a rating, or an emoji or stars that no letters are joined to."""
    is_symbol = any(unicodedata.category(each) == "So" for each in word) and not any(map(str.isalnum, word))
    return is_symbol or _RATING.fullmatch(word) is not None
