"""Who may ask: callers who present one of some secret keys."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Self

from service.errors import StartupError
from service.settings import Settings

#: Shorter ones could be guessed.
MIN_CHARACTERS = 16

_BEARER = "bearer "


class ApiKeys:
    """Some keys, any of which opens the door.

    Only their hashes are kept, and all of them are compared in the same time, so that neither a dump of the memory nor
    a stopwatch tells a key.
    """

    def __init__(self, keys: list[str]) -> None:
        self._hashes = [_hash(key) for key in keys]

    @classmethod
    def read_settings(cls, settings: Settings) -> Self | None:
        """The keys of the settings; None where keys are not asked for. Raises as `read` does."""
        listed = settings.api_keys
        return cls.read(None if listed is None else listed.get_secret_value(), settings.api_key_file)

    @classmethod
    def read(cls, listed: str | None, file: Path | None) -> Self | None:
        """Keys from a list with commas and from a file with one a line; None where neither is given.

        Empty lines and lines that begin with # are skipped. Raises `StartupError`, which never shows a key.
        """
        if listed is None and file is None:
            return None
        keys = [] if listed is None else listed.split(",")
        if file is not None:
            try:
                keys += [line for line in file.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
            except (OSError, UnicodeDecodeError) as error:
                raise StartupError(f"{file}: the API keys cannot be read: {error}") from error
        keys = [key.strip() for key in keys if key.strip()]
        if not keys:
            raise StartupError("API keys are asked for, but there is none")
        for number, key in enumerate(keys, start=1):
            if len(key) < MIN_CHARACTERS or not key.isascii() or not key.isprintable() or " " in key:
                raise StartupError(
                    f"API key {number} must be at least {MIN_CHARACTERS} printable ASCII characters without a space"
                )
        return cls(keys)

    def admit(self, authorization: str | None, key: str | None) -> bool:
        """Whether a caller may ask, who sent `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
        presented = key
        if authorization is not None and authorization[: len(_BEARER)].lower() == _BEARER:
            presented = authorization[len(_BEARER) :].strip()
        if presented is None:
            return False
        digest = _hash(presented)
        matches = [hmac.compare_digest(digest, known) for known in self._hashes]
        return any(matches)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
