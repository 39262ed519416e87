"""How this package was installed, and therefore how to install its extras.

A hint never asks pip for the name of this package alone, because pip would look it up on an index, where it can belong
to anyone.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit
from urllib.request import url2pathname

NAME = "sentiment-conv1d"

_CHECKOUT = Path(__file__).resolve().parents[2]

#: The packages of the extra `train`.
_TRAINING_PACKAGES = {"tensorflow", "keras", "tf2onnx", "onnx", "scipy", "sklearn", "matplotlib", "pyarrow", "jinja2"}


def install_hint(extra: str) -> str:
    """Return what to do to install an extra, for the end of a message."""
    where = _place(extra)
    if where is None:
        return f"install the `{extra}` extra from the checkout or wheel of {NAME}, as in pip install 'WHEEL[{extra}]'"
    return f"install the `{extra}` extra: pip install {shlex.quote(where)}"


def tensorflow_hint() -> str:
    """Return what to do about missing TensorFlow, for the end of a message."""
    if sys.version_info >= (3, 14):
        return "it has no wheels for Python 3.14, so use Python 3.11, 3.12 or 3.13"
    return install_hint("train")


def end_without_tensorflow(prog: str) -> NoReturn:
    """End a command with status 2, and say what it needs."""
    print(f"{prog}: training and export need TensorFlow: {tensorflow_hint()}", file=sys.stderr)
    sys.exit(2)


@contextmanager
def training_packages(prog: str) -> Iterator[None]:
    """End the command if the block imports a package of the extra `train` that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _TRAINING_PACKAGES:
            raise
        end_without_tensorflow(prog)


def _place(extra: str) -> str | None:
    """Return what pip installs: a path or URL with the extra, or None if the origin of the package is not known."""
    if (_CHECKOUT / "pyproject.toml").is_file():
        return f"{'.' if Path.cwd() == _CHECKOUT else _CHECKOUT}[{extra}]"
    origin = _origin()
    if origin is None or urlsplit(origin).scheme != "file":
        return origin and f"{NAME}[{extra}] @ {origin}"
    path = Path(url2pathname(urlsplit(origin).path))
    # Another user's home folder, or a sandbox that hides it, must not be an error.
    return f"{path}[{extra}]" if os.access(path, os.R_OK) else None


def _origin() -> str | None:
    """Return the URL in direct_url.json (PEP 610), which pip and uv write unless they install from an index."""
    try:
        content = distribution(NAME).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    if content is None:
        return None
    document = json.loads(content)
    url, source = str(document["url"]), document.get("vcs_info")
    return url if source is None else f"{source['vcs']}+{url}@{source['commit_id']}"
