"""The example of docs/server.md: an application of the server that is not the service."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.proc import children
from tests.processes import PATIENCE, PROJECT, environment, eventually


def ask(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
        content: bytes = answer.read()
        return content


def test_example(tmp_path: Path) -> None:
    """The example answers requests, replaces a worker that is killed, and ends without an error."""
    [code] = re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "server.md").read_text(), re.DOTALL)
    program = tmp_path / "hello.py"
    program.write_text(code)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(program), str(port)]
    with subprocess.Popen(command, env=environment() | {"PYTHONPATH": str(PROJECT)}, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            assert ask(port, "/hello") == b'{"hello": "world"}'
            with pytest.raises(HTTPError, match="404") as refused:
                ask(port, "/other")
            refused.value.close()
            before = children(server.pid)
            os.kill(before[0], signal.SIGKILL)
            eventually(lambda: len(set(children(server.pid)) - set(before)) == 1)
            for _ in range(8):
                assert ask(port, "/hello") == b'{"hello": "world"}'
            server.send_signal(signal.SIGTERM)
            assert server.wait(PATIENCE) == 0
        finally:
            server.kill()
