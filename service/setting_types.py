"""Types of settings: a file or folder on this machine, and where a log goes."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from sentiment_conv1d.model.commands.parser import local


def _check_path(value: str | os.PathLike[str] | None) -> str | None:
    """Refuse a URL, as flags of type `local_path` do. Raises `ValueError`."""
    try:
        return None if value is None else local(os.fspath(value))
    except ArgumentTypeError as error:
        raise ValueError(error) from None


def _check_target(target: str) -> str:
    if "://" in target or not target:
        url = urlsplit(target)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be a folder, or a URL that begins with http:// or https:// and names a host")
        if "@" in url.netloc:
            raise ValueError("must not contain a user name or a password, which the service would not send")
        _ = url.port  # raises `ValueError` if it is not a port
    return target


LocalPath: TypeAlias = Annotated[Path | None, BeforeValidator(_check_path)]

#: A folder, or the URL of an HTTP server.
LogTarget: TypeAlias = Annotated[str, AfterValidator(_check_target)]


def folder_of(target: LogTarget | None) -> Path | None:
    """Return the folder of a log; None if the log is off, or goes to a URL."""
    return None if target is None or "://" in target else Path(target)
