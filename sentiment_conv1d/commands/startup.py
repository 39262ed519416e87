"""What a command does before its imports, which take up to a second: it looks for its packages, and handles Ctrl-C.

The modules `__main__` call `begin` before they import anything else, so this module imports little itself.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from importlib.util import find_spec
from types import FrameType
from typing import NoReturn

_CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - see above
_ENVIRONMENT = os.path.join(".venv", "bin", "python")  # noqa: PTH118

#: A package that every command needs. Without it, this Python is not that of an environment of the project.
_NEEDED = "onnxruntime"


def begin() -> None:
    """End the process if its packages are missing, and from here on at Ctrl-C and SIGTERM, without a traceback.

    Imports drop exceptions such as `KeyboardInterrupt`, or raise others in their place. The status is 130 after Ctrl-C,
    the process dies of SIGTERM, and the status of `serve` is 0, as of a service that is stopped.
    """
    if find_spec(_NEEDED) is None:
        print(f"error: {sys.executable} does not have the packages of this project: {_hint()}", file=sys.stderr)
        sys.exit(2)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell ignores Ctrl-C for background processes
            signal.signal(number, end_at_once)


def end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """End the process at a signal, before it has written anything."""
    if serves():
        os._exit(0)
    os.write(2, b"interrupted: nothing was written\n")
    if number == signal.SIGTERM:
        die_of_sigterm()
    os._exit(128 + number)


def die_of_sigterm() -> NoReturn:
    """End the process as SIGTERM does by default, which also ends the first process of a container, with status 143."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
    os._exit(128 + signal.SIGTERM)  # the kernel spares the first process of a container


def serves() -> bool:
    """Return whether the command is `serve`, which handles its signals itself."""
    return sys.argv[1:2] == ["serve"]


def _hint() -> str:
    """Say which command to run instead, for the end of a message."""
    if not os.path.isfile(os.path.join(_CHECKOUT, "Makefile")):  # noqa: PTH113, PTH118
        return "install it with pip, which installs them too"
    python = os.path.join(_CHECKOUT, _ENVIRONMENT)  # noqa: PTH118
    if os.path.abspath(sys.executable) == python or not os.path.exists(python):  # noqa: PTH100, PTH110
        return "run `make serve` first, which installs them into .venv"
    module = os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0])))  # noqa: PTH100, PTH119, PTH120
    shown = _ENVIRONMENT if os.getcwd() == _CHECKOUT else python  # noqa: PTH109
    return f"run {shlex.join([shown, '-m', module, *sys.argv[1:]])}"
