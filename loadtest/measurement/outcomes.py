"""The outcomes of requests: an HTTP or gRPC status, or the reason why there was no response."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from http.client import responses
from typing import Any

from loadtest.generation.rpc import OK

#: HTTP and gRPC statuses of an overloaded service.
_REFUSALS = frozenset({"429", "503", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})


def succeeded(outcome: str) -> bool:
    """Return whether an outcome is a success."""
    return outcome == OK or (outcome.isdigit() and 200 <= int(outcome) < 300)


def failures(steps: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Return the failures of all steps with their counts, the most frequent first."""
    counts: Counter[str] = Counter()
    for step in steps:
        counts.update({outcome: count for outcome, count in step["outcomes"].items() if not succeeded(outcome)})
    return counts.most_common()


def failure_rows(steps: Iterable[Mapping[str, Any]], requests: int) -> list[tuple[str, ...]]:
    """Return a row for each kind of failure: its name, type and meaning, its count, and its share of all requests."""
    return [
        (
            kind,
            "rejected: overloaded" if kind in _REFUSALS else "failed",
            responses.get(int(kind), "") if kind.isdigit() else "",
            f"{count:,}",
            f"{count / requests:.3%}",
        )
        for kind, count in failures(steps)
    ]
