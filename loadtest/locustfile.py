"""The same requests as Locust scenarios (https://locust.io), with a web page, headless, or on several machines.

`locust -f loadtest/locustfile.py --host http://127.0.0.1:8000`, see docs/load-testing.md. Locust is an extra:
requirements/loadtest.txt. A user sends about one request per second, so the number of users is the rate as long as the
service keeps up. Users wait for their responses, so a slow service gets fewer requests. For latency at a given rate,
use `python -m loadtest`.
"""

from __future__ import annotations

import itertools
import os
import queue
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc
import grpc.experimental.gevent
from locust import FastHttpUser, LoadTestShape, User, constant_throughput, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtest.generation.rpc import metadata, open_channel
from loadtest.processes import PROJECT
from loadtest.traffic import texts
from loadtest.traffic.requests import FORMS, Form
from loadtest.traffic.target import Endpoint, Target
from sentiment_conv1d.artifact.artifact import read_artifact

grpc.experimental.gevent.init_gevent()

_TEXTS = 1024
_BATCH = 32


@events.init_command_line_parser.add_listener
def _add_flags(parser: LocustArgumentParser) -> None:
    """Add flags. They can also be changed on the page, except the scenario, for which the page has its own list."""
    add = parser.add_argument
    add("--grpc-host", default="", help="host:port of gRPC (default: the host of --host, port 8001)")
    add("--ca", default="", help="file with certificates to trust for https and for gRPC over TLS")
    add("--model", default="reviews", help="model name for the Open Inference Protocol")
    add("--texts", default="imdb", help="imdb, short, mixed or a file")
    add(
        "--scenario",
        choices=("", *SCENARIOS),
        default="",
        include_in_web_ui=False,
        help="replaces --users and --spawn-rate",
    )
    add("--peak-users", type=int, default=100, help="the most users of the scenario")
    add("--scenario-seconds", type=float, default=0.0, help="length of the scenario (default: its own)")


@events.init.add_listener
def _choose(environment: Environment, **_: Any) -> None:
    """Set up the scenarios in the main process, from its flags or its page."""
    options: Any = environment.parsed_options
    scenarios = {name: Scenario(shape, length, options) for name, (length, shape) in SCENARIOS.items()}
    environment.available_shape_classes = {**scenarios}
    environment.shape_class = scenarios.get(options.scenario)


@events.test_start.add_listener
def _prepare(environment: Environment, **_: Any) -> None:
    """Prepare every process, after it has received the flags of the main process or the address from the page."""
    options: Any = environment.parsed_options
    tokenizer = read_artifact(PROJECT / "model_repository" / "imdb-cnn" / "1").tokenizer
    Traffic.texts = itertools.cycle(texts.choose(options.texts, tokenizer, _TEXTS))
    rest = Endpoint.parse(environment.host or "http://127.0.0.1:8000", 8000)
    rpc = Endpoint.parse(options.grpc_host, 8001) if options.grpc_host else Endpoint(rest.host, 8001, rest.tls)
    key = os.environ.get("LOADTEST_API_KEY") or None
    Traffic.target = Target(rest, rpc, options.model, key, Path(options.ca) if options.ca else None)


class Traffic:
    """The texts and the service, shared by all users."""

    texts: Iterator[str]
    target: Target

    @classmethod
    def body(cls, form: Form) -> bytes:
        """Return the body of the next request of a form."""
        size = _BATCH if form.batched else 1
        return form.body([next(cls.texts) for _ in range(size)], cls.target.model)


class _RestUser(FastHttpUser):
    """Sends requests of one form over its own connection."""

    abstract = True
    wait_time = constant_throughput(1)
    insecure = False
    form = ""

    @staticmethod
    def ssl_context_factory() -> ssl.SSLContext:
        """Return a context that verifies the server, unlike Locust's default."""
        return Traffic.target.tls_context()

    @task
    def ask(self) -> None:
        """Send one request."""
        form = FORMS[self.form]
        headers = {"Content-Type": "application/json"}
        if Traffic.target.api_key is not None:
            headers["Authorization"] = f"Bearer {Traffic.target.api_key}"
        path = form.path.format(model=Traffic.target.model)
        self.client.post(path, data=Traffic.body(form).decode(), headers=headers, name=self.form)


