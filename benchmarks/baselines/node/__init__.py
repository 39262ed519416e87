"""The competent version in Node, `server.js`. make installs its packages, and it is measured if they are installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from loadtest.processes import Server

_FOLDER = Path(__file__).parent


def is_installed() -> bool:
    """Whether this machine has Node and the packages."""
    return shutil.which("node") is not None and (_FOLDER / "node_modules").exists()


def make_server(name: str, workers: int, model: Path) -> Server:
    """Return the server with a process on each port. `model` is a folder with an unfolded graph and its tokenizer."""
    environment = {"MODEL_FOLDER": str(model)}
    return Server(name, str(_FOLDER / "server.js"), "{ports}", ports=workers, python="node", environment=environment)
