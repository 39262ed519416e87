"""The words of a text become ids, as in Keras' IMDB data and in Hugging Face's library."""

import json
import string
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.tokenizer import (
    Tokenizer,
    TokenizerError,
    VocabularyTokenizer,
    WordTokenizer,
    read_tokenizer,
    read_vocabulary_tokenizer,
)
from sentiment_conv1d.artifact.tokenizer.words import KERAS_RULE

PROJECT = Path(__file__).parents[3]
SHIPPED = PROJECT / "model_repository" / "imdb-cnn" / "1" / "tokenizer.json"
REVIEWS = PROJECT.parent / "shared" / "imdb" / "test.parquet"

OWN_REVIEWS = (
    "A gripping, beautifully acted film.",
    "It's well-made <br /><br />but (sadly) far too long... 3/10!",
    "Caf\u00e9 noir \u2014 \u00abun chef-d'\u0153uvre\u00bb;",
    "\u0399\u039c\u0394\u0392 \u03a3\u03a3, \u0130stanbul, STRASSE \u1e9e.",
    "tabs\tand\nlines\r\nand\vodd\fspaces\x85and\u00a0others\u2028here\x1cand\x00there",
    "the " * 1000,
)


@pytest.fixture(scope="module")
def shipped() -> VocabularyTokenizer:
    return read_vocabulary_tokenizer(SHIPPED.read_bytes())


@pytest.fixture(scope="module")
def hugging_face() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(SHIPPED))


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    listed: list[int] = tokenizer.encode(text).ids.tolist()
    return listed


def test_punctuation_and_case() -> None:
    """Words are lower-case and without punctuation, except the apostrophe."""
    assert WordTokenizer.split("It's GOOD -- really_good!\t(9/10)\n") == [
        b"it's",
        b"good",
        b"really",
        b"good",
        b"9",
        b"10",
    ]


@pytest.mark.parametrize("mark", KERAS_RULE.separators)
def test_separators(mark: str) -> None:
    """Each character of Keras' filters separates words."""
    assert WordTokenizer.split(f"a{mark}b") == [b"a", b"b"]


@pytest.mark.parametrize("space", ["\r", "\v", "\f", "\x1c", "\x85", "\u00a0", "\u2028", "\u3000", "\x00"])
def test_other_white_space(space: str) -> None:
    """Other white space is part of a word, as in Keras."""
    assert len(WordTokenizer.split(f"a{space}b")) == 1
    tokenizer = WordTokenizer([f"a{space}b", "a", "b"], max_tokens=10)
    assert ids(tokenizer, f"x A{space}B a") == [1, 2, 3, 4]


def test_different_white_space() -> None:
    """Characters that are part of words are distinct from each other, also as words."""
    spaces = "\r\v\f\0"
    tokenizer = WordTokenizer([*spaces, *(f"a{space}b" for space in spaces)], max_tokens=10)
    assert ids(tokenizer, " ".join(tokenizer.words)) == [1, *range(3, 11)]


def test_letters() -> None:
    """Every capital letter of ASCII becomes small."""
    assert WordTokenizer.split(string.ascii_uppercase) == [string.ascii_lowercase.encode()]


@given(st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("aBZ!\t\n \u03a3"))))
@example("A!b")
def test_changes(text: str) -> None:
    """The changes of single characters make the words of a text."""
    changes = WordTokenizer([], 1).changes()
    changed = "".join(changes.get(each, each) for each in text)
    assert Counter(word for word in changed.split(" ") if word) == WordTokenizer.count([text])


def test_learned_ids() -> None:
    """The most frequent word has id 3, equally frequent words are sorted, and other words are unknown."""
    tokenizer = WordTokenizer.from_texts(["b b c a", "b c a d"], vocabulary_size=6, max_tokens=10)
    assert tokenizer.words == ("b", "a", "c")
    assert tokenizer.vocabulary_size == 6
    assert ids(tokenizer, "a b c d") == [1, 4, 3, 5, 2]


