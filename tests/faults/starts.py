"""Faults at the start of a service, which can pass by themselves or not."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path

from tests.faults.load import Load
from tests.faults.report import Report, check, counted
from tests.faults.services import publish, shipped_answers, start_status, web_server
from tests.processes import ServerProcess, free_port


async def hanging_store(short: bool) -> Report:
    """(m) The store does not answer at the start: the cached version answers, and a new one once the store works."""
    with tempfile.TemporaryDirectory() as folder:
        source, port = Path(folder, "models"), free_port()
        store = ("--model-repository", f"http://127.0.0.1:{port}/models", "--model-cache", f"{folder}/cache")
        flags = (*store, "--store-interval", "0.5", "--watch-interval", "0.2", "--workers", "2")
        publish(source)
        with web_server(Path(folder), port), ServerProcess(*flags, repository=None):
            pass
        answers = publish(source)
        with socket.create_server(("127.0.0.1", port)) as deaf, ServerProcess(*flags, repository=None) as server:
            started = server.wait_for_log("copying the models takes more than .*").group()
            load = Load(server.port, server.grpc_port, answers)
            async with load.running():
                await load.go_on(200 if short else 5000)
                assert await counted(server, 'version="1"', "sentiment_model_info") == 1
                deaf.close()
                with web_server(Path(folder), port):
                    await asyncio.to_thread(server.wait_for_log, "serving tickets version=2")
                    await load.go_on(200)
        check(load.tally)
        return Report(load.tally, [started])


async def transient_failure(short: bool) -> Report:
    """(n) Failures at the start that can pass have status 75, and the same start succeeds later. Mistakes have 2."""
    statuses = {}
    with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryDirectory() as cache:
        port = str(taken.getsockname()[1])
        store = ("--model-repository", f"http://127.0.0.1:{free_port()}/models", "--model-cache", cache)
        for name, flags in {
            "port in use": ("--port", port),
            "store unreachable": store,
            "invalid label": ("--version-labels", "imdb-cnn=1:1"),
            "missing key file": ("--api-key-file", f"{cache}/keys"),
            "missing version, strict": ("--strict", "--version-labels", "imdb-cnn=default:9", "--port", "0"),
        }.items():
            statuses[name] = await asyncio.to_thread(start_status, *flags)
    assert list(statuses.values()) == [75, 75, 2, 2, 2], statuses
    with ServerProcess("--port", port) as server:
        load = Load(server.port, server.grpc_port, shipped_answers())
        async with load.running():
            await load.go_on(200 if short else 5000)
        check(load.tally)
    return Report(load.tally, [f"exit {status}: {name}" for name, status in statuses.items()])
