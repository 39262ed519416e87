"""Look up the ids of words, in the native library or, without it, in a dictionary.

A dictionary needs an object for every word, so it takes three to six times as long. Single characters have an array.
"""

from __future__ import annotations

import ctypes
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.tokenizer.parts import change, split
from sentiment_conv1d.native.compilation import LIBRARY

#: Texts that are looked up in one call, and their bytes, unless a single text has more.
_TEXTS, _BYTES = 32, 65_536


class Words(NamedTuple):
    """The words of a text."""

    ids: npt.NDArray[np.int32]  # [ids], including the start id
    unknown: int  # unknown words, including those without an id
    marks: int = 0  # known words of `!` and `?`, if the native library reads a table of characters


@dataclass(frozen=True)
class Spelling:
    """How the bytes of a text form words, and the ids that stand for no known word."""

    becomes: bytes  # 256 bytes: what each byte becomes; 0: it is removed; a space: it separates words
    start: int | None  # the id before every text
    unknown: int | None  # the id of unknown words, and of no known one; None leaves them out
    #: A `character_table`, for the native library only: a byte that becomes 0 depends on those around it.
    characters: npt.NDArray[np.int32] | None = field(default=None, compare=False)

    def respell(self, text: bytes) -> bytes:
        """Return a text with what its bytes become."""
        return change(text, bytes.translate, self.becomes, self._removed)

    @cached_property
    def _removed(self) -> bytes:
        return bytes(byte for byte, other in enumerate(self.becomes) if not other)


class Vocabulary(ABC):
    """Known words and their ids. Make it with `of`."""

    @staticmethod
    def of(ids: Mapping[bytes, int], spelling: Spelling, library: Path = LIBRARY) -> Vocabulary:
        """Make a vocabulary of words that consist of what bytes become, without white space of `bytes.split`."""
        return Vocabulary.native(ids, spelling, library) or _Dictionary(ids, spelling)

    @staticmethod
    def native(ids: Mapping[bytes, int], spelling: Spelling, library: Path = LIBRARY) -> Vocabulary | None:
        """Make a vocabulary in the native library, or return None without it."""
        loaded = _load(library)
        return None if loaded is None else _HashTable(ids, spelling, loaded)

    @abstractmethod
    def look_up(self, texts: Sequence[bytes]) -> list[Words]:
        """Return the words of texts in UTF-8, in which lone surrogates may be encoded too."""


class _Dictionary(Vocabulary):
    def __init__(self, ids: Mapping[bytes, int], spelling: Spelling) -> None:
        self._ids = dict(ids)
        self._unknown = -1 if spelling.unknown is None else spelling.unknown
        self._spelling = spelling
        self._start = np.array([] if spelling.start is None else [spelling.start], np.int32)

    def look_up(self, texts: Sequence[bytes]) -> list[Words]:
        return list(map(self._words, texts))

    def _words(self, text: bytes) -> Words:
        parts = split(self._spelling.respell(text), b" ")
        ids = np.concatenate([self._look_up(words) for words in parts])
        unknown = ids == self._unknown
        if self._unknown < 0:
            ids = ids[~unknown]
        return Words(np.concatenate([self._start, ids]), unknown.tobytes().count(True))

    def _look_up(self, words: Sequence[bytes]) -> npt.NDArray[np.int32]:
        return np.fromiter(map(self._ids.get, words, repeat(self._unknown)), np.int32, len(words))


