"""How many parts a request may have. They are counted before it is parsed.

Parsers take up to a hundred bytes and a microsecond for a value of two bytes, so a body of legal size could keep a
worker busy for seconds.
"""

from __future__ import annotations

from typing import NamedTuple

from service.errors import Invalid

#: Fields, lists and objects in the most elaborate form of one text, and those of a request without texts, with room.
_FIELDS_OF_TEXT = 32
_FIELDS = 16_384


class Limits(NamedTuple):
    """The most fields, lists and objects of a request, and the most values in its lists."""

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

    def check(self, fields: int, values: int) -> None:
        """Raise `Invalid` beyond the limits."""
        if not self.hold(fields, values):
            raise Invalid(f"more than {self.fields} fields, lists and objects or {self.values} values in one request")
