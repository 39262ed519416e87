"""Routing: chooses the version for a request that names none, and whether a shadow version classifies it too."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from random import random
from typing import NamedTuple

from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.request_context import current

#: The header, or metadata key, whose value keeps the requests of one caller on one version.
KEY = b"x-routing-key"

#: How many texts of a request without the header are hashed, and how many characters of each. Hashing blocks the event
#: loop.
_TEXTS, _LENGTH = 32, 1024

_DIGEST_BYTES = 8


class Shadow(NamedTuple):
    """A version that classifies a share of the requests, between 0 and 1, after they were answered by another one."""

    classifier: ServedClassifier
    share: float


class Route:
    """The versions between which the requests of a model are split, their weights, and the shadow version."""

    def __init__(self, name: str, weights: Mapping[ServedClassifier, int], shadow: Shadow | None = None) -> None:
        self._salt = name.encode()  # so that the choices for different models are independent
        self._classifiers = tuple(weights)
        self._bounds = tuple(accumulate(weights.values()))
        self._shadow = shadow

    def choose(self, texts: Sequence[str]) -> ServedClassifier:
        """Return the version for a request. The context of the request gets the shadow version, if it is sampled."""
        classifier = self._classifiers[0] if len(self._classifiers) == 1 else self._split(texts)
        if self._shadow is not None and (context := current.get()) is not None:
            shadow, share = self._shadow
            if shadow is not classifier and random() < share:  # noqa: S311 - a sample, not a secret
                context.shadow = shadow
        return classifier

    def _split(self, texts: Sequence[str]) -> ServedClassifier:
        """Return the version for a request. It is the same in every process, for equal keys or equal texts.

        If a weight changes between two versions, only as many requests as necessary change their version.
        """
        digest = blake2b(self._salt, digest_size=_DIGEST_BYTES)
        context = current.get()
        if context is not None and (key := context.headers.get(KEY)):
            digest.update(key)
        else:
            for text in texts[:_TEXTS]:
                digest.update(text[:_LENGTH].encode(errors="surrogatepass"))
        place = int.from_bytes(digest.digest()) * self._bounds[-1] >> 8 * _DIGEST_BYTES
        return self._classifiers[bisect_right(self._bounds, place)]