class _HashTable(Vocabulary):
    """`native/vocabulary.cpp`, whose memory it owns, so it cannot be copied or pickled. Raises `MemoryError`."""

    def __init__(self, ids: Mapping[bytes, int], spelling: Spelling, library: Any) -> None:
        sizes, numbers = (np.array(list(each), np.int32) for each in (map(len, ids), ids.values()))
        start, unknown = (-1 if each is None else each for each in (spelling.start, spelling.unknown))
        self._table = library.vocabulary_new(
            b"".join(ids), sizes.ctypes.data, numbers.ctypes.data, len(ids), spelling.becomes, start, unknown
        )
        if not self._table:
            raise MemoryError(f"no memory for a vocabulary of {len(ids)} words")
        weakref.finalize(self, library.vocabulary_delete, self._table).atexit = False
        self._look_up = library.vocabulary_look_up
        self._spelling = spelling  # whose table of characters the library reads
        self._characters = None if spelling.characters is None else spelling.characters.ctypes.data
        self._free: list[_Slot] = []  # that no other thread uses

    def look_up(self, texts: Sequence[bytes]) -> list[Words]:
        found: list[Words] = []
        for start in range(0, len(texts), _TEXTS):
            found += self._look_up_some(texts[start : start + _TEXTS])
        return found

    def _look_up_some(self, texts: Sequence[bytes]) -> list[Words]:
        joined = b"\xff".join(texts)
        if len(joined) > _BYTES and len(texts) > 1:  # the call keeps the interpreter lock
            return [words for text in texts for words in self._look_up_some([text])]
        try:
            slot = self._free.pop() if len(joined) <= _BYTES else _Slot(len(joined))
        except IndexError:
            slot = _Slot(_BYTES)
        if not self._look_up(self._table, self._characters, joined, len(joined), *slot.addresses):
            raise MemoryError(f"no memory for a text of {len(joined)} bytes")
        ends = slot.ends[: len(texts)].tolist()
        ids = slot.ids[: ends[-1][0]].copy()
        if len(joined) <= _BYTES:
            self._free.append(slot)
        found, start = [], 0
        for end, unknown, marks in ends:
            found.append(Words(ids[start:end], unknown, marks))
            start = end
        return found


class _Slot:
    """Memory for the ids of up to `_TEXTS` texts, and of so many bytes."""

    def __init__(self, size: int) -> None:
        self.ids = np.empty(size + 3 * _TEXTS, np.int32)
        self.ends = np.empty((_TEXTS, 3), np.int32)
        self.addresses = self.ids.ctypes.data, self.ends.ctypes.data  # which takes as long as looking up ten words


class CharacterTable(Vocabulary):
    """Single characters and their ids. Every character of a text is a word, and so is a space."""

    def __init__(self, ids: Mapping[str, int], spelling: Spelling, stand_ins: bytes) -> None:
        self._spelling, self._stand_ins = spelling, stand_ins
        self._unknown = -1 if spelling.unknown is None else spelling.unknown
        codes = list(map(ord, ids))
        self._ids = np.full(max(codes, default=0) + 2, self._unknown, np.int32)  # the last one is that of all others
        self._ids[codes] = list(ids.values())

    def look_up(self, texts: Sequence[bytes]) -> list[Words]:
        return list(map(self._words, texts))

    def _words(self, text: bytes) -> Words:
        characters = self._spelling.respell(text).translate(self._stand_ins).decode("utf-8", "surrogatepass")
        codes = np.frombuffer(characters.encode("utf-32-le", "surrogatepass"), np.uint32)
        ids = self._ids[np.minimum(codes, len(self._ids) - 1)]
        unknown = ids == self._unknown
        return Words(ids[~unknown] if self._unknown < 0 else ids, int(np.count_nonzero(unknown)))


@cache
def _load(library: Path) -> Any:
    """Return the functions of the library, or None if it does not exist, is for another processor or lacks them.

    A call keeps Python's lock: handing it over would take longer than the call.
    """
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    try:
        loaded = ctypes.PyDLL(str(library))
        loaded.vocabulary_new.restype = pointer
        loaded.vocabulary_new.argtypes = [
            *(ctypes.c_char_p, pointer, pointer, number),
            *(ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32),
        ]
        loaded.vocabulary_delete.restype = None
        loaded.vocabulary_delete.argtypes = [pointer]
        loaded.vocabulary_look_up.restype = ctypes.c_bool
        loaded.vocabulary_look_up.argtypes = [pointer, pointer, ctypes.c_char_p, number, pointer, pointer]
    except (OSError, AttributeError):
        return None
    return loaded
