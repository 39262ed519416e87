"""The tokenizer of imported Keras models."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from dataclasses import FrozenInstanceError, replace
from typing import Any
from unittest.mock import patch

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.tokenizer import (
    Rule,
    TokenizerError,
    WordLevelTokenizer,
    WordTokenizer,
    parts,
    read_tokenizer,
    word_level,
)
from sentiment_conv1d.artifact.tokenizer.characters import UNICODE_SPACES
from sentiment_conv1d.artifact.tokenizer.word_level import Lowercase
from sentiment_conv1d.artifact.tokenizer.words import KERAS_RULE

RULE = Rule(
    max_tokens=5,
    lowercase="ascii",
    removed="!.'-",
    separators="\t\n",
    padding_id=0,
    start_id=None,
    unknown_id=1,
    keeps_first=True,
    pads_behind=True,
)
IDS = {"a": 2, "b": 3, "dont": 4, "good": 7}

rules = st.builds(
    Rule,
    max_tokens=st.integers(1, 6),
    lowercase=st.sampled_from(["unicode", "ascii", "none"]),
    removed=st.sampled_from(["", "!.'-", "^]\\[x"]),
    separators=st.sampled_from(["", "\t\n\v\f\r", ",;\n", "x!-\xa0"]),
    padding_id=st.just(0),
    start_id=st.sampled_from([None, 5]),
    unknown_id=st.sampled_from([None, 1]),
    keeps_first=st.booleans(),
    pads_behind=st.booleans(),
    replaced=st.sampled_from([(), ("<br />",), ("ab", "b|\\", "x\ty"), ("-", "a", "A")]),
    kept=st.sampled_from([None, "", "\u00e9\u3002\xa0"]),
    removes_others=st.booleans(),
).map(lambda rule: replace(rule, removes_others=rule.removes_others and rule.kept is not None))
#: Texts without the names of reserved ids, which are unknown words in a text, and which the library would read as ids.
any_text = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=500).filter(
    lambda text: not re.search("<(pad|start|unk)>", text, re.IGNORECASE)
)
texts = st.one_of(
    any_text,
    st.text("aAbBxX \t\n.!'-,;\\^]\u00c9\u03a3"),
    st.lists(st.sampled_from(["a", "A,b", "Don't", "good", "zzz", " ", "!", "<BR />", "a-b"])).map(" ".join),
)


MARKS = replace(RULE, removed="", separators=UNICODE_SPACES, isolates_marks=True)
with_marks = st.builds(
    replace,
    st.just(MARKS),
    lowercase=st.sampled_from(["unicode", "ascii", "none"]),
    separators=st.sampled_from([UNICODE_SPACES, UNICODE_SPACES + ";-x\u2014"]),
    keeps_first=st.booleans(),
)


#: Rules that look up single characters, and known ones.
of_characters = rules.map(
    lambda rule: replace(
        rule, replaced=(), start_id=None, padding_id=9, unknown_id=rule.unknown_id, splits_characters=True
    )
)
CHARACTERS = {"a": 2, " ": 3, "\t": 11, "\0": 4, "i": 5, "\u0307": 6, "\u00e9": 7, "X": 8, "ab": 10}


def ids(tokenizer: WordLevelTokenizer, text: str) -> list[int]:
    return list(map(int, tokenizer.encode(text).ids))


def test_removed_characters_and_separators() -> None:
    """A removed character joins the parts of "don't", and a line break separates words."""
    tokenizer = WordLevelTokenizer(IDS, RULE)
    assert ids(tokenizer, "DON'T a\nb x!") == [4, 2, 3, 1]
    encoding = tokenizer.encode("a x a b a b a")
    assert (encoding.ids.tolist(), encoding.tokens, encoding.unknown_tokens) == ([2, 1, 2, 3, 2], 7, 1)


def test_lower_case_before_removal() -> None:
    """A rule that removes x removes X too, in ASCII and in other texts, as Hugging Face's library does."""
    rule = replace(RULE, lowercase="unicode", removed="x")
    tokenizer = WordLevelTokenizer(IDS, rule)
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    for text in ("Xa X xb", "Xa X xb\u00e9"):
        assert ids(tokenizer, text) == library.encode(text).ids
        assert len(list(tokenizer.spans(text))) == tokenizer.encode(text).tokens
    assert list(tokenizer.spans("Xa X xb")) == [(1, 2), (6, 7)]


