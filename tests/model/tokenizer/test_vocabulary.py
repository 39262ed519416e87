"""The look-ups of words in Python and in NumPy return the same ids."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.model.artifact import read_artifact
from sentiment_conv1d.model.tokenizer import WordTokenizer
from sentiment_conv1d.model.tokenizer.vocabulary import MOST_BYTES, Vocabulary
from tests.processes import MODEL_REPOSITORY

UNKNOWN = 2

#: Few different bytes and many lengths, so that words have common beginnings and ends, or are too long for a slot.
WORDS = st.one_of(
    st.text("ab", min_size=1, max_size=40),
    st.text(st.characters(codec="utf-8", exclude_characters="\0\t\n\v\f\r "), min_size=1),
).map(str.encode)


def vocabulary_of(words: list[bytes]) -> tuple[Vocabulary, dict[bytes, int]]:
    """Build a vocabulary whose ids count from 3."""
    ids = {word: number for number, word in enumerate(dict.fromkeys(words), start=3)}
    return Vocabulary(ids, UNKNOWN), ids


@given(known=st.lists(WORDS), others=st.lists(WORDS), gap=st.sampled_from([b" ", b"   "]), data=st.data())
@example(known=[], others=[b"a"], gap=b" ", data=None)
def test_any_words(known: list[bytes], others: list[bytes], gap: bytes, data: st.DataObject | None) -> None:
    """Short and long texts of known and unknown words have the ids of a dictionary look-up."""
    vocabulary, ids = vocabulary_of(known)
    words = [*known, *others]
    if data is not None:
        words = data.draw(st.permutations(words))
    for times in (1, 1000 // max(1, sum(map(len, words))) + 1):
        text = b" " + gap.join(words * times)
        assert vocabulary.look_up(text).tolist() == [ids.get(word, UNKNOWN) for word in words * times]


@pytest.mark.parametrize("size", [1, 700, 1000, MOST_BYTES, 3 * MOST_BYTES])
def test_spaces(size: int) -> None:
    """Any number of spaces separates words."""
    vocabulary, _ = vocabulary_of([b"a"])
    assert vocabulary.look_up(b" " * size).tolist() == []
    assert vocabulary.look_up(b" " * size + b"a").tolist() == [3]
    assert vocabulary.look_up(b" a" + b" " * size).tolist() == [3]


@pytest.mark.parametrize("which", ["shipped", "large"])
def test_large_vocabularies(which: str) -> None:
    """Vocabularies of 5,000 and 50,000 words contain every one of them, and no similar words."""
    words = [f"{number}word{number % 100}".encode() for number in range(50_000)]
    if which == "shipped":
        tokenizer = read_artifact(MODEL_REPOSITORY / "imdb-cnn" / "1").tokenizer
        words = [word for each in tokenizer.words for word in WordTokenizer.split(each)]
    vocabulary, ids = vocabulary_of(words)
    for start in range(0, len(words), 500):
        part = words[start : start + 500]
        near = [
            *part,
            *(word + b"s" for word in part),
            *(b"a" + word for word in part),
            *filter(None, (word[1:] for word in part)),
        ]
        assert vocabulary.look_up(b" " + b" ".join(near)).tolist() == [ids.get(word, UNKNOWN) for word in near]
