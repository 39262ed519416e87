"""Routing rules: the labels of a model's versions, and which versions get the requests that name none."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from sentiment_conv1d.model.configuration import is_name

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_LABEL = re.compile(r"(?!\d+$)[a-z0-9_-]{1,64}")

#: Numbers by label or version: `stable:3,canary:4`.
_NUMBERS = re.compile(r"[^:,]+:\d{1,18}(,[^:,]+:\d{1,18})*")

_MAX_WEIGHT = 1_000_000

#: The most entries of a rule: an order with the rules of a model is one message between processes.
_MAX_ENTRIES = 32

#: A rule: numbers by label or version.
Rule = Mapping[str, int]

_EMPTY: Rule = {}


class RoutingRules(NamedTuple):
    """The rules of one model. An empty rule has no effect."""

    labels: Rule = _EMPTY  # versions by label
    split: Rule = _EMPTY  # weights by version or label
    shadow: Rule = _EMPTY  # a version or label, and the percentage of requests that it classifies too

    def check(self) -> None:
        """Raise `ValueError` if a rule is not valid."""
        for name, rule in self._asdict().items():
            if len(rule) > _MAX_ENTRIES:
                raise ValueError(f"{name}: {len(rule)} entries; the limit is {_MAX_ENTRIES}")
        for label, version in self.labels.items():
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r} is not a label: a-z, 0-9, _ and -, and not a number")
            if not _VERSION.fullmatch(str(version)):
                raise ValueError(f"label {label!r}: {version} is not a version")
        for target in (*self.split, *self.shadow):
            if target not in self.labels and not _VERSION.fullmatch(target):
                raise ValueError(f"{target!r} is neither a version nor a label")
        for target, weight in self.split.items():
            if not 0 <= weight <= _MAX_WEIGHT:
                raise ValueError(f"split: {target!r} has the weight {weight}, which is not between 0 and {_MAX_WEIGHT}")
        if self.split and not any(self.split.values()):
            raise ValueError("split: at least one weight must be above 0")
        for target, percent in self.shadow.items():
            if not 1 <= percent <= 100:
                raise ValueError(f"shadow: {target!r} has {percent} %, which is not between 1 and 100")
        if len(self.shadow) > 1:
            raise ValueError("shadow: a model has one shadow version")

    def version_of(self, target: str) -> int:
        """Return the version that a rule names by number or by label. Raises `KeyError` if there is no such label."""
        return int(target) if target.isdecimal() else self.labels[target]

    def targets(self, rules: Iterable[str]) -> dict[str, int]:
        """Return the versions that some rules name, by number or label."""
        return {target: self.version_of(target) for rule in rules for target in getattr(self, rule)}

    def answering(self) -> set[int]:
        """Return the versions that the split sends requests to. Without a split there are none."""
        return {self.version_of(target) for target, weight in self.split.items() if weight}

    def missing(self, model: str, served: Container[tuple[str, int]]) -> Iterator[MissingVersion]:
        """Yield the versions that the rules name and that are not served. A label that another rule uses counts there.

        `served` are names of models with their versions.
        """
        for rule in self._fields:
            for target, version in self.targets([rule]).items():
                if (model, version) not in served and (rule != "labels" or target not in {*self.split, *self.shadow}):
                    needed = rule == "split" and self.split[target] > 0
                    yield MissingVersion(model, version, rule, target, needed)


class MissingVersion(NamedTuple):
    """A version that a rule of a model names, as `target`, and that is not served."""

    model: str
    version: int
    rule: str
    target: str
    needed: bool  # whether the model cannot answer requests without it that name no version

    def __str__(self) -> str:
        label = "" if self.target.isdecimal() else f", labelled {self.target!r},"
        return f"{self.rule} of {self.model}: version {self.version}{label} is not served"


def parse_rules(text: str) -> dict[str, Rule]:
    """Return rules by model of a setting like `imdb-cnn=stable:3,canary:4 tickets=stable:1`. Raises `ValueError`."""
    rules: dict[str, Rule] = {}
    for part in text.split():
        name, _, numbers = part.partition("=")
        if not is_name(name) or not _NUMBERS.fullmatch(numbers):
            raise ValueError(f"{part!r} does not have the form NAME=A:NUMBER,B:NUMBER")
        if name in rules:
            raise ValueError(f"two rules for {name}")
        pairs = [each.split(":") for each in numbers.split(",")]
        rules[name] = {key: int(number) for key, number in pairs}
        if len(rules[name]) < len(pairs):
            raise ValueError(f"{part!r} names a version or a label twice")
    return rules


def read_rules(**settings: str) -> dict[str, RoutingRules]:
    """Return the rules by model of settings, which are named like the fields of `RoutingRules`. Raises `ValueError`."""
    parsed = {field: parse_rules(text) for field, text in settings.items()}
    names: Iterable[str] = dict.fromkeys(name for rules in parsed.values() for name in rules)
    found = {name: RoutingRules(**{field: rules.get(name, {}) for field, rules in parsed.items()}) for name in names}
    for name, rules in found.items():
        try:
            rules.check()
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found
