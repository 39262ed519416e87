"""Look up the ids of words, one word after the other or all words of a text at once.

Python creates and hashes an object for every word, which takes about 90 ns per word. NumPy looks up all words of a text
in about 25 calls, which takes a fifth of the time for a text of a few hundred words. So short texts use a dictionary,
and longer ones use arrays with a perfect hash of the known words (R. Pagh, "Hash and Displace", WADS 1999). A
multiplication maps a word to a bucket and to a slot, and each bucket displaces its words so that no two known words
share a slot. A comparison then shows whether the word is the known one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import repeat

import numpy as np
import numpy.typing as npt

#: The largest number of bytes of a word with a slot: two integers.
_KEY_BYTES = 16
_KEY = np.dtype((np.void, _KEY_BYTES))

#: The smallest and largest text, in bytes, for which arrays are faster than the dictionary. Larger arrays do not fit
#: into the caches of a core.
_LEAST_BYTES, MOST_BYTES = 768, 32_768

#: The bytes after the last word: the space that ends it, and the rest of a key that starts there.
_TAIL = b" " + bytes(_KEY_BYTES)

#: The largest number of displacements that are tried for a bucket. A third of the slots is used, so a few suffice.
_TRIES = 1000

# Arrays, because NumPy compares with them faster than with Python numbers.
_SPACE = np.array(b" "[0], np.uint8)
# The key of ids without a word. No word has it, because a word's key has only zeros after the first zero byte.
_NO_WORD = np.frombuffer(b"\1".rjust(_KEY_BYTES, b"\0"), np.uint64)
_BOTH = np.array([True, True]).view(np.uint16)  # both halves of a key are equal


class Vocabulary:
    """Known words and their ids. `unknown` is the id of all other words.

    Words are UTF-8 and contain neither a zero byte nor white space at which `bytes.split` splits.
    """

    def __init__(self, ids: Mapping[bytes, int], unknown: int) -> None:
        self._ids = dict(ids)
        self._unknown = unknown
        self._hash = _PerfectHash(self._ids, unknown)

    def look_up(self, text: bytes) -> npt.NDArray[np.int32]:
        """Look up the words of a text, which starts with a space and separates words by spaces: int32 [words]."""
        if _LEAST_BYTES <= len(text) <= MOST_BYTES:
            return self._hash.look_up(text)
        words = text.split()
        return np.fromiter(map(self._ids.get, words, repeat(self._unknown)), np.int32, len(words))


class _PerfectHash:
    """A vocabulary in arrays. The dictionary handles words that are too long or have no slot."""

    def __init__(self, ids: Mapping[bytes, int], unknown: int) -> None:
        self._ids = ids
        self._unknown = np.array(unknown, np.int64)
        held = {word: number for word, number in ids.items() if len(word) <= _KEY_BYTES}
        numbers = np.array(list(held.values()), np.int64)
        keys = np.frombuffer(b"".join(word.ljust(_KEY_BYTES, b"\0") for word in held), np.uint64).reshape(-1, 2)
        self._keys = np.tile(_NO_WORD, (max([unknown, *ids.values()]) + 1, 1))
        self._keys[numbers] = keys
        # Row n keeps the first n bytes of a key. The last row, for longer words, keeps nothing.
        masks = [b"\xff" * length + bytes(_KEY_BYTES - length) for length in range(_KEY_BYTES + 1)]
        self._masks = np.frombuffer(b"".join([*masks, bytes(_KEY_BYTES)]), np.uint64).reshape(-1, 2)

        slot_bits = max(4, (3 * len(held)).bit_length())
        bucket_bits = slot_bits - 3
        chance = random.Random(1)  # noqa: S311 - the same in every process, and not secret
        self._factors = [np.array(chance.getrandbits(64) | 1, np.uint64) for _ in range(2)]
        self._shift = np.array(64 - slot_bits - bucket_bits, np.uint64)
        self._bucket_bits, self._bucket_mask = np.array(bucket_bits), np.array((1 << bucket_bits) - 1)
        self._slots = np.full(1 << slot_bits, unknown, np.int64)
        self._displacements = np.zeros(1 << bucket_bits, np.int64)
        self._complete = self._settle(keys, numbers) == len(ids)

    def look_up(self, text: bytes) -> npt.NDArray[np.int32]:
        """Look up the words of a text that starts with a space: int32 [words]."""
        size = len(text) + 1
        text += _TAIL
        spaces = np.equal(np.frombuffer(text, np.uint8, size), _SPACE)
        edges = np.not_equal(spaces[:-1], spaces[1:]).nonzero()[0]
        starts, ends = edges[::2], edges[1::2]  # the last space before each word, and its last byte
        keys = np.ndarray(size, _KEY, text, 1, (1,))[starts].view(np.uint64)
        keys &= self._masks.take(ends - starts, 0, None, "clip").ravel()
        buckets, slots = self._places(keys[::2], keys[1::2])
        slots ^= self._displacements.take(buckets)
        ids = self._slots.take(slots)
        others = np.not_equal(np.equal(self._keys.take(ids, 0).ravel(), keys).view(np.uint16), _BOTH)
        np.copyto(ids, self._unknown, where=others)
        if not self._complete:
            for word in others.nonzero()[0].tolist():
                ids[word] = self._ids.get(text[starts[word] + 1 : ends[word] + 1], self._unknown)
        return ids.astype(np.int32)

    def _settle(self, keys: npt.NDArray[np.uint64], numbers: npt.NDArray[np.int64]) -> int:
        """Assign slots to words, and return the number of words that got one."""
        buckets, slots = self._places(keys[:, 0], keys[:, 1])
        settled = 0
        for words, displacement in _displace(buckets, slots, len(self._slots)):
            self._displacements[buckets[words]] = displacement
            self._slots[slots[words] ^ displacement] = numbers[words]
            settled += words.size
        return settled

    def _places(
        self, first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the bucket of each key and its slot before displacement: the upper bits of a product."""
        places = second * self._factors[0]
        places ^= first
        places *= self._factors[1]
        places >>= self._shift
        slots = places.view(np.int64)
        buckets = slots & self._bucket_mask
        slots >>= self._bucket_bits
        return buckets, slots


def _displace(
    buckets: npt.NDArray[np.int64], slots: npt.NDArray[np.int64], number: int
) -> Iterator[tuple[npt.NDArray[np.int64], int]]:
    """Yield a displacement and the words of the buckets that get free slots by it: int64 [buckets, words of a bucket].

    Buckets with more words come first, because they fit into fewer places.
    """
    taken = np.zeros(number, bool)
    claims = np.empty(number, np.int64)
    for words in _buckets_by_size(buckets):
        apart = np.diff(np.sort(slots[words], 1), axis=1).all(1)  # no displacement separates words with equal slots
        words = words[apart]
        for displacement in range(min(_TRIES, number)):
            if not words.size:
                break
            moved = slots[words] ^ displacement
            row = np.arange(len(words))[:, np.newaxis]
            free = ~taken[moved].any(1)
            claims[moved[free]] = row[free]  # of the buckets that share a slot, one gets it
            fits = free & (claims[moved] == row).all(1)
            taken[moved[fits]] = True
            yield words[fits], displacement
            words = words[~fits]


def _buckets_by_size(buckets: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the words of all buckets with the same number of words, most first: int64 [buckets, words of a bucket]."""
    order = np.argsort(buckets, kind="stable")
    _, starts, sizes = np.unique(buckets[order], return_index=True, return_counts=True)
    for size in np.unique(sizes)[::-1]:
        yield order[starts[sizes == size, np.newaxis] + np.arange(size)]
