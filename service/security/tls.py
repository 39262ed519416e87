"""The server's TLS certificate, reloaded when its files change, and the authorities of client certificates."""

from __future__ import annotations

import _ssl
import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, Self

from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.fingerprint import Reloaded
from sentiment_conv1d.service.settings import Settings

logger = logging.getLogger(__name__)


class Certificates(Reloaded):
    """A certificate chain with its key and, optionally, the authorities of client certificates.

    `rest` and `grpc` are the SSL contexts for new connections. With `optional`, REST completes the handshake with
    callers that have no certificate, and the application decides which routes they can use. `expiry` is when the
    certificate expires, in seconds since 1970. An expired one is served with a warning, because some clients do not
    verify it.

    Raises `StartupError`, which names the invalid file.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None, *, optional: bool = False) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._optional = optional
        super().__init__("certificates", [file for file in (certificate, key, client_ca) if file is not None])

    @classmethod
    def read_settings(cls, settings: Settings) -> Self | None:
        """Return the certificates of the settings, or None without TLS. Raises `StartupError`."""
        if settings.tls_certificate is None or settings.tls_key is None:
            return None
        # The health probes of orchestrators send neither a client certificate nor an API key.
        optional = settings.open_health or settings.open_metrics or settings.open_page
        return cls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca, optional=optional)

    def _load(self) -> None:
        _read_certificates(self._certificate, "certificate")
        _read(self._key, "key")
        authorities = None
        if self._client_ca is not None:
            authorities = _read_certificates(self._client_ca, "certificate authority of clients")
        self.rest = self._context("http/1.1", authorities, ssl.CERT_OPTIONAL if self._optional else ssl.CERT_REQUIRED)
        self.grpc = self._context("h2", authorities, ssl.CERT_REQUIRED)
        self.expiry = expiry(self._certificate)
        end = datetime.fromtimestamp(self.expiry, UTC)
        if end <= datetime.now(UTC):
            logger.warning("%s: the certificate has expired on %s; clients reject it", self._certificate, end)

    def _context(self, protocol: str, authorities: str | None, demand: ssl.VerifyMode) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # OpenSSL 3 has it off
        context.set_alpn_protocols([protocol])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise StartupError(f"{self._key}: the key does not belong to {self._certificate}") from error
            raise StartupError(f"{self._key}: the file contains no PEM private key") from error
        except (OSError, ValueError) as error:
            raise StartupError(f"{self._key}: {error}") from error
        if authorities is not None:
            context.load_verify_locations(cadata=authorities)
            context.verify_mode = demand
        return context


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StartupError(f"{file}: the {what} cannot be read: {error.strerror}") from error


def _read_certificates(file: Path, what: str) -> str:
    certificates = _read(file, what).decode("ascii", "replace")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError) as error:
        raise StartupError(f"{file}: the file contains no PEM certificate") from error
    return certificates


def _no_password() -> NoReturn:
    """Refuse to decrypt: without this callback OpenSSL would ask for a password on the terminal."""
    raise ValueError("the key is encrypted, which is not supported")


def expiry(certificate: Path) -> float:
    """Return when the first certificate of a PEM file expires, in seconds since 1970. Raises `StartupError`.

    The public functions of Python's ssl tell it only of certificates that they have verified.
    """
    try:
        end = _ssl._test_decode_cert(certificate)["notAfter"]  # type: ignore[attr-defined]
    except ssl.SSLError as error:  # the file has been replaced since it was loaded
        raise StartupError(f"{certificate}: the certificate cannot be read") from error
    return float(ssl.cert_time_to_seconds(end))
