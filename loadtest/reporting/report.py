"""The report of a test as a page, made from its document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http.client import responses
from typing import Any

from loadtest.document import Document
from loadtest.measurement.step import Step, failures, most_disturbed
from loadtest.reporting import figures
from loadtest.reporting.columns import STAGES, rows
from loadtest.reporting.page import render
from loadtest.reporting.summary import all_steps, has_one_rate, is_highest, tested_models
from loadtest.traffic.requests import FORMS
from loadtest.units import rate
from sentiment_conv1d.commands.page import Cell

_SOURCES = {
    "imdb": "generated texts with the lengths and word frequencies of IMDB reviews",
    "short": "short generated texts",
    "mixed": "generated texts, half with the lengths of IMDB reviews and half short",
}

#: HTTP and gRPC statuses of an overloaded service.
_REFUSALS = frozenset({"429", "503", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})


def html(document: Document) -> str:
    """Return the page of a document."""
    knee: Step | None = document["knee"]
    shown: Step | None = knee or document["best"]
    inside = [step for step in document["open"] if step.server] or [s for s in document["closed"] if s.server]
    steps = all_steps(document)
    title = f"Load test of {', '.join(tested_models(document)) or document['target']['rest']}"
    values = dict(document) | {
        "subtitle": _subtitle(document),
        "warnings": _warnings(document),
        "steps": steps,
        "disturbed": most_disturbed(steps),
        "below_knee": _below_knee(document),
        "cpu_per_text": shown and shown.cpu_per_text,
        "one_rate": has_one_rate(document),
        "knee_is_highest": knee is not None and is_highest(knee, document),
        "histograms": _histograms(document),
        "verdicts": _verdicts(document),
        "inside": inside,
        "calm": [step for step in inside if not knee or step.requested_rate <= knee.requested_rate],
        "failures": _failure_rows(steps, document["requests"]),
        "versions": ", ".join(f"{name} {version}" for name, version in document["versions"].items()),
        "settings": _settings(document["plan"]),
    }
    names = {"document": document, "figures": figures, "rows": rows, "STAGES": STAGES, "FORMS": FORMS}
    return render("report.html", title, **names, **values)


def _subtitle(document: Document) -> str:
    texts, workers, machine = document["texts"], document["workers"], document["machine"]
    source = _SOURCES.get(texts["source"], f"the texts of {texts['source']}")
    served = f"{workers} worker{'s' if workers > 1 else ''}, " if workers else ""
    return (
        f"{document['created'][:16].replace('T', ' ')} UTC. {served}{document['traffic_title']}, {source} "
        f"({texts['words']:g} words on average). Sent from {machine['processor']}, {machine['cores']} cores."
    )


def _warnings(document: Document) -> list[str]:
    found = list(document["warnings"])
    if document["interrupted"]:
        found.insert(0, f"This report is partial: {document['interrupted']}.")
    busiest = max((step.machine_busy or 0.0 for step in all_steps(document)), default=0.0)
    if document["target"]["started"] and busiest > 0.9:
        found.append(
            f"Service and generator shared the {document['machine']['cores']} cores of one machine, which were up to "
            f"{busiest:.0%} busy. A service with dedicated cores does more."
        )
    return found


def _below_knee(document: Document) -> str:
    """Return what it means that the closed loop reached less than the knee of the open loop, or "" if it did not."""
    best: Step | None = document["best"]
    knee: Step | None = document["knee"]
    if best is None or knee is None or best.throughput >= knee.requested_rate:
        return ""
    return (
        f"The throughput is below the {'rate' if has_one_rate(document) else 'knee'}, because they come from different "
        "loops. The callers of the closed loop wait for each response, which can leave the service idle, and other "
        "programs can slow down one loop more than the other. In the open loop, the service answered "
        f"{rate(knee.throughput)}. To bring the two together, test more callers (--concurrency) or repeat the test."
    )


def _histograms(document: Document) -> list[tuple[str, Step]]:
    """Return the steps whose latencies are shown in detail, with their titles."""
    knee = document["knee"]
    if knee is None:
        return []
    last = [step for step in document["open"] if step.latency][-1]
    chosen = [("of every request" if has_one_rate(document) else "at the knee", knee)]
    return [*chosen, ("at the highest rate", last)] if last.requested_rate > knee.requested_rate else chosen


def _verdicts(document: Document) -> list[Cell]:
    """Return for each step of the open loop whether it meets the objective."""
    misses = document["objective"]["misses"] if document["objective"] else {}
    each = (misses.get(f"{step.requested_rate:g}") for step in document["open"])
    return [("no", ", ".join(missed)) if missed else "yes" for missed in each]


def _failure_rows(steps: Sequence[Step], requests: int) -> list[tuple[str, ...]]:
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


def _settings(plan: Mapping[str, Any]) -> str:
    given = ((name.replace("_", " "), value) for name, value in plan.items() if value not in (None, [], ()))
    return ", ".join(f"{name} {_setting(value)}" for name, value in given)


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_setting, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
