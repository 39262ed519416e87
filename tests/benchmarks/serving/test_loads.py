"""The load generators of `benchmarks.serving` measure applications that answer with a constant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import rest, rpc
from benchmarks.serving.__main__ import make_servers
from benchmarks.serving.cases import GRPC, METHODS
from loadtest.measurement import saturation
from loadtest.processes import Server

TEXTS = ["What a wonderful film.", "dull " * 500, "", "It was good and it was bad."]


@pytest.fixture(scope="module")
def constant() -> Iterator[Server]:
    """Start the applications that answer with a constant over ASGI and gRPC."""
    server = next(server for server in make_servers(1) if server.name == GRPC)
    with server:
        yield server


@pytest.mark.skipif(saturation.find("wrk") is None, reason="this machine has no wrk")
@pytest.mark.parametrize("form", [rest.PREDICT, rest.batch(2)], ids=["one text", "two texts"])
def test_rest(constant: Server, form: rest.Form) -> None:
    """Requests over REST are measured without errors."""
    load = rest.run(constant, rest.Script(form, TEXTS), connections=4, seconds=2)
    assert load.errors == 0
    assert 0 < load.p50 <= load.p99


@pytest.mark.parametrize("method", ["predict", "stream"])
def test_rpc(constant: Server, tmp_path: Path, method: str) -> None:
    """Calls and streams over gRPC are measured."""
    assert method in METHODS.values()
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    load = rpc.run(constant, method, tmp_path / "texts.json", callers=2, seconds=2)
    assert load.rate > 0 and 0 < load.p50 <= load.p99
