"""The service that is tested: its addresses, and what every request to it contains."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from loadtest.errors import LoadTestError


@dataclass(frozen=True)
class Endpoint:
    """A host and a port, with or without TLS."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def parse(cls, url: str, default_port: int) -> Self:
        """Parse `http://host:port`, `https://…`, `grpc://…` or `host:port`. Raises `LoadTestError`."""
        try:
            parts = urlsplit(url if "://" in url else f"//{url}")
            port = parts.port
        except ValueError as error:
            raise LoadTestError(f"{url!r} is not a URL: {error}") from error
        if parts.scheme not in ("", "http", "https", "grpc", "grpcs") or not parts.hostname:
            raise LoadTestError(f"{url!r} is not a URL of a service, such as http://127.0.0.1:8000")
        if parts.path not in ("", "/") or parts.query or parts.username:
            raise LoadTestError(f"{url!r} must contain only a host and a port")
        tls = parts.scheme in ("https", "grpcs")
        return cls(parts.hostname, port or (443 if tls else default_port), tls)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Target:
    """A service. The API key is sent with every request and appears in no output."""

    rest: Endpoint
    grpc: Endpoint | None = None
    model: str = "reviews"
    api_key: str | None = None
    ca_file: Path | None = None

    def tls_context(self) -> ssl.SSLContext:
        """Return a TLS context that verifies the server. Raises `LoadTestError`."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise LoadTestError(f"{self.ca_file} contains no PEM certificates") from error
        except OSError as error:
            raise LoadTestError(f"cannot read certificates from {self.ca_file}: {error.strerror}") from error

    def head(self, method: str, path: str, body_bytes: int = 0) -> bytes:
        """Return the head of an HTTP/1.1 request."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.rest}", "User-Agent: sentiment-loadtest"]
        if method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {body_bytes}"]
        if self.api_key is not None:
            lines.append(f"Authorization: Bearer {self.api_key}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
