"""From the path of a request to the busy route that answers it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sentiment_conv1d.service.rest.endpoint import Endpoint


class Match(NamedTuple):
    """An endpoint, the path it is declared under, and that path's parameters."""

    endpoint: Endpoint
    path: str
    parameters: dict[str, str]


class Routes:
    """The busy routes; where several fit a path, the first of them answers.

    A path is looked up once and then remembered, since the same few come again and again.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.declared: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            for path in endpoint.paths:
                self.declared.setdefault(path, endpoint)
        self._patterns = [(_pattern(path), path, endpoint) for path, endpoint in self.declared.items()]
        self.find = lru_cache(maxsize=1024)(self._find)
        self.find_target = lru_cache(maxsize=1024)(self._find_target)

    def _find_target(self, target: bytes) -> Match | None:
        """As `find`, where what follows the method in a request is nothing but a path."""
        plain = target.startswith(b"/") and target.isascii() and not any(mark in target for mark in b"%?#")
        return self._find(target.decode()) if plain else None

    def _find(self, path: str) -> Match | None:
        for pattern, declared, endpoint in self._patterns:
            if found := pattern.fullmatch(path):
                return Match(endpoint, declared, found.groupdict())
        return None


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))
