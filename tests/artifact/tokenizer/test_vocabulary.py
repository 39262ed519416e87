"""The native table and the dictionary return the same ids."""

from __future__ import annotations

import gc
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer, WordTokenizer
from sentiment_conv1d.artifact.tokenizer.vocabulary import Spelling, Vocabulary
from tests.native.libraries import compiled
from tests.processes import MODEL_REPOSITORY

UNKNOWN = 2

#: Few different bytes and many lengths, so that words have common beginnings and ends, or are too long for a key.
WORDS = st.one_of(
    st.text("ab", min_size=1, max_size=40),
    st.text(st.characters(codec="utf-8", exclude_characters="\0\t\n\v\f\r "), min_size=1),
).map(str.encode)


@pytest.fixture(scope="session", params=["native", "dictionary"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a compiled library, or one that cannot be loaded."""
    folder = tmp_path_factory.mktemp("vocabulary")
    if request.param == "native":
        return compiled(folder)
    library = folder / "library.so"
    library.write_bytes(b"for another processor")
    return library


def numbered(words: list[bytes]) -> dict[bytes, int]:
    """Number words from 3."""
    return {word: number for number, word in enumerate(dict.fromkeys(words), start=3)}


def spelled(unknown: int | None = UNKNOWN, start: int | None = None, **becomes: str) -> Spelling:
    """Return a spelling in which some bytes become others."""
    table = bytearray(range(256))
    for byte, other in becomes.items():
        table[ord(byte)] = ord(other)
    return Spelling(bytes(table), start, unknown)


def check(vocabulary: Vocabulary, ids: dict[bytes, int], words: list[bytes], unknown: int | None, text: bytes) -> None:
    """Check the ids of a text with these words."""
    [found] = vocabulary.look_up([text])
    expected = [ids.get(word, unknown) for word in words]
    assert found.ids.dtype == np.int32
    assert found.ids.tolist() == [each for each in expected if each is not None]
    assert found.unknown == sum(word not in ids for word in words)


@given(
    known=st.lists(WORDS),
    others=st.lists(WORDS),
    gap=st.sampled_from([b" ", b"   "]),
    unknown=st.sampled_from([UNKNOWN, 0, None]),
    data=st.data(),
)
@example(known=[], others=[b"a"], gap=b" ", unknown=UNKNOWN, data=None)
def test_any_words(
    library: Path, known: list[bytes], others: list[bytes], gap: bytes, unknown: int | None, data: st.DataObject | None
) -> None:
    """Short and long texts of known and unknown words have the ids of their words. Unknown words can be left out."""
    ids = numbered(known)
    vocabulary = Vocabulary.of(ids, spelled(unknown), library)
    words = [*known, *others]
    if data is not None:
        words = data.draw(st.permutations(words))
    for times in (1, 1000 // max(1, sum(map(len, words))) + 1):
        check(vocabulary, ids, words * times, unknown, gap.join(words * times))


@given(texts=st.lists(st.lists(st.sampled_from(["a", "b", "A", "c.", "(", "."]))), start=st.sampled_from([None, 1]))
@example(texts=[], start=1)
@example(texts=[["a"] * 40_000, ["b"] * 40_000, []], start=1)
def test_several_texts(library: Path, texts: list[list[str]], start: int | None) -> None:
    """Every text gets its own words, after the start id. Bytes become others, separate words or are removed."""
    spelling = spelled(UNKNOWN, start, **{"A": "a", ".": " ", "(": "\0"})
    vocabulary = Vocabulary.of({b"a": 3, b"ab": 4}, spelling, library)
    found = vocabulary.look_up([" ".join(words).encode() for words in texts])
    ids = {"a": 3, "A": 3, "b": UNKNOWN, "c.": UNKNOWN}
    first = [] if start is None else [start]
    assert [each.ids.tolist() for each in found] == [
        [*first, *(ids[word] for word in words if word in ids)] for words in texts
    ]
    assert [each.unknown for each in found] == [words.count("b") + words.count("c.") for words in texts]
    [joined] = vocabulary.look_up([b"(A(b("])
    assert joined.ids.tolist() == [*first, 4]


@pytest.mark.parametrize("size", [1, 7, 8, 15, 16, 17, 63, 64, 65, 1000, 100_000])
def test_spaces(library: Path, size: int) -> None:
    """Any number of spaces separates words, and words of any length end at a space or at the end of the text."""
    word = b"a" * size
    ids = numbered([b"a", word])
    vocabulary = Vocabulary.of(ids, spelled(), library)
    check(vocabulary, ids, [], UNKNOWN, b" " * size)
    check(vocabulary, ids, [b"a"], UNKNOWN, b" " * size + b"a")
    check(vocabulary, ids, [b"a"], UNKNOWN, b" a" + b" " * size)
    check(vocabulary, ids, [word, word + b"a", word], UNKNOWN, b"%b %ba %b" % (word, word, word))


def test_many_words(library: Path) -> None:
    """A text can have more words than there is memory for at first."""
    ids = numbered([b"a"])
    vocabulary = Vocabulary.of(ids, spelled(), library)
    for many in (100_000, 3, 200_000):
        check(vocabulary, ids, [b"a", b"b"] * many, UNKNOWN, b"a b " * many)


@pytest.mark.parametrize("which", ["shipped", "large"])
def test_large_vocabularies(library: Path, which: str) -> None:
    """Vocabularies of 5,000 and 50,000 words contain every one of them, and no similar words."""
    words = [f"{number}word{number % 100}".encode() for number in range(50_000)]
    if which == "shipped":
        tokenizer = read_artifact(MODEL_REPOSITORY / "imdb-cnn" / "1").tokenizer
        assert isinstance(tokenizer, VocabularyTokenizer)
        words = [word for each in tokenizer.words for word in WordTokenizer.split(each)]
    ids = numbered(words)
    vocabulary = Vocabulary.of(ids, spelled(), library)
    for start in range(0, len(words), 500):
        part = words[start : start + 500]
        near = [
            *part,
            *(word + b"s" for word in part),
            *(b"a" + word for word in part),
            *filter(None, (word[1:] for word in part)),
        ]
        check(vocabulary, ids, near, UNKNOWN, b" ".join(near))


def test_threads(library: Path) -> None:
    """Threads can look up words at the same time, and a vocabulary that is gone does not affect another one."""
    ids = {word: numbered([word]) for word in (b"a", b"b")}
    vocabularies = {word: Vocabulary.of(each, spelled(), library) for word, each in ids.items()}
    Vocabulary.of(ids[b"a"], spelled(), library)
    gc.collect()

    def look_up(word: bytes, wrong: list[int]) -> None:
        for times in range(1, 300):
            [found] = vocabularies[word].look_up([word * 3 + (b" " + word) * times])
            wrong += [times] * (found.ids.tolist() != [UNKNOWN, *[3] * times])

    wrong: list[int] = []
    threads = [Thread(target=look_up, args=(word, wrong)) for word in ids for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
