"""A service serves the models of a web server, an S3 store and a hub, and follows their changes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ServerProcess
from tests.service.artifacts import publish_strength
from tests.service.telemetry.test_metrics import metric
from tests.stores import Bucket, Hub, Store, WebServer


@pytest.fixture(params=["web server", "S3", "Hub"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Create a store with the first version of a model."""
    kinds = {"web server": lambda: WebServer(tmp_path / "web"), "S3": Bucket, "Hub": Hub}
    with kinds[request.param]() as store:
        store.publish(publish_strength(tmp_path / "source", 1).path)
        yield store


def answered(server: ServerProcess) -> str:
    """Return the version that answers requests."""
    answer = server.client.post("/v1/predict", json={"text": "praise"}).raise_for_status().json()
    return str(answer["model"]["version"])


def index(server: ServerProcess) -> dict[str, tuple[str, str]]:
    """Return the state and the reason of every version."""
    entries: list[dict[str, Any]] = server.client.post("/v2/repository/index").raise_for_status().json()
    return {entry["version"]: (entry["state"], entry["reason"]) for entry in entries}


def test_service(store: Store, tmp_path: Path) -> None:
    """A service serves the store's model, loads a new version, refuses a damaged one, and starts without the store."""
    cache, source = tmp_path / "cache", tmp_path / "source"
    with store.serve(cache, "--watch-interval", "0.5", "--store-interval", "0.5") as server:
        assert answered(server) == "1"
        damaged = publish_strength(source, 1).path
        new = publish_strength(source, 2).path
        damaged = damaged.rename(damaged.with_name("4"))
        (damaged / "model.onnx").write_bytes(b"?" + (damaged / "model.onnx").read_bytes()[1:])
        store.publish(damaged)
        store.publish(new)
        server.wait_for_log(r"serving tickets .*\b3\b")
        assert answered(server) == "3"
        server.wait_for_log(f"refused a version of tickets: {re.escape(store.url)}/tickets/4/model.onnx: its SHA-256")
        assert answered(server) == "3"
        state, reason = index(server)["4"]
        assert state == "UNAVAILABLE" and "its SHA-256 is not the one in manifest.json" in reason
        # While a slow machine writes a version, it can be refused for another reason first.
        damage = [line for line in server.log if f"{store.url}/tickets/4/model.onnx: its SHA-256" in line]
        assert len(damage) == 1
        refused = metric(server, "sentiment_model_loads_total", outcome="refused")
        assert refused == len([line for line in server.log if "refused a version" in line])
        assert not any("HTTP Request" in line for line in server.log)
        store.stop()
        server.wait_for_log(f"WARNING .*{re.escape(store.url)}: cannot be read .*the copies in .* stay")
        assert answered(server) == "3"
    with store.serve(cache, "--watch-interval", "0") as server:  # so that it waits longer for the store
        assert answered(server) == "3"
        server.wait_for_log(f"WARNING .*{re.escape(store.url)}: cannot be read .*serving the copies in {cache}")
    shutil.rmtree(cache)
    (tmp_path / "reviews.txt").write_text("praise\n")
    flags = ("--model-repository", store.url, "--model-cache", str(cache))
    finished = store.run("predict", str(tmp_path / "reviews.txt"), *flags)
    assert finished.returncode == 75
    assert re.match(f"error: {re.escape(store.url)}: cannot be read .*no copy of .*; --model-cache", finished.stderr)


def test_threads(tmp_path: Path) -> None:
    """The supervisor, which forks, has one thread, although the libraries of stores start threads."""
    with WebServer(tmp_path / "web") as store:
        store.publish(publish_strength(tmp_path / "source", 1).path)
        with store.serve(tmp_path / "cache", "--watch-interval", "0.5", "--store-interval", "0.5") as server:
            store.publish(publish_strength(tmp_path / "source", 2).path)
            server.wait_for_log(r"serving tickets .*\b2\b")
            assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) == 1


def test_store_that_hangs(tmp_path: Path) -> None:
    """While a store hangs, the log and the metrics say so, the copies answer, and `load` fails with the reason."""
    with WebServer(tmp_path / "web") as store:
        store.publish(publish_strength(tmp_path / "source", 1).path)
        flags = ("--watch-interval", "0.5", "--store-interval", "0.5", "--store-timeout", "2", "--admin", "open")
        with store.serve(tmp_path / "cache", *flags) as server:
            store.publish(publish_strength(tmp_path / "source", 2).path)
            server.client.post("/v2/repository/models/tickets/load").raise_for_status()
            assert answered(server) == "2"
            store.pause()
            late = f"{re.escape(store.url)}: listing the models takes more than 2 s \\(--store-timeout\\)"
            server.wait_for_log(f"WARNING .*{late}; the copies in .* stay")
            assert metric(server, "sentiment_store_failures_total", reason="timeout") >= 1
            refusal = server.client.post("/v2/repository/models/tickets/load")
            assert refusal.status_code == 503 and re.search(late, refusal.text)
            assert answered(server) == "2"
            store.resume()
            server.wait_for_log(f"{re.escape(store.url)} can be read again")


def test_load_without_patience(tmp_path: Path) -> None:
    """`load` waits for a store for no longer than `--load-timeout`."""
    with WebServer(tmp_path / "web") as store:
        store.publish(publish_strength(tmp_path / "source", 1).path)
        flags = ("--watch-interval", "0", "--load-timeout", "3", "--store-timeout", "600", "--admin", "open")
        with store.serve(tmp_path / "cache", *flags) as server:
            store.pause()
            refusal = server.client.post("/v2/repository/models/tickets/load")
            assert refusal.status_code == 503
            assert "the models are not listed and copied within 3 s (--load-timeout)" in refusal.text
            store.resume()


def test_load_copies_again(tmp_path: Path) -> None:
    """`load` copies a bad version again, although nothing in the store seems to have changed."""
    with WebServer(tmp_path / "web") as store:
        store.publish(publish_strength(tmp_path / "source", 1).path)
        store.publish(publish_strength(tmp_path / "source", 2).path)
        graph = tmp_path / "web" / "models" / "tickets" / "2" / "model.onnx"
        whole, found = graph.read_bytes(), graph.stat()

        def write(content: bytes) -> None:
            graph.write_bytes(content)
            os.utime(graph, ns=(found.st_atime_ns, found.st_mtime_ns))

        write(b"?" + whole[1:])
        with store.serve(tmp_path / "cache", "--admin", "open") as server:
            assert answered(server) == "1"
            refusal = server.client.post("/v2/repository/models/tickets/load")
            assert refusal.status_code == 400 and "/tickets/2/model.onnx: its SHA-256 is not" in refusal.text
            write(whole)
            server.client.post("/v2/repository/models/tickets/load").raise_for_status()
            assert answered(server) == "2"
            assert index(server)["2"] == ("READY", "")
