"""The metrics show which changed files all processes refuse."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.proc import kill_children
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service.certificates import Authority

KEY = "first-key-0123456789"

#: Two workers and the supervisor, which gives its contents to later workers.
PROCESSES = 3.0


def refused(server: ServerProcess) -> dict[str, float]:
    """Return how many processes refuse which files, from any worker."""
    metrics = httpx.get(f"https://127.0.0.1:{server.port}/metrics", verify=False, timeout=PATIENCE, trust_env=False)
    found = re.findall(r'^sentiment_files_refused\{files="(.+)"\} (.+)$', metrics.text, re.MULTILINE)
    return {files: float(number) for files, number in found}


def wait_for(server: ServerProcess, expected: dict[str, float]) -> None:
    """Wait until the metrics show these numbers."""
    eventually(lambda: refused(server) == expected)


@pytest.mark.parametrize("fault", ["emptied", "deleted", "wrong"])
def test_refused_files(tmp_path: Path, fault: str) -> None:
    """A file that is emptied, deleted or wrong is shown by every worker, also a later one, until it is valid again."""
    certificate, key = Authority(tmp_path).issue("served")
    for file in (api_keys := tmp_path / "keys", admin_keys := tmp_path / "admin"):
        file.write_text(f"{file.name}-{KEY}")
    none = dict.fromkeys(("certificates", "API keys", "administration keys"), 0.0)
    flags = ["--workers", "2", "--no-grpc", "--open-metrics", "--admin", "key"]
    flags += ["--api-key-file", str(api_keys), "--admin-key-file", str(admin_keys)]
    with ServerProcess(*flags, "--tls-certificate", str(certificate), "--tls-key", str(key)) as server:
        assert refused(server) == none
        for files, file in (("API keys", api_keys), ("administration keys", admin_keys), ("certificates", key)):
            good = file.read_text()
            if fault == "deleted":
                file.unlink()
            else:
                file.write_text("wrong" if fault == "wrong" else "")
            wait_for(server, none | {files: PROCESSES})
            if files == "API keys":
                kill_children(server.process.pid)
                wait_for(server, none | {files: PROCESSES})
            file.write_text(good)
            wait_for(server, none)
