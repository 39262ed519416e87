"""The load generators of `benchmarks.serving` measure the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import rest, rpc
from benchmarks.serving.__main__ import make_service
from benchmarks.serving.cases import METHODS, SERVICE
from loadtest.processes import Server
from tests import programs

TEXTS = ["What a wonderful film.", "dull " * 500, "", "It was good and it was bad."]


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    """Start the service as the benchmark does."""
    with make_service(SERVICE, 1) as server:
        yield server


@pytest.mark.parametrize("form", [rest.PREDICT, rest.batch(2)], ids=["one text", "two texts"])
def test_rest(service: Server, form: rest.Form) -> None:
    """Requests over REST are measured without errors."""
    programs.find("wrk")
    load = rest.run(service, rest.Script(form, TEXTS), connections=4, seconds=2)
    assert load.errors == 0
    assert 0 < load.p50 <= load.p99


@pytest.mark.parametrize(("method", "streams"), METHODS.values())
def test_rpc(service: Server, tmp_path: Path, method: str, streams: int) -> None:
    """Calls and streams over gRPC are measured."""
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    load = rpc.run(service, method, tmp_path / "texts.json", connections=2, streams=streams, seconds=2)
    assert load.rate > 0 and 0 < load.p50 <= load.p99