def test_lower_case_before_separation() -> None:
    """A rule that splits at x splits at X too, in ASCII and in other texts, as Hugging Face's library does."""
    tokenizer = WordLevelTokenizer(IDS, replace(RULE, separators="x"))
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    for text in ("aXbxa", "aXbxa\u3002"):
        assert ids(tokenizer, text) == library.encode(text).ids
        assert len(list(tokenizer.spans(text))) == 3


def test_removed_separators() -> None:
    """A character that is removed separates no words, also if it is a separator."""
    tokenizer = WordLevelTokenizer(IDS, replace(RULE, separators="-\n"))
    assert ids(tokenizer, "a-b go-od-\nb") == [1, 7, 3]
    assert list(tokenizer.spans("a-b go-od-\nb")) == [(0, 3), (4, 9), (11, 12)]


def test_replaced_strings() -> None:
    """A string that a space replaces separates words in any case that the rule lower-cases, and belongs to none."""
    tokenizer = WordLevelTokenizer(IDS, replace(RULE, removed="<>/!", replaced=("<br />", "\u00e9b")))
    text = "a<BR />b! <br/> good\u00e9b"
    assert ids(tokenizer, text) == [2, 3, 1, 7]
    assert [text[start:end] for start, end in tokenizer.spans(text)] == ["a", "b", "br", "good"]


@pytest.mark.parametrize(("lowercase", "words"), [("unicode", ["b"]), ("ascii", ["\u00c9b"]), ("none", ["\u00c9B"])])
def test_replaced_strings_beyond_ascii(lowercase: Lowercase, words: list[str]) -> None:
    """A string is replaced where it equals the text in the case of the rule."""
    assert replace(RULE, lowercase=lowercase, replaced=("\u00e9",)).words("\u00c9B") == words


@pytest.mark.parametrize(("lowercase", "expected"), [("unicode", [6, 4, 2]), ("ascii", [8, 4, 2]), ("none", [8, 4, 1])])
def test_characters_beyond_ascii(lowercase: Lowercase, expected: list[int]) -> None:
    """Letters, separators and removed characters beyond ASCII follow the rule too."""
    known = {"\u00e9": 6, "\u00c9": 8} | IDS
    rule = replace(RULE, lowercase=lowercase, removed="\u2019", separators="\u3002")
    tokenizer = WordLevelTokenizer(known, rule)
    text = "\u00c9\u3002don\u2019t\u2019\u3002A"
    assert ids(tokenizer, text) == tokenizers.Tokenizer.from_str(tokenizer.to_json()).encode(text).ids == expected
    assert list(tokenizer.spans(text)) == [(0, 1), (2, 7), (9, 10)]


def test_last_ascii_character() -> None:
    """Removing characters at the end of ASCII does not remove bytes of others."""
    rule = replace(RULE, lowercase="none", removed="\x7f\x80")
    assert rule.words("a\x7fb\x80 \u00c0") == ["ab", "\u00c0"]


@given(rules, st.text("aAbX \t\n.!,\u00c9\u0130\u03a3"))
def test_changes(rule: Rule, text: str) -> None:
    """The changes of single characters make the words of a text."""
    rule = replace(rule, replaced=(), kept=None, removes_others=False)
    changes = WordLevelTokenizer(IDS, rule).changes()
    changed = "".join(changes.get(each, each) for each in text)
    assert [word for word in changed.split(" ") if word] == rule.words(text)


@pytest.mark.parametrize(("removes", "words"), [(True, ["\u00e9b", "a"]), (False, ["\u00e9", "b", "a"])])
def test_the_only_characters_that_are_kept(removes: bool, words: list[str]) -> None:
    """Characters beyond ASCII that are not kept are removed or separate words, and emoji are no exception."""
    rule = replace(RULE, separators="\u3002", kept="\u00e9\u3002", removes_others=removes)
    text = "\u00e9\u00c9b\U0001f600\u3002a"
    assert rule.words(text) == words
    tokenizer = WordLevelTokenizer(IDS, rule)
    assert len(list(tokenizer.spans(text))) == len(words)
    changes = tokenizer.changes()
    assert "".join(changes.get(each, each) for each in text).split() == words
    assert "\u00e9" not in changes


