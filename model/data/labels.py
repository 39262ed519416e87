"""The labels of data: their names, and which of them the label in a row means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from sentiment_conv1d.model.data.examples import Examples
from sentiment_conv1d.model.data.rows import Row
from sentiment_conv1d.tables import Fault

#: The meanings of the integers 0 and 1 in a folder of Parquet files, and if these are the names of the labels.
SENTIMENTS = ("negative", "positive")

#: What to do with labels that differ only in case and white space: stop with an error, give all of them the most
#: frequent spelling, or keep them as different labels.
SimilarLabels = Literal["error", "merge", "keep"]


class Problem(NamedTuple):
    """What is wrong with the labels of the data, and what helps. The hint can be empty."""

    text: str
    hint: str


@dataclass(frozen=True)
class Labels:
    """The names of labels, and the spelling of labels that differ from them only in case and white space."""

    names: tuple[str, ...]
    spelling: Mapping[str, str]  # names by their folded form; empty if every spelling is a label
    several: bool = False  # whether a text can have several labels, or none

    @classmethod
    def of_rows(cls, rows: Sequence[Row], *, merge: bool, named_integers: bool, several: bool = False) -> Labels:
        """Return the labels in rows, as strings and sorted.

        With `merge`, labels that differ only in case and white space get their most frequent spelling. With
        `named_integers`, the integer labels 0 and 1 are named negative and positive if there are no others.
        """
        spelling = _most_frequent_spelling(rows) if merge else {}
        labels = {label for row in rows for label in row.each}
        are_integers = all(type(label) is int for label in labels)  # a bool does not count
        if not several and named_integers and are_integers and labels == {0, 1}:
            return cls(SENTIMENTS, spelling)
        names = tuple(sorted({spelling.get(_folded(str(label)), str(label)) for label in labels}))
        return cls(names, spelling, several)

    @classmethod
    def named(cls, names: Sequence[str], *, merge: bool, several: bool = False) -> Labels:
        """Return labels with these names. With `merge`, rows may spell them with other case and white space."""
        return cls(tuple(names), {_folded(name): name for name in names} if merge else {}, several)

    def name(self, label: str | int) -> str:
        """Return the name of the label in a row, which need not be one of the names."""
        if self.names == SENTIMENTS and type(label) is int and label in (0, 1):
            return SENTIMENTS[label]
        return self.spelling.get(_folded(str(label)), str(label))

    def examples(self, rows: Sequence[Row], faults: list[Fault]) -> Examples:
        """Turn rows into examples. Rows whose label is none of the names are added to `faults`."""
        numbers = {name: number for number, name in enumerate(self.names)}
        usable, labels = [], []
        for row in rows:
            names = [self.name(label) for label in row.each]
            strange = [name for name in names if name not in numbers]
            if strange:
                reason = f"label {strange[0]!r} is none of the labels {', '.join(map(repr, self.names))}"
                faults.append(row.fault(reason))
            else:
                usable.append(row)
                labels.append([numbers[name] for name in names])
        texts = [row.text for row in usable]
        if not self.several:
            return Examples(texts, np.array([label for [label] in labels], np.int64), usable)
        has_label = np.zeros((len(usable), len(self.names)), np.int64)
        for place, own in enumerate(labels):
            has_label[place, own] = 1
        return Examples(texts, has_label, usable)

    def problems(self, rows: Sequence[Row], similar: SimilarLabels, least: int) -> list[Problem]:
        """Return the problems of the labels of rows. Every label needs `least` rows."""
        counts = Counter(self.name(label) for row in rows for label in row.each)
        first = self._first_locations(rows)
        problems = []
        if similar == "error":
            groups: dict[str, list[str]] = defaultdict(list)
            for name in self.names:
                groups[_folded(name)].append(name)
            hint = "--similar-labels merge makes one label of each group; keep treats them as different labels"
            for group in groups.values():
                if len(group) > 1:
                    listed = ", ".join(f"{name!r} ({counts[name]:,}, first in {first[name]})" for name in group)
                    problems.append(Problem(f"labels that differ only in case or white space: {listed}", hint))
        for name in self.names:
            if counts[name] < least:
                number = "a single example" if counts[name] == 1 else f"{counts[name]} examples"
                place = f" ({first[name]})" if name in first else ""
                text = f"label {name!r} has {number}{place}, but needs {least}, one for each split of the data"
                problems.append(Problem(text, "add examples of a rare label, or remove it from the data"))
        return problems

    def _first_locations(self, rows: Sequence[Row]) -> dict[str, str]:
        """Return the location of the first row of every label, with its file if there are several."""
        several = len({row.file for row in rows}) > 1
        locations: dict[str, str] = {}
        for row in rows:
            location = row.location if several or not row.number else f"{row.unit} {row.number}"
            for label in row.each:
                locations.setdefault(self.name(label), location)
        return locations


def _folded(label: str) -> str:
    """Return a label without differences in case and white space, which people vary when they type."""
    return " ".join(label.casefold().split())


def _most_frequent_spelling(rows: Sequence[Row]) -> dict[str, str]:
    """Return the most frequent spelling of each label, stripped of white space, by its folded form."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for label in row.each:
            counts[_folded(str(label))][str(label).strip()] += 1
    return {folded: min(each, key=lambda label: (-each[label], label)) for folded, each in counts.items()}
