"""The service runs within the limits of serverless platforms, as docs/deployment.md says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.deploy import serverless
from tests.deploy.kubernetes import IMAGE
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, ServerProcess, free_port

#: The settings that the page recommends.
[BLOCK] = re.findall(
    r"^```dockerfile\n(FROM sentiment-conv1d\n.*?)^```", (PROJECT / "docs/deployment.md").read_text(), re.M | re.S
)
SETTINGS = dict(re.findall(r"(\w+)=(\S+)", BLOCK))

#: Bytes of memory of an instance.
MEMORY = 512 * 10**6

LIMITED = [sys.executable, serverless.__file__]

#: Whether it can write into folders, and whether it can create a semaphore.
PROBE = """
import multiprocessing, os
print([os.access(folder, os.W_OK) for folder in ("/", ".", "/dev", "/tmp")], os.path.exists("/dev/shm"))
try:
    multiprocessing.Lock()
except OSError:
    print("no semaphores")
"""


@pytest.fixture(scope="module", autouse=True)
def limits() -> None:
    """Skip the tests if this process cannot mount, as in most containers."""
    finished = subprocess.run([*LIMITED, "true"], capture_output=True, timeout=PATIENCE, check=False)
    if finished.returncode:
        pytest.skip("the tests cannot mount file systems here")


@pytest.fixture(scope="module")
def service() -> Iterator[ServerProcess]:
    """Start the service as a platform does: with variables only, and with all shipped models."""
    port = free_port()
    variables = [f"{name}={value}" for name, value in (IMAGE | SETTINGS | {"PORT": str(port)}).items()]
    command = shlex.join([*LIMITED, "env", *variables, sys.executable, "-m", "service", "serve"])
    # The shell drops the flags that the harness adds.
    prefix = shlex.join(["sh", "-c", f"exec {command}"])
    with ServerProcess("--no-grpc", prefix=prefix, repository=MODEL_REPOSITORY, default_model=None) as server:
        assert server.port == port
        yield server


def test_limits() -> None:
    """Only /tmp is writable, and there are neither shared memory nor semaphores."""
    finished = subprocess.run(
        [*LIMITED, sys.executable, "-c", PROBE], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert finished.stdout == "[False, False, False, True] False\nno semaphores\n"


def processes(service: ServerProcess) -> list[psutil.Process]:
    parent = psutil.Process(service.process.pid)
    return [parent, *parent.children(recursive=True)]


def test_answers(service: ServerProcess) -> None:
    """Texts, batches and explanations are answered, and the log has no warning."""
    text = "A gripping, beautifully acted film."
    assert service.client.post("/v1/predict", json={"text": text}).json()["label"] == "positive"
    assert len(service.client.post("/v1/predict_batch", json={"texts": [text] * 256}).json()["predictions"]) == 256
    assert service.client.post("/v1/explain", json={"text": text * 100}).is_success
    assert not [line for line in service.log if "WARNING" in line or "ERROR" in line]


def test_memory(service: ServerProcess) -> None:
    """One worker and the supervisor stay below the memory of the instance, after batches of long texts."""
    body = {"texts": ["a great film " * 500] * 100}
    assert service.client.post("/v1/predict_batch", json=body).is_success
    running = processes(service)
    assert len(running) == 2
    assert sum(process.memory_full_info().pss for process in running) < MEMORY
