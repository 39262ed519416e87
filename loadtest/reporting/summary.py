"""The results of a test in five lines for a terminal."""

from __future__ import annotations

from loadtest.document import Document
from loadtest.measurement.step import Step, failures
from loadtest.units import callers, duration, number, rate


def summary(document: Document) -> list[str]:
    """Return throughput, knee (or the only rate), objective, failures, and cost."""
    best, knee, objective = document["best"], document["knee"], document["objective"]
    throughput = f"{rate(best.throughput)}, with {callers(best.callers)}" if best else "not measured (no closed loop)"
    if knee:
        latency = knee.latency
        more = " or more" if is_highest(knee, document) and not has_one_rate(document) else ""
        at_knee = f"{rate(knee.rate)}{more}: p50 {duration(latency['p50'])}, p99 {duration(latency['p99'])}"
    else:
        at_knee = "not measured (no open loop)"
    kinds = ", ".join(sorted(kind for kind, _ in failures(all_steps(document))))
    warned = "; the report has warnings" if document["warnings"] else ""
    return [
        f"Throughput  {throughput}",
        f"{'Rate' if has_one_rate(document) else 'Knee'}        {at_knee}",
        f"Objective   {'none given (--slo)' if objective is None else _verdict(document)}",
        f"Failures    {document['failed']:,} of {document['requests']:,} requests{f' ({kinds})' if kinds else ''}",
        f"Cost        {_cost(document)}{warned}",
    ]


def all_steps(document: Document) -> list[Step]:
    """Return the steps of all kinds."""
    return [*document["closed"], *document["open"], *document["protocols"]]


def tested_models(document: Document) -> list[str]:
    """Return the models that answered, as `name version`, or all that are served if the service does not say."""
    servers = (step.server or {} for step in (*document["closed"], *document["open"]))
    return sorted({model for server in servers for model in server.get("models", ())}) or document["models"]


def has_one_rate(document: Document) -> bool:
    """Return whether only one rate was tested, so that there is no knee."""
    return len(document["open"]) == 1


def is_highest(step: Step, document: Document) -> bool:
    """Return whether a step has the highest rate that was tested."""
    steps: list[Step] = document["open"]
    return step.requested_rate == max(each.requested_rate for each in steps)


def _verdict(document: Document) -> str:
    objective = document["objective"]
    text, word = objective["text"], "met" if objective["met"] else "MISSED"
    if document["interrupted"]:
        word += f", {document['interrupted']}"
    if objective["rate"] is None:
        return f"{text}: {word}, at no rate"
    parts = [
        f"{number(round(objective[name]))} a {unit}"
        for name, unit in (("rate_per_worker", "worker"), ("rate_per_core", "core"))
        if objective[name]
    ]
    shares = f" ({', '.join(parts)})" if parts else ""
    return f"{text}: {word}, highest rate {rate(objective['rate'])}{shares}"


def _cost(document: Document) -> str:
    step: Step | None = document["knee"] or document["best"]
    if step is None:
        return "not measured"
    parts = []
    if step.cpu_per_text:
        parts.append(f"{duration(step.cpu_per_text)} of CPU per text")
    if step.server and step.server["memory_bytes"]:
        # The metric of a service that was already running counts shared memory once for each process.
        bound = "" if document["target"]["started"] else "at most "
        parts.append(f"{bound}{step.server['memory_bytes'] / 2**20:.0f} MiB")
    parts.append(f"generator {step.generator.cpu:.0%} of a core")
    return ", ".join(parts)
