"""Services for fault injection: their processes and the expected answers."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.inference.classifier import Classifier
from tests.faults.load import Answers
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, environment, free_port, run
from tests.service.artifacts import WEIGHTS, publish_table, table_graph
from tests.service.reviews import reviews

#: Half the weights of the first version, so that the answers of the versions differ.
_SECOND_WEIGHTS = (WEIGHTS / 2).astype(np.float32)


@functools.cache
def shipped_answers() -> Answers:
    """Return the shipped model's answers to some reviews, computed in this process."""
    texts = reviews(64, seed=5)
    return Answers(texts, {"1": Classifier(read_artifact(MODEL_REPOSITORY / "imdb-cnn" / "1")).predict(texts)})


def publish(repository: Path) -> Answers:
    """Publish the next version of a small model. Returns the expected answers of every version so far."""
    folder = repository / "tickets"
    version = 1 + (len(list(folder.iterdir())) if folder.exists() else 0)
    if version == 1:
        publish_table(repository)
    else:
        words = np.array([2, 1, 0], np.float32)
        shares = np.exp(words) / np.exp(words).sum()
        golden = {"text": "praise praise question", "probabilities": shares.tolist()}
        publish_table(repository, table_graph(_SECOND_WEIGHTS), golden=golden)
    return table_answers(repository)


def damage(file: Path) -> bytes:
    """Change the last byte of a file. Returns the original content."""
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    return whole


def table_answers(repository: Path) -> Answers:
    """Return the expected answers of every version of the small model."""
    words = ("praise", "question", "complaint")
    texts = [f"{words[n % 3]} {words[n // 3 % 3]} {words[n // 9]}" for n in range(27)]
    return Answers(
        texts,
        {
            path.name: Classifier(read_artifact(path)).predict(texts)
            for path in (repository / "tickets").iterdir()
            if path.name.isdigit()
        },
    )


@contextmanager
def web_server(folder: Path, port: int) -> Iterator[None]:
    """Serve a folder over HTTP on a port of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


def start_status(*flags: str) -> int:
    """Return the exit status of a service that does not start."""
    result = run("-m", "service", "serve", "--host", "127.0.0.1", *flags, SENTIMENT_PORT="0")
    assert result.stderr.splitlines()[-1].startswith("error: "), result.stderr
    return result.returncode


@contextmanager
def deaf_service(log: int) -> Iterator[tuple[int, int]]:
    """Run a service with an access log that nothing reads. Yields its REST and gRPC ports."""
    port, grpc_port = free_port(), free_port()
    command = [sys.executable, "-m", "service", "serve", "--host", "127.0.0.1", "--execution-provider", "cpu"]
    flags = ["--port", str(port), "--grpc-port", str(grpc_port), "--workers", "2", "--access-log"]
    variables = environment(SENTIMENT_DEFAULT_MODEL="imdb-cnn")
    process = subprocess.Popen([*command, *flags], cwd=PROJECT, env=variables, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE, trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < deadline, "the service did not start"
                time.sleep(0.05)
        yield port, grpc_port
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
