# ruff: noqa: RUF001 - the letters and punctuation of other scripts are meant
"""Words, marks, emojis and ratings become ids."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from unittest.mock import patch

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.tokenizer import (
    LibraryTokenizer,
    MarksTokenizer,
    TokenizerError,
    UnicodeTokenizer,
    WordLevelTokenizer,
    WordTokenizer,
    learn,
    marks,
    parts,
    read_tokenizer,
    vocabulary,
)
from sentiment_conv1d.artifact.tokenizer.characters import lower_case
from sentiment_conv1d.artifact.tokenizer.ranges import PICTOGRAPHS, SEPARATORS
from sentiment_conv1d.model.configuration import Configuration
from tests.native.libraries import compiled

WORDS = (
    *("good", "don't", "好看", "10", "th", "a", "x", "ᄀ", "می\u200cخواهم"),
    *(
        "!",
        "?!",
        "!!!",
        ":)",
        ";-)",
        ":d",
        ":p",
        ":/",
        "<3",
        "8/10",
        "4,5/5",
        "5★",
        "★★☆",
        "⭐⭐",
        "👍",
        "❤",
        "©",
        "‼",
        "🇬🇧",
    ),
)

#: Characters and strings that the rule distinguishes.
PIECES = (
    *"aAdDpP0123459 /.,!?:;)(-<>★☆⭐'’“…_\n\0é分₂KİΣıΣς\xa0\u200b\u200c\u200d\ufe0e\ufe0f‼〰©🇬🇧😀❤👍🏽\U000e0067\u20e3",
    *("½", "€", "8/10", "4.5/5", ":-", "⭐\ufe0f", "</", "123", "10/1"),
)


@pytest.fixture(scope="module", params=["native", "Python"], autouse=True)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let vocabularies use a new library, or none."""
    folder, load = tmp_path_factory.mktemp("library"), vocabulary._load
    path = compiled(folder) if request.param == "native" else folder / "missing"
    with patch.object(vocabulary, "_load", lambda _: load(path)):
        yield


texts = st.lists(st.sampled_from(PIECES), max_size=24).map("".join) | st.text(st.characters(exclude_categories=["Cs"]))


def expected(text: str) -> list[str]:
    """Return the words of a text as the regular expression of the rule finds them."""
    normal = "".join(lower_case(each.translate(dict.fromkeys(map(ord, "’ʼ＇"), "'") | {0x130: "i"})) for each in text)
    words = (found[0] for found in re.finditer(marks.WORDS, normal))
    return [re.sub("[\ufe0e\ufe0f]", "", word) if word[0] in "★☆⭐" else word for word in words]


def known(words: list[str]) -> MarksTokenizer:
    """Return a tokenizer that knows these words, as far as a file can contain them."""
    return MarksTokenizer([word for word in dict.fromkeys(words) if word.isprintable() or _is_unicode(word)], 1000)


def _is_unicode(word: str) -> bool:
    return not any(0xD800 <= ord(each) < 0xE000 for each in word)


