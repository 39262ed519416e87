"""Stores with a model repository, each a real server on this machine, and one folder."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from sentiment_conv1d.artifact.manifest import FILES
from tests import hub
from tests.processes import PATIENCE, PROJECT, ServerProcess, environment, eventually, free_port, pause
from tests.programs import needed

#: The environments with s3fs and gcsfs, and with servers for them, which make installs.
EXTRAS, TOOLS = Path(sys.prefix) / "extras", Path(sys.prefix) / "tools"


class Store(ABC):
    """A store with a model repository."""

    program = f"{shlex.quote(sys.executable)} -m service"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def stop(self) -> None:
        """Stop the server."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Return the URL of the repository."""

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables that a service needs."""
        return {}

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """Return the content of a file, or None."""

    @abstractmethod
    def write(self, path: str, content: bytes) -> None:
        """Write a file to the repository."""

    def publish(self, folder: Path) -> None:
        """Write the files of a version."""
        for file in FILES:
            self.write("/".join((*folder.parts[-2:], file)), (folder / file).read_bytes())

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command until it ends."""
        return subprocess.run(
            [*shlex.split(self.program), *arguments],
            cwd=PROJECT,
            env=environment(**self.variables | variables),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def serve(self, cache: Path, *flags: str) -> ServerProcess:
        """Start a service with the models of this store."""
        return ServerProcess(
            *("--model-repository", self.url, "--model-cache", str(cache), "--workers", "2", *flags),
            repository=None,
            program=self.program,
            **self.variables,
        )


class Server(Store):
    """A program that serves a store. `address` finds the port in what it prints."""

    def __init__(self, *command: str, address: str) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        found = next(filter(None, (re.search(address, line) for line in self._process.stdout)))
        self.address = f"http://127.0.0.1:{found[1]}"
        self._drain = threading.Thread(target=self._process.stdout.read, daemon=True)
        self._drain.start()

    def stop(self) -> None:
        """Stop the server."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._drain.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def pause(self) -> None:
        """Let the server accept connections and not answer."""
        pause(self._process.pid)

    def resume(self) -> None:
        """Let the server answer again."""
        self._process.send_signal(signal.SIGCONT)


class WebServer(Server):
    """Python's web server, which lists the files of folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "models").mkdir(parents=True)
        command = (sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder))
        super().__init__(*command, address=r"port (\d+)")

    @property
    def url(self) -> str:
        return f"{self.address}/models"

    def read(self, path: str) -> bytes | None:
        file = self._folder / "models" / path
        return file.read_bytes() if file.exists() else None

    def write(self, path: str, content: bytes) -> None:
        file = self._folder / "models" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


class Bucket(Server):
    """Moto's S3 server, with one bucket."""

    program = f"{shlex.quote(str(EXTRAS / 'bin' / 'python'))} -m service"

    def __init__(self) -> None:
        needed(EXTRAS)
        needed(TOOLS / "bin" / "moto_server")
        super().__init__(str(TOOLS / "bin" / "moto_server"), "-p", "0", address=r"Running on http://127\.0\.0\.1:(\d+)")
        # Moto hides the files of others from callers without an Authorization header, and does not verify signatures.
        scope = "me/20260101/us-east-1/s3/aws4_request"
        headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
        self._client = httpx.Client(base_url=self.address, trust_env=False, timeout=PATIENCE, headers=headers)
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

    def read(self, path: str) -> bytes | None:
        answer = self._client.get(f"/bucket/models/{path}")
        return answer.content if answer.is_success else None

    def write(self, path: str, content: bytes) -> None:
        self._client.put(f"/bucket/models/{path}", content=content).raise_for_status()


class GoogleBucket(Server):
    """An emulator of Google Cloud Storage, with one bucket."""

    program = Bucket.program

    def __init__(self) -> None:
        needed(EXTRAS)
        needed(TOOLS / "bin" / "gcp-storage-emulator")
        flags = ("--port", str(free_port()), "--in-memory", "--default-bucket", "bucket")
        command = (str(TOOLS / "bin" / "gcp-storage-emulator"), "start", *flags)
        super().__init__(*command, address=r"Starting server at localhost:(\d+)")
        self._client = httpx.Client(base_url=self.address, trust_env=False, timeout=PATIENCE)
        eventually(self._answers)  # the line is written before the server listens

    def _answers(self) -> bool:
        try:
            self._client.get("/")
        except httpx.ConnectError:
            return False
        return True

    @property
    def url(self) -> str:
        return "gs://bucket/models"

    @property
    def variables(self) -> dict[str, str]:
        # gcsfs asks Google for the kind of the bucket over gRPC, which the emulator does not have.
        client = {"FSSPEC_GCS_TOKEN": "anon", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
        return {"STORAGE_EMULATOR_HOST": self.address, **client}

    def stop(self) -> None:
        self._client.close()
        super().stop()

    def read(self, path: str) -> bytes | None:
        answer = self._client.get(f"/storage/v1/b/bucket/o/{quote(f'models/{path}', safe='')}", params={"alt": "media"})
        return answer.content if answer.is_success else None

    def write(self, path: str, content: bytes) -> None:
        parameters = {"uploadType": "media", "name": f"models/{path}"}
        self._client.post("/upload/storage/v1/b/bucket/o", params=parameters, content=content).raise_for_status()


class Folder(Store):
    """A folder, which fsspec accesses by a URL. No server can be stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def url(self) -> str:
        return self._folder.as_uri()

    def stop(self) -> None:
        pass

    def read(self, path: str) -> bytes | None:
        file = self._folder / path
        return file.read_bytes() if file.exists() else None

    def write(self, path: str, content: bytes) -> None:
        (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / path).write_bytes(content)


class Hub(Store):
    """A folder of a repository on the stand-in for the Hugging Face Hub."""

    def __init__(self) -> None:
        self.server = hub.Hub()

    @property
    def url(self) -> str:
        return f"hf://{hub.REPOSITORY}/models"

    @property
    def variables(self) -> dict[str, str]:
        return self.server.variables

    def stop(self) -> None:
        self.server.stop()

    def read(self, path: str) -> bytes | None:
        return self.server.files.get(f"models/{path}")

    def write(self, path: str, content: bytes) -> None:
        self.server.write(f"models/{path}", content)
