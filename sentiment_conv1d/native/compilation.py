"""Compiles the native code: `python sentiment_conv1d/native/compilation.py`.

The builds of the package and of the image run this program, which needs only Python. Without a C++ compiler it does
nothing, because the native code is optional. `CXX` names another compiler, and an empty `CXX` leaves the code out.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = ("folded_convolution.cpp", "vocabulary.cpp")

#: Where a build puts the library.
LIBRARY = FOLDER / "library.so"

#: Tables contain finite numbers, so the maximum is one instruction. No flag depends on the processor of the build.
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-signed-zeros", "-ffinite-math-only")


def find_compiler() -> list[str]:
    """Return the command of the C++ compiler, or an empty list."""
    command = shlex.split(os.environ.get("CXX", "c++"))
    return command if os.name == "posix" and command and shutil.which(command[0]) is not None else []


def compile_library(target: Path, flags: Sequence[str] = ()) -> str:
    """Compile the code into a shared library. Return an empty string, or why there is none."""
    if not (compiler := find_compiler()):
        return "there is no C++ compiler"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}")
    command = [*compiler, *FLAGS, *flags, "-o", str(partial), *(str(FOLDER / each) for each in SOURCES)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's compiler
    if finished.returncode:
        partial.unlink(missing_ok=True)
        return f"{compiler[0]} failed: {finished.stderr.strip()[-500:]}"
    partial.replace(target)
    return ""


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is no error
    if find_compiler():
        print("The native code is compiled, once", flush=True)
    if problem := compile_library(LIBRARY):
        print(f"The native code is left out: {problem}", file=sys.stderr)
