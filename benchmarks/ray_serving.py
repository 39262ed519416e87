"""`python -m benchmarks.ray_serving`: the cost of Ray Serve per request, and the gain of a second replica.

It compares the plain service with one and two workers with Ray Serve with one and two replicas, one server at a time,
in Ray's default mode and in its throughput mode. The processor time per request is that of all processes of a server,
including Ray's own, minus the time that they use without requests. Other programs on the cores hardly affect it.

`--limits 4 16 64` compares values of `max_ongoing_requests` instead, on one replica with 1 to 64 connections.

It needs wrk, and runs in the environment of `make test-ray`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from urllib.request import Request, urlopen

from benchmarks.markdown import circumstances, number, table
from benchmarks.rest import PREDICT, Load, Script, require
from loadtest.errors import LoadTestError
from loadtest.measurement.saturation import read_wrk
from loadtest.processes import PROJECT, Server
from loadtest.traffic.texts import generate
from sentiment_conv1d.model.artifact import read_artifact

ARTIFACT = PROJECT / "model_repository" / "imdb-cnn" / "1"

#: Ray's throughput mode: HAProxy forwards requests to the replicas, which speak HTTP themselves.
THROUGHPUT = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}

_VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONWARNINGS": "ignore"}

#: Concurrent requests per worker or replica.
_CONNECTIONS = 8

#: Concurrent requests of the comparison of limits.
_LIMITED_CONNECTIONS = (1, 2, 4, 8, 16, 64)


def plain(workers: int) -> Server:
    """Return the plain service."""
    ports = ("--host", "127.0.0.1", "--port", "{port}", "--grpc-port", "{grpc_port}")
    options = ("--execution-provider", "cpu", "--workers", str(workers))
    return Server(f"plain, {workers}", "-m", "service", "serve", *ports, *options, probe="/readyz")


def on_ray(name: str, variables: Mapping[str, str], replicas: int, limit: int = 16) -> Server:
    """Return the service on Ray. `limit` is `max_ongoing_requests`."""
    arguments = ("-m", "benchmarks.ray_serving", "--serve", str(replicas), str(limit), "{port}")
    return Server(name, *arguments, probe="/readyz", environment={**_VARIABLES, **variables})


def serve(replicas: int, limit: int, port: int) -> None:
    """Serve on Ray until SIGTERM."""
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    from sentiment_conv1d.cluster.application import deployment

    ray.init("local", num_cpus=replicas, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    logs = LoggingConfig(enable_access_log=False)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port), logging_config=logs)
    options = {
        "num_replicas": replicas,
        "max_ongoing_requests": limit,
        "autoscaling_config": None,
        "logging_config": logs,
    }
    arguments = {"model_repository": str(ARTIFACT.parent.parent)}
    serve.run(deployment.options(**options).bind(arguments), route_prefix="/", blocking=True)


def wait_for(server: Server) -> None:
    """Wait for the answer to a text, because Ray's proxy answers probes before there is a replica."""
    body = json.dumps({"text": "good"}).encode()
    request = Request(f"http://127.0.0.1:{server.port}/v1/predict", body, {"content-type": "application/json"})
    deadline = time.monotonic() + 120
    while True:
        try:
            urlopen(request, timeout=10).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def measure(server: Server, script: Script, connections: int, seconds: int) -> Load:
    """Return the load, with the processor time of the requests alone. Raises `LoadTestError` if none is answered."""
    start = server.cpu_seconds()
    time.sleep(seconds)
    middle = server.cpu_seconds()
    program, *arguments = script.wrk.command(f"http://127.0.0.1:{server.port}", connections, seconds)
    # On busy cores, Ray can take longer than wrk's default timeout.
    command = [program, *arguments[:-1], "--timeout", "60s", arguments[-1]]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu = server.cpu_seconds() - middle - (middle - start)
    answers = read_wrk(output)
    if answers is None:
        raise LoadTestError(f"{server.name} answered nothing\n{output}\n{server.log()}")
    return Load(answers.throughput, answers.p50, answers.p99, cpu / answers.requests, answers.failed)


def compare_with_plain(script: Script, rounds: int, seconds: int) -> str:
    """Return a table of the plain service and Ray Serve, with one and two workers."""
    found: dict[str, list[tuple[Load, Load]]] = {}
    for _ in range(rounds):
        for count in (1, 2):
            throughput = on_ray(f"Ray Serve, throughput, {count}", THROUGHPUT, count)
            for server in (plain(count), on_ray(f"Ray Serve, {count}", {}, count), throughput):
                one, many = measure_all(server, script, (1, _CONNECTIONS * count), seconds)
                found.setdefault(server.name, []).append((one, many))
    rows = []
    for name, loads in found.items():
        ones, manies = zip(*loads, strict=True)
        p50, alone = median(each.p50 for each in ones), median(each.cpu for each in ones)
        rate, cpu = median(each.rate for each in manies), median(each.cpu for each in manies)
        errors = sum(each.errors for each in (*ones, *manies))
        rows.append((name, *(number(each * 1e6) for each in (p50, alone, cpu)), number(rate), str(errors)))
    head = (
        "server, workers",
        "p50 µs, 1 connection",
        "CPU µs, 1 connection",
        "CPU µs, 8 each",
        "requests/s, 8 each",
        "errors",
    )
    return table(head, rows)


def compare_limits(limits: Sequence[int], script: Script, rounds: int, seconds: int) -> str:
    """Return a table of one replica in throughput mode with several values of `max_ongoing_requests`."""
    found: dict[int, list[list[Load]]] = {limit: [] for limit in limits}
    for _ in range(rounds):
        for limit, loads in found.items():
            server = on_ray(f"max_ongoing_requests {limit}", THROUGHPUT, 1, limit)
            loads.append(measure_all(server, script, _LIMITED_CONNECTIONS, seconds))
    rows = []
    for column, connections in enumerate(_LIMITED_CONNECTIONS):
        each = [[loads[column] for loads in found[limit]] for limit in limits]
        rates = (number(median(load.rate for load in loads)) for loads in each)
        times = (number(median(load.cpu for load in loads) * 1e6) for loads in each)
        latencies = (number(median(load.p99 for load in loads) * 1e3) for loads in each)
        errors = sum(load.errors for loads in each for load in loads)
        rows.append((str(connections), *rates, *times, *latencies, str(errors)))
    names = ("requests/s", "CPU µs", "p99 ms")
    return table(("connections", *(f"{name}, {limit}" for name in names for limit in limits), "errors"), rows)


def measure_all(server: Server, script: Script, connections: Iterable[int], seconds: int) -> list[Load]:
    """Start a server, measure it with several numbers of connections, and stop it."""
    print(server.name, file=sys.stderr, flush=True)
    with server:
        wait_for(server)
        measure(server, script, _CONNECTIONS, 2)
        return [measure(server, script, each, seconds) for each in connections]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ray_serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--limits", nargs="+", type=int, metavar="N", help="compare values of max_ongoing_requests")
    parser.add_argument("--serve", nargs=3, type=int, metavar=("REPLICAS", "LIMIT", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    require()
    script = Script(PREDICT, generate(read_artifact(ARTIFACT).tokenizer, 512))
    if options.limits:
        found = compare_limits(options.limits, script, options.rounds, options.seconds)
    else:
        found = compare_with_plain(script, options.rounds, options.seconds)
    print(circumstances(), f"Medians of {options.rounds} rounds of {options.seconds} s.\n")
    print(found)


if __name__ == "__main__":
    main()