def test_truncation() -> None:
    """Truncation removes the start id first, and `tokens` counts the whole review."""
    tokenizer = WordTokenizer(["a", "b", "c"], max_tokens=3)
    assert ids(tokenizer, "a b") == [1, 3, 4]
    encoding = tokenizer.encode("x a b c")
    assert encoding.ids.tolist() == [3, 4, 5]
    assert (encoding.tokens, encoding.unknown_tokens) == (5, 1)


@pytest.mark.parametrize("text", ["", " ", "...", "\n\t", "?!"])
def test_text_without_words(text: str, shipped: Tokenizer) -> None:
    """An empty or all-punctuation text is a valid review of one id."""
    encoding = shipped.encode(text)
    assert (encoding.ids.tolist(), encoding.tokens, encoding.unknown_tokens) == ([1], 1, 0)


def test_type_of_ids(shipped: Tokenizer) -> None:
    """Ids have the type of the graph's input."""
    assert shipped.encode("fine").ids.dtype == np.int32


def test_shipped_vocabulary(shipped: VocabularyTokenizer) -> None:
    """The shipped vocabulary has 5000 ids, a review has at most 400 of them, and id 0 pads."""
    assert (shipped.vocabulary_size, shipped.max_tokens) == (5000, 400)
    assert shipped.words[:3] == ("the", "and", "a")
    assert shipped.padding_id == 0


def test_shipped_file(shipped: Tokenizer) -> None:
    """A shipped file has this rule, and the tokenizer writes the same bytes again."""
    assert isinstance(shipped, WordTokenizer)
    assert shipped.to_json().encode() == SHIPPED.read_bytes()


@pytest.mark.parametrize("text", OWN_REVIEWS)
def test_hugging_face_with_examples(text: str, shipped: Tokenizer, hugging_face: tokenizers.Tokenizer) -> None:
    """Hugging Face's `encode` returns the same ids for the shipped file."""
    assert ids(shipped, text) == hugging_face.encode(text).ids


@given(st.text(st.characters(exclude_categories=["Cs", "Cn"])), st.sampled_from([1, 300]))
@example("\u0391\u03a3 \u03a3", 1)
@example("\u0130\u0049\u0307", 1)
@example("the\0 film \0the", 300)
def test_hugging_face_with_any_text(
    shipped: Tokenizer, hugging_face: tokenizers.Tokenizer, text: str, times: int
) -> None:
    """Hugging Face's `encode` returns the same ids for any Unicode, in short and long texts."""
    text = "\n".join([text] * times)
    assert ids(shipped, text) == hugging_face.encode(text).ids


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cn"])), max_size=20), st.integers(1, 12), st.data())
def test_hugging_face_with_any_vocabulary(texts: list[str], max_tokens: int, data: st.DataObject) -> None:
    """Hugging Face's `encode` returns the same ids for any vocabulary and a text of its words."""
    tokenizer = WordTokenizer.from_texts(texts, vocabulary_size=20, max_tokens=max_tokens)
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    text = " ".join(data.draw(st.lists(st.sampled_from(texts), max_size=5))) if texts else ""
    assert ids(tokenizer, text) == library.encode(text).ids


@pytest.mark.skipif(not REVIEWS.is_file(), reason="the IMDB reviews are not beside the project")
def test_hugging_face_with_imdb_reviews(shipped: Tokenizer, hugging_face: tokenizers.Tokenizer) -> None:
    """Hugging Face's `encode` returns the same ids for all 12,500 test reviews."""
    import pyarrow.parquet as parquet

    texts = parquet.read_table(REVIEWS, columns=["text"]).column("text").to_pylist()
    expected = [encoding.ids for encoding in hugging_face.encode_batch(texts)]
    assert len(texts) == 12_500
    assert [ids(shipped, text) for text in texts] == expected


@given(
    st.lists(st.one_of(st.text(), st.sampled_from(OWN_REVIEWS), st.sampled_from(["the " * 500, "qwertyuiop " * 500])))
)
def test_batch(shipped: Tokenizer, texts: list[str]) -> None:
    """Texts in a batch have the ids and counts that each has alone."""
    together = shipped.encode_batch(texts)
    assert len(together) == len(texts)
    for text, encoding in zip(texts, together, strict=True):
        alone = shipped.encode(text)
        assert encoding.ids.tolist() == alone.ids.tolist()
        assert encoding[1:] == alone[1:]


