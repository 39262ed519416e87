"""Feedback ids: signed descriptions of an answer, so that no process has to remember answers."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import NamedTuple

import orjson

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.model.manifest import Manifest

#: The header of an answer over REST, and the trailing metadata of a call.
HEADER = b"x-feedback-id"

_MAC_BYTES = 16

#: The most bits of the predicted labels in an id. A request with more gets no id, because proxies limit headers.
_MAX_BITS = 4096

#: The most characters of an id: a request id, a name and the labels take less.
_MAX_CHARACTERS = 4096

#: Characters of the digest of a manifest. They detect that the files of a version were replaced.
_DIGEST_CHARACTERS = 16


class Answered(NamedTuple):
    """A request that was answered. `labels` are the predicted ones of all its texts, see `label`."""

    request_id: str
    time: int  # milliseconds since 1970
    model: str
    version: int
    digest: str
    texts: int
    labels: str

    def is_by(self, manifest: Manifest) -> bool:
        """Return whether this version answered."""
        return manifest.manifest_sha256.startswith(self.digest)

    def label(self, text: int, labels: Sequence[str]) -> str:
        """Return the predicted label of a text, which is given by its index, of a model with these labels."""
        bits = _bits(labels)
        return labels[int(self.labels, 16) >> bits * text & (1 << bits) - 1]


class FeedbackIds:
    """Makes and reads feedback ids. Processes with the same `secret` accept the ids of each other."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(secret).digest()

    def make(self, request_id: str, manifest: Manifest, predictions: Sequence[Prediction], time: int) -> bytes:
        """Return the id for feedback on the predictions of a request, or an empty one if there are too many.

        `time` is in milliseconds since 1970.
        """
        names, number = manifest.labels, 0
        bits = _bits(names)
        if len(predictions) * bits > _MAX_BITS:
            return b""
        for prediction in reversed(predictions):
            number = number << bits | names.index(prediction.label)
        digest = manifest.manifest_sha256[:_DIGEST_CHARACTERS]
        answered = Answered(request_id, time, manifest.name, manifest.version, digest, len(predictions), f"{number:x}")
        content = orjson.dumps(tuple(answered))
        return urlsafe_b64encode(self._mac(content) + content).rstrip(b"=")

    def read(self, text: str) -> Answered | None:
        """Return what an id says, or None if it was not made with this secret."""
        if len(text) > _MAX_CHARACTERS:
            return None
        try:
            signed = urlsafe_b64decode(text.encode() + b"==")
        except ValueError:
            return None
        mac, content = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        return Answered(*orjson.loads(content)) if compare_digest(mac, self._mac(content)) else None

    def _mac(self, content: bytes) -> bytes:
        return blake2b(content, key=self._key, digest_size=_MAC_BYTES).digest()


def _bits(labels: Sequence[str]) -> int:
    """Return how many bits the index of a label takes."""
    return (len(labels) - 1).bit_length()
