"""Compares two reports: the ratios of their numbers, and the spread of these ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from loadtest.document import Document
from loadtest.measurement.step import Step, most_disturbed
from loadtest.reporting.page import render
from loadtest.reporting.plots import Series, lines
from loadtest.reporting.summary import all_steps, tested_models
from loadtest.units import duration, number
from sentiment_conv1d.commands.output import table_lines

#: Number of resamples of the slices, and the percentiles of the ratios that bound the spread.
_SAMPLES = 2000
_SPREAD = (5.0, 95.0)

_NAMES = {"throughput": "answers/s", "p50": "p50", "p99": "p99"}


def compare(old: Document, new: Document) -> dict[str, Any]:
    """Return the steps of both tests, with the ratios new / old of their numbers and the spreads of these ratios."""
    steps = []
    for kind, key in (("closed", "callers"), ("open", "rate"), ("protocols", "traffic")):
        others = {(getattr(step, key), step.traffic): step for step in new[kind]}
        for step in old[kind]:
            other = others.get((getattr(step, key), step.traffic))
            if other is not None:
                steps.append(
                    {
                        "kind": kind,
                        "title": step.title,
                        "ratios": {name: ratio(step, other, name) for name in _NAMES},
                    }
                )
    return {
        "old": _head(old),
        "new": _head(new),
        "steps": steps,
        "differences": _differences(old, new),
    }


def ratio(old: Step, new: Step, name: str) -> dict[str, Any] | None:
    """Return the ratio new / old of the medians of the slices, and its spread when the slices are resampled.

    Returns None if one of the two was not measured.
    """
    first, second = (np.array([part[name] for part in step.slices]) for step in (old, new))
    if not len(first) or not len(second) or not np.median(first):
        return None
    random = np.random.default_rng(0)
    drawn = [np.median(random.choice(values, (_SAMPLES, len(values))), axis=1) for values in (first, second)]
    able = drawn[0] > 0
    low, high = np.percentile(drawn[1][able] / drawn[0][able], _SPREAD).tolist()
    return {
        "old": float(np.median(first)),
        "new": float(np.median(second)),
        "ratio": round(float(np.median(second) / np.median(first)), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def summary(compared: Document) -> list[str]:
    """Return the lines of the comparison for a terminal."""
    rows = [("", "old", "new", "ratio", "spread")]
    for step in compared["steps"]:
        for name, each in step["ratios"].items():
            if each is not None:
                rows.append((f"{step['title']}, {_NAMES[name]}", *_cells(name, each)))
    if len(rows) == 1:
        return ["The two tests have no step in common: repeat one of them with --like."]
    return list(table_lines(rows))


def html(old: Document, new: Document, compared: Document) -> str:
    """Return the page of the comparison."""
    rows = [
        (step["title"], _NAMES[name], *_cells(name, each), _word(name, each))
        for step in compared["steps"]
        for name, each in step["ratios"].items()
        if each is not None
    ]
    return render(
        "comparison.html",
        "Two load tests",
        old=old,
        new=new,
        tested_models=tested_models,
        disturbed=most_disturbed([*all_steps(old), *all_steps(new)]),
        cautions=_cautions(old, new, compared),
        costs=[_cpu_per_text(each) for each in (old, new)],
        p99=_p99(old, new),
        throughput=_throughput(old, new),
        rows=rows,
        differences=[(name, f"{was} → {now}") for name, (was, now) in compared["differences"].items()],
    )


def _cpu_per_text(document: Document) -> float | None:
    step: Step | None = document["knee"] or document["best"]
    return None if step is None else step.cpu_per_text


def _p99(old: Document, new: Document) -> str:
    rates, series = _both(old, new, "open", "rate", lambda step: step.latency["p99"])
    if len(rates) < 2:
        return ""
    return lines("p99", rates, series, x="requests per second", y="p99", unit="s", log_y=True)


def _throughput(old: Document, new: Document) -> str:
    callers, series = _both(old, new, "closed", "callers", lambda step: step.throughput)
    if len(callers) < 2:
        return ""
    return lines("Throughput", callers, series, x="concurrent callers", y="answers per second", log_x=True)


def _both(
    old: Document, new: Document, kind: str, place: str, pick: Callable[[Step], float]
) -> tuple[list[float], list[Series]]:
    """Return the places of all steps of a kind, and a series for each test."""
    steps = [{float(getattr(step, place)): pick(step) for step in each[kind] if step.latency} for each in (old, new)]
    places = sorted({*steps[0], *steps[1]})
    return places, [
        Series(name, colour, [values.get(at) for at in places])
        for (name, colour), values in zip((("old", 6), ("new", 1)), steps, strict=True)
    ]


def _cells(name: str, each: Mapping[str, float]) -> tuple[str, str, str, str]:
    show = number if name == "throughput" else duration
    was, now = (show(round(each[side], 7)) for side in ("old", "new"))
    return was, now, f"{each['ratio']:.2f}", f"{each['low']:.2f} to {each['high']:.2f}"


def _word(name: str, each: Mapping[str, float]) -> str:
    if each["low"] <= 1 <= each["high"]:
        return "no difference"
    higher = each["low"] > 1
    return "better" if higher == (name == "throughput") else "worse"


def _cautions(old: Document, new: Document, compared: Document) -> list[str]:
    found = []
    if not compared["steps"]:
        found.append("The two tests have no step in common. Repeat one of them with --like.")
    if old["machine"] != new["machine"]:
        found.append("The tests ran on different machines, so the difference is not only that of the software.")
    found += [
        f"The {name} test: {warning}" for name, each in (("old", old), ("new", new)) for warning in each["warnings"]
    ]
    return found


def _head(document: Document) -> dict[str, Any]:
    return {name: document[name] for name in ("created", "command", "models", "workers")}


def _differences(old: Document, new: Document) -> dict[str, tuple[str, str]]:
    def flat(document: Document) -> dict[str, str]:
        parts: dict[str, Any] = {
            **{f"version of {name}": value for name, value in document["versions"].items()},
            **document["machine"],
            **{name: document[name] for name in ("models", "workers", "command", "texts", "processes")},
        }
        return {name: str(value) for name, value in parts.items()}

    first, second = flat(old), flat(new)
    return {
        name: (first.get(name, "none"), second.get(name, "none"))
        for name in {**first, **second}
        if first.get(name) != second.get(name)
    }