def read(tokenizer: MarksTokenizer, text: str) -> list[str]:
    """Return the known words of a text, and None in place of unknown ones."""
    return [tokenizer.words[each - 3] if each > 2 else "<unk>" for each in tokenizer.encode(text).ids.tolist()[1:]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("An odd film. 9/10, 4.5/5; 4,5/5 - 5★!", "an odd film 9/10 4.5/5 4,5/5 5★ !"),
        (
            "3/4/2015 abc9/10 1234/10 2015/3/4 8/10th 9/10分 1.234/5 8/1000",
            "3/4 2015 abc9 10 1234 10 2015 3/4 8 10th 9/10 分 1 234/5 8 1000",
        ),
        ("8/10's 8/10'5/5 8/10\ufe0f5/5 '9/10' 5/5.5", "8/10 s 8/10 5/5 8/10 5/5 9/10 5/5 5"),
        ("terrible😡 👍🏽 ❤️good 👨‍👩‍👧 🏳️‍🌈 iPhone™", "terrible 😡 👍 ❤ good 👨 👩 👧 🏳 🌈 iphone ™"),
        ("🇬🇧🇫🇷🇪 x🇬🇧 🏴\U000e0067\U000e007fx", "🇬🇧 🇫🇷 🇪 x 🇬🇧 🏴 x"),
        ("⭐️⭐️⭐ ★★★☆☆ 5⭐️⭐ ★\ufe0e\ufe0f★", "⭐⭐⭐ ★★★☆☆ 5⭐ ⭐ ★★"),
        ("wow!!!!! what?!?! ‼", "wow !!! !! what ?!? ! ‼"),
        (":) :-) ;) ;-) :( :-( :D :-D :P :/ <3 ;( :-P :-/ ):", ":) :-) ;) ;-) :( :-( :d :-d :p :/ <3 p"),
        (":Dog :Pé <3x http://x 10:) 5;) 8:D x:) ::) 5<3 :D! <3's", "dog pé 3x http x 10 5 8 d x :) :) 5 <3 :d ! 3's"),
        ("“Great” ‘film’ don’t dogs' a''b awful… x\xa0y\u200bz", "great film don't dogs a b awful x y z"),
        ("5️⃣ می\u200cخواهم\u200c \u200dx\u200d 🏽x\ufe0f🏽", "5️⃣ می\u200cخواهم x x"),
        ("İSTANBUL ΣΑΣ a\0b $5 <pad> <start> good_film", "istanbul σασ a b 5 pad start good film"),
    ],
)
def test_words(text: str, words: str) -> None:
    """These are the words of a text, and each of them is known if the vocabulary contains it."""
    listed = words.split(" ")
    assert expected(text) == listed
    assert read(known(listed), text) == listed


@given(texts)
@example("8/10'5/5'a 9/10\u200d分")
def test_every_word_of_the_expression(text: str) -> None:
    """The regular expression of the rule finds the same words, and no others."""
    words = expected(text)
    assert read(known(words), text) == words


@given(texts)
def test_hugging_face(text: str) -> None:
    """Hugging Face's library reads the file and returns the same ids, and reading the file returns the same rule."""
    tokenizer = MarksTokenizer(WORDS, 6)
    content = tokenizer.to_json()
    encoding = tokenizer.encode(text)
    assert encoding.ids.tolist() == tokenizers.Tokenizer.from_str(content).encode(text).ids
    assert encoding.tokens == 1 + len(expected(text))
    assert encoding.unknown_tokens == sum(word not in WORDS for word in expected(text))
    again = read_tokenizer(content)
    assert isinstance(again, MarksTokenizer)
    assert again.to_json() == content


@given(texts)
def test_spans(text: str) -> None:
    """Every word has a span, and the text of a span has its id. Spans do not overlap."""
    tokenizer = known(expected(text))
    spans = list(tokenizer.spans(text))
    assert [read(tokenizer, text[start:end]) for start, end in spans] == [[word] for word in expected(text)]
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_spans_of_emojis() -> None:
    """A span covers what modifies an emoji, and nothing behind other words."""
    text = "👍🏽!\ufe0f ❤️x\ufe0f 👩🏽‍💻 🏴\U000e0067\U000e007f 5⭐️⭐️"
    spans = [text[start:end] for start, end in MarksTokenizer((), 9).spans(text)]
    assert spans == ["👍🏽", "!", "❤️", "x", "👩🏽‍", "💻", "🏴\U000e0067\U000e007f", "5⭐️", "⭐️"]


@given(texts, st.integers(1, 4))
@example("★" * 60 + "a" * 60 + "'" + "!" * 60 + "👍" + "\ufe0f" * 60, 1)
def test_parts_of_a_text(text: str, size: int) -> None:
    """Ids and places do not depend on the parts in which a text is read."""
    tokenizer = known(expected(text))
    whole = tokenizer.encode(text).ids.tolist(), list(tokenizer.spans(text))
    with patch.object(parts, "PART", size), patch.object(marks, "PART", size):
        assert (tokenizer.encode(text).ids.tolist(), list(tokenizer.spans(text))) == whole


