"""Where a log goes: a folder, or the URL of an HTTP server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _checked(target: str) -> str:
    if "://" in target or not target:
        url = urlsplit(target)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be a folder, or a URL that begins with http:// or https:// and names a host")
        if "@" in url.netloc:
            raise ValueError("must not contain a user name or a password, which the service would not send")
        _ = url.port  # raises `ValueError` if it is not a port
    return target


LogTarget: TypeAlias = Annotated[str, AfterValidator(_checked)]


def folder_of(target: LogTarget | None) -> Path | None:
    """Return the folder of a log; None if the log is off, or goes to a URL."""
    return None if target is None or "://" in target else Path(target)
