"""TLS over REST and gRPC, with server and client certificates."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import tritonclient.grpc
import tritonclient.http
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.server.http.asgi import PIECE_BYTES
from sentiment_conv1d.server.http.connection import MAX_PIPELINED
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.security.tls import Certificates, expiry
from sentiment_conv1d.service.settings import named
from sentiment_conv1d.stubs import SentimentStub
from tests.proc import anonymous_megabytes, children
from tests.processes import PATIENCE, PROBE, ServerProcess, eventually, run
from tests.service.certificates import Authority, Issued
from tests.service.grpc import wire
from tests.service.grpc.channels import refused
from tests.service.rest.raw import request

TEXT: dict[str, Any] = {"text": "A gripping, beautifully acted film."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder for the certificates."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    """Create the authority of the server and the clients."""
    return Authority(folder)


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Authority:
    """Create an authority that nobody trusts."""
    return Authority(folder, "stranger")


@pytest.fixture(scope="module")
def own(authority: Authority) -> Issued:
    """Issue the certificate of the server."""
    return authority.issue("server")


@pytest.fixture(scope="module")
def secure(own: Issued) -> Iterator[ServerProcess]:
    """Serve with TLS and without client certificates."""
    with ServerProcess("--workers", "1", *flags(own)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(own: Issued, authority: Authority) -> Iterator[ServerProcess]:
    """Serve with TLS and required client certificates, except for health."""
    with ServerProcess("--workers", "1", *flags(own, authority)) as server:
        yield server


def flags(own: Issued, client_ca: Authority | None = None) -> tuple[str, ...]:
    mutual = () if client_ca is None else ("--tls-client-ca", str(client_ca.certificate))
    return ("--tls-certificate", str(own.certificate), "--tls-key", str(own.key), *mutual)


def context(trusted: Authority, shown: Issued | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(trusted.certificate))
    if shown is not None:
        made.load_cert_chain(*shown.pair)
    return made


def client(server: ServerProcess, trusted: Authority, shown: Issued | None = None) -> httpx.Client:
    url = f"https://127.0.0.1:{server.port}"
    return httpx.Client(base_url=url, verify=context(trusted, shown), timeout=PATIENCE, trust_env=False)


def channel(server: ServerProcess, trusted: Authority, shown: Issued | None = None) -> grpc.Channel:
    pair = (None, None) if shown is None else (shown.key.read_bytes(), shown.certificate.read_bytes())
    credentials = grpc.ssl_channel_credentials(trusted.certificate.read_bytes(), *pair)
    return grpc.secure_channel(f"127.0.0.1:{server.grpc_port}", credentials, [("grpc.enable_http_proxy", 0)])


def predicts(server: ServerProcess, trusted: Authority, shown: Issued | None = None) -> None:
    """Assert that a client gets answers over REST and gRPC."""
    with client(server, trusted, shown) as rest:
        assert rest.post("/v1/predict", json=TEXT).json()["label"] == "positive"
    with channel(server, trusted, shown) as opened:
        assert SentimentStub(opened).Predict(PredictRequest(**TEXT), timeout=PATIENCE).label == "positive"


def is_turned_away(server: ServerProcess, trusted: Authority, shown: Issued | None = None) -> None:
    """Assert that a client cannot connect over REST or gRPC."""
    with client(server, trusted, shown) as rest, pytest.raises(httpx.TransportError):
        rest.post("/v1/predict", json=TEXT)
    with channel(server, trusted, shown) as opened:
        call = partial(SentimentStub(opened).Predict, PredictRequest(**TEXT), timeout=PATIENCE)
        assert refused(call).code is grpc.StatusCode.UNAVAILABLE


def test_answers(secure: ServerProcess, authority: Authority) -> None:
    """A client that trusts the server's authority gets answers over both protocols, including large ones."""
    predicts(secure, authority)
    assert secure.wait_for_log("listening on https://") and secure.wait_for_log("listening on grpcs://")
    with client(secure, authority) as rest:
        answer = rest.post("/v1/predict_batch", json={"texts": ["word " * number for number in range(1024)]})
        assert answer.status_code == 200 and len(answer.content) > 2 * PIECE_BYTES
        assert [each["tokens"] for each in answer.json()["predictions"]] == list(range(1, 1025))
        assert int(rest.get("/docs").headers["strict-transport-security"].removeprefix("max-age=")) > 0


