"""Change, split and search long texts part by part.

A call of `str`, `bytes` or `re` keeps the interpreter lock until it returns. For a text of a million characters, this
can take a tenth of a second, in which the process answers nobody. A text of one part takes one call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import AnyStr

#: Characters or bytes of a part. The slowest call takes two or three milliseconds for so many.
PART = 16_384


def change(text: AnyStr, changed: Callable[..., AnyStr], *arguments: object) -> AnyStr:
    """Return what a text becomes. `changed` must change each character independently of the others."""
    if len(text) <= PART:
        return changed(text, *arguments)
    return text[:0].join([changed(text[at : at + PART], *arguments) for at in range(0, len(text), PART)])


def split(text: AnyStr, space: AnyStr) -> Iterable[list[AnyStr]]:
    """Return the words of each part of a text, which contains no other white space than `space`."""
    return [text.split()] if len(text) <= PART else _split(text, space)


def _split(text: AnyStr, space: AnyStr) -> Iterator[list[AnyStr]]:
    start = 0
    while (end := text.find(space, start + PART)) >= 0:
        yield text[start:end].split()
        start = end
    yield text[start:].split()


def matches(pattern: re.Pattern[str], longest: int, text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of the matches of a pattern, as `finditer` finds them.

    A match has at most `longest` characters.
    """
    at = 0
    while at < len(text):
        end = at + PART
        found = pattern.search(text, at, end + longest)
        if found is None or found.start() > end:
            at = end + 1
        else:
            yield found.span()
            at = found.end()


def runs(pattern: re.Pattern[str], text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the places of the matches of a pattern between two places of a text, as `finditer` finds them.

    A match is a run of characters of one kind, so the pattern also matches each part of it.
    """
    begun: int | None = None  # the start of a run that reaches the end of the last part
    for first in range(start, end, PART):
        last = min(first + PART, end)
        spans = [found.span() for found in pattern.finditer(text, first, last)]
        if begun is not None:
            joined = pattern.match(text, first - 1, first + 1)
            if joined is not None and joined.end() > first:
                spans[0] = begun, spans[0][1]
            else:
                spans.insert(0, (begun, first))
        begun = spans.pop()[0] if spans and spans[-1][1] == last < end else None
        yield from spans
