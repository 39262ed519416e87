"""Looks up every character of a text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sentiment_conv1d.artifact.graphs.text.writer import NO_ID, Writer

#: Matches any character.
CHARACTER = "(?s:.)"

#: What fills up the rows of shorter texts. A character is never empty.
_NOTHING = ""


def write_characters(
    writer: Writer, text: str, changes: Mapping[str, str], known: Mapping[str, int], unknown_id: int
) -> str:
    """Return the name of the ids int64 [batch, places] of texts string [batch], with `NO_ID` in other places.

    A character has as many places as the most characters that one becomes.
    """
    characters = writer.split(text, CHARACTER, "characters", filling=_NOTHING)
    become = {_NOTHING: ""} | {each: each for each in known} | dict(changes)
    columns = []
    for place in range(max(map(len, become.values()))):
        default = NO_ID if place else unknown_id
        ids = {
            each: known.get(letters[place], unknown_id) if letters[place:] else NO_ID
            for each, letters in become.items()
        }
        entries = {each: number for each, number in ids.items() if number != default}
        found = writer.look_up(characters, entries, default, f"ids_{place}")
        columns.append(writer.node("Unsqueeze", [found, np.array([2])], f"column_{place}"))
    joined = writer.node("Concat", columns, "all_ids", axis=2)
    shape = writer.node("Shape", [characters], "characters_shape")
    shape = writer.node("Mul", [shape, np.array([1, len(columns)])], "ids_shape")
    return writer.node("Reshape", [joined, shape], "ids")
