"""What every character becomes and its kind, for the native code."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.tokenizer.parts import change

#: As in `native/marks.h`: the bits of a kind, and the characters of a block.
_KIND_BITS, _BLOCK = 3, 128

_RANGE = re.compile("(.)(?:-(.))?", re.DOTALL)


def character_table(kinds: Sequence[str], become: Callable[[str], str]) -> npt.NDArray[np.int32]:
    """Return a table of all characters, in blocks, of which equal ones are stored once.

    The table begins with the place of each block. The entry of a character is the difference to the one that it
    becomes, and the kind of that one in the lower bits: its number in `kinds`, whose last part with the character wins,
    or 0. `kinds` are ranges of characters, as in a set of a regular expression, and `become` changes every character of
    a text into one.
    """
    codes = np.arange(sys.maxunicode + 1, dtype=np.int32)
    became = change(codes.tobytes().decode("utf-32-le", "surrogatepass"), become)
    becomes = np.frombuffer(became.encode("utf-32-le", "surrogatepass"), np.int32)
    numbers = np.zeros(len(codes), np.int32)
    for number, ranges in enumerate(kinds):
        for found in _RANGE.finditer(ranges):
            numbers[ord(found[1]) : ord(found[2] or found[1]) + 1] = number
    entries = (becomes - codes << _KIND_BITS) + numbers[becomes]
    rows = [each.tobytes() for each in entries.reshape(-1, _BLOCK)]
    blocks = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    places = [len(rows) + _BLOCK * blocks[row] for row in rows]
    return np.concatenate([np.array(places, np.int32), np.frombuffer(b"".join(blocks), np.int32)])
