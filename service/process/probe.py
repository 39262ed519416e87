"""`python -m service.process.probe`: exit status 0 if the service on this machine is ready.

For container health checks without curl. It reads address, keys and certificate from the same variables as the service,
and imports only the standard library, so that a check is cheap.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from pathlib import Path

TIMEOUT = 2.0


def main() -> int:
    """Request `/readyz`. Returns 0 if the service is ready, otherwise 1 with the reason on standard error."""
    try:
        # urllib would use a proxy from the environment.
        connection = _connection()
        connection.request("GET", "/readyz", headers=_headers())
        answer = connection.getresponse()
    except (OSError, ValueError, HTTPException) as error:
        print(f"not ready: {error}", file=sys.stderr)
        return 1
    if answer.status != HTTPStatus.OK:
        print(f"not ready: {answer.read().decode(errors='replace')}", file=sys.stderr)
        return 1
    return 0


def _connection() -> HTTPConnection:
    """Connect to the service. With TLS, the service must have exactly the certificate in its file."""
    connection = HTTPConnection("localhost")
    connection.sock = _socket()
    certificate = os.environ.get("SENTIMENT_TLS_CERTIFICATE")
    if not certificate:
        return connection
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the certificate is not for this address
    context.load_verify_locations(certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate need not be self-signed
    if os.environ.get("SENTIMENT_TLS_CLIENT_CA") and not _is_true(os.environ.get("SENTIMENT_OPEN_HEALTH") or "true"):
        context.load_cert_chain(certificate, os.environ.get("SENTIMENT_TLS_KEY"))
    connection.sock = context.wrap_socket(connection.sock)
    return connection


def _socket() -> socket.socket:
    """Connect to the service's address, or to the loopback address if it listens on all addresses."""
    if path := os.environ.get("SENTIMENT_UDS"):
        local = socket.socket(socket.AF_UNIX)
        local.settimeout(TIMEOUT)
        local.connect(path)
        return local
    host = os.environ.get("SENTIMENT_HOST") or "127.0.0.1"
    with contextlib.suppress(ValueError):  # a host name
        if (address := ip_address(host)).is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return socket.create_connection((host, _port()), TIMEOUT)


def _is_true(value: str) -> bool:
    """Read a boolean as pydantic does."""
    return value.strip().lower() in ("1", "true", "t", "yes", "y", "on")


def _headers() -> dict[str, str]:
    """Return the service's first API key, if it has one, because health can be closed."""
    keys = os.environ.get("SENTIMENT_API_KEYS", "").split(",")
    if path := os.environ.get("SENTIMENT_API_KEY_FILE"):
        keys += [line for line in Path(path).read_text("utf-8-sig").splitlines() if not line.lstrip().startswith("#")]
    key = next(filter(None, map(str.strip, keys)), None)
    return {} if key is None else {"X-API-Key": key}


def _port() -> int:
    """Return the service's port, from the same variables as the service."""
    given = (os.environ.get(name) for name in ("SENTIMENT_PORT", "AIP_HTTP_PORT", "PORT"))
    return int(next(filter(None, given), "8000"))


if __name__ == "__main__":
    sys.exit(main())
