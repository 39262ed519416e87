"""Starts the real server in a separate process."""

from __future__ import annotations

import atexit
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

PROJECT = Path(__file__).parent.parent
MODEL_REPOSITORY = PROJECT / "model_repository"

#: The folder of each shipped model: its only version.
SHIPPED_MODELS = {path.parents[1].name: path.parent for path in sorted(MODEL_REPOSITORY.glob("*/*/manifest.json"))}

#: Only the classic one of the shipped models. Most tests need no other, and a server starts in two thirds of the
#: processor time.
_classic = tempfile.TemporaryDirectory()
atexit.register(_classic.cleanup)
CLASSIC_REPOSITORY = Path(_classic.name)
shutil.copytree(MODEL_REPOSITORY / "imdb-cnn", CLASSIC_REPOSITORY / "imdb-cnn")

#: Seconds to wait for a process to start, stop or log something. It only ends tests that would never end, so it is far
#: longer than a slow machine beside other programs needs.
PATIENCE = 300.0

#: Time limits of a service that also hold for a slow machine, and for workers that a test has stopped.
_UNHURRIED = {
    "SENTIMENT_BODY_TIMEOUT": "600",
    "SENTIMENT_REQUEST_TIMEOUT": "600",
    "SENTIMENT_WORKER_TIMEOUT": "600",
}

#: Runs the health check of a container, with a time limit that also holds for a slow machine.
PROBE = ("-c", f"import sys; from service.process import probe; probe.TIMEOUT = {PATIENCE}; sys.exit(probe.main())")

_LISTENING_GRPC = re.compile(r"listening on grpcs?://[^ ]*:(\d+)")
_LISTENING = re.compile(r"listening on https?://[^ ]*:(\d+)")


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without service settings, with a free gRPC port and `variables`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SENTIMENT_")}
    return inherited | {"SENTIMENT_GRPC_PORT": "0"} | variables


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` in the project's folder until it ends."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def patch(folder: Path, source: str) -> str:
    """Return the PYTHONPATH of programs that run some source at their start, from a file in a new folder."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(source)
    return f"{folder}{os.pathsep}{PROJECT}"


def in_child(work: Callable[[], object]) -> None:
    """Run `work` in a forked process and wait for its end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def eventually(what: Callable[[], bool]) -> None:
    """Wait until another process has done something."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.001)  # the processor is for the other process


def pause(pid: int) -> None:
    """Send SIGSTOP to a process and wait until all of its threads have stopped."""
    os.kill(pid, signal.SIGSTOP)
    threads = list(Path(f"/proc/{pid}/task").glob("*/stat"))
    eventually(lambda: all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in threads))


class ServerProcess:
    """Runs `python -m service serve`, or another program, on a free port in a `with` block.

    At the end a server that still runs gets SIGTERM and must exit with status 0. No process remains in any case. The
    default model of `MODEL_REPOSITORY` is the classic one, whose answers most tests compare; None: the service chooses.
    """

    def __init__(
        self,
        *flags: str,
        repository: Path | None = CLASSIC_REPOSITORY,
        prefix: str = "",
        program: str = f"{shlex.quote(sys.executable)} -m service",
        default_model: str | None = "imdb-cnn",
        **variables: str,
    ) -> None:
        if repository == MODEL_REPOSITORY and default_model is not None:
            variables = {"SENTIMENT_DEFAULT_MODEL": default_model} | variables
        self.log: list[str] = []
        self._grown = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [
                *(*shlex.split(prefix), *shlex.split(program), "serve"),
                *("--host", "127.0.0.1", "--port", "0", "--grpc-port", "0", "--execution-provider", "cpu"),
                *(() if repository is None else ("--model-repository", str(repository))),
                *flags,
            ],
            cwd=PROJECT,
            env=environment(**_UNHURRIED | variables),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        over_unix = "--uds" in flags
        try:
            self.port = 0 if over_unix else int(self.wait_for_log(_LISTENING)[1])
            without_port = {"--no-grpc", "--grpc-uds"}.intersection(flags)
            self.grpc_port = 0 if without_port else int(self.wait_for_log(_LISTENING_GRPC)[1])
            if over_unix:
                self.wait_for_log("listening on unix:.* \\(https?\\)")
        except BaseException:
            self._kill()
            raise
        self.url = f"http://127.0.0.1:{self.port}"
        transport = httpx.HTTPTransport(uds=flags[flags.index("--uds") + 1]) if over_unix else None
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.client.close()
            if kind is None:
                status = self.stop()
                assert status == 0, f"exit status {status}\n" + "".join(self.log)
        finally:
            self._kill()

    def abandon(self) -> None:
        """Clean up a server that a test has ended itself."""
        self.client.close()
        self._kill()

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send a signal if the process still runs, and wait for its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def metrics(self) -> str:
        """Return metrics composed after this call: scrapes within a moment share them, and each one counts."""
        shared, found = self.client.get("/metrics").text, ""

        def is_new() -> bool:
            nonlocal found
            found = self.client.get("/metrics").text
            return found != shared

        eventually(is_new)
        return found

    def wait_for_log(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Wait for the first match in the log and return it."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.log if (match := re.search(pattern, line))), None)

        with self._grown:
            self._grown.wait_for(lambda: found() or self._ended, PATIENCE)
            match = found()
            assert match, f"no {pattern!r} in the log:\n" + "".join(self.log)
            return match

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._grown:
                self.log.append(line)
                self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