def test_text_without_words() -> None:
    """A text without words has one pad id and counts no token."""
    encoding = WordLevelTokenizer(IDS, RULE).encode(" !.")
    assert (encoding.ids.tolist(), encoding.tokens, encoding.unknown_tokens) == ([0], 0, 0)


def test_dropped_words() -> None:
    """Without an id for unknown words, they are dropped, are not counted as tokens and have no span."""
    tokenizer = WordLevelTokenizer(IDS, replace(RULE, unknown_id=None, keeps_first=False))
    assert ids(tokenizer, "a zzz 'b ab good") == [2, 3, 7]
    assert list(tokenizer.spans("a zzz 'b ab good")) == [(0, 1), (7, 8), (12, 16)]


@given(of_characters, texts)
def test_single_characters(rule: Rule, text: str) -> None:
    """Every character is looked up, as Hugging Face's library does, and has its place in the text."""
    tokenizer = WordLevelTokenizer(CHARACTERS, replace(rule, max_tokens=2000))
    content = tokenizer.to_json()
    encoding = tokenizer.encode(text)
    found = encoding.ids[: encoding.tokens].tolist()
    library = tokenizers.Tokenizer.from_str(content).encode(text)
    assert found == library.ids[: encoding.tokens]
    again = read_tokenizer(content)
    assert isinstance(again, WordLevelTokenizer)
    assert (again.rule, again.unreachable) == (tokenizer.rule, tokenizer.unreachable)
    spans = list(tokenizer.spans(text))
    assert len(spans) == len(found)
    for (start, end), number in zip(spans, found, strict=True):
        assert number in ids(tokenizer, text[start:end])
    words = rule.words(text)
    assert tokenizer.count_words(text) == (sum(word not in CHARACTERS for word in words), len(words))


def test_places_of_characters() -> None:
    """A removed character has no place, and a capital that becomes two letters has two."""
    rule = replace(RULE, lowercase="unicode", splits_characters=True, unknown_id=None)
    tokenizer = WordLevelTokenizer(CHARACTERS, rule)
    assert tokenizer.unreachable == ("X", "ab", "\t")
    assert WordLevelTokenizer({"a": 2, "ab": 3}, rule).unreachable == ("ab",)
    assert ids(tokenizer, "\u0130!xA\t") == [5, 6, 2, 3]
    assert list(tokenizer.spans("\u0130!xA\t")) == [(0, 1), (0, 1), (3, 4), (4, 5)]


@given(rules, st.sampled_from([(1, 2), (2,), (3, 1), (2, 1, 3)]), texts)
def test_n_grams(rule: Rule, sizes: tuple[int, ...], text: str) -> None:
    """Words in a row are looked up together, first all n-grams of the first size, and have a place in the text."""
    known = {"a": 2, "a b": 3, "b a b": 4, "dont a": 6, "a  b": 7, "a B": 8, "a\tb a": 9, "good\u00e9 a": 10}
    tokenizer = WordLevelTokenizer(known, replace(rule, n_grams=sizes, max_tokens=2000))
    words = rule.words(text)
    grams = [" ".join(words[start : start + size]) for size in sizes for start in range(len(words) - size + 1)]
    found = [known.get(gram, rule.unknown_id) for gram in grams]
    encoding = tokenizer.encode(text)
    expected = [number for number in [rule.start_id, *found] if number is not None]
    assert encoding.ids[: encoding.tokens].tolist() == expected
    assert tokenizer.count_words(text) == (sum(gram not in known for gram in grams), len(grams))
    assert encoding.unknown_tokens == (0 if rule.unknown_id is None else tokenizer.count_words(text)[0])
    read = [gram for gram in grams if rule.unknown_id is not None or gram in known]
    assert [" ".join(rule.words(text[start:end])) for start, end in tokenizer.spans(text)] == read
    again = read_tokenizer(tokenizer.to_json())
    assert isinstance(again, WordLevelTokenizer)
    assert (again.rule, again.unreachable) == (tokenizer.rule, tokenizer.unreachable)


