"""The command line `python -m loadtest`: tests a service and writes a report, or compares two reports."""

from __future__ import annotations

if __name__ == "__main__":
    from sentiment_conv1d.commands.startup import begin

    begin()

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

try:
    from loadtest.document import Document, read_document, write_document
    from loadtest.errors import LoadTestError
    from loadtest.generation import probe
    from loadtest.generation.load import Sending
    from loadtest.generation.pool import ENDING, GeneratorPool
    from loadtest.measurement import machine, objective
    from loadtest.plan import Plan
    from loadtest.processes import PROJECT, Server
    from loadtest.reporting import comparison, report
    from loadtest.reporting.summary import summary
    from loadtest.run import LoadTest
    from loadtest.traffic import texts
    from loadtest.traffic.requests import FORMS, Request, make_requests, parse_mix
    from loadtest.traffic.target import Endpoint, Target
    from sentiment_conv1d.artifact.errors import writing
    from sentiment_conv1d.commands.interruption import interrupt
    from sentiment_conv1d.commands.parser import between, local_path
    from sentiment_conv1d.commands.running import run_command
except ModuleNotFoundError as error:
    print(f"error: {error.name} is missing: pip install --require-hashes -r requirements/loadtest.txt", file=sys.stderr)
    sys.exit(2)

_ARTIFACT = PROJECT / "model_repository" / "imdb-cnn" / "1"

#: Different requests of each kind. They are sent in turn.
_REQUESTS = 1024

MET, MISSED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


_count, _rate, _seconds = between(1, 1_000_000_000), between(0.01, 1_000_000), between(0.1, 86_400)


