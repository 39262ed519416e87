"""The choice of the execution provider of each model, with a build of ONNX Runtime and a driver that pretend."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sentiment_conv1d.server.process.processors import processors
from tests.proc import children
from tests.processes import MODEL_REPOSITORY, ServerProcess, eventually, patch, run
from tests.programs import find
from tests.service.artifacts import publish_table, shipped_copy

#: Read by every Python at its start: ONNX Runtime says that it contains CUDA.
BUILD = """
import onnxruntime
onnxruntime.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
"""

DRIVER = """
int cuInit(unsigned flags) {{ return {error}; }}
int cuDeviceGetCount(int *count) {{ *count = {gpus}; return 0; }}
"""

CHOOSE = f"""
import sys
from pathlib import Path
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.inference.provider import choose
for asked in ("auto", "cuda", "cpu"):
    for path in (sys.argv[1], {str(MODEL_REPOSITORY / "imdb-cnn" / "1")!r}):
        print(*choose(asked, read_artifact(Path(path)), 1), sep=": ")
"""

NOT_FOLDED = "CUDAExecutionProvider: the graph is not folded, and GPU 1 is usable"
FOLDED = "CPUExecutionProvider: a folded graph is faster on the CPU"
FORCED = ["CUDAExecutionProvider: "] * 2 + ["CPUExecutionProvider: "] * 2


def pretend(folder: Path, gpus: int, error: int = 0) -> dict[str, str]:
    """Return the environment of a process that finds CUDA and so many GPUs. Skips the test without a C compiler."""
    compiler = find("cc")
    path = patch(folder, BUILD)
    source = folder / "driver.c"
    source.write_text(DRIVER.format(error=error, gpus=gpus))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(folder / "libcuda.so.1"), str(source)], check=True)
    return {"PYTHONPATH": path, "LD_LIBRARY_PATH": str(folder)}


@pytest.mark.parametrize(
    ("gpus", "error", "choice"),
    [
        (2, 0, NOT_FOLDED),
        (1, 0, "CPUExecutionProvider: there is no GPU 1; the CUDA driver reports 1"),
        (2, 803, "CPUExecutionProvider: the CUDA driver reports error 803"),
    ],
)
def test_choice(tmp_path: Path, gpus: int, error: int, choice: str) -> None:
    """`auto` uses CUDA for a graph that is not folded if the driver lets the process use the device."""
    variables = pretend(tmp_path / "cuda", gpus, error)
    asked = run("-c", CHOOSE, str(publish_table(tmp_path).path), **variables)
    assert asked.stdout.splitlines() == [choice, FOLDED, *FORCED], asked.stderr


def test_no_driver(tmp_path: Path) -> None:
    """Without a driver, `auto` uses the CPU."""
    variables = pretend(tmp_path / "cuda", 1)
    (tmp_path / "cuda" / "libcuda.so.1").write_bytes(b"")
    asked = run("-c", CHOOSE, str(publish_table(tmp_path).path), **variables)
    reason = "the CUDA driver (libcuda.so.1) is not installed or does not work"
    assert asked.stdout.splitlines()[0] == f"CPUExecutionProvider: {reason}", asked.stderr


def test_models_on_both(tmp_path: Path) -> None:
    """The log says where each model runs and why, each worker opens a model for the GPU, and all models answer."""
    variables = pretend(tmp_path / "cuda", 1)
    repository = tmp_path / "repository"
    shipped_copy(repository)
    publish_table(repository)
    with ServerProcess("--execution-provider", "auto", repository=repository, **variables) as server:
        server.wait_for_log("serving imdb-cnn version=1 execution_provider=CPU.* reason=a folded graph is faster")
        server.wait_for_log("serving tickets version=1 execution_provider=CUDA.* reason=the graph is not folded")
        assert len(children(server.process.pid)) == processors()
        # There is no GPU, so the worker has to fall back.
        server.wait_for_log("running on the CPU: onnxruntime-gpu is installed, but the CUDA or cuDNN libraries")
        for name in ("imdb-cnn", "tickets"):
            assert server.client.post(f"/v1/models/{name}:predict", json={"instances": ["good"]}).status_code == 200


def test_models_on_a_gpu(tmp_path: Path) -> None:
    """If all models run on a GPU, one worker serves them."""
    variables = pretend(tmp_path / "cuda", 1)
    publish_table(tmp_path / "repository")
    with ServerProcess("--execution-provider", "auto", repository=tmp_path / "repository", **variables) as server:
        eventually(lambda: len(children(server.process.pid)) == 1)
