"""API keys decide who can send requests; administration keys decide who can load, unload and label models."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from sentiment_conv1d.server.errors import Unauthorized
from sentiment_conv1d.server.network.shares import KEY
from sentiment_conv1d.service.errors import Forbidden, StartupError
from sentiment_conv1d.service.fingerprint import Reloaded
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.key_counts import NAME_CHARACTERS

logger = logging.getLogger(__name__)

#: Shorter keys could be guessed.
MIN_CHARACTERS = 16

_BEARER = b"bearer "

_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{NAME_CHARACTERS}}}")

#: How the log names the values of `--admin`.
_ADMINISTRATION = {"off": "off", "key": "keys", "open": "everyone who can send requests"}


class Access:
    """Checks keys against the settings. Callers send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    Headers are given by lower-case name. The log warns of a key with two names. Raises `StartupError`. Neither the log
    nor the message of an error contains a key.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._api_keys = ApiKeys(settings.api_keys, settings.api_key_file)
        self._admin_keys = ApiKeys(settings.admin_keys, settings.admin_key_file, "administration")
        #: Whether requests need a key.
        self.needs_key = self._api_keys.configured
        #: Whether some requests need an API key or an administration key.
        self.takes_key = self.needs_key or self._admin_keys.configured
        self._warn_of_same_keys()

    def admits(self, caller: str | None) -> bool:
        """Return whether a caller, as `caller` returns it, or an address, can send requests.

        An administration key is valid wherever an API key is.
        """
        return not self.needs_key or (caller is not None and caller.startswith(KEY))

    def caller(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return `KEY` and the name of the key in the headers; None if they have no valid one."""
        if not self.takes_key:
            return None
        return self._api_keys.caller(headers) or self._admin_keys.caller(headers)

    def check_administration(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise `Forbidden` or `Unauthorized` unless a caller that `admits` accepts can load and unload models."""
        if self._settings.admin == "off":
            raise Forbidden("loading and unloading models is off; the setting --admin turns it on")
        if not self._admin_keys.configured or self._admin_keys.caller(headers) is not None:
            return
        if self.needs_key:
            raise Forbidden("an API key cannot load or unload models; use an administration key")
        raise Unauthorized("send an administration key as Authorization: Bearer KEY or X-API-Key: KEY")

    def describe(self) -> str:
        """Return who can call what, for the log."""
        settings = self._settings
        open_routes = [each for each in ("health", "metrics", "page") if getattr(settings, f"open_{each}")]
        parts = [f"keys: {len(self._api_keys)}" if self.needs_key else "keys: none, everyone can send requests"]
        if self.needs_key or settings.tls_client_ca is not None:
            parts.append(f"open: {', '.join(open_routes) or 'nothing'}")
        parts.append(f"TLS: {'off' if settings.tls_certificate is None else 'on'}")
        if settings.tls_client_ca is not None:
            parts.append("client certificates: needed")
        parts.append(f"administration: {_ADMINISTRATION[settings.admin]}")
        return "; ".join(parts)

    def names(self) -> list[str]:
        """Return the names of all keys."""
        return [*self._api_keys.names(), *self._admin_keys.names()]

    @property
    def keys(self) -> tuple[ApiKeys, ApiKeys]:
        """The API keys and the administration keys."""
        return self._api_keys, self._admin_keys

    def refresh(self, level: int = logging.INFO) -> None:
        """Read the key files again if they have changed, and log that at this level."""
        changed = [keys.refresh(level) for keys in self.keys]
        if any(changed):
            self._warn_of_same_keys()

    def _warn_of_same_keys(self) -> None:
        for api, administration in self._api_keys.same(self._admin_keys):
            _warn_of_same_key(api, administration)


class ApiKeys(Reloaded):
    """Keys from a comma-separated list and from a file with one key per line and comments that begin with #.

    A key can have a name before it, `NAME KEY`. Without one, it is called by its number, and an administration key by
    its number after `admin-`. Keys with the same name belong to the same caller. A key with two names belongs to the
    first one, and the log warns of it.

    SHA-256 hashes are compared, so response times do not reveal a key. Keys of a file are not kept; the list stays in
    memory, as in the settings. `configured` says whether there is a list or a file. Without them, no key is valid.

    Raises `StartupError`, whose message never contains a key.
    """

    def __init__(self, listed: SecretStr | None, file: Path | None = None, kind: str = "API") -> None:
        self._listed, self._file, self._kind = listed, file, kind
        self._prefix, flag = ("", "api") if kind == "API" else ("admin-", "admin")
        flags = {f"--{flag}-keys": listed, f"--{flag}-key-file": file}
        self._flags = " and ".join(name for name, value in flags.items() if value is not None)
        self.configured = listed is not None or file is not None
        super().__init__(f"{kind} keys", () if file is None else (file,))

    def __len__(self) -> int:
        return len(self._callers)

    def names(self) -> list[str]:
        """Return the names of the keys, in order."""
        return [caller.removeprefix(KEY) for caller in dict.fromkeys(self._callers.values())]

    def same(self, other: ApiKeys) -> list[tuple[str, str]]:
        """Return the callers here and there of the keys that are in both."""
        return [(caller, other._callers[key]) for key, caller in self._callers.items() if key in other._callers]

    def caller(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return `KEY` and the name of the valid key in the headers of a request or metadata of a call, or None."""
        presented = headers.get(b"x-api-key")
        authorization = headers.get(b"authorization", b"")
        if authorization[: len(_BEARER)].lower() == _BEARER:
            presented = authorization[len(_BEARER) :].strip()
        return None if presented is None else self._callers.get(_hash(presented))

    def _load(self) -> None:
        keys = [] if self._listed is None else self._listed.get_secret_value().split(",")
        if self._file is not None:
            try:
                lines = self._file.read_text("utf-8-sig").splitlines()
            except OSError as error:
                raise self._error(f"{self._file} cannot be read: {error.strerror}") from error
            except UnicodeDecodeError:
                # The error's message contains a byte of a key.
                raise self._error(f"{self._file} is not UTF-8") from None
            keys += [line for line in lines if not line.lstrip().startswith("#")]
        keys = [key.strip() for key in keys if key.strip()]
        if self.configured and not keys:
            raise self._error("there are no keys" if self._file is None else f"there are no keys in {self._file}")
        callers: dict[bytes, str] = {}
        for number, line in enumerate(keys, start=1):
            name, _, key = line.rpartition(" ")
            if len(key) < MIN_CHARACTERS or not key.isascii() or not key.isprintable():
                raise self._error(
                    f"key {number} must be at least {MIN_CHARACTERS} printable ASCII characters without a space"
                )
            if name and not _NAME.fullmatch(name := name.strip()):
                raise self._error(
                    f"the name of key {number} must be at most {NAME_CHARACTERS} letters, digits, dots, hyphens and "
                    "underscores"
                )
            caller = KEY + (name or f"{self._prefix}{number}")
            _warn_of_same_key(callers.setdefault(_hash(key.encode()), caller), caller)
        self._callers = callers

    def _error(self, message: str) -> StartupError:
        return StartupError(f"{self._flags}: {message}")


def _warn_of_same_key(first: str, second: str) -> None:
    """Warn that two callers have the same key, unless they are the same caller."""
    if first != second:
        names = [caller.removeprefix(KEY) for caller in (first, second, first)]
        logger.warning("%s and %s have the same key; requests with it count as those of %s", *names)


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