def test_n_grams_in_a_file() -> None:
    """Hugging Face's library, which has no n-grams of words, refuses the file instead of reading other ids."""
    tokenizer = WordLevelTokenizer({"a b": 2, "a  b": 3, "b": 4}, replace(RULE, n_grams=(2,)))
    assert tokenizer.known_ids == {"a b": 2}
    assert WordLevelTokenizer({"a": 2, "b": 3}, tokenizer.rule).unreachable == ("a", "b")
    with pytest.raises(Exception, match="PreTokenizer"):
        tokenizers.Tokenizer.from_str(tokenizer.to_json())


@given(st.one_of(rules, with_marks), texts)
def test_hugging_face(rule: Rule, text: str) -> None:
    """Hugging Face's library reads the file and returns the same ids, and reading the file returns the same rule."""
    tokenizer = WordLevelTokenizer(IDS | {"!.": 6}, rule)
    content = tokenizer.to_json()
    assert ids(tokenizer, text) == tokenizers.Tokenizer.from_str(content).encode(text).ids
    again = read_tokenizer(content)
    assert isinstance(again, WordLevelTokenizer)
    assert (again.rule, again.words, again.vocabulary_size) == (rule, tokenizer.words, 8)


def test_kinds_of_all_characters() -> None:
    """A character is part of a word, a mark or white space as it is for the library's pre-tokenizer `Whitespace`."""
    library = tokenizers.pre_tokenizers.Whitespace()
    known = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    text = " ".join(f"a{each}b" for each in known)
    assert [text[slice(*span)] for span in MARKS.pieces(text)] == [word for word, _ in library.pre_tokenize_str(text)]


@given(st.one_of(rules, with_marks), texts)
def test_spans(rule: Rule, text: str) -> None:
    """Every token except the start id has a span, and the text of a span is its word."""
    tokenizer = WordLevelTokenizer(IDS, rule)
    spans = list(tokenizer.spans(text))
    assert tokenizer.encode(text).tokens == len(spans) + (rule.start_id is not None)
    assert [word for start, end in spans for word in rule.words(text[start:end])] == [
        word for word in rule.words(text) if rule.unknown_id is not None or word in IDS
    ]


@given(st.one_of(rules, with_marks), any_text)
def test_long_text(rule: Rule, text: str) -> None:
    """The words of a long text have the same ids as the same words one by one."""
    known = IDS | {"\u00e9": 6}
    tokenizer = WordLevelTokenizer(known, rule)
    text += " a dont good \u00e9 zzz " * 60
    assert ids(tokenizer, text) == tokenizers.Tokenizer.from_str(tokenizer.to_json()).encode(text).ids
    unknown = sum(word not in known for word in rule.words(text))
    assert tokenizer.encode(text).unknown_tokens == (0 if rule.unknown_id is None else unknown)


def test_impossible_words() -> None:
    """Words that the rule changes or splits are never found, and a vocabulary may be empty."""
    rule = replace(RULE, removed="", separators="", max_tokens=9)
    tokenizer = WordLevelTokenizer({"Good": 2, "a b": 3, "\ud800": 4, "a\tb": 5, "\0": 6}, rule)
    assert ids(tokenizer, "Good good a b \ud800 a\tb \0") == [1, 1, 1, 1, 4, 5, 6]
    assert ids(WordLevelTokenizer({}, rule), "a b") == [1, 1]
    assert ids(WordLevelTokenizer({}, rule), "a b " * 500) == [1] * 9


@pytest.mark.parametrize("unknown_id", [None, 1])
def test_counted_unknown_words(unknown_id: int | None) -> None:
    """Dropped words count as unknown."""
    tokenizer = WordLevelTokenizer({"a": 3}, replace(RULE, unknown_id=unknown_id, start_id=None, padding_id=0))
    assert tokenizer.count_words("a b a. c") == (2, 4)
    assert WordTokenizer(["a"], 9).count_words("a b a. c") == (2, 4)


