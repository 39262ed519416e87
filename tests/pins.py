"""The files of requirements/, which pin packages with hashes."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.processes import PROJECT


class Pin(NamedTuple):
    """A pinned package, with the extras that it is installed with and the SHA-256 digests of its files."""

    name: str
    extras: frozenset[str]
    version: str
    digests: frozenset[str]


def read_pins(file: str) -> list[Pin]:
    """Return the pins of a file of requirements/."""
    content = (PROJECT / "requirements" / file).read_text()
    return [
        Pin(
            name, frozenset(re.findall(r"[\w-]+", extras)), version, frozenset(re.findall(r"--hash=sha256:(\w+)", rest))
        )
        for name, extras, version, rest in re.findall(
            r"^([\w.-]+)(\[.*?\])?==(\S+)(.*?)(?=^\S|\Z)", content, re.MULTILINE | re.DOTALL
        )
    ]


def pinned(file: str) -> set[tuple[str, str]]:
    """Return the names and versions of the packages in a file of requirements/."""
    return {(pin.name, pin.version) for pin in read_pins(file)}
