"""Hashes of the word n-grams of a review, so that no vocabulary of n-grams is needed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]

_LONGEST = 3

#: Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): 2^64 divided by the golden ratio.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def ngrams(ids: Ids) -> Hashes:
    """Return 64-bit hashes of the n-grams of one to three words, with repetitions. The highest bits are mixed best."""
    words = ids.astype(np.uint64) + np.uint64(1)
    codes = words
    found = [codes * _MULTIPLIER]
    for length in range(2, min(_LONGEST, len(ids)) + 1):
        codes = (codes[:-1] * _MULTIPLIER) ^ words[length - 1 :]
        found.append(codes * _MULTIPLIER)
    return np.concatenate(found)