def test_rule_of_this_project() -> None:
    """`WordTokenizer` reads every file with this project's rule."""
    rule = Rule(9, "unicode", "", KERAS_RULE.separators, 0, 1, 2, keeps_first=False, pads_behind=False)
    content = WordLevelTokenizer({"\u00e9": 3, "a": 4}, rule).to_json()
    assert content == WordTokenizer(["\u00e9", "a"], 9).to_json()
    assert isinstance(read_tokenizer(content), WordTokenizer)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"a": 1}, "id 1 stands for two"),
        ({"a": 2, "b": 2}, "id 2 stands for two"),
        ({"a": -1}, "id -1 is negative"),
        ({"a": 1 << 24}, "id 16777216 is too high: a vocabulary has at most 16,777,216 ids"),
    ],
)
def test_contradictory_ids(vocabulary: dict[str, int], message: str) -> None:
    """An id with two meanings is refused."""
    with pytest.raises(TokenizerError, match=message):
        WordLevelTokenizer(vocabulary, RULE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": 0}, "at least one token, not 0"),
        ({"replaced": ("",)}, "an empty string"),
        ({"isolates_marks": True}, "Whitespace allows no start id, and no removed or replaced strings"),
        ({"isolates_marks": True, "removed": "", "unknown_id": None}, "Whitespace needs an id for unknown words"),
        ({"n_grams": (0, 1)}, "an n-gram has 1 to 5 words, each number once: not "),
        ({"n_grams": (2, 2)}, "each number once"),
        ({"n_grams": ()}, "each number once"),
        ({"n_grams": (2,), "splits_characters": True}, "only words that white space separates"),
        ({"splits_characters": True, "start_id": 0}, "single characters allows no start id, and no replaced strings"),
        ({"splits_characters": True, "replaced": ("a",)}, "single characters allows no start id"),
        ({"padding_id": 1 << 32}, "id 4294967296 is too high"),
    ],
)
def test_invalid_rule(change: dict[str, Any], message: str) -> None:
    """A rule for texts without ids, with an empty string to replace, or with a padding id too high, is refused."""
    with pytest.raises(TokenizerError, match=message):
        WordLevelTokenizer(IDS, replace(RULE, **change))


@pytest.mark.parametrize(("word", "unknown_id"), [("<pad>", 1), ("<start>", 1), ("<unk>", 1), ("<start>", None)])
def test_names_of_reserved_ids(word: str, unknown_id: int | None) -> None:
    """A word that the file cannot distinguish from a reserved id is refused."""
    with pytest.raises(TokenizerError, match=f"'{word}' cannot be a word"):
        WordLevelTokenizer({word: 2}, replace(RULE, removed="", unknown_id=unknown_id))


def test_rules_do_not_change() -> None:
    """A rule is constant, because it keeps what it derives from its parts."""
    with pytest.raises(FrozenInstanceError):
        RULE.removed = "x"  # type: ignore[misc]


def test_defaults_of_hugging_face() -> None:
    """A file without unknown words has the library's own model, which looks up whole words."""
    document = json.loads(WordLevelTokenizer(IDS, replace(RULE, unknown_id=None)).to_json())
    vocabulary = document["model"]["vocab"]
    library = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], ignore_merges=True))
    assert json.loads(library.to_str())["model"] == document["model"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("pre_tokenizer", {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": False}),
        ("post_processor", {}),
        ("added_tokens", [1]),
        ("padding", None),
        ("model", {}),
        ("model", {"type": "WordLevel", "vocab": []}),
    ],
)
def test_unknown_rule_in_a_file(part: str, value: Any) -> None:
    """A file with an unknown rule is refused."""
    document = json.loads(WordLevelTokenizer(IDS, RULE).to_json()) | {part: value}
    with pytest.raises(TokenizerError, match=f"{part}|not a tokenizer"):
        read_tokenizer(json.dumps(document))


@given(st.one_of(rules, with_marks, of_characters), st.sampled_from([(1,), (2, 1)]), texts, st.integers(1, 5))
def test_parts_of_a_text(rule: Rule, n_grams: tuple[int, ...], text: str, size: int) -> None:
    """Ids and places do not depend on the parts in which a text is read."""
    if not (rule.isolates_marks or rule.splits_characters):
        rule = replace(rule, n_grams=n_grams)
    tokenizer = WordLevelTokenizer(CHARACTERS if rule.splits_characters else IDS | {"a b": 8}, rule)

    def read() -> tuple[Any, ...]:
        found = tokenizer.encode(text)
        return found.ids.tolist(), found.tokens, found.unknown_tokens, list(tokenizer.spans(text))

    expected = read()
    with patch.object(parts, "PART", size), patch.object(word_level, "PART", size):
        assert read() == expected
