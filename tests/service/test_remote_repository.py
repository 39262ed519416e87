"""A service serves the models of a web server and of an S3 store, and follows their changes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from sentiment_conv1d.model.manifest import FILES
from tests.processes import PATIENCE, ServerProcess, environment
from tests.programs import needed
from tests.service.artifacts import publish_strength
from tests.service.telemetry.test_metrics import series, value

#: The environment with s3fs and an S3 server, which make installs.
S3 = Path(sys.prefix) / "remote-test"


class Store(ABC):
    """A server with a model repository."""

    program = f"{shlex.quote(sys.executable)} -m service"

    def __init__(self, *command: str, address: str) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        found = next(filter(None, (re.search(address, line) for line in self._process.stdout)))
        self.address = f"http://127.0.0.1:{found[1]}"
        self._drain = threading.Thread(target=self._process.stdout.read, daemon=True)
        self._drain.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._drain.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    @abstractmethod
    def url(self) -> str:
        """Return the URL of the repository."""

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables that a service needs."""
        return {}

    @abstractmethod
    def write(self, path: str, content: bytes) -> None:
        """Write a file to the repository."""

    def publish(self, folder: Path) -> None:
        """Write the files of a version."""
        for file in FILES:
            self.write("/".join((*folder.parts[-2:], file)), (folder / file).read_bytes())

    def serve(self, cache: Path, *flags: str) -> ServerProcess:
        """Start a service with the models of this store."""
        return ServerProcess(
            *("--model-repository", self.url, "--model-cache", str(cache), "--workers", "2", *flags),
            repository=None,
            program=self.program,
            **self.variables,
        )


class WebServer(Store):
    """Python's web server, which lists the files of folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "models").mkdir(parents=True)
        command = (sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder))
        super().__init__(*command, address=r"port (\d+)")

    @property
    def url(self) -> str:
        return f"{self.address}/models"

    def write(self, path: str, content: bytes) -> None:
        file = self._folder / "models" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


class Bucket(Store):
    """Moto's S3 server, with one bucket."""

    program = f"{shlex.quote(str(S3 / 'bin' / 'python'))} -m service"

    def __init__(self) -> None:
        needed(S3 / "bin" / "moto_server")
        super().__init__(str(S3 / "bin" / "moto_server"), "-p", "0", address=r"Running on http://127\.0\.0\.1:(\d+)")
        self._client = httpx.Client(base_url=self.address, trust_env=False, timeout=PATIENCE)
        self._client.put("/bucket").raise_for_status()

    @property
    def url(self) -> str:
        return "s3://bucket/models"

    @property
    def variables(self) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        # The tests stop the store, and would wait for botocore to try again.
        return {"AWS_ENDPOINT_URL": self.address, "AWS_MAX_ATTEMPTS": "1", **keys}

    def stop(self) -> None:
        self._client.close()
        super().stop()

    def write(self, path: str, content: bytes) -> None:
        self._client.put(f"/bucket/models/{path}", content=content).raise_for_status()


@pytest.fixture(params=["web server", "S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Create a store with the first version of a model."""
    with WebServer(tmp_path / "web") if request.param == "web server" else Bucket() as store:
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
        refused = series(server.metrics())
        assert value(refused, "sentiment_model_loads_total", outcome="refused") == 1
        store.stop()
        server.wait_for_log(f"WARNING .*{re.escape(store.url)}: cannot be read .*the copies in .* stay")
        assert answered(server) == "3"
    with store.serve(cache) as server:
        assert answered(server) == "3"
        server.wait_for_log(f"WARNING .*{re.escape(store.url)}: cannot be read .*serving the copies in {cache}")
    shutil.rmtree(cache)
    finished = subprocess.run(
        [*shlex.split(store.program), "predict", "-", "--model-repository", store.url, "--model-cache", str(cache)],
        input="praise\n",
        capture_output=True,
        text=True,
        env=environment(**store.variables),
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 75
    assert re.match(f"error: {re.escape(store.url)}: cannot be read .*contains no copy of a model", finished.stderr)
