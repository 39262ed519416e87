"""The machine that the generators run on, and the versions of installed libraries."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

_LIBRARIES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "uvicorn",
    "uvloop",
    "fastapi",
    "grpcio",
    "pydantic",
    "httptools",
)


def describe() -> dict[str, str | int]:
    """Return the processor, its cores, the memory and the operating system."""
    return {
        "processor": _processor() or platform.processor() or platform.machine(),
        "cores": cores(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
    }


def cores() -> int:
    """Return the number of processors that this process can use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries."""
    found = {"Python": platform.python_version()}
    for name in ("sentiment-conv1d", *_LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
