"""Orders: instructions about models that all workers carry out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sentiment_conv1d.server.errors import MAX_MESSAGE_BYTES
from sentiment_conv1d.service.telemetry.statistics import Key
from sentiment_conv1d.service.version_labels import Labels

Action = Literal["load", "prepare", "serve", "refuse", "keep", "forget", "drop", "unload", "release", "label"]


class Order(NamedTuple):
    """An instruction to all workers.

    A `load` has several parts. All workers learn of it. Then each in turn has to `prepare`, which opens the version
    without serving it. Finally all workers `serve` the version, or all `refuse` it, or `keep` what they have: with a
    reason if the files are being written or were refused for it, and without one if they have the contents that are
    served.
    """

    action: Action
    name: str
    version: int = 0
    fingerprint: str = ""  # of the files
    digest: str = ""  # of the manifest, which contains those of the other files
    fault: str = ""  # the reason of a refusal in one word
    reason: str = ""
    last: bool = False  # whether a drop may remove the only version of the model
    labels: Sequence[str] | None = None  # of a version to serve, for the metrics
    block: int = 0  # of a version to serve, in which all processes count it: see `Metrics`
    version_labels: Labels | None = None  # all of the model, for a `label`

    @property
    def key(self) -> Key:
        """The name and the version."""
        return self.name, self.version

    def refusal(self, fault: str, reason: str) -> Order:
        """Return the order to refuse this version."""
        return self._replace(action="refuse", fault=fault, reason=reason[:MAX_MESSAGE_BYTES])
