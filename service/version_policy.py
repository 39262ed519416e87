"""The version policy: the setting that selects which versions of a model are served."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sentiment_conv1d.artifact.configuration import is_name

_RULE = re.compile(r"newest:([1-9]\d{0,3})|all|only:([1-9]\d{0,17}(?:,[1-9]\d{0,17})*)")


class VersionPolicy:
    """A policy of rules separated by spaces: `newest:N`, `all` or `only:A,B`. `NAME=rule` applies to one model, and a
    rule without a name to all others. Raises `ValueError`.
    """

    def __init__(self, text: str) -> None:
        rules: dict[str, str] = {}
        for part in text.split():
            name, equals, rule = part.rpartition("=")
            if not _RULE.fullmatch(rule) or (equals and not is_name(name)):
                raise ValueError(f"{part!r} is not newest:N, all or only:A,B, also after NAME=")
            if name in rules:
                raise ValueError(f"two rules for {name or 'all models'}")
            rules[name] = rule
        self._rules = {"": "newest:1"} | rules

    def rule(self, name: str) -> str:
        """Return the rule for a model."""
        return self._rules.get(name, self._rules[""])

    def choose(self, name: str, versions: Iterable[int]) -> list[int]:
        """Return the versions to serve among the available ones, newest first."""
        newest_first = sorted(versions, reverse=True)
        rule = self.rule(name)
        if rule == "all":
            return newest_first
        kind, _, numbers = rule.partition(":")
        if kind == "newest":
            return newest_first[: int(numbers)]
        wanted = set(map(int, numbers.split(",")))
        return [version for version in newest_first if version in wanted]
