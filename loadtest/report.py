"""What a test found, for people: five lines on a terminal, and a page that says everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.measurement import Step, is_refusal, succeeded
from loadtest.objective import parse
from loadtest.page import cards, facts, figure, figures, page, paragraph, section, table
from loadtest.plots import Mark, Series, bars, lines, stacks
from loadtest.traffic import FORMS
from loadtest.units import COUNT, SECONDS, duration, number, rate

Document = Mapping[str, Any]

_NONE = "-"

#: Percentiles of the plots, with the page's colours: the darker, the rarer.
_SHOWN = {"p50": 2, "p90": 1, "p99": 3, "p99.9": 5}

_KNEE, _LIMIT = 4, 6  # colours

_STAGES = {"decode": 6, "queue": 3, "tokenize": 4, "infer": 1, "encode": 5}


def summary(document: Document) -> list[str]:
    """Five lines: throughput, knee (or the rate, where there was one only), objective, failures, cost."""
    best, knee, objective = document["best"], document["knee"], document["objective"]
    if best:
        throughput = f"{rate(best['throughput'])}, with {best['callers']} at once"
    else:
        throughput = "not measured (no closed loop)"
    if knee:
        latency = knee["latency"]
        more = " or more" if _is_highest(knee, document) and not _is_only(document) else ""
        at_knee = f"{rate(knee['rate'])}{more}: p50 {duration(latency['p50'])}, p99 {duration(latency['p99'])}"
    else:
        at_knee = "not measured (no open loop)"
    warned = "; the report has warnings" if document["warnings"] else ""
    return [
        f"Throughput  {throughput}",
        f"{'Rate' if _is_only(document) else 'Knee'}        {at_knee}",
        f"Objective   {'none given (--slo)' if objective is None else verdict(objective)}",
        f"Failures    {document['failed']:,} of {document['requests']:,} requests{_kinds(document)}",
        f"Cost        {_cost(document)}{warned}",
    ]


def verdict(objective: Mapping[str, Any]) -> str:
    """Whether an objective is met, and up to which rate."""
    text, word = objective["text"], "met" if objective["met"] else "MISSED"
    if objective["rate"] is None:
        return f"{text}: {word}, at no rate"
    parts = [
        f"{number(round(objective[name]))} a {unit}"
        for name, unit in (("rate_per_worker", "worker"), ("rate_per_core", "core"))
        if objective[name]
    ]
    shares = f" ({', '.join(parts)})" if parts else ""
    return f"{text}: {word}, highest rate {rate(objective['rate'])}{shares}"


def html(document: Document) -> str:
    """The page, from nothing but the document."""
    models = ", ".join(document["models"]) or document["target"]["rest"]
    title = f"Load test of {models}"
    sections = [
        f"<h1>{title}</h1>" if title.isascii() and "<" not in title and "&" not in title else "<h1>Load test</h1>",
        paragraph(_subtitle(document), "muted"),
        *(paragraph(warning, "warning") for warning in _warnings(document)),
        cards(_cards(document)),
        section("Latency and rate", *_latency(document)),
        section("Throughput and concurrency", *_throughput(document)),
        section("Inside the service", *_inside(document)),
        section("Protocols", *_protocols(document)),
        section("Failures and refusals", *_failures(document)),
        section("The generator", *_generator(document)),
        section("Circumstances", *_circumstances(document)),
        section("How to read this", *map(paragraph, _EXPLANATIONS)),
    ]
    return page(title, sections)


def _subtitle(document: Document) -> str:
    texts = document["texts"]
    source = {
        "imdb": "generated texts with the lengths and word frequencies of IMDB reviews",
        "short": "short generated texts",
        "mixed": "generated texts, half with the lengths of IMDB reviews and half short",
    }.get(texts["source"], f"the texts of {texts['source']}")
    workers = document["workers"]
    served = f"{workers} workers, " if workers and workers > 1 else "1 worker, " if workers else ""
    machine = document["machine"]
    return (
        f"{document['created'][:16].replace('T', ' ')} UTC. {served}{document['traffic_title']}, {source} "
        f"({texts['words']:g} words in the mean). Sent from {machine['processor']}, {machine['cores']} cores."
    )


def _warnings(document: Document) -> list[str]:
    found = list(document["warnings"])
    if document["interrupted"]:
        found.insert(0, f"This report is partial: {document['interrupted']}.")
    busiest = max((step["machine_busy"] or 0.0 for step in _all_steps(document)), default=0.0)
    if document["target"]["started"] and busiest > 0.9:
        found.append(
            f"Service and generator shared the {document['machine']['cores']} cores of one machine, which were up to "
            f"{busiest:.0%} busy. A service that has them to itself does more."
        )
    return found


def _cards(document: Document) -> list[tuple[str, str, str, bool]]:
    shown = []
    best, knee, objective = document["best"], document["knee"], document["objective"]
    if best:
        words = f"requests a second at most, with {best['callers']} at once"
        shown.append(("Throughput", number(round(best["throughput"])), words, False))
    if knee:
        name = "Rate" if _is_only(document) else "Knee"
        beyond = "beyond it latency grows faster than throughput"
        if _is_highest(knee, document):
            beyond = (
                "the only one that was tried" if _is_only(document) else "the highest that was tried; it may be more"
            )
        shown.append((name, number(round(knee["rate"])), f"requests a second; {beyond}", False))
        latency = knee["latency"]
        words = f"99 of 100 are faster; half take {duration(latency['p50'])}"
        shown.append(("p99" if _is_only(document) else "p99 at the knee", duration(latency["p99"]), words, False))
    server = (knee or best or {}).get("server")
    if server and server["cpu_per_text"]:
        shown.append(
            ("Processor time", duration(server["cpu_per_text"]), "of all processes of the service, for one text", False)
        )
    if objective:
        value = _NONE if objective["rate"] is None else number(round(objective["rate"]))
        conditions = objective["text"].replace(",", ", ")
        words = f"{conditions} is {'met' if objective['met'] else 'missed'}; the highest rate that meets it"
        shown.append(("Objective", value, words, not objective["met"]))
    words = f"of {document['requests']:,} requests failed or were refused"
    shown.append(("Failures", f"{document['failed']:,}", words, bool(document["failed"])))
    return shown


def _latency(document: Document) -> list[str]:
    steps = [step for step in document["open"] if step["latency"]]
    knee, objective = document["knee"], document["objective"]
    rates = [step["rate"] for step in steps]
    marks = [Mark(knee["rate"], "knee", _KNEE)] if knee else []
    limits = [
        Mark(condition.bound, condition.text, _LIMIT)
        for condition in (parse(objective["text"]).conditions if objective else ())
        if condition.name != "errors"
    ]
    latency = lines(
        "Latency percentiles against rate",
        rates,
        [Series(name, colour, [step["latency"][name] for step in steps]) for name, colour in _SHOWN.items()],
        x="requests a second",
        y="latency",
        unit=SECONDS,
        log_y=True,
        at=marks,
        limits=limits,
    )
    answered = lines(
        "Answers against rate",
        rates,
        [
            Series("asked for", 6, rates),
            Series("answered", 1, [step["throughput"] for step in steps]),
        ],
        x="requests a second",
        y="answers a second",
        unit=COUNT,
        at=marks,
    )
    chosen = [("of every request" if _is_only(document) else "at the knee", knee)] if knee else []
    if steps and knee is not None and steps[-1]["rate"] > knee["rate"]:
        chosen.append(("at the highest rate", steps[-1]))
    histograms = [
        figure(
            f"Latency {where}",
            f"{rate(step['rate'])}, {step['requests']:,} requests.",
            _histogram(step),
        )
        for where, step in chosen
    ]
    rows = [
        (
            number(step["rate"]),
            number(round(step["throughput"], 1)),
            *(duration(step["latency"][name]) if step["latency"] else _NONE for name in (*_SHOWN, "max")),
            f"{step['failed_share']:.2%}" if step["failed"] else "0",
            *((_verdict_at(objective, step),) if objective else ()),
        )
        for step in document["open"]
    ]
    head = ["Requests/s", "answered/s", *_SHOWN, "max", "failed", *(("meets the objective",) if objective else ())]
    here = next((n for n, step in enumerate(document["open"]) if knee and step["rate"] == knee["rate"]), None)
    over_rates = (
        figure("Latency", "Counted from the moment a request was due, so that waiting is not hidden.", latency),
        figure("Throughput", "Where the lines part, the service no longer keeps up.", answered),
    )
    plots = figures(*(over_rates if len(steps) > 1 else ()), *histograms)
    return [plots, table(head, rows, here=here)]


def _verdict_at(objective: Mapping[str, Any], step: Step) -> str:
    misses = objective["misses"][f"{step['rate']:g}"]
    return f"no: {', '.join(misses)}" if misses else "yes"


def _histogram(step: Step) -> str:
    buckets = step["histogram"]
    return bars(
        "Latency histogram",
        [(bucket["from"], bucket["to"]) for bucket in buckets],
        [bucket["count"] for bucket in buckets],
        x="latency",
        y="requests",
        unit=SECONDS,
        at=[Mark(step["latency"]["p50"], "p50", 2), Mark(step["latency"]["p99"], "p99", 3)],
    )


def _throughput(document: Document) -> list[str]:
    steps = document["closed"]
    able = [step for step in steps if step["latency"]]
    callers = [float(step["callers"]) for step in able]
    throughput = lines(
        "Throughput against concurrency",
        callers,
        [Series("throughput", 1, [step["throughput"] for step in able])],
        x="at once",
        y="answers a second",
        unit=COUNT,
        log_x=True,
    )
    latency = lines(
        "Latency against concurrency",
        callers,
        [Series(name, _SHOWN[name], [step["latency"][name] for step in able]) for name in ("p50", "p99")],
        x="at once",
        y="latency",
        unit=SECONDS,
        log_x=True,
        log_y=True,
    )
    best = document["best"]
    rows = [
        (
            str(step["callers"]),
            number(round(step["throughput"], 1)),
            *(duration(step["latency"][name]) if step["latency"] else _NONE for name in (*_SHOWN, "max")),
            f"{step['failed_share']:.2%}" if step["failed"] else "0",
        )
        for step in steps
    ]
    here = next((n for n, step in enumerate(steps) if best and step["callers"] == best["callers"]), None)
    over_callers = (
        figure("Throughput", "Closed loop: every answer sends the next request.", throughput),
        figure("Latency", "From sending to the answer; nobody waits outside in a closed loop.", latency),
    )
    plots = figures(*over_callers) if len(able) > 1 else ""
    return [plots, table(["At once", "answers/s", *_SHOWN, "max", "failed"], rows, here=here)]


def _inside(document: Document) -> list[str]:
    steps = [step for step in document["open"] if step["server"]] or [s for s in document["closed"] if s["server"]]
    if not steps:
        return [paragraph("The service showed no metrics, so there is nothing to say about its stages and its cost.")]
    knee = document["knee"]
    calm = [step for step in steps if not knee or not step["rate"] or step["rate"] <= knee["rate"]]
    stages = stacks(
        "Time of the stages",
        [_name(step) for step in calm],
        [
            Series(stage, colour, [step["server"]["stages"].get(stage) for step in calm])
            for stage, colour in _STAGES.items()
        ],
        x="mean time of a request in the service",
        unit=SECONDS,
    )
    cores = stacks(
        "Processors",
        [_name(step) for step in steps],
        [
            Series("service", 1, [_cores(step) for step in steps]),
            Series("generator", 6, [step["generator"]["cpu"] for step in steps]),
        ],
        x="cores busy",
        unit=COUNT,
    )
    rows = [
        (
            _name(step),
            *(
                duration(step["server"]["stages"][name]) if name in step["server"]["stages"] else _NONE
                for name in _STAGES
            ),
            _or_none(step["server"]["cpu_per_text"], duration),
            _or_none(_cores(step), lambda value: f"{value:.2f}"),
            _or_none(step["server"]["memory_bytes"], lambda value: f"{value / 2**20:.0f} MiB"),
        )
        for step in steps
    ]
    head = ["Step", *_STAGES, "CPU a text", "cores", "memory"]
    memory = (
        "Memory counts what processes share once."
        if document["target"]["started"]
        else "Memory is the sum of the processes' resident sets: what they share counts for each."
    )
    return [
        figures(
            figure(
                "Stages",
                "What the service itself says of a request, up to the knee; beyond it the queue grows.",
                stages,
            ),
            figure("Processors", "Processor time over the time of the step.", cores),
        ),
        table(head, rows),
        paragraph(
            "A batch of requests counts its whole time for each of them, and streams have no decode and encode. "
            + memory,
            "muted",
        ),
    ]


def _protocols(document: Document) -> list[str]:
    steps = document["protocols"]
    if not steps:
        return []
    plot = stacks(
        "Texts a second by protocol",
        [step["traffic"] for step in steps],
        [Series("texts/s", 1, [step["texts_per_second"] for step in steps])],
        x="texts a second",
        unit=COUNT,
    )
    rows = [
        (
            FORMS[step["traffic"]].title + (f" of {document['batch']}" if FORMS[step["traffic"]].batched else ""),
            number(round(step["throughput"], 1)),
            number(round(step["texts_per_second"], 1)),
            *(duration(step["latency"][name]) if step["latency"] else _NONE for name in ("p50", "p99")),
            _or_none((step["server"] or {}).get("cpu_per_text"), duration),
            f"{step['generator']['busiest_cpu']:.0%}" + (" !" if step["generator"]["bottleneck"] else ""),
        )
        for step in steps
    ]
    opinions = [
        (
            f"{each['tool']}, {each['traffic']}",
            number(round(each["throughput"], 1)),
            number(round(ours["throughput"], 1)) if ours else _NONE,
            f"{each['throughput'] / ours['throughput']:.2f}" if ours and ours["throughput"] else _NONE,
            _or_none(each["p50"], duration),
            _or_none(each["p99"], duration),
        )
        for each in document["second_opinions"]
        for ours in [next((step for step in steps if step["traffic"] == each["traffic"]), None)]
    ]
    callers = steps[0]["callers"]
    return [
        figures(figure("Texts a second", f"{callers} requests at once, one after the other protocol.", plot)),
        table(
            ["Protocol", "requests/s", "texts/s", "p50", "p99", "CPU a text", "generator's CPU"],
            rows,
        ),
        paragraph(
            "A mark ! says that the generator was the bottleneck there. A gRPC call costs it about ten times what a "
            "REST request does.",
            "muted",
        ),
        *(
            [
                "<h3>Second opinions</h3>",
                paragraph("The same load from generators written in C, closed loop.", "muted"),
                table(["Generator", "requests/s", "ours", "ratio", "p50", "p99"], opinions),
            ]
            if opinions
            else []
        ),
        *(
            paragraph(f"{FORMS[name].title} was left out: {reason}.", "muted")
            for name, reason in document["left_out"].items()
        ),
    ]


def _failures(document: Document) -> list[str]:
    kinds: dict[str, int] = {}
    for step in _all_steps(document):
        for outcome, count in step["outcomes"].items():
            if not succeeded(outcome):
                kinds[outcome] = kinds.get(outcome, 0) + count
    if not kinds:
        return [paragraph(f"None: all of {document['requests']:,} requests were answered.")]
    rows = [
        (
            kind,
            "refused: too much to do" if is_refusal(kind) else "failed",
            _meaning(kind),
            f"{count:,}",
            f"{count / document['requests']:.3%}",
        )
        for kind, count in sorted(kinds.items(), key=lambda item: -item[1])
    ]
    steps = [
        (step["title"], f"{step['requests']:,}", f"{step['failed']:,}", f"{step['failed_share']:.3%}")
        for step in _all_steps(document)
        if step["failed"]
    ]
    return [
        table(["Kind", "what it is", "meaning", "requests", "of all"], rows, words=3),
        table(["Step", "requests", "failed", "share"], steps),
    ]


def _generator(document: Document) -> list[str]:
    steps = _all_steps(document)
    rows = [
        (
            step["title"],
            str(step["generator"]["processes"]),
            f"{step['generator']['cpu']:.0%}",
            *(
                (duration(step["generator"][name]) if step["loop"] == "open" else _NONE)
                for name in ("lag_p50", "lag_p99")
            ),
            str(step["connections"] or _NONE),
            _or_none(step["machine_busy"], lambda value: f"{value:.0%}"),
            "yes" if step["generator"]["bottleneck"] else "no",
        )
        for step in steps
    ]
    return [
        paragraph(
            "Its processor time is in parts of one core. It is the bottleneck where a process of it takes 90% of a "
            "core or more, or where half of the requests are sent so late that it matters."
        ),
        table(
            ["Step", "processes", "CPU", "late by, p50", "p99", "connections", "machine busy", "bottleneck"],
            rows,
        ),
    ]


def _circumstances(document: Document) -> list[str]:
    machine, target, plan = document["machine"], document["target"], document["plan"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    settings = ", ".join(
        f"{name.replace('_', ' ')} {_setting(value)}" for name, value in plan.items() if value not in (None, [], ())
    )
    pairs = [
        ("Command", document["command"]),
        ("Service", target["started"] or f"{target['rest']}, running already"),
        ("gRPC", target["grpc"] or "not asked"),
        ("Models", ", ".join(document["models"]) or "unknown"),
        ("Workers", str(document["workers"] or "unknown")),
        ("Machine", f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}"),
        ("System", machine["system"]),
        ("Versions", versions),
        ("Settings", settings),
        ("Generators", f"{document['processes']} process{'es' if document['processes'] > 1 else ''}"),
        ("Duration", f"{document['seconds']:.0f} s"),
    ]
    note = "" if target["started"] else "Machine and versions are those of the sender; the service may run on others."
    return [facts(pairs), paragraph(note, "muted") if note else ""]


_EXPLANATIONS = (
    "Open loop: requests are sent on a schedule, whatever the answers do, as those of independent users are. Latency "
    "counts from the moment a request was due. While a service stands still, requests become due and wait, and all of "
    "that waiting is in the percentiles.",
    "Closed loop: a fixed number of callers, each of whom sends the next request when the last is answered. It finds "
    "the highest throughput, but hides waiting: a slow service gets fewer requests.",
    "Knee: the rate with the greatest ratio of throughput to mean latency (Kleinrock's power). Run a service below it.",
    "Percentiles are exact, over all answers that succeeded; a request without an answer in time counts with the time "
    "that it waited. What was refused or failed is counted apart and is no latency.",
)


def _is_only(document: Document) -> bool:
    """Whether one rate was tried."""
    return len(document["open"]) == 1


def _is_highest(step: Step, document: Document) -> bool:
    """Whether no higher rate was tried."""
    return bool(step["rate"] == max(each["rate"] for each in document["open"]))


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_setting, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _name(step: Step) -> str:
    return f"{number(step['rate'])}/s" if step["loop"] == "open" else f"{step['callers']} at once"


def _cores(step: Step) -> float | None:
    """Cores that the service keeps busy: what a text costs, as often as one is answered."""
    cost = (step["server"] or {}).get("cpu_per_text")
    return None if cost is None else float(cost * step["texts_per_second"])


def _all_steps(document: Document) -> Sequence[Step]:
    return [*document["closed"], *document["open"], *document["protocols"]]


def _or_none(value: Any, show: Any) -> str:
    return _NONE if value is None else str(show(value))


def _kinds(document: Document) -> str:
    kinds = sorted({kind for step in _all_steps(document) for kind in step["outcomes"] if not succeeded(kind)})
    return f" ({', '.join(kinds)})" if kinds else ""


def _cost(document: Document) -> str:
    step = document["knee"] or document["best"]
    if step is None:
        return "not measured"
    server = step["server"] or {}
    parts = []
    if server.get("cpu_per_text"):
        parts.append(f"{duration(server['cpu_per_text'])} of CPU a text")
    if server.get("memory_bytes"):
        parts.append(f"{server['memory_bytes'] / 2**20:.0f} MiB")
    parts.append(f"generator {step['generator']['cpu']:.0%} of a core")
    return ", ".join(parts)


def _meaning(kind: str) -> str:
    known = {
        "429": "too many requests",
        "503": "not available",
        "504": "deadline passed",
        "500": "internal error",
        "413": "too large",
        "401": "no API key",
        "404": "no such route or model",
        "RESOURCE_EXHAUSTED": "too many requests",
        "UNAVAILABLE": "not available",
    }
    return known.get(kind, "")