def test_tritonclient(secure: ServerProcess, authority: Authority) -> None:
    """Triton's clients connect over TLS."""
    rest = tritonclient.http.InferenceServerClient(
        f"127.0.0.1:{secure.port}", ssl=True, ssl_context_factory=partial(context, authority)
    )
    assert rest.is_server_ready()
    with tritonclient.grpc.InferenceServerClient(
        f"127.0.0.1:{secure.grpc_port}", ssl=True, root_certificates=str(authority.certificate)
    ) as client:
        assert client.is_server_ready()


def test_wrong_authority(secure: ServerProcess, stranger: Authority) -> None:
    """A client that trusts another authority cannot connect."""
    is_turned_away(secure, stranger)


def test_plain_text(secure: ServerProcess, authority: Authority) -> None:
    """Both protocols refuse plain connections."""
    with pytest.raises(httpx.TransportError):
        secure.client.get("/livez")
    with grpc.insecure_channel(f"127.0.0.1:{secure.grpc_port}", [("grpc.enable_http_proxy", 0)]) as opened:
        call = partial(SentimentStub(opened).Predict, PredictRequest(**TEXT), timeout=PATIENCE)
        assert refused(call).code is grpc.StatusCode.UNAVAILABLE
    predicts(secure, authority)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(secure: ServerProcess, authority: Authority, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 are accepted."""
    exact = context(authority)
    exact.minimum_version = exact.maximum_version = version
    with httpx.Client(verify=exact, timeout=PATIENCE, trust_env=False) as rest:
        assert rest.get(f"https://127.0.0.1:{secure.port}/livez").status_code == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_version(secure: ServerProcess, authority: Authority) -> None:
    """TLS 1.1 is refused."""
    old = context(authority)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", secure.port), PATIENCE) as connection, pytest.raises(ssl.SSLError):
        old.wrap_socket(connection, server_hostname="127.0.0.1")


def test_handshake_that_never_ends(own: Issued, authority: Authority) -> None:
    """Callers that do not complete the handshake are disconnected, and do not delay others."""
    beginning = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    with ServerProcess("--workers", "1", "--handshake-timeout", "10", *flags(own)) as server, ExitStack() as stack:
        half_open = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            for port in (server.port, server.grpc_port)
        ]
        for connection in half_open:
            connection.sendall(beginning)
        predicts(server, authority)
        for connection in half_open:
            assert connection.recv(100) == b""


def test_limits(own: Issued, authority: Authority) -> None:
    """Limits apply under TLS: idle connections and handshakes are evicted, and slow readers are disconnected."""
    flags_of_limits = ("--workers", "1", "--max-connections", "3", "--write-timeout", "1")
    with ServerProcess(*flags_of_limits, *flags(own)) as server, ExitStack() as stack:

        def connect(trusting: ssl.SSLContext | None = None) -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
            if trusting is not None:
                connection = trusting.wrap_socket(connection, server_hostname="127.0.0.1")
            return stack.enter_context(connection)

        half = [connect() for _ in range(5)]
        predicts(server, authority)
        idle = [connect(context(authority)) for _ in range(5)]
        predicts(server, authority)
        assert {connection.recv(1) for connection in (half[0], idle[0])} == {b""}
        reader = connect(context(authority))
        batch = json.dumps({"texts": ["a"] * 1024}).encode()
        with suppress(OSError):  # on a busy machine, it is disconnected before it has sent all of them
            for _ in range(1 + MAX_PIPELINED):
                reader.sendall(request("/v1/predict_batch", f"Content-Length: {len(batch)}") + batch)
        server.wait_for_log("a caller did not read its answer in time")
        predicts(server, authority)


def test_memory_of_idle_connections(secure: ServerProcess, authority: Authority) -> None:
    """A connection that has sent much at once holds little memory afterwards."""
    trusting = context(authority)
    content = request("/v1/predict", "Content-Length: 200000") + b" " * 200_000
    before = anonymous_megabytes(children(secure.process.pid))
    with ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", secure.port), PATIENCE))
            caller = stack.enter_context(trusting.wrap_socket(connection, server_hostname="127.0.0.1"))
            caller.sendall(content)
            assert caller.recv(12) == b"HTTP/1.1 400"
        assert anonymous_megabytes(children(secure.process.pid)) - before < 200 * 0.15


def test_idle_callers_at_shutdown(own: Issued, authority: Authority) -> None:
    """Callers that keep idle connections, and do not read their end, do not delay the shutdown."""
    with ServerProcess("--workers", "1", *flags(own)) as server, ExitStack() as stack:
        for _ in range(3):
            idle = stack.enter_context(client(server, authority))
            assert idle.post("/v1/predict", json=TEXT).status_code == 200
        assert server.stop() == 0
        assert not [line for line in server.log if " ERROR " in line]


def test_slow_reader_at_shutdown(own: Issued, authority: Authority) -> None:
    """An answer that is being read when the shutdown begins arrives whole."""
    batch = json.dumps({"texts": ["a"] * 1024}).encode()
    with ServerProcess("--workers", "1", *flags(own)) as server, ExitStack() as stack:
        connection = stack.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", server.port))
        reader = stack.enter_context(context(authority).wrap_socket(connection, server_hostname="127.0.0.1"))
        reader.sendall(request("/v1/predict_batch", f"Content-Length: {len(batch)}") + batch)
        received = reader.recv(1)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("shutting down")
        while piece := reader.recv(100):
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        assert b"content-length: %d\r\n" % len(body) in head


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_handshake_that_ends_while_the_service_does(own: Issued, authority: Authority, protocol: str) -> None:
    """Callers that connect during the shutdown do not delay it, over REST or gRPC."""
    with ServerProcess("--workers", "1", "--shutdown-timeout", "600", *flags(own)) as server, ExitStack() as stack:
        port = server.port if protocol == "http/1.1" else server.grpc_port
        trusting = context(authority)
        trusting.set_alpn_protocols([protocol])

        def connect(port: int) -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))

        def connect_securely(port: int) -> ssl.SSLSocket:
            return stack.enter_context(trusting.wrap_socket(connect(port), server_hostname="127.0.0.1"))

        idle = connect_securely(server.port)
        silent = connect_securely(port)  # answers nothing, so that gRPC takes its time to end
        if protocol == "h2":
            silent.sendall(wire.PREFACE + wire.settings())
            assert silent.recv(1)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        late = trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with pytest.raises(ssl.SSLWantReadError):
            late.do_handshake()
        late_socket = connect(port)
        late_socket.sendall(outgoing.read())
        incoming.write(late_socket.recv(100_000))
        server.process.terminate()
        assert idle.recv(1) == b""  # all were told to go, so one that comes later has to be told by itself
        late.do_handshake()
        late_socket.sendall(outgoing.read())
        told = None
        while told is None:
            try:
                told = late.read(1)
            except ssl.SSLWantReadError:
                incoming.write(late_socket.recv(1000))
        assert told == b""
        for connection in (idle, silent, late_socket):
            connection.close()
        assert server.process.wait(PATIENCE) == 0


def test_client_certificate(mutual: ServerProcess, authority: Authority) -> None:
    """A client with a certificate of the right authority gets answers."""
    predicts(mutual, authority, authority.issue("client"))


def test_no_client_certificate(mutual: ServerProcess, authority: Authority) -> None:
    """A client without a certificate can only call health over REST, and cannot connect over gRPC."""
    with client(mutual, authority) as rest:
        assert rest.get("/livez").status_code == rest.get("/readyz").status_code == 200
        for method, path in (("POST", "/v1/predict"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/no/such")):
            answer = rest.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        assert rest.post("/v2/models/imdb-cnn/infer").json() == {"error": "a client certificate is needed"}
    with channel(mutual, authority) as opened:
        call = partial(SentimentStub(opened).Predict, PredictRequest(**TEXT), timeout=PATIENCE)
        assert refused(call).code is grpc.StatusCode.UNAVAILABLE


def test_other_client_certificates(mutual: ServerProcess, authority: Authority, stranger: Authority) -> None:
    """A client with an untrusted or expired certificate cannot connect."""
    is_turned_away(mutual, authority, stranger.issue("guest"))
    is_turned_away(mutual, authority, authority.issue("late", expired=True))


def test_expired_server_certificate(authority: Authority) -> None:
    """Clients and the health check reject a server with an expired certificate, and its log warns of it once."""
    expired = authority.issue("expired", expired=True)
    with ServerProcess("--workers", "2", *flags(expired)) as server:
        warning = f"WARNING .*{expired.certificate}: the certificate has expired on "
        assert len(re.findall(warning, "".join(server.log))) == 1
        is_turned_away(server, authority)
        assert "certificate has expired" in probe(server, expired)


def probe(server: ServerProcess, own: Issued, **variables: str) -> str:
    """Return the error output of the container's health check."""
    certificate, key = own.pair
    result = run(
        *PROBE,
        SENTIMENT_PORT=str(server.port),
        SENTIMENT_TLS_CERTIFICATE=certificate,
        SENTIMENT_TLS_KEY=key,
        **variables,
    )
    assert (result.returncode == 0) == (not result.stderr)
    return result.stderr


def test_probe(
    secure: ServerProcess, mutual: ServerProcess, own: Issued, authority: Authority, stranger: Authority
) -> None:
    """The container's health check works over TLS, needs no certificate for open health, and verifies the server."""
    assert probe(secure, own) == ""
    assert probe(mutual, own, SENTIMENT_TLS_CLIENT_CA=str(authority.certificate)) == ""
    assert "certificate verify failed" in probe(secure, stranger.issue("other"))


def test_closed_health(own: Issued, authority: Authority) -> None:
    """With closed health every connection needs a certificate, and the probe presents the server's."""
    with ServerProcess("--workers", "1", "--no-open-health", *flags(own, authority)) as server:
        is_turned_away(server, authority)
        predicts(server, authority, authority.issue("client"))
        variables = {"SENTIMENT_TLS_CLIENT_CA": str(authority.certificate), "SENTIMENT_OPEN_HEALTH": "false"}
        assert probe(server, own, **variables) == ""


def test_new_certificate(tmp_path: Path) -> None:
    """New connections get a new certificate, existing ones continue, and invalid files change nothing."""
    before, after = Authority(tmp_path, "before"), Authority(tmp_path, "after")
    served = Issued(tmp_path / "tls.crt", tmp_path / "tls.key")

    def put(issued: Issued) -> None:
        for source, target in zip(issued, served, strict=True):
            shutil.copy(source, target.with_suffix(".new"))
            target.with_suffix(".new").rename(target)

    put(before.issue("first"))
    with (
        ServerProcess("--workers", "1", *flags(served)) as server,
        client(server, before) as old,
        channel(server, before) as opened,
    ):
        stub = SentimentStub(opened)
        assert old.post("/v1/predict", json=TEXT).status_code == 200
        assert stub.Predict(PredictRequest(**TEXT)).label == "positive"
        served.key.write_text("nonsense")
        server.wait_for_log(r"the old ones stay in use: .*tls\.key: the file contains no PEM private key")
        predicts(server, before)
        put(after.issue("second"))
        server.wait_for_log("the certificates changed, and only the new ones are in use")
        predicts(server, after)
        is_turned_away(server, before)
        assert old.post("/v1/predict", json=TEXT).status_code == 200
        assert stub.Predict(PredictRequest(**TEXT)).label == "positive"


def test_expiry(tmp_path: Path) -> None:
    """The metrics say when the served certificate expires, and the log warns of a new one that has expired already."""
    authority = Authority(tmp_path)
    served = authority.issue("served")

    def metric_is_right(server: ServerProcess) -> bool:
        expiry = x509.load_pem_x509_certificate(served.certificate.read_bytes()).not_valid_after_utc.timestamp()
        url = f"https://127.0.0.1:{server.port}/metrics"
        metrics = httpx.get(url, verify=False, timeout=PATIENCE, trust_env=False).text
        return f"\nsentiment_certificate_expiry_timestamp_seconds {expiry!r}\n" in metrics

    with ServerProcess("--workers", "1", *flags(served)) as server:
        assert metric_is_right(server)
        authority.issue("served", expired=True)
        server.wait_for_log("WARNING .*the certificate has expired on ")
        eventually(lambda: metric_is_right(server))  # scrapes within a moment share the old one


def test_certificate_that_is_being_replaced(tmp_path: Path) -> None:
    """A certificate that is truncated after it was loaded is an error that leaves the old one in use."""
    (file := tmp_path / "served.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(StartupError, match=r"served\.pem: the certificate cannot be read"):
        expiry(file)


def test_bad_files(tmp_path: Path, authority: Authority, own: Issued) -> None:
    """An invalid file prevents the start, and the message names it."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    encrypted = tmp_path / "encrypted.key"
    secret = load_pem_private_key(own.key.read_bytes(), None)
    encrypted.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")))
    other, missing = authority.issue("another"), tmp_path / "missing.pem"
    for files, reason in (
        ((missing, own.key), f"{missing}: the certificate cannot be read: No such file or directory"),
        ((own.certificate, missing), f"{missing}: the key cannot be read: No such file or directory"),
        ((tmp_path, own.key), f"{tmp_path}: the certificate cannot be read: Is a directory"),
        ((nonsense, own.key), f"{nonsense}: the file contains no PEM certificate"),
        ((own.key, own.key), f"{own.key}: the file contains no PEM certificate"),
        ((own.certificate, nonsense), f"{nonsense}: the file contains no PEM private key"),
        ((own.certificate, encrypted), f"{encrypted}: the key is encrypted"),
        ((own.certificate, other.key), f"{other.key}: the key does not belong to {own.certificate}"),
        ((own.certificate, own.key, missing), f"{missing}: the certificate authority of clients cannot be read"),
        ((own.certificate, own.key, nonsense), f"{nonsense}: the file contains no PEM certificate"),
    ):
        with pytest.raises(StartupError) as error:
            Certificates(*files)
        assert str(error.value).startswith(reason)
    refusal = run("-m", "service", "serve", "--port", "0", "--tls-certificate", str(missing), "--tls-key", "x")
    assert refusal.returncode == 2
    assert refusal.stderr == f"error: {missing}: the certificate cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("--tls-certificate", "x"), f"{named('tls_certificate')} and {named('tls_key')} go together"),
        (("--tls-key", "x"), f"{named('tls_certificate')} and {named('tls_key')} go together"),
        (("--tls-client-ca", "x"), f"{named('tls_client_ca')} needs {named('tls_certificate')} and {named('tls_key')}"),
    ],
)
def test_settings_that_go_together(given: tuple[str, ...], reason: str) -> None:
    """A certificate without a key, or a client authority without TLS, is refused with a message."""
    refusal = run("-m", "service", "serve", "--port", "0", *given)
    assert refusal.returncode == 2 and refusal.stderr.startswith(f"error: {reason}")
