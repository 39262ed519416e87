"""Long texts are changed, split and searched part by part, with the same results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.tokenizer import parts
from sentiment_conv1d.artifact.tokenizer.parts import PART, change, matches, runs, split

sizes = st.integers(1, 6)
texts = st.text("ab! <", max_size=40)


class Bounded:
    """A regular expression whose calls must not read many more characters than a part has."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def search(self, text: str, start: int, end: int) -> re.Match[str] | None:
        assert end - start <= PART + 10
        return self._pattern.search(text, start, end)

    def match(self, text: str, start: int, end: int) -> re.Match[str] | None:
        assert end - start <= PART + 10
        return self._pattern.match(text, start, end)

    def finditer(self, text: str, start: int, end: int) -> Iterator[re.Match[str]]:
        assert end - start <= PART + 10
        return self._pattern.finditer(text, start, end)


@given(texts, sizes)
def test_change(text: str, size: int) -> None:
    """A text changes as if it were changed at once."""
    with patch.object(parts, "PART", size):
        assert change(text, str.upper) == text.upper()
        assert change(text.encode(), bytes.upper) == text.upper().encode()


@given(texts, sizes)
def test_split(text: str, size: int) -> None:
    """The words are those of the whole text, also if they are longer than a part."""
    with patch.object(parts, "PART", size):
        assert list(chain.from_iterable(split(text, " "))) == text.split()
        assert list(chain.from_iterable(split(text.encode(), b" "))) == text.encode().split()


@given(texts, sizes, st.sampled_from(["ab|abb!|!", "<a|a<a", "b"]))
def test_matches(text: str, size: int, pattern: str) -> None:
    """The matches are those of `finditer`, also if they lie in two parts, or if a shorter alternative comes first."""
    with patch.object(parts, "PART", size):
        longest = max(map(len, pattern.split("|")))
        found = list(matches(re.compile(pattern), longest, text))
    assert found == [each.span() for each in re.finditer(pattern, text)]


@given(texts, sizes, st.sampled_from(["[^ ]+", "!+|a+", "(?:(?!<)[^ ])+"]), st.integers(0, 5), st.integers(0, 5))
def test_runs(text: str, size: int, pattern: str, before: int, behind: int) -> None:
    """The runs between two places are those of `finditer`, also if they are longer than a part."""
    start, end = min(before, len(text)), max(len(text) - behind, 0)
    with patch.object(parts, "PART", size):
        found = list(runs(re.compile(pattern), text, start, end))
    assert found == [each.span() for each in re.compile(pattern).finditer(text, start, end)]


@pytest.mark.parametrize("repeated", ["a", " ", "!", "<b"])
def test_other_threads_run(repeated: str) -> None:
    """No call, which keeps the interpreter lock, reads much more than a part of a text."""
    text = repeated * 2 * PART

    def changed(part: str) -> str:
        assert len(part) <= PART
        return part

    assert change(text, changed) == text
    assert all(start < end for start, end in matches(Bounded("<b|b<b"), 3, text))  # type: ignore[arg-type]
    assert all(start < end for start, end in runs(Bounded("[^ ]+"), text, 0, len(text)))  # type: ignore[arg-type]
    assert sum(map(len, split(f"{text} " * 2, " "))) == (0 if repeated == " " else 2)
