"""Chooses the execution provider of a model. This does not initialize a GPU in this process, which may fork."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import NamedTuple, get_args

import onnxruntime

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.inference.errors import ProviderError
from sentiment_conv1d.inference.options import ProviderChoice

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

#: Prints the number of GPUs that the driver lets this process use. The driver respects `CUDA_VISIBLE_DEVICES`, the
#: devices of a container and WSL. No list of device files does.
_COUNT = """
import ctypes
driver, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
print(error, count.value)
"""

#: Seconds until a driver that does not answer counts as missing.
_PATIENCE = 60


class Choice(NamedTuple):
    """An execution provider, and why `auto` chose it; empty if there was no choice."""

    provider: str
    reason: str = ""


def choose(asked: ProviderChoice, artifact: Artifact, device: int) -> Choice:
    """Return the execution provider for a model. An engine can still fall back to the CPU if CUDA does not load.

    `auto` uses CUDA for graphs that compute convolutions. A folded graph looks its convolutions up in tables: a GPU has
    little to compute, and pools the feature maps of an 8-bit graph on one thread of the CPU. Raises `ProviderError` if
    there is no such choice.
    """
    if asked not in (choices := get_args(ProviderChoice)):
        raise ProviderError(f"there is no execution provider {asked!r}; there are: {', '.join(choices)}")
    if not may_choose_cuda(asked):
        return Choice(CPU)
    if asked == "cuda":
        return Choice(CUDA)
    if artifact.manifest.convolution_widths:
        return Choice(CPU, "a folded graph is faster on the CPU")
    if problem := missing_gpu(device):
        return Choice(CPU, problem)
    return Choice(CUDA, f"the graph is not folded, and GPU {device} is usable")


def may_choose_cuda(asked: ProviderChoice) -> bool:
    """Return whether `choose` can return CUDA: it is not excluded, and this ONNX Runtime contains it."""
    return asked != "cpu" and CUDA in onnxruntime.get_available_providers()


def missing_gpu(device: int) -> str:
    """Return why a CUDA device cannot be used, or an empty string if it can."""
    error, count = _ask_driver()
    if error:
        return error
    return "" if device < count else f"there is no GPU {device}; the CUDA driver reports {count}"


@cache
def _ask_driver() -> tuple[str, int]:
    """Return why the CUDA driver cannot be used, or an empty string, and the number of GPUs.

    Another process asks, because a process that has initialized the driver cannot fork workers that use it.
    """
    command = [sys.executable, "-I", "-S", "-c", _COUNT]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603 - constants
    except subprocess.TimeoutExpired:
        return f"the CUDA driver did not answer within {_PATIENCE} s", 0
    if asked.returncode:
        return "the CUDA driver (libcuda.so.1) is not installed or does not work", 0
    error, count = map(int, asked.stdout.split())
    return (f"the CUDA driver reports error {error}" if error else ""), count
