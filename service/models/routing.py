"""Routing: chooses the version that answers a request which names none, and whether a shadow version classifies it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from random import random
from typing import Any, NamedTuple

import numpy as np

from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.telemetry.request_context import current

#: The header, or metadata key, whose value keeps the requests of one caller on one version.
KEY = b"x-routing-key"

#: What is hashed of a request without the header: that many texts and of each that many characters. The event loop does
#: it, so that large requests must not take long.
_ROWS, _LENGTH = 32, 1024

_DIGEST_BYTES = 8


class Shadow(NamedTuple):
    """A version that classifies a share of the requests, between 0 and 1, after they were answered by another one."""

    classifier: Classifier
    share: float


class Route:
    """The versions between which the requests of a model are split, their weights, and the shadow version."""

    def __init__(self, name: str, weights: Mapping[Classifier, int], shadow: Shadow | None = None) -> None:
        self._salt = name.encode()  # so that a caller who gets the new version of one model need not get that of others
        self._classifiers = tuple(weights)
        self._bounds = tuple(accumulate(weights.values()))
        self._shadow = shadow

    def choose(self, rows: Sequence[Any]) -> Classifier:
        """Return the version for a request. A shadow version is noted in the context of the request."""
        classifier = self._classifiers[0] if len(self._classifiers) == 1 else self._split(rows)
        if self._shadow is not None and (context := current.get()) is not None:
            shadow, share = self._shadow
            # Token ids are those of one vocabulary, which another version need not have.
            of_texts = not isinstance(rows, np.ndarray)
            if shadow is not classifier and of_texts and random() < share:  # noqa: S311 - a sample, not a secret
                context.shadow = shadow
        return classifier

    def _split(self, rows: Sequence[Any]) -> Classifier:
        """Return the version for a request: the same one in every process, and for equal keys or equal rows.

        If a weight changes, only the requests that have to change version do, if there are two of them.
        """
        digest = blake2b(self._salt, digest_size=_DIGEST_BYTES)
        context = current.get()
        if context is not None and (key := context.headers.get(KEY)):
            digest.update(key)
        else:
            for row in rows[:_ROWS]:
                digest.update(_content(row[:_LENGTH]))
        place = int.from_bytes(digest.digest()) * self._bounds[-1] >> 8 * _DIGEST_BYTES
        return self._classifiers[bisect_right(self._bounds, place)]


def _content(row: Any) -> bytes:
    """Return the bytes of a text or of token ids."""
    content: bytes = row.encode(errors="surrogatepass") if isinstance(row, str) else row.tobytes()
    return content