def test_batch_of_long_texts(shipped: Tokenizer) -> None:
    """Texts of a megabyte have the same ids alone and together."""
    texts = ["A good film. " * (10 * number) for number in range(120)] + ["good " * 200_000, ""]
    for encoding, text in zip(shipped.encode_batch(texts), texts, strict=True):
        words = text.lower().replace(".", "").split()
        assert encoding.tokens == 1 + len(words)
        assert encoding.ids.tolist()[-1:] == ids(shipped, words[-1] if words else "")[-1:]


@given(st.text())
def test_any_text(shipped: Tokenizer, text: str) -> None:
    """Every Python string has ids in the vocabulary, including lone surrogates."""
    encoding = shipped.encode(text)
    assert 1 <= len(encoding.ids) == min(encoding.tokens, 400)
    assert encoding.ids.min() > 0 and encoding.ids.max() < shipped.vocabulary_size


@given(st.lists(st.text()))
def test_round_trip(texts: list[str]) -> None:
    """A learned tokenizer is the same after writing and reading its file."""
    tokenizer = WordTokenizer.from_texts(texts, vocabulary_size=50, max_tokens=7)
    again = read_vocabulary_tokenizer(tokenizer.to_json().encode())
    assert (again.words, again.max_tokens) == (tokenizer.words, tokenizer.max_tokens)


def test_lone_surrogates_are_not_learned() -> None:
    """Words with lone surrogates, which UTF-8 cannot encode, are not learned."""
    assert WordTokenizer.count(["\ud800 good", "good"]) == {"good": 2}


@pytest.mark.parametrize(
    ("words", "wrong"),
    [(["x", "a", "a"], "a"), (["a b"], "a b"), (["A", "a"], "A"), ([""], ""), (["!", "a", "a"], "!")],
)
def test_invalid_vocabulary(words: list[str], wrong: str) -> None:
    """A vocabulary with a repeated word, or with an entry that is no word of a text, is refused by its name."""
    with pytest.raises(TokenizerError, match=f"contains {wrong!r}, which repeats or is not a single word"):
        WordTokenizer(words, max_tokens=5)


def change(document: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        document = document[parent]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("truncation.direction", "Middle", "truncation"),
        ("normalizer", None, "normalizer"),
        ("pre_tokenizer.type", "Whitespace", "pre_tokenizer"),
        ("model.unk_token", "?", "model"),
        ("model.vocab", {"<pad>": 0, "<start>": 1, "<unk>": "2"}, "not a tokenizer"),
        ("model.vocab", [True], "not a tokenizer"),
        ("truncation", None, "not a tokenizer"),
        ("truncation.max_length", 0, "at least one token"),
        ("truncation.max_length", "400", "not a tokenizer"),
        ("model", [], "not a tokenizer"),
        ("surplus", 1, "surplus"),
    ],
)
def test_unknown_rule_in_a_file(path: str, value: object, message: str) -> None:
    """A file that describes another tokenization is refused."""
    document = json.loads(WordTokenizer(["a"], max_tokens=5).to_json())
    change(document, path, value)
    with pytest.raises(TokenizerError, match=message):
        read_tokenizer(json.dumps(document))


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '"x"', "\ud7ff", b"\xff\xfe\x00", "[" * 100_000])
def test_other_files(text: str | bytes) -> None:
    """Any other content raises `TokenizerError`."""
    with pytest.raises(TokenizerError, match="not a tokenizer"):
        read_tokenizer(text)


def test_spans_let_other_threads_run() -> None:
    """While the words of a long text are located, other threads of the process, such as an event loop, get on."""
    turns = 0
    ended = threading.Event()

    def take_turns() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1
            time.sleep(0)  # another thread gets the interpreter lock

    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    other = threading.Thread(target=take_turns)
    other.start()
    try:
        before = turns
        assert sum(1 for _ in WordTokenizer(["a"], 400).spans("a " * 500_000)) == 500_000
        assert turns > before + 5
    finally:
        ended.set()
        other.join()
        sys.setswitchinterval(usual)
