"""`python -m benchmarks.serving`: this service, the naive application and the floors, in one interleaved run."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks import generator, texts
from benchmarks.generator import Load, Script
from benchmarks.naive import ARTIFACT, Naive
from benchmarks.processes import Server
from model.artifact import read_artifact
from service.classifier import Classifier

SERVICE, NAIVE, ASGI, FASTAPI = "service", "naive", "constant ASGI", "constant FastAPI"

#: Server, kind of text, connections.
Case = tuple[str, str, int]

CASES: tuple[Case, ...] = (
    *((server, kind, 32) for kind in ("whole", "short") for server in (SERVICE, NAIVE)),
    *((server, "whole", 64) for server in (SERVICE, NAIVE)),
    *((server, kind, 1) for kind in ("whole", "short") for server in (SERVICE, FASTAPI)),
    *((ASGI, kind, 32) for kind in ("whole", "short")),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--texts", type=Path, help="a file with a text a line (default: generated, with IMDB's lengths)"
    )
    parser.add_argument("--seconds", type=float, default=3, help="of each run (default: 3)")
    parser.add_argument("--rounds", type=int, default=5, help="of all runs (default: 5)")
    parser.add_argument("--workers", type=int, default=2, help="of the service and of the naive application")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    options = parser.parse_args()
    generator.require()

    artifact = read_artifact(ARTIFACT)
    whole = texts.read(options.texts, 1000) if options.texts else texts.generate(artifact.tokenizer, 1000)
    kinds = {"whole": whole, "short": texts.shorten(whole)}
    scripts = {kind: Script(each) for kind, each in kinds.items()}
    ids = np.mean([min(artifact.tokenizer.encode(text).tokens, 400) for text in whole])
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {len(whole)} texts,")
    print(f"{ids:.0f} ids a text; {options.workers} workers; the load generator shares the processors\n")

    measured: dict[Case, list[Load]] = defaultdict(list)
    stages: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in kinds}
    classifier, naive = Classifier(artifact), Naive()
    with ExitStack() as stack:
        servers = {server.name: stack.enter_context(server) for server in make_servers(options.workers)}
        for round_number in range(options.rounds):
            for case in CASES:
                name, kind, connections = case
                measured[case].append(generator.run(servers[name], scripts[kind], connections, options.seconds))
                print(f"\rround {round_number + 1} of {options.rounds}: {name}, {kind}, {connections} ", end="")
                sys.stdout.flush()
            for kind, each in kinds.items():
                measure_stages(stages[kind], classifier, naive, each)
        memory = servers[SERVICE].pss_megabytes()
        ready = servers[SERVICE].ready_seconds
    print("\r" + " " * 60 + "\r", end="")
    report(measured, stages, memory, ready)
    if options.json:
        document = {" ".join(map(str, case)): [load._asdict() for load in loads] for case, loads in measured.items()}
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def make_servers(workers: int) -> list[Server]:
    """Everything that is measured."""
    uvicorn = ("-m", "uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "error")
    return [
        Server(
            SERVICE,
            *("-m", "service", "serve", "--host", "127.0.0.1", "--port", "{port}", "--grpc-port", "{grpc_port}"),
            *("--execution-provider", "cpu", "--workers", str(workers)),
            probe="/readyz",
        ),
        Server(NAIVE, *uvicorn, "--workers", str(workers), "--factory", "benchmarks.naive:create_app"),
        Server(ASGI, *uvicorn, "benchmarks.floors:asgi_app"),
        Server(FASTAPI, *uvicorn, "benchmarks.floors:fastapi_app"),
    ]


def measure_stages(stages: dict[str, list[float]], classifier: Classifier, naive: Naive, each: list[str]) -> None:
    """In this process, on one thread: seconds a text of every stage."""
    for name, work in (
        ("tokenize", lambda text: classifier.encode((text,))),
        ("text to probabilities", lambda text: classifier.predict((text,))),
        ("naive, text to probability", naive.predict),
    ):
        started = perf_counter()
        for text in each:
            work(text)
        stages[name].append((perf_counter() - started) / len(each))


def report(
    measured: dict[Case, list[Load]], stages: dict[str, dict[str, list[float]]], memory: list[float], ready: float
) -> None:
    """Medians of all rounds, then the ratios that matter."""
    print(f"{'':18} {'texts':6} {'conn.':>5} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>7} {'errors':>6}")
    for (name, kind, connections), loads in measured.items():
        rate, p50, p99, cpu = (median(values) for values in list(zip(*loads, strict=True))[:4])
        errors = sum(load.errors for load in loads)
        print(
            f"{name:18} {kind:6} {connections:5} {rate:8.0f} {p50 * 1e3:8.2f} {p99 * 1e3:8.2f} "
            f"{cpu * 1e6:7.0f} {errors:6}"
        )
    print()
    for kind, each in stages.items():
        for name, values in each.items():
            print(f"in process, {kind}: {name:28} {median(values) * 1e6:7.1f} us")
    print()

    def ratio(what: str, values: list[float]) -> None:
        print(f"{what:75} {median(values):5.2f}  ({min(values):.2f} to {max(values):.2f})")

    def pairs(kind: str, connections: int, one: str, other: str) -> list[tuple[Load, Load]]:
        return list(zip(measured[one, kind, connections], measured[other, kind, connections], strict=True))

    for kind in stages:
        ratio(
            f"requests/s at 32 connections, {kind}: service / naive",
            [ours.rate / theirs.rate for ours, theirs in pairs(kind, 32, SERVICE, NAIVE)],
        )
    ratio(
        "p99 at 64 connections, whole: service / naive",
        [ours.p99 / theirs.p99 for ours, theirs in pairs("whole", 64, SERVICE, NAIVE)],
    )
    for kind, each in stages.items():
        costs = zip(pairs(kind, 32, SERVICE, ASGI), each["text to probabilities"], strict=True)
        ratio(
            f"CPU a request, {kind}: service / (constant ASGI + in process)",
            [ours.cpu / (floor.cpu + inside) for (ours, floor), inside in costs],
        )
        ratio(
            f"p50 at 1 connection, {kind}: service / constant FastAPI",
            [ours.p50 / floor.p50 for ours, floor in pairs(kind, 1, SERVICE, FASTAPI)],
        )
        inside_pairs = zip(each["text to probabilities"], each["naive, text to probability"], strict=True)
        ratio(f"in process, {kind}: ours / naive", [ours / theirs for ours, theirs in inside_pairs])
    print(
        f"\nmemory (PSS): supervisor {memory[0]:.0f} MB, workers {', '.join(f'{size:.0f}' for size in memory[1:])} MB"
    )
    print(f"ready {ready:.2f} s after the start of the process")


if __name__ == "__main__":
    main()