def _numbers(kind: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    """Return the type of an argument that is a list of numbers."""
    return lambda text: tuple(map(kind, text.split(",")))


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line, without the list of all flags."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"error: {message} ({self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = _Parser(prog="python -m loadtest", description="Load tests of the service.")
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="test a service and write a report (the default command)")
    target = run.add_argument_group("what is tested")
    target.add_argument("--url", help="REST address of a running service (default: start a service on free ports)")
    target.add_argument("--grpc-url", help="its gRPC address, or `none` (default: the same host, port 8001)")
    target.add_argument("--model", default="reviews", help="name for the Open Inference Protocol (default: reviews)")
    target.add_argument("--workers", type=_count, help="number of worker processes of the started service")
    target.add_argument("--cores", type=_count, help="number of processors of a running service, for the rate per core")
    target.add_argument(
        "--ca", type=local_path, metavar="FILE", help="certificates to trust for https and gRPC over TLS"
    )

    traffic = run.add_argument_group("what is sent", "The API key comes from the variable LOADTEST_API_KEY.")
    traffic.add_argument(
        "--traffic",
        default="rest",
        metavar="MIX",
        help=f"one of {', '.join(FORMS)}, or shares: rest=70,oip-grpc=30",
    )
    traffic.add_argument(
        "--texts", default="imdb", help="imdb, short, mixed or a file (.txt, .csv, .tsv, .jsonl, .parquet)"
    )
    traffic.add_argument("--batch", type=_count, default=32, help="texts per request of rest-batch (default: 32)")

    steps = run.add_argument_group("how it is sent")
    steps.add_argument(
        "--rates",
        type=_numbers(_rate),
        help="rates, such as 100,200,400 (default: from the closed loop)",
    )
    steps.add_argument(
        "--concurrency", type=_numbers(_count), help="callers of the closed loop (default: 1,2,4,8,16,32,64)"
    )
    steps.add_argument("--seconds", type=_seconds, help="duration of each step (default: 4)")
    steps.add_argument(
        "--only",
        choices=("open", "closed"),
        help="open: only the rates; closed: only the concurrency",
    )
    steps.add_argument("--no-protocols", action="store_true", help="skip the comparison of protocols")
    steps.add_argument("--poisson", action="store_true", help="send at random times, like many independent callers")
    steps.add_argument("--connections", type=_count, default=32, help="opened before the start (default: 32)")
    steps.add_argument("--max-connections", type=_count, default=1024, help="limit on connections (default: 1024)")
    steps.add_argument("--timeout", type=_seconds, default=10.0, help="seconds to wait for a response (default: 10)")
    steps.add_argument("--processes", type=_count, default=1, help="number of processes that send (default: 1)")
    steps.add_argument(
        "--max-seconds", type=_seconds, default=180.0, help="time limit of the whole test (default: 180)"
    )
    steps.add_argument("--max-requests", type=_count, default=2_000_000, help="limit per step (default: 2,000,000)")
    steps.add_argument("--smoke", action="store_true", help="run a few very short steps to check that everything works")
    steps.add_argument(
        "--like", type=local_path, metavar="REPORT", help="repeat the rates and steps of an earlier test"
    )

    results = run.add_argument_group("results")
    results.add_argument("--slo", help="objective such as 'p99<20ms,errors<0.1%%'; exit status 1 if it is missed")
    results.add_argument("--out", type=local_path, help="folder of the report (default: runs/loadtest-DATE-TIME)")

    compare = commands.add_parser("compare", help="compare two reports")
    compare.add_argument("old", type=local_path, help="report.json, or the folder that contains it")
    compare.add_argument("new", type=local_path)
    compare.add_argument("--out", type=local_path, help="folder of the comparison (default: NEW/comparison)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status, as `run_command` does, or 1 if the objective was missed."""
    given = complete(sys.argv[1:] if arguments is None else arguments)
    return run_command(
        parser(), given, lambda options: _compare(options) if options.command == "compare" else _run(options, given)
    )


def complete(arguments: Sequence[str]) -> list[str]:
    """Add the default command, `run`, to arguments without a command."""
    named = bool(arguments) and (not arguments[0].startswith("-") or arguments[0] in ("-h", "--help"))
    return [*arguments] if named else ["run", *arguments]


def _run(options: argparse.Namespace, given: Sequence[str]) -> int:
    wanted = None if options.slo is None else objective.parse(options.slo)
    mix = parse_mix(options.traffic)
    plan = _plan(options)
    _check_target(options)
    out = options.out or PROJECT / "runs" / f"loadtest-{datetime.now():%Y%m%d-%H%M%S}"
    _make_folder(out)
    chosen = texts.choose(options.texts, _tokenizer(), _REQUESTS)
    with ExitStack() as stack:
        service = stack.enter_context(_service(options.workers)) if options.url is None else None
        target = _target(options, service)
        traffic = {options.traffic: make_requests(mix, chosen, target, options.batch)}
        probe.check(target, traffic[options.traffic])
        others, left_out = _protocols(chosen, target, options.batch) if plan.protocols else ({}, {})
        traffic |= others
        run = LoadTest(
            plan,
            target,
            stack.enter_context(GeneratorPool(target, traffic, options.processes)),
            objective=wanted,
            traffic=traffic,
            max_seconds=options.max_seconds,
            memory=None if service is None else lambda: sum(service.pss_megabytes()) * 2**20,
            about={
                "command": f"python -m loadtest {shlex.join(given[1:])}".strip(),
                "target": {
                    "rest": str(target.rest),
                    "grpc": None if target.grpc is None else str(target.grpc),
                    "started": None if service is None else shlex.join(["python", *service.arguments]),
                },
                "service_cores": machine.cores() if service is not None else options.cores,
                "traffic_title": _title(mix),
                "texts": {"source": options.texts, "count": len(chosen), "words": _mean_words(chosen)},
                "batch": options.batch,
                "processes": options.processes,
                "left_out": left_out,
            },
        )
        run.execute()
    write_document(out / "report.json", run.document)
    (out / "report.html").write_text(report.html(run.document), encoding="utf-8")
    print("\n".join(summary(run.document)))
    print(f"\n{out / 'report.html'}")
    if run.document["interrupted"] == "interrupted":
        return INTERRUPTED
    return MISSED if run.document["objective"] and not run.document["objective"]["met"] else MET


def _protocols(chosen: Sequence[str], target: Target, batch: int) -> tuple[dict[str, list[Request]], dict[str, str]]:
    """Return the requests of every protocol that the service answers, and why the others are left out."""
    requests, left_out = {}, {}
    for name in FORMS:
        made = make_requests({name: 1.0}, chosen, target, batch)
        try:
            probe.check(target, made)
            requests[name] = made
        except LoadTestError as error:
            left_out[name] = str(error)
    return requests, left_out


def _title(mix: Mapping[str, float]) -> str:
    if len(mix) == 1:
        return FORMS[next(iter(mix))].title
    return ", ".join(f"{FORMS[name].title} ({share:g})" for name, share in mix.items())


def _compare(options: argparse.Namespace) -> int:
    old, new = (read_document(path) for path in (options.old, options.new))
    compared = comparison.compare(old, new)
    out = options.out or _folder_of(options.new) / "comparison"
    _make_folder(out)
    (out / "comparison.json").write_text(json.dumps(compared, indent=1) + "\n")
    (out / "comparison.html").write_text(comparison.html(old, new, compared), encoding="utf-8")
    print("\n".join(comparison.summary(compared)))
    print(f"\n{out / 'comparison.html'}")
    return MET


def _plan(options: argparse.Namespace) -> Plan:
    if options.connections > options.max_connections:
        raise LoadTestError("--connections exceeds --max-connections")
    plan = Plan(**{each.name: getattr(options, each.name) for each in fields(Sending) if each.name != "seconds"})
    if options.smoke:
        plan = replace(plan, concurrency=(1, 8), rates=(50.0, 100.0), seconds=0.3)
    if options.like is not None:
        plan = _like(plan, read_document(options.like))
    given = {name: getattr(options, name) for name in ("rates", "concurrency", "seconds")}
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})
    if options.only == "open":
        if not plan.rates:
            raise LoadTestError("--only open needs --rates, because only the closed loop can find rates")
        plan = replace(plan, concurrency=())
    if options.only == "closed":
        plan = replace(plan, rates=())
    if options.slo is not None and plan.rates == ():
        raise LoadTestError("--slo cannot be used with a closed loop only, because an objective is met at a rate")
    if options.only or options.no_protocols:
        plan = replace(plan, protocols=False)
    for rate in plan.rates or ():
        if rate * plan.seconds > plan.max_requests:
            raise LoadTestError(f"{rate:g} requests per second for {plan.seconds:g} s exceed --max-requests")
    return plan


def _like(plan: Plan, earlier: Document) -> Plan:
    """Return the plan with the steps of an earlier test."""
    return replace(
        plan,
        seconds=earlier["plan"]["seconds"],
        protocols=earlier["plan"]["protocols"],
        rates=tuple(step.rate for step in earlier["open"]),
        concurrency=tuple(step.callers for step in earlier["closed"]),
    )


def _check_target(options: argparse.Namespace) -> None:
    elsewhere = {"--grpc-url": options.grpc_url, "--cores": options.cores, "--ca": options.ca}
    for flag, value in elsewhere.items():
        if value is not None and options.url is None:
            raise LoadTestError(f"{flag} needs --url")
    if options.workers is not None and options.url is not None:
        raise LoadTestError("--workers cannot be used with --url")


def _service(workers: int | None) -> Server:
    flags = ("--host", "127.0.0.1", "--port", "{port}", "--grpc-port", "{grpc_port}", "--execution-provider", "cpu")
    count = () if workers is None else ("--workers", str(workers))
    return Server("the service", "-m", "service", "serve", *flags, *count, probe="/readyz")


def _target(options: argparse.Namespace, service: Server | None) -> Target:
    key = os.environ.get("LOADTEST_API_KEY") or None
    if service is not None:
        host = "127.0.0.1"
        return Target(Endpoint(host, service.port), Endpoint(host, service.grpc_port), options.model, key)
    rest = Endpoint.parse(options.url, 8000)
    grpc: Endpoint | None = Endpoint(rest.host, 8001, rest.tls)
    if options.grpc_url is not None:
        grpc = None if options.grpc_url == "none" else Endpoint.parse(options.grpc_url, 8001)
    if options.ca is not None and not (rest.tls or (grpc is not None and grpc.tls)):
        raise LoadTestError("--ca needs an address with https:// or grpcs://")
    return Target(rest, grpc, options.model, key, options.ca)


def _tokenizer() -> Any:
    from sentiment_conv1d.artifact.artifact import read_artifact

    return read_artifact(_ARTIFACT).tokenizer


def _mean_words(chosen: Sequence[str]) -> float:
    return round(sum(len(text.split()) for text in chosen) / len(chosen), 1)


def _folder_of(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _make_folder(path: Path) -> None:
    with writing(path, LoadTestError):
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # Ignore further signals while the partial report is written and all processes end.
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    interrupt(number, frame)


if __name__ == "__main__":
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _interrupt)
    sys.exit(main())
