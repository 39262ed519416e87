"""Look up the ids of words, in the native library or, without it, in a dictionary.

A dictionary needs an object for every word, so it takes three to six times as long.
"""

from __future__ import annotations

import ctypes
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.native.compilation import LIBRARY

#: Words of a text for whose ids memory is kept. Few texts have more.
_KEPT_WORDS = 16_384


class Vocabulary(ABC):
    """Known words and their ids. Make it with `of`.

    Words are UTF-8 and contain neither a zero byte nor white space at which `bytes.split` splits.
    """

    @staticmethod
    def of(ids: Mapping[bytes, int], unknown: int | None, library: Path = LIBRARY) -> Vocabulary:
        """Make a vocabulary. `unknown` is the id of all other words, and of none of these; None leaves them out."""
        loaded = _load(library)
        return _Dictionary(ids, unknown) if loaded is None else _HashTable(ids, unknown, loaded)

    @abstractmethod
    def look_up(self, text: bytes) -> tuple[npt.NDArray[np.int32], int]:
        """Return the ids of the words of a text, int32 [words], and the number of unknown words.

        The text starts with a space, and spaces separate its words.
        """


class _Dictionary(Vocabulary):
    def __init__(self, ids: Mapping[bytes, int], unknown: int | None) -> None:
        self._ids = dict(ids)
        self._unknown = -1 if unknown is None else unknown

    def look_up(self, text: bytes) -> tuple[npt.NDArray[np.int32], int]:
        words = text.split()
        ids = np.fromiter(map(self._ids.get, words, repeat(self._unknown)), np.int32, len(words))
        unknown = ids == self._unknown
        return ids[~unknown] if self._unknown < 0 else ids, unknown.tobytes().count(True)


class _HashTable(Vocabulary):
    """`native/vocabulary.cpp`, whose memory it owns, so it cannot be copied or pickled. Raises `MemoryError`."""

    def __init__(self, ids: Mapping[bytes, int], unknown: int | None, library: Any) -> None:
        sizes, numbers = (np.array(list(each), np.int32) for each in (map(len, ids), ids.values()))
        self._table = library.vocabulary_new(b"".join(ids), sizes.ctypes.data, numbers.ctypes.data, len(ids))
        if not self._table:
            raise MemoryError(f"no memory for a vocabulary of {len(ids)} words")
        weakref.finalize(self, library.vocabulary_delete, self._table).atexit = False
        self._unknown = -1 if unknown is None else unknown
        self._look_up = library.vocabulary_look_up
        self._free: list[_Slot] = []  # that no other thread uses

    def look_up(self, text: bytes) -> tuple[npt.NDArray[np.int32], int]:
        most = len(text) // 2
        kept = most <= _KEPT_WORDS
        try:
            slot = self._free.pop() if kept else _Slot(most)
        except IndexError:
            slot = _Slot(_KEPT_WORDS)
        counts = self._look_up(self._table, text, len(text), self._unknown, slot.address)
        ids = slot.ids[: counts >> 32].copy()
        if kept:
            self._free.append(slot)
        return ids, counts & 0xFFFFFFFF


class _Slot:
    """Memory for the ids of a text."""

    def __init__(self, words: int) -> None:
        self.ids = np.empty(words, np.int32)
        self.address = self.ids.ctypes.data  # which takes as long as looking up ten words


@cache
def _load(library: Path) -> Any:
    """Return the functions of the library, or None if it does not exist, is for another processor or lacks them.

    A call keeps Python's lock: handing it over would take longer than the call.
    """
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    try:
        loaded = ctypes.PyDLL(str(library))
        loaded.vocabulary_new.restype = pointer
        loaded.vocabulary_new.argtypes = [ctypes.c_char_p, pointer, pointer, number]
        loaded.vocabulary_delete.restype = None
        loaded.vocabulary_delete.argtypes = [pointer]
        loaded.vocabulary_look_up.restype = number
        loaded.vocabulary_look_up.argtypes = [pointer, ctypes.c_char_p, number, ctypes.c_int32, pointer]
    except (OSError, AttributeError):
        return None
    return loaded
