"""TLS: the server's certificate, read anew when its files change, and the authority of its clients' certificates."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn, Self

from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.fingerprint import Reloaded
from sentiment_conv1d.service.settings import Settings


class Certificates(Reloaded):
    """A certificate chain with its key and, where clients must show a certificate, who has to have signed it.

    `rest` and `grpc` are for new connections. With `optional`, a caller of REST without a certificate gets through the
    handshake all the same, and what it may ask is for others to decide.

    Raises `StartupError`, which names the file that will not do.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None, *, optional: bool = False) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._optional = optional
        super().__init__("certificates", [file for file in (certificate, key, client_ca) if file is not None])

    @classmethod
    def read_settings(cls, settings: Settings) -> Self | None:
        """The certificates of the settings; None where TLS is not asked for. Raises `StartupError`."""
        if settings.tls_certificate is None or settings.tls_key is None:
            return None
        # Orchestrators ask for health without a certificate, as they do without an API key.
        optional = settings.open_health or settings.open_metrics or settings.open_page
        return cls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca, optional=optional)

    def _load(self) -> None:
        _check_certificate(self._certificate, _read(self._certificate, "certificate"))
        _read(self._key, "key")
        authorities = None
        if self._client_ca is not None:
            authorities = _read(self._client_ca, "certificate authority of clients")
            _check_certificate(self._client_ca, authorities)
        demand = ssl.CERT_OPTIONAL if self._optional else ssl.CERT_REQUIRED
        self.rest, self.grpc = (
            self._context("http/1.1", authorities, demand),
            self._context("h2", authorities, ssl.CERT_REQUIRED),
        )

    def _context(self, protocol: str, authorities: bytes | None, demand: ssl.VerifyMode) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([protocol])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise StartupError(f"{self._key}: the key does not belong to {self._certificate}") from error
            raise StartupError(f"{self._key}: there is no private key in PEM in it") from error
        except (OSError, ValueError) as error:
            raise StartupError(f"{self._key}: {error}") from error
        if authorities is not None:
            context.load_verify_locations(cadata=authorities.decode("ascii", "replace"))
            context.verify_mode = demand
        return context


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StartupError(f"{file}: the {what} cannot be read: {error.strerror}") from error


def _check_certificate(file: Path, content: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=content.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as error:
        raise StartupError(f"{file}: there is no certificate in PEM in it") from error


def _no_password() -> NoReturn:
    """OpenSSL would ask for it on the terminal."""
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")
