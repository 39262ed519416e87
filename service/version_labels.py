"""Version labels: names of a model's versions. The label `default` names the one for requests that name none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from sentiment_conv1d.artifact.configuration import is_name

#: The label of the version that answers the requests that name none.
DEFAULT = "default"

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_LABEL = re.compile(r"(?!\d+$)[a-z0-9_-]{1,64}")

#: Versions by label: `default:3,candidate:4`.
_LABELS = re.compile(r"[^:,]+:\d{1,18}(,[^:,]+:\d{1,18})*")

#: The most labels of a model: an order with all of them is one message between processes.
_MAX_LABELS = 32

#: The labels of a model: versions by label.
Labels = Mapping[str, int]


class LabelledVersion(NamedTuple):
    """A version that has a label, and whether it is served."""

    model: str
    version: int
    label: str
    served: bool

    def __str__(self) -> str:
        state = "served" if self.served else "not served"
        return f"{self.model}: version {self.version}, labelled {self.label!r}, is {state}"


def check_labels(labels: Labels) -> None:
    """Raise `ValueError` if the labels of a model are not valid."""
    if len(labels) > _MAX_LABELS:
        raise ValueError(f"{len(labels)} labels; the limit is {_MAX_LABELS}")
    for label, version in labels.items():
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{label!r} is not a label: a-z, 0-9, _ and -, and not a number")
        if not _VERSION.fullmatch(str(version)):
            raise ValueError(f"label {label!r}: {version} is not a version")


def parse_labels(text: str) -> dict[str, Labels]:
    """Return labels by model of a setting like `imdb-cnn=default:3,candidate:4 tickets=stable:1`.

    Raises `ValueError`.
    """
    found: dict[str, Labels] = {}
    for part in text.split():
        name, _, labels = part.partition("=")
        if not is_name(name) or not _LABELS.fullmatch(labels):
            raise ValueError(f"{part!r} does not have the form NAME=LABEL:VERSION,LABEL:VERSION")
        if name in found:
            raise ValueError(f"{name} is named twice")
        pairs = [each.split(":") for each in labels.split(",")]
        found[name] = {label: int(version) for label, version in pairs}
        if len(found[name]) < len(pairs):
            raise ValueError(f"{part!r} names a label twice")
        try:
            check_labels(found[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found