class _GrpcUser(User):
    """Makes calls over its own channel."""

    abstract = True
    wait_time = constant_throughput(1)
    form = ""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._channel: grpc.Channel = open_channel(Traffic.target)

    def on_stop(self) -> None:
        """Called by Locust at the end."""
        self._channel.close()

    @task
    def ask(self) -> None:
        """Send one request."""
        form = FORMS[self.form]
        method: Any = self._channel.unary_unary(form.path)
        self.record(lambda: method(Traffic.body(form), timeout=30, metadata=metadata(Traffic.target)))

    def record(self, call: Callable[[], bytes]) -> None:
        """Make a call and report it to Locust."""
        started = perf_counter()
        answer, error = b"", None
        try:
            answer = call()
        except grpc.RpcError as failed:
            error = failed
        self.environment.events.request.fire(
            request_type="gRPC",
            name=self.form,
            response_time=(perf_counter() - started) * 1e3,
            response_length=len(answer),
            exception=error,
            context={},
        )


class RestUser(_RestUser):
    """One text per request. These are the most frequent users."""

    weight = 6
    form = "rest"


class BatchUser(_RestUser):
    """Several texts per request."""

    weight = 1
    form = "rest-batch"


class OpenInferenceRestUser(_RestUser):
    """The Open Inference Protocol over REST."""

    weight = 2
    form = "oip-rest"


class OpenInferenceGrpcUser(_GrpcUser):
    """The Open Inference Protocol over gRPC."""

    weight = 2
    form = "oip-grpc"


class GrpcUser(_GrpcUser):
    """Typed unary calls."""

    weight = 1
    form = "grpc"


class StreamUser(_GrpcUser):
    """A typed stream that stays open. Every message waits for its response."""

    weight = 1
    form = "grpc-stream"

    def on_start(self) -> None:
        """Called by Locust at the start."""
        self._open()

    @task
    def ask(self) -> None:
        """Send one message."""
        self.record(self._exchange)

    def _open(self) -> None:
        self._messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        method: Any = self._channel.stream_stream(FORMS[self.form].path)
        self._answers = method(iter(self._messages.get, b""), metadata=metadata(Traffic.target))

    def _exchange(self) -> bytes:
        self._messages.put(Traffic.body(FORMS[self.form]))
        try:
            answer: bytes = next(self._answers)
        except grpc.RpcError:
            self._open()
            raise
        return answer


def _steady(share: float) -> float:
    return 1.0


def _ramp(share: float) -> float:
    """Increase the users in twenty steps, to find where throughput stops to increase."""
    return (int(share * 20) + 1) / 20


def _spike(share: float) -> float:
    """Multiply the users by ten and back, to see whether latency recovers."""
    return 1.0 if 0.4 <= share < 0.6 else 0.1


#: The default length in seconds, and the share of the peak users as a function of the share of the length.
SCENARIOS: dict[str, tuple[float, Callable[[float], float]]] = {
    "steady": (120.0, _steady),
    "ramp": (300.0, _ramp),
    "spike": (180.0, _spike),
    "soak": (4 * 3600.0, _steady),
}


class Scenario(LoadTestShape):
    """The number of users over time. It is abstract, so that Locust does not select it and its own flags work."""

    abstract = True

    def __init__(self, shape: Callable[[float], float], seconds: float, options: Any) -> None:
        super().__init__()
        self._shape = shape
        self._seconds = seconds
        self._options = options

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users and how many start per second, or None at the end."""
        share = self.get_run_time() / (self._options.scenario_seconds or self._seconds)
        if share >= 1:
            return None
        peak = self._options.peak_users
        return max(1, round(peak * self._shape(share))), float(peak)
