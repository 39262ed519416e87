# ruff: noqa: RUF001 - the letters and punctuation of other scripts are meant
"""The nodes that read texts return the ids of the tokenizer, padded and truncated as the service does."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from resource import RUSAGE_SELF, getrusage

import numpy as np
import onnx as onnx_library
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.text.characters import TextGraphError
from sentiment_conv1d.artifact.graphs.text.ids import write_ids
from sentiment_conv1d.artifact.graphs.text.pieces import write_pieces
from sentiment_conv1d.artifact.graphs.text.writer import INT32, STRING, Writer, declared
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import (
    MarksTokenizer,
    Rule,
    UnicodeTokenizer,
    VocabularyTokenizer,
    WordLevelTokenizer,
    WordTokenizer,
)
from tests.artifact.tokenizer.test_marks import WORDS as MARKS
from tests.artifact.tokenizer.test_marks import expected as words_of
from tests.artifact.tokenizer.test_marks import texts as marked
from tests.artifact.tokenizer.test_unicode_text import N_GRAMS, WORDS
from tests.artifact.tokenizer.test_word_level import CHARACTERS, IDS, RULE, of_characters, rules

#: Known words with letters that several characters become: the Kelvin sign, the dotted I, a sigma.
LETTERS = ("a", "kick", "caf\u00e9", "don't", "\u03c3\u03c3", "i\u0307x", "\x96", "z\0z", "фильм")

#: Known words that stand beside emoticons and ratings, or begin as these end.
BESIDE_MARKS = (
    "d",
    "p",
    "dog",
    "dé",
    "d'a",
    "d₂",
    "pé",
    "3",
    "3é",
    "3'5",
    "a5",
    "a'5",
    "5/5",
    "5⭐",
    "★",
    "⭐",
    "a'b'c",
    ":-d",
)


def tokenizers(max_tokens: int) -> dict[str, VocabularyTokenizer]:
    """Return tokenizers of every kind that this project trains."""
    return {
        "words": WordTokenizer(LETTERS, max_tokens),
        "no words": WordTokenizer((), max_tokens),
        "Unicode words": UnicodeTokenizer([*WORDS, *LETTERS[:3]], max_tokens, cuts=False),
        "many capitals": UnicodeTokenizer(["фильм", "хороший", "\u03c3\u03c3"], max_tokens, cuts=False),
        "n-grams": UnicodeTokenizer([*N_GRAMS, "ki", "k", "фи"], max_tokens, cuts=True),
        "unknown n-grams": UnicodeTokenizer(["abcd"], max_tokens, cuts=True),
        "marks": MarksTokenizer([*MARKS, *BESIDE_MARKS], max_tokens),
    }


TOKENIZERS = tokenizers(5)

#: The punctuation and symbols of Unicode.
SYMBOLS = "".join(each for each in map(chr, range(0x20000)) if unicodedata.category(each)[0] in "PS")

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text("aAbBcxX \t\r\n\0.!?'’ʼ-,;\\^]<br />\x85\x96\u200b\u3000éÉΣσςİIi\u0307\u212akKфФиИ好看不😀"),
    st.lists(
        st.sampled_from(
            (
                *("a", "A,b", "Don't", "IT’S", "good", "zzz", "!", "<BR />", "a-b", "ab", "-", "Kic\u212a", "CAFÉ"),
                *("İX", "ФИЛЬМ", "фИльм", "Хороший", "不好看", "ABCD", "abca", "Z\0Z", "\x96", "İSTANBUL", "ΣΣ"),
            )
        )
    ).map(" ".join),
    marked,
)
batches = st.lists(texts, min_size=1, max_size=4)


def reader(
    tokenizer: VocabularyTokenizer, leading_padding: int | None = 3, locale: str = "C"
) -> onnxruntime.InferenceSession:
    """Return a session that reads texts as ids, and lower-cases ASCII by the rules of a locale."""
    model = onnx.Model(ir_version=9)
    writer = Writer(model.graph)
    pieces = write_pieces(writer, "text", tokenizer)
    tokens = write_ids(writer, pieces, tokenizer, InputShape.of(tokenizer, leading_padding))
    model.graph.name = "ids"
    model.graph.input.append(declared("text", STRING, "batch"))
    model.graph.output.append(declared(tokens, INT32, "batch", "time"))
    for domain, version in (("", 20), ("com.microsoft", 1), ("ai.onnx.ml", 2)):
        model.opset_import.add(domain=domain, version=version)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = onnx_library.load_from_string(model.SerializeToString())
    for node in nodes(content.graph.node):
        if node.op_type == "StringNormalizer":
            next(each for each in node.attribute if each.name == "locale").s = locale.encode()
    return onnxruntime.InferenceSession(content.SerializeToString(), options, providers=["CPUExecutionProvider"])


def nodes(some: Iterable[onnx_library.NodeProto]) -> Iterator[onnx_library.NodeProto]:
    """Yield nodes, and those of their branches."""
    for node in some:
        yield node
        for attribute in node.attribute:
            yield from nodes(attribute.g.node)


def check(
    tokenizer: VocabularyTokenizer,
    session: onnxruntime.InferenceSession,
    texts: Sequence[str],
    leading_padding: int | None = 3,
) -> None:
    """Compare the ids of a session with those of the tokenizer."""
    expected = InputShape.of(tokenizer, leading_padding).pad([tokenizer.encode(text).ids for text in texts])
    [ids] = session.run(None, {"text": np.array(texts, dtype=object)})
    assert ids.dtype == np.int32
    assert ids.tolist() == expected.tolist()


known_reader = cache(lambda name, locale="C": reader(TOKENIZERS[name], locale=locale))


@given(
    rules.map(lambda rule: replace(rule, kept=None, removes_others=False)),
    st.sampled_from([None, 0, 3]),
    st.sampled_from(["C", "C.UTF-8"]),
    st.lists(batches, min_size=4, max_size=4),
)
def test_rules(rule: Rule, leading_padding: int | None, locale: str, several: list[list[str]]) -> None:
    """Every rule of a word-level tokenizer is expressed: case, removal, replacement, both sides of both operations."""
    tokenizer = WordLevelTokenizer(IDS, rule)
    session = reader(tokenizer, leading_padding, locale)
    for batch in several:
        check(tokenizer, session, batch, leading_padding)


@given(
    of_characters.map(lambda rule: replace(rule, kept=None, removes_others=False)),
    st.sampled_from([None, 3]),
    st.lists(batches, min_size=4, max_size=4),
)
def test_single_characters(rule: Rule, leading_padding: int | None, several: list[list[str]]) -> None:
    """Every rule of single characters is expressed, also of capitals that become two letters."""
    tokenizer = WordLevelTokenizer(CHARACTERS, rule)
    session = reader(tokenizer, leading_padding)
    for batch in several:
        check(tokenizer, session, batch, leading_padding)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(batch=batches)
def test_tokenizers(name: str, batch: list[str]) -> None:
    """The tokenizers that this project trains are expressed, with all capitals of all scripts."""
    check(TOKENIZERS[name], known_reader(name), batch)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(batch=batches)
def test_another_platform(name: str, batch: list[str]) -> None:
    """The ids do not depend on the C library, which lower-cases all of Unicode on some platforms."""
    check(TOKENIZERS[name], known_reader(name, "C.UTF-8"), batch)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_character(name: str) -> None:
    """Every character of the planes that have letters with cases is read as the tokenizer reads it."""
    tokenizer = tokenizers(1 << 18)[name]
    session = reader(tokenizer, locale="C.UTF-8")
    codes = (code for code in range(0x20000) if not 0xD800 <= code < 0xE000)
    check(tokenizer, session, ["".join(f"a{chr(code)}a " for code in codes)])


@pytest.mark.parametrize(
    "text",
    [
        "8:) 5;) a5:) a'5:-( 8/10:) <3:) <3;) :) a:) 8 :) 8\ufe0f:) :Dé5:) :D'a5:) :D'5:) <3'5:)",
        ":D :d_ :-D_ :Pé :P_ :Dog :-Dog :Dé :-Dé :D'a :-D’A :D₂ <3 <3_ <3é <3'5 <3x :D5 :-P :D' :D'",
        "8/10_ 5/5_ 8/10th 8/10é 8/10's 8/10’S 1.234/5 12345/5 5/5555 a5/5 5⭐️5★ 4,5/5:",
        "://a :/ :// :/// 5:// http://a ://:/",
        "don’t don't a’b’c A'B'C A'b’C a’B'c ‘don’t’ a''b a’’b don\u02bct \uff07a",
        "⭐ ⭐️ ⭐⭐ ⭐️⭐️ ⭐️⭐ ⭐⭐️ ⭐️️ ⭐︎⭐︎ ⭐️︎ ★★️☆ ★️★️☆️ 5⭐️⭐️⭐",
        "⭐⭐️",
        "⭐️⭐",
        "️⭐️️a️",
    ],
)
def test_marks_and_their_neighbours(text: str) -> None:
    """A neighbour decides what is a word, whether the words are known or not, and no word comes from a neighbour."""
    for words in (words_of(text), ()):
        tokenizer = MarksTokenizer(list(dict.fromkeys(words)), 100)
        check(tokenizer, reader(tokenizer), [text])


@pytest.mark.parametrize("repeated", ["x", "a ", "!", "a!", "A-", "\u212a", "б", "<br />", "⭐", "⭐️⭐", "5:", "a’a'"])
def test_long_texts(repeated: str) -> None:
    """A text of 100,000 characters is read, even if it is one word of as many parts."""
    text = (repeated * 100_000)[:100_000]
    for tokenizer in (
        TOKENIZERS["many capitals"],
        TOKENIZERS["n-grams"],
        TOKENIZERS["marks"],
        WordLevelTokenizer(IDS, replace(RULE, replaced=("<br />",))),
    ):
        check(tokenizer, reader(tokenizer), [text, "", "a"])


@pytest.mark.parametrize("size", [1, 2, 19, 20, 21, 60])
def test_removed_characters_inside_words(size: int) -> None:
    """A word of any number of parts is found, and one of removed characters alone is none, in ASCII and beyond."""
    word = "abcdefghij" * 6
    rule = replace(RULE, max_tokens=50, removed=RULE.removed + "\u2019\u2026")
    tokenizer = WordLevelTokenizer({word[:size]: 2, "dont": 4}, rule)
    texts = [f"{separator.join(word[:size])} zz z{separator}z" for separator in ("", "-", "\u2019")]
    check(tokenizer, reader(tokenizer), [*texts, "!don't! !.' dont", "\u2026 \u2026d--o\u2019n.t\u2026 dont"])


@pytest.mark.parametrize("rule", [replace(RULE, removed=SYMBOLS), replace(RULE, separators=SYMBOLS, removed="\u2019")])
def test_much_punctuation(rule: Rule, capfd: pytest.CaptureFixture[str]) -> None:
    """RE2 does not run out of memory, which it would write to standard error, if a rule names all punctuation."""
    tokenizer = WordLevelTokenizer(IDS, replace(rule, max_tokens=50))
    check(tokenizer, reader(tokenizer), ["a.b\u2019a, don't (good)\u2026 z-z \u4e0d\u597d\u3002 " * 10])
    assert capfd.readouterr().err == ""


def test_memory_of_removed_characters() -> None:
    """A word of many parts needs no memory for each of the other words."""
    tokenizer = WordLevelTokenizer(IDS, RULE)
    session = reader(tokenizer)
    before = getrusage(RUSAGE_SELF).ru_maxrss
    check(tokenizer, session, ["z." * 6000 + " zz" * 6000])
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 500 << 10  # KiB


def test_a_prefix_that_is_replaced_first() -> None:
    """Of two strings that are replaced, the first one wins, even if the second is longer."""
    tokenizer = WordLevelTokenizer(IDS, replace(RULE, replaced=("b", "ba")))
    check(tokenizer, reader(tokenizer), ["baa ba a"])


def test_a_character_that_becomes_a_letter_and_a_space() -> None:
    """A character that would become several, one of which separates words, is refused by name."""
    tokenizer = WordLevelTokenizer(IDS, replace(RULE, lowercase="unicode", separators="\u0307"))
    with pytest.raises(TextGraphError, match="cannot turn the character 'İ' into 'i '"):
        reader(tokenizer)


def test_all_characters_beyond_ascii_but_some() -> None:
    """A tokenizer that keeps only some characters beyond ASCII is refused."""
    tokenizer = WordLevelTokenizer(IDS, replace(RULE, kept="\u00e9"))
    with pytest.raises(TextGraphError, match=r"cannot list the \d{7} characters"):
        reader(tokenizer)


def test_n_grams_of_words() -> None:
    """A tokenizer that looks several words up together is refused."""
    with pytest.raises(TextGraphError, match="cannot look several words up together"):
        reader(WordLevelTokenizer(IDS, replace(RULE, n_grams=(1, 2))))


def test_words_split_from_punctuation() -> None:
    """A tokenizer that also splits words from punctuation is refused."""
    rule = replace(RULE, removed="", separators="\t", isolates_marks=True)
    with pytest.raises(TextGraphError, match="cannot split a text between words and punctuation"):
        reader(WordLevelTokenizer(IDS, rule))
