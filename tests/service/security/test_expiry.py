"""The expiry of a certificate is the one that the cryptography library reads."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sentiment_conv1d.service.security.tls import expiry
from tests.service.certificates import Authority


@pytest.mark.parametrize("year", [1951, 1999, 2000, 2049, 2050, 9999])
def test_years(tmp_path: Path, year: int) -> None:
    """Both forms of a time are read, in a certificate with a long name."""
    end = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "long" * 16)] * 10)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(end - timedelta(days=1)).not_valid_after(end)
    file = tmp_path / "certificate.pem"
    file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    assert expiry(file) == end.timestamp()


def test_chain(tmp_path: Path) -> None:
    """In a file with a chain, the first certificate counts, which is the server's own."""
    authority = Authority(tmp_path)
    own = authority.issue("server", expired=True).certificate.read_text()
    chain = tmp_path / "chain.pem"
    chain.write_text(f"Subject: CN=server\n{own}\n{authority.certificate.read_text()}")
    assert expiry(chain) == x509.load_pem_x509_certificate(own.encode()).not_valid_after_utc.timestamp()