@pytest.mark.parametrize("text", ["a", "!", "★", "'", "👍", "🇬", "8/10", "1", "a'", ":-", "\ufe0f", "👍\ufe0f", ". "])
def test_long_texts(text: str) -> None:
    """A long text, whatever it repeats, has the words of the regular expression."""
    text = text * (200_000 // len(text))
    tokenizer = known(expected(text))
    encoding = tokenizer.encode(text)
    assert (encoding.tokens, encoding.unknown_tokens) == (1 + len(expected(text)), 0)
    assert sum(1 for _ in tokenizer.spans(text)) == encoding.tokens - 1


def test_truncation() -> None:
    """Truncation removes the start of a text and its start id; a text without words is the start id."""
    tokenizer = MarksTokenizer(WORDS, 2)
    encoding = tokenizer.encode("good 👍!")
    assert (encoding.ids.tolist(), encoding.tokens) == ([3 + WORDS.index("👍"), 3 + WORDS.index("!")], 4)
    assert tokenizer.encode(" … ").ids.tolist() == [1]


def test_learned_vocabulary() -> None:
    """The most frequent words come first, spelled as they are looked up. Lone surrogates are left out."""
    texts = ["Good👍 8/10 ⭐️⭐️ :D", "good👍🏽 8/10! don’t", "good \ud800"]
    assert MarksTokenizer.from_texts(texts, 9, 10).words == ("good", "8/10", "👍", "!", ":d", "don't")
    configuration = Configuration(tokenizer="words:marks", vocabulary_size=6)
    assert learn(configuration, texts).words == ("good", "8/10", "👍")
    continued = learn(configuration, texts, ["👍", "!!!"])
    assert isinstance(continued, MarksTokenizer)
    assert continued.words == ("👍", "!!!", "good")


@pytest.mark.parametrize("words", [("a", "a"), ("a b",), ("A",), ("",), (".",), ("!!!!",), ("⭐️",), ("ABC",), ("a/b",)])
def test_invalid_vocabulary(words: tuple[str, ...]) -> None:
    """A vocabulary with a repeated word, or one that the rule would change, is refused."""
    with pytest.raises(TokenizerError, match=r"repeats|not a single word"):
        MarksTokenizer(words, 10)


def test_no_tokens() -> None:
    """A text has at least one token."""
    with pytest.raises(TokenizerError, match="at least one token"):
        MarksTokenizer((), 0)


def test_other_rules_refuse_the_file() -> None:
    """A version that does not know the rule refuses the file, and so does this one if the expression differs."""
    document = json.loads(MarksTokenizer(WORDS, 10).to_json())
    for rule in (WordTokenizer.from_document, UnicodeTokenizer.from_document, WordLevelTokenizer.from_document):
        with pytest.raises(TokenizerError):
            rule(document)
    with pytest.raises(TokenizerError, match="Replace"):
        LibraryTokenizer(document)
    document["pre_tokenizer"]["pattern"]["Regex"] += "|%"
    with pytest.raises(TokenizerError):
        read_tokenizer(json.dumps(document))


def test_changes() -> None:
    """Lower case, apostrophes and what always separates words change; characters of any word but joiners do not."""
    changes = MarksTokenizer((), 9).changes()
    assert [changes[each] for each in "Aİ’\t>_…\U0001f3fd"] == ["a", "i", "'", *" " * 5]
    assert not changes.keys() & {*"a5!?:;<()/.,-'★☆⭐©‼👍🇬分\ufe0f\u200d"}


def test_pictographs_of_unicode() -> None:
    """The table contains Extended_Pictographic, but for the two stars, as the library of tokenizers knows it."""
    others = tokenizers.normalizers.Replace(tokenizers.Regex(r"\P{Extended_Pictographic}"), "")
    characters = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    assert {*re.findall(f"[{PICTOGRAPHS}]", characters)} == {*others.normalize_str(characters)} - {*"★⭐"}


def test_separators_of_unicode() -> None:
    """The table contains the punctuation, white space and controls that Python knows, and the zero-width space."""
    table = re.compile(f"[{SEPARATORS}]")
    for each in map(chr, range(128, sys.maxunicode + 1)):
        category = unicodedata.category(each)
        if category != "Cn" and (unicodedata.unidata_version <= "15.1.0" or table.match(each)):
            assert (table.match(each) is not None) == (category[0] in "PZ" or category == "Cc" or each == "\u200b")
