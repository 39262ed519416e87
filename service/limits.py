"""How many parts a request may have. They are counted before it is parsed.

Parsers take up to a hundred bytes and a microsecond for a value of two bytes, so a body of legal size could keep a
worker busy for seconds.
"""

from __future__ import annotations

from typing import NamedTuple

#: For each text, in whatever form, and for everything else.
_FIELDS_OF_TEXT = 8
_FIELDS = 8192


class Limits(NamedTuple):
    """The most fields, strings, lists and objects of one request, and the most values in its lists."""

    fields: int
    values: int

    @classmethod
    def of(cls, max_texts: int, max_tokens: int) -> Limits:
        """What a legal batch of texts, or of rows of ids, stays far below."""
        fields = _FIELDS + _FIELDS_OF_TEXT * max_texts
        return cls(fields, fields + max_texts * max_tokens)

    def hold(self, fields: int, values: int) -> bool:
        """Whether so many are within the limits."""
        return fields <= self.fields and values <= self.values
