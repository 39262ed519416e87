"""The names of labels that state an opinion, and the labels of another model that mean the same."""

from __future__ import annotations

from collections.abc import Sequence

#: The names of each opinion, in lower case. Numbers are none of them, because they do not say which end is good.
NAMES = {
    "negative": ("negative", "neg", "bad", "dissatisfied", "unhappy"),
    "neutral": ("neutral", "neu"),
    "positive": ("positive", "pos", "good", "satisfied", "happy"),
}

_OPINIONS = {name: opinion for opinion, names in NAMES.items() for name in names}


def opinions_of(labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the opinion that each label states; None if a label states none, or two labels state the same."""
    found = [_OPINIONS.get(label.strip().casefold()) for label in labels]
    stated = tuple(opinion for opinion in found if opinion is not None)
    return stated if len(set(stated)) == len(labels) else None


def places(labels: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """Return the index in `known` of the label that means the same as each of `labels`; None if there is none.

    Labels mean the same if they have the same name, or if all labels on both sides are opinions and these are equal.
    """
    own, others = opinions_of(labels), opinions_of(known)
    if own is None or others is None:
        own, others = tuple(labels), tuple(known)
    return [others.index(label) if label in others else None for label in own]
