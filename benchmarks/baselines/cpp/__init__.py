"""The competent version in C++, `server.cpp`. make compiles it, and it is measured if that worked."""

from __future__ import annotations

from pathlib import Path

from loadtest.processes import Server

_PROGRAM = Path(__file__).with_name("server")


def is_installed() -> bool:
    """Whether the program has been compiled."""
    return _PROGRAM.exists()


def make_server(name: str, workers: int, model: Path) -> Server:
    """Return the server with a thread for each port. `model` is a folder with an unfolded graph and its tokenizer."""
    return Server(name, "{ports}", ports=workers, python=str(_PROGRAM), environment={"MODEL_FOLDER": str(model)})
