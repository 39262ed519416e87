"""Texts of every length and kind, to compare answers on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer

#: The number of characters of a long text.
_LONG = 100_000

#: The most characters that become nothing or a space, of which each is tried.
_CHANGES = 10_000

#: Characters at which tokenizers disagree: case without a counterpart, combining marks, signs beyond ASCII, scripts
#: without spaces, white space of Unicode and of ASCII, and marks that can be words.
_ODD = (
    "\u0130stanbul \u0131 STRASSE stra\u00dfe \u039f\u0394\u039f\u03a3 \u03bf\u03b4\u03bf\u03c2",
    "e\u0301t\u00e9 na\u00efve \ufb01lm \u212b",
    "\u201cquoted\u201d \u2014 l\u2019\u00e9t\u00e9 \u2026 \u00bfqu\u00e9? \u00a1s\u00ed!",
    "\u597d\u770b \u3044\u3044\u3067\u3059 \uc88b\uc544\uc694 \u05d8\u05d5\u05d1 \u062c\u064a\u062f",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
    "\u00a0\u2003\u2028\u2029\u3000\u200b\ufeff\x85",
    "\t\n\v\f\r\x1c\x1d\x1e\x1f",
    "10/10! 4.5/5: 5\u2605 8:) <3x :Dog \u2b50\ufe0f\u2b50\ufe0f\u2b50 \U0001f44d\U0001f3fd!!! don\u2019t'd\u2019ve",
)


def generated_texts(tokenizer: VocabularyTokenizer, seed: int = 0, count: int = 100) -> list[str]:
    """Generate texts of every length and kind: empty, short, longer than the model reads, and with odd characters."""
    random = np.random.default_rng(seed)
    words = np.array([*tokenizer.words, "unheard", "of"], dtype=object)
    limit = tokenizer.max_tokens
    lengths = [1, 2, 3, 4, limit - 1, limit, limit + 1, 2 * limit]
    lengths += random.integers(1, limit + limit // 4 + 2, count - len(lengths)).tolist()
    texts = ["", " ", "?!", "<br />", "100 %", *_ODD]
    for number, length in enumerate(lengths):
        text = " ".join(random.choice(words, max(1, length)))
        texts.append(_varied(text, number, random))
    return [*texts, *(f"{odd} {text}" for odd, text in zip(_ODD, texts[-len(_ODD) :], strict=True))]


def vocabulary_texts(words: Sequence[str], length: int) -> Iterator[str]:
    """Yield texts of `length` words that contain every word as it is, in capitals, and with punctuation."""
    for start in range(0, len(words), length):
        text = " ".join(words[start : start + length])
        yield from (text, text.upper(), text.title().replace(" ", "! "))


def spelled_texts(tokenizer: VocabularyTokenizer) -> Iterator[str]:
    """Yield a known word with every character that becomes one of its letters, such as a capital beyond ASCII.

    Words are also interrupted by characters that are removed, and followed by strings that become a space.
    """
    words: dict[str, str] = {}
    for word in tokenizer.known_ids:
        for each in word:
            words.setdefault(each, word)
    any_word = next(iter(words.values()), "")
    for character, become in _some(tokenizer.changes()):
        if become.strip(" "):
            word = words.get(become[0], any_word)
            yield f"{word} {word.replace(become, character)}"
        else:
            yield f"{any_word[:1]}{character}{any_word[1:]} {any_word}{character}{any_word}"
    yield from (f"{any_word}{each}{any_word} {each.upper()}{each}" for each in tokenizer.replaced)


def _some(changes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield all changes, or all of ASCII, all that are respelled and some others if a rule changes most characters."""
    step = max(1, len(changes) // _CHANGES)
    for number, (character, become) in enumerate(changes.items()):
        if number % step == 0 or character.isascii() or become.strip(" "):
            yield character, become


def long_texts(tokenizer: VocabularyTokenizer) -> Iterator[str]:
    """Yield texts of 100,000 characters: one word, many words, punctuation only, and separated letters."""
    word = max(tokenizer.known_ids, key=len, default="word")
    for repeated in ("x", f"{word} ", "!", "a.", "\u212a\u0130", "\U0001f600"):
        yield (repeated * _LONG)[:_LONG]


def _varied(text: str, number: int, random: np.random.Generator) -> str:
    """Return a text as it is, or with capitals, punctuation and line breaks as people write them."""
    match number % 4:
        case 0:
            return text
        case 1:
            return text.upper()
        case 2:
            return f"{text.capitalize()}!"
        case _:
            marks = (" ", ", ", "...", "-", "'", "<br /><br />", "\n", " \u2013 ", "\u00a0")
            return "".join(f"{word}{random.choice(marks)}" for word in text.split(" "))
