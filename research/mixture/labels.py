"""The labels of a mixture, and which of them the label in a row means."""

from __future__ import annotations

from typing import Any

LABELS = ("negative", "neutral", "positive")

#: Indices into `LABELS`.
NEGATIVE, NEUTRAL, POSITIVE = range(3)

#: The label of a text without one.
UNLABELLED = -1

#: A text whose opinions balance is neutral, too.
_NUMBERS = {"0": NEGATIVE, "1": POSITIVE, "mixed": NEUTRAL, **{name: number for number, name in enumerate(LABELS)}}

#: Stars of a review whose opinions balance.
_BALANCED = (2.5, 3.5)


def number(label: Any) -> int | None:
    """Return the index of a label, which is 0 (negative), 1 (positive), mixed or one of the names; None for others."""
    return _NUMBERS.get(str(label).strip().lower())


def of_stars(stars: Any) -> int:
    """Return `NEUTRAL` for about three stars of five, and `UNLABELLED` for other numbers and for None."""
    try:
        return NEUTRAL if _BALANCED[0] <= float(stars) <= _BALANCED[1] else UNLABELLED
    except (TypeError, ValueError):
        return UNLABELLED
