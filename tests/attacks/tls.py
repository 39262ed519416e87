"""Attacks over TLS. The attackers have no key, and the other caller uses TLS too."""

from __future__ import annotations

import socket
import ssl
import tempfile
from contextlib import ExitStack
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.attacks.scenarios import KEY, LEFTOVER_MEGABYTES, Scenarios, Setup
from tests.attacks.wire import connections, send_all
from tests.processes import PATIENCE, ServerProcess

SCENARIOS = Scenarios()

SECURE = Setup(key=KEY, tls=True)

#: The memory of a connection, see docs/security.md.
_CONNECTION_MEGABYTES = 0.08

#: Seconds for the bytes of an attacker, at the normal size.
_LONGEST = 20.0

_SECRET_BYTES, _KEY_BYTES, _NONCE_BYTES, _TAG_BYTES = 48, 32, 12, 16
_KEY_UPDATE, _HANDSHAKE_TYPE = b"\x18\0\0\1%c", b"\x16"


def trusting() -> ssl.SSLContext:
    """Return the context of a client that trusts every server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class KeyUpdates:
    """Key updates of TLS 1.3 (RFC 8446, section 4.6.3), which Python's ssl cannot send.

    A connection of `context` whose handshake has ended sends nothing after them. Its secrets are in `log`.
    """

    def __init__(self, log: Path) -> None:
        self.context = trusting()
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._log = log
        self.context.keylog_filename = str(log)

    def records(self, count: int, *, answered: bool, sent: int = 0) -> bytes:
        """Return the records for the latest connection, which has `sent` other records since its handshake.

        The server has to answer each if they are to be `answered`.
        """
        secrets = [line for line in self._log.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC_SECRET_0 ")]
        secret = bytes.fromhex(secrets[-1].split()[-1])
        assert len(secret) == _SECRET_BYTES, "the cipher is not TLS_AES_256_GCM_SHA384"
        content = _KEY_UPDATE % answered + _HANDSHAKE_TYPE
        head = b"\x17\3\3" + (len(content) + _TAG_BYTES).to_bytes(2)
        records = []
        for _ in range(count):
            key, nonce = _expand(secret, b"key", _KEY_BYTES), _expand(secret, b"iv", _NONCE_BYTES)
            nonce = (int.from_bytes(nonce) ^ sent).to_bytes(_NONCE_BYTES)
            records.append(head + AESGCM(key).encrypt(nonce, content, head))
            sent = 0  # with this key
            secret = _expand(secret, b"traffic upd", _SECRET_BYTES)
        return b"".join(records)


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, section 7.1)."""
    info = size.to_bytes(2) + bytes((6 + len(label),)) + b"tls13 " + label + b"\0"
    return HKDFExpand(SHA384(), size, info).derive(secret)


def hello() -> bytes:
    """Return the first record of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        trusting().wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("the handshake has ended")


@SCENARIOS.add(SECURE, peak_megabytes=LEFTOVER_MEGABYTES + 500 * _CONNECTION_MEGABYTES)
def handshakes(server: ServerProcess, times: int) -> int:
    """Begin hundreds of handshakes at once and leave when they are answered, again and again."""
    first, sent = hello(), 0
    for _ in range(6 * times):
        with connections(server.port, 500) as opened:
            sent += send_all(((each, [first]) for each in opened), _LONGEST, linger=0.2).sent
    return sent


@SCENARIOS.add(SECURE, peak_megabytes=2200 * _CONNECTION_MEGABYTES)
def secure_connections(server: ServerProcess, times: int) -> int:
    """Complete more handshakes than there can be connections, and then leave all connections at once."""
    context, sent = trusting(), 0
    with ExitStack() as stack:
        for _ in range(2200 * times):
            connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
            stack.enter_context(context.wrap_socket(connection))
            sent += 400  # about
    return sent


@SCENARIOS.add(SECURE)
def key_updates(server: ServerProcess, times: int) -> int:
    """Ask for thousands of new keys on each of thirty connections, and read the answers."""
    targets = []
    with ExitStack() as stack:
        updates = KeyUpdates(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log")
        for _ in range(30):
            connection = updates.context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
            plain = stack.enter_context(socket.socket(fileno=connection.detach()))
            targets.append((plain, [updates.records(2000 * times, answered=True)]))
        return send_all(targets, times * _LONGEST, linger=0.2).sent
