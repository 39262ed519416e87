"""Certificates for tests, and a server that uses one."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.processes import MODEL_REPOSITORY, ServerProcess

_DAY = datetime.timedelta(days=1)


class Issued(NamedTuple):
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    @property
    def pair(self) -> tuple[str, str]:
        """Return the paths of the certificate and its key."""
        return str(self.certificate), str(self.key)


class Authority:
    """An authority that signs certificates. `certificate` is its own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = _builder(self._name, self._name, self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM))

    def issue(self, name: str, *, expired: bool = False, address: str = "127.0.0.1") -> Issued:
        """Issue a certificate for this machine that is valid for servers and clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(address))]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(_name(name), self._name, key, days_ago=10 if expired else 1)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        issued = Issued(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        issued.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        issued.key.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return issued


_PEM = serialization.Encoding.PEM


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days_ago: int = 1
) -> x509.CertificateBuilder:
    """Return a builder for a certificate that is valid for five days, starting in `days` days."""
    start = datetime.datetime.now(datetime.UTC) - days_ago * _DAY
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start)
    builder = builder.not_valid_after(start + 5 * _DAY)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Create an authority that no system trusts."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[ServerProcess]:
    """Run a server with one worker and TLS on both ports."""
    certificate, key = authority.issue("server").pair
    flags = ("--workers", "1", "--tls-certificate", certificate, "--tls-key", key)
    with ServerProcess(*flags, repository=MODEL_REPOSITORY) as server:
        yield server
