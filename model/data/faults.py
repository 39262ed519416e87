"""Faults in labelled texts, reported in one message."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from sentiment_conv1d.tables import DataError, Fault

#: What to do with rows that cannot be used: stop with an error, leave them out, or leave them out and list every one.
OnBadRows = Literal["error", "skip", "report"]

#: The number of locations that a message names. It counts the others.
_LOCATIONS = 5

#: The reason for a row of Label Studio's full JSON, in which annotations of many kinds are nested.
LABEL_STUDIO = "a task in the full JSON of Label Studio, which has no columns"

#: Hints for reasons that start with these words.
_HINTS = {
    "not UTF-8": "name the encoding of the file, for example --encoding cp1252",
    LABEL_STUDIO: "export the project of Label Studio as CSV, and name its columns with --text-column and "
    "--label-column",
    "1 field,": "name the delimiter of the file, for example --delimiter ';'",
}


class BadDataError(DataError):
    """Everything that is wrong with the data, one fault per line. `hints` say what to do about it."""

    def __init__(self, faults: Iterable[Fault], problems: Iterable[str], hints: Iterable[str]) -> None:
        lines = [*summary(faults), *problems]
        title = [f"the data has {len(lines)} problems:"] if len(lines) > 1 else []
        super().__init__("\n  ".join([*title, *lines]))
        self.hints = tuple(hints)

    @property
    def report(self) -> str:
        """The error and its hints as a terminal shows them."""
        return "\n".join([f"error: {self}", *(f"hint: {hint}" for hint in self.hints)])


def summary(faults: Iterable[Fault]) -> list[str]:
    """Return one line for each file and reason, with the locations and the number of the rows."""
    groups: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    for fault in faults:
        groups[fault.file, fault.reason].append(fault)
    return [_describe(group) for group in groups.values()]


def write_faults(path: Path, faults: Iterable[Fault]) -> None:
    """Write a JSON object a line for every row: `source`, `unit`, `number` and `reason`, as `predict` writes them."""
    lines = [json.dumps(fault.record, ensure_ascii=False) for fault in faults]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def hints(faults: Iterable[Fault]) -> list[str]:
    """Return hints for rows that cannot be used; none if there are no such rows."""
    reasons = [fault.reason for fault in faults]
    special = [hint for start, hint in _HINTS.items() if any(reason.startswith(start) for reason in reasons)]
    return [*special, "--on-bad-rows skip leaves these rows out"] if reasons else []


def _describe(group: list[Fault]) -> str:
    first = group[0]
    if len(group) == 1:
        return str(first)
    named = ", ".join(f"{fault.number:,}" for fault in group[:_LOCATIONS])
    more = f" and {len(group) - _LOCATIONS:,} more" if len(group) > _LOCATIONS else ""
    return f"{first.file}: {first.unit}s {named}{more} ({len(group):,} rows): {first.explanation}"
