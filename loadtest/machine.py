"""The machine that the generators run on, and what is installed on it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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
    """In words and numbers that a reader of the report can hold against another machine's."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": cores(),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
    }


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Of Python and of the libraries that are installed here."""
    found = {"Python": platform.python_version()}
    for name in ("sentiment-conv1d", *_LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Busy:
    """The share of all processors' time that is not idle, from its making to `share`; None where Linux is not."""

    def __init__(self) -> None:
        self._before = _ticks()

    def share(self) -> float | None:
        """Between 0 and 1."""
        after = _ticks()
        if self._before is None or after is None:
            return None
        idle, total = (now - then for now, then in zip(after, self._before, strict=True))
        return None if total <= 0 else round(1 - idle / total, 4)


def _ticks() -> tuple[int, int] | None:
    """Idle and all, proc_stat(5)."""
    try:
        values = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return values[3] + values[4], sum(values)


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _memory() -> str:
    total = _field("/proc/meminfo", "MemTotal")
    return "unknown" if total is None else f"{int(total.split()[0]) / 2**20:.1f} GiB"
