# ruff: noqa: RUF001 - the letters and punctuation of other scripts are meant
"""Words and character n-grams of any script become ids."""

from __future__ import annotations

import json
from itertools import pairwise
from unittest.mock import patch

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.tokenizer import (
    TokenizerError,
    UnicodeTokenizer,
    WordTokenizer,
    learn,
    parts,
    read_tokenizer,
)
from sentiment_conv1d.model.configuration import Configuration

WORDS = ("good", "don't", "好看", "привет", "مرحبا", "😀", "istanbul", "ı", "\u0e14\u0e35")
N_GRAMS = ("好", "看", "好看", "不好看", "ab", "a", "abc", "\u0e14\u0e35", "\u0e14", "'")

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cn"])),
    st.text("aAbBcC 好看不，。İIıiΣςσ’'\u0e14\u0e35\u200b\t\n😀؟"),
    st.lists(st.sampled_from([*WORDS, *N_GRAMS, "！", "Don’t", "«", " "])).map("".join),
)
kinds = st.sampled_from([(WORDS, False), (N_GRAMS, True)])


def ids(tokenizer: UnicodeTokenizer, text: str) -> list[int]:
    return list(map(int, tokenizer.encode(text).ids))


def test_punctuation_and_case() -> None:
    """Chinese, Arabic and curly punctuation separates words, and a curly apostrophe does not."""
    tokenizer = UnicodeTokenizer(WORDS, 20, cuts=False)
    assert ids(tokenizer, "“Good”，don’t… ПРИВЕТ！مرحبا؟😀") == [1, 3, 4, 6, 7, 8]
    assert ids(tokenizer, "İSTANBUL ISTANBUL istanbul") == [1, 9, 9, 9]


def test_longest_known_n_gram() -> None:
    """Text without spaces is split from the left into the longest known n-grams, or unknown characters."""
    tokenizer = UnicodeTokenizer(N_GRAMS, 20, cuts=True)
    text = "不好看，好看啊 ABCab"
    assert ids(tokenizer, text) == [1, 6, 5, 2, 9, 7]
    assert [text[start:end] for start, end in tokenizer.spans(text)] == ["不好看", "好看", "啊", "ABC", "ab"]
    encoding = tokenizer.encode(text)
    assert (encoding.tokens, encoding.unknown_tokens) == (6, 1)


def test_truncation() -> None:
    """Truncation removes the start of a text and its start id; an empty text is the start id."""
    tokenizer = UnicodeTokenizer(N_GRAMS, 2, cuts=True)
    encoding = tokenizer.encode("好看a")
    assert (encoding.ids.tolist(), encoding.tokens) == ([5, 8], 3)
    assert ids(tokenizer, " ！ ") == [1]


@given(kinds, texts)
def test_hugging_face(kind: tuple[tuple[str, ...], bool], text: str) -> None:
    """Hugging Face's library reads the file and returns the same ids, and reading the file returns the same rule."""
    words, cuts = kind
    tokenizer = UnicodeTokenizer(words, 6, cuts=cuts)
    content = tokenizer.to_json()
    assert ids(tokenizer, text) == tokenizers.Tokenizer.from_str(content).encode(text).ids
    again = read_tokenizer(content)
    assert isinstance(again, UnicodeTokenizer)
    assert again.to_json() == content


@given(kinds, texts)
def test_spans(kind: tuple[tuple[str, ...], bool], text: str) -> None:
    """Every token except the start id has a span. Spans do not overlap, and the text of a span has its id."""
    words, cuts = kind
    tokenizer = UnicodeTokenizer(words, 1000, cuts=cuts)
    spans = list(tokenizer.spans(text))
    assert [ids(tokenizer, text[start:end])[1:] for start, end in spans] == [
        [each] for each in ids(tokenizer, text)[1:]
    ]
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


@given(kinds, texts, st.integers(1, 4))
def test_parts_of_a_text(kind: tuple[tuple[str, ...], bool], text: str, size: int) -> None:
    """Ids and places do not depend on the parts in which a text is read."""
    words, cuts = kind
    tokenizer = UnicodeTokenizer(words, 1000, cuts=cuts)
    expected = ids(tokenizer, text), list(tokenizer.spans(text))
    with patch.object(parts, "PART", size):
        assert (ids(tokenizer, text), list(tokenizer.spans(text))) == expected


def test_learned_vocabulary() -> None:
    """Frequent n-grams come first, and those that occur once are left out unless they are characters."""
    tokenizer = UnicodeTokenizer.from_texts(["好看好看", "好啊"], 100, 10, range(1, 3))
    assert tokenizer.words == ("好", "好看", "看", "啊")
    assert UnicodeTokenizer.from_texts(["Good “good” bad"], 4, 10).words == ("good",)


def test_tokenizer_of_a_configuration() -> None:
    """A configuration chooses words of the IMDB rule, words of any script, or n-grams."""
    texts = ["Nice — nice"]
    words = learn(Configuration(), texts)
    assert isinstance(words, WordTokenizer)
    assert words.words == ("nice", "—")
    assert learn(Configuration(tokenizer="words:unicode"), texts).words == ("nice",)
    assert learn(Configuration(tokenizer="characters:1-2"), texts).words == ("c", "ce", "e", "i", "ic", "n", "ni")


@pytest.mark.parametrize("rule", ["letters", "characters", "characters:3-1", "characters:0-2", "words:ascii"])
def test_unknown_rule_in_a_configuration(rule: str) -> None:
    """A configuration with an unknown rule is refused."""
    with pytest.raises(ValueError, match=r"pattern|shortest n-gram"):
        Configuration(tokenizer=rule)


@pytest.mark.parametrize("words", [("a", "a"), ("a b",), ("A",), ("",), ("!",)])
def test_invalid_vocabulary(words: tuple[str, ...]) -> None:
    """A vocabulary with a repeated word, or one that the rule would change, is refused."""
    with pytest.raises(TokenizerError, match=r"repeats|not a single word"):
        UnicodeTokenizer(words, 10, cuts=True)


def test_unknown_rule_in_a_file() -> None:
    """A file with an unknown rule is refused."""
    document = json.loads(UnicodeTokenizer(WORDS, 10, cuts=False).to_json())
    document["normalizer"]["normalizers"][3]["pattern"]["Regex"] = r"[\p{P}]"
    with pytest.raises(TokenizerError):
        read_tokenizer(json.dumps(document))
