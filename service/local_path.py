"""The type of settings that name a file or folder on this machine."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from sentiment_conv1d.model.commands.parser import local


def _check(value: str | os.PathLike[str] | None) -> str | None:
    """Refuse a URL, as flags of type `local_path` do. Raises `ValueError`."""
    try:
        return None if value is None else local(os.fspath(value))
    except ArgumentTypeError as error:
        raise ValueError(error) from None


LocalPath = Annotated[Path | None, BeforeValidator(_check)]
