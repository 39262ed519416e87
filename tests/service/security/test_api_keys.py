"""API keys: no route or method of any protocol answers without a key, except open health."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from sentiment_conv1d.protos import inference_pb2 as pb
from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.security.api_keys import Access, ApiKeys
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.stubs import GRPCInferenceServiceStub, SentimentStub
from tests.proc import kill_children
from tests.processes import PATIENCE, PROBE, ServerProcess, eventually, run
from tests.service.grpc.channels import connect, refused
from tests.service.rest.raw import Connection, request

FIRST, SECOND = "first-key-0123456789", "second/key+0123456789="
ADMIN, OTHER_ADMIN = "admin-key-0123456789", "other-admin-key-0123456789"
LOAD, UNLOAD = (f"/v2/repository/models/imdb-cnn/{each}" for each in ("load", "unload"))
HEALTH = {"/livez", "/readyz", "/health", "/ping", "/v2/health/live", "/v2/health/ready"}
OPEN_METHODS = {
    *("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/List"),
    *("/inference.GRPCInferenceService/ServerLive", "/inference.GRPCInferenceService/ServerReady"),
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[ServerProcess]:
    """Serve with two API keys."""
    with ServerProcess("--workers", "1", SENTIMENT_API_KEYS=f"{FIRST}, {SECOND}") as server:
        yield server


def test_reading(tmp_path: Path) -> None:
    """Keys are read from a list, from a file with comments, or from both."""
    file = tmp_path / "keys"
    file.write_text(f"# of the nightly job\n{SECOND}\n\n")
    keys = ApiKeys(SecretStr(FIRST), file)
    for key in (FIRST, SECOND):
        assert keys.caller({b"x-api-key": key.encode()})
        assert keys.caller({b"authorization": f"Bearer {key}".encode()})
        assert keys.caller({b"authorization": f"bearer  {key} ".encode(), b"x-api-key": b"another"})
    file.write_bytes(f"\N{BYTE ORDER MARK}shop {FIRST}\n".encode())
    assert ApiKeys(None, file).caller({b"x-api-key": FIRST.encode()}) == "key shop"
    assert not ApiKeys(None).configured and not ApiKeys(None).caller({b"x-api-key": b""})


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        ("", "--api-keys: there are no keys"),
        (" , ", "--api-keys: there are no keys"),
        ("short", "--api-keys: key 1 must be at least 16"),
        (f"{FIRST},with space in the key", "--api-keys: key 2 must be"),
        ("schlüssel-0123456789", "--api-keys: key 1 must be"),
    ],
)
def test_bad_keys(listed: str, reason: str) -> None:
    """An invalid or short key prevents the start, and the message does not show it."""
    with pytest.raises(StartupError, match=reason) as error:
        ApiKeys(SecretStr(listed))
    assert not listed.strip(" ,") or listed not in str(error.value)


def test_names(tmp_path: Path) -> None:
    """A key has the name before it, or its number, and the names of several keys can be the same."""
    file = tmp_path / "keys"
    file.write_text(f"# of two jobs\nnightly {SECOND}\nnightly  {ADMIN}\n{OTHER_ADMIN}\n")
    keys = ApiKeys(SecretStr(f"shop.1 {FIRST}"), file)
    callers = [keys.caller({b"x-api-key": key.encode()}) for key in (FIRST, SECOND, ADMIN, OTHER_ADMIN)]
    assert callers == ["key shop.1", "key nightly", "key nightly", "key 4"]
    assert keys.names() == ["shop.1", "nightly", "4"] and len(keys) == 4
    administration = ApiKeys(SecretStr(ADMIN), kind="administration")
    assert administration.caller({b"x-api-key": ADMIN.encode()}) == "key admin-1"
    for name in ("a/b", "n" * 65, "two names"):
        with pytest.raises(StartupError, match="--api-keys: the name of key 1 must be at most 64 letters"):
            ApiKeys(SecretStr(f"{name} {FIRST}"))


def test_shortest_key() -> None:
    """A key of 16 characters is long enough."""
    assert ApiKeys(SecretStr("k" * 16)).caller({b"x-api-key": b"k" * 16})


def test_only_administration_needs_a_key() -> None:
    """With administration keys alone, no prediction needs a key, but the documentation describes one."""
    access = Access(Settings(admin="key", admin_keys=SecretStr(ADMIN)))
    assert (access.needs_key, access.takes_key) == (False, True)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "keys: none, everyone can send requests; TLS: off; administration: off"),
        (
            {"api_keys": f"{FIRST},{SECOND}", "admin": "key", "admin_keys": ADMIN, "open_metrics": True},
            "keys: 2; open: health, metrics; TLS: off; administration: keys",
        ),
        (
            {"tls_certificate": "c", "tls_key": "k", "tls_client_ca": "a", "open_health": False, "admin": "open"},
            "keys: none, everyone can send requests; open: nothing; TLS: on; client certificates: needed; "
            "administration: everyone who can send requests",
        ),
    ],
)
def test_description(given: dict[str, Any], line: str) -> None:
    """One line says who can send requests, which routes are open, whether TLS is on, and who can administer."""
    assert Access(Settings(**given)).describe() == line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_access_is_logged_once(workers: str) -> None:
    """The log of a start says who can call what, once, whatever the number of workers."""
    with ServerProcess("--workers", workers, "--no-grpc", SENTIMENT_API_KEYS=FIRST) as server:
        server.wait_for_log("listening on http")
        assert statuses(server, FIRST) == {200}
    [line] = [each for each in server.log if "access: " in each]
    assert line.rstrip().endswith("access: keys: 1; open: health; TLS: off; administration: off")


def test_bad_keys_at_the_start() -> None:
    """The service checks keys before it loads the models."""
    result = run("-m", "service", "serve", "--port", "0", "--api-keys", "short")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: --api-keys: key 1 must be at least 16 printable ASCII")
    assert "serving " not in result.stderr


def test_bad_file(tmp_path: Path) -> None:
    """A key file that is missing or empty prevents the start, and the message names it."""
    result = run("-m", "service", "serve", "--port", "0", "--api-key-file", str(tmp_path / "missing"))
    assert result.returncode == 2
    assert f"error: --api-key-file: {tmp_path}/missing cannot be read: No such file or directory\n" in result.stderr


@given(st.dictionaries(st.sampled_from([b"authorization", b"x-api-key"]), st.binary()))
def test_other_keys(headers: dict[bytes, bytes]) -> None:
    """Anything but a valid key is refused."""
    assert not ApiKeys(SecretStr(f"{FIRST},{SECOND}")).caller(headers)


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": f"Basic {FIRST}"}])
def test_rest(guarded: ServerProcess, headers: dict[str, str]) -> None:
    """Every path needs a key, including unknown ones, and the error has the form of its protocol."""
    document = guarded.client.get("/openapi.json", headers={"x-api-key": FIRST}).json()
    closed = [(method, path) for path, methods in document["paths"].items() for method in methods]
    closed += [
        ("get", path) for path in ("/", "/docs", "/openapi.json", "/docs/oauth2-redirect", "/no/such", "/metrics")
    ]
    assert len(closed) > 30
    for method, path in closed:
        answer = guarded.client.request(method, re.sub(r"\{\w+\}", "imdb-cnn", path), headers=headers)
        if path in HEALTH and method == "get":
            assert answer.status_code == 200
        else:
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, path)
            assert "an API key is needed" in answer.text and "x-request-id" in answer.headers
    assert set(guarded.client.get("/v2/models/imdb-cnn", headers=headers).json()) == {"error"}
    assert guarded.client.post("/v1/predict", headers=headers).json()["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "PURGE"])
def test_other_methods(guarded: ServerProcess, method: str) -> None:
    """No method bypasses the key, and health is open only for reading."""
    document = guarded.client.get("/openapi.json", headers={"x-api-key": FIRST}).json()
    for path in document["paths"]:
        answer = guarded.client.request(method, re.sub(r"\{\w+\}", "imdb-cnn", path))
        is_open = path in HEALTH and method == "HEAD"
        assert answer.status_code == (200 if is_open else 401), (method, path)


@pytest.mark.parametrize(
    "target",
    [
        "//livez",
        "/livez/",
        "/livez/../v1/models",
        "/livez%2f..%2fv1%2fmodels",
        "/livez;/v1/models",
        "/./v1/models",
        "/V1/models",
        "/%76%31/models",
        "http://test/v1/models",
        "/v1/models?/livez",
        "*",
    ],
)
def test_odd_targets(guarded: ServerProcess, target: str) -> None:
    """No spelling of a path bypasses the key."""
    with Connection(guarded.port) as connection:
        connection.send(request(target, method="GET"))
        assert connection.answer().status == 401


def test_rest_with_a_key(guarded: ServerProcess) -> None:
    """Each key opens every route in both headers, and the connection stays open after an error."""
    for headers in ({"x-api-key": FIRST}, {"authorization": f"Bearer {SECOND}"}):
        with httpx.Client(base_url=guarded.url, timeout=PATIENCE, trust_env=False) as client:
            assert client.post("/v1/predict", json={"text": "great " * 1000}).status_code == 401
            assert client.post("/v1/predict", json={"text": "great"}, headers=headers).status_code == 200
            assert client.get("/metrics", headers=headers).status_code == 200


def test_grpc(guarded: ServerProcess) -> None:
    """Every method that reflection lists needs a key, and so does reflection."""
    with connect(guarded) as opened:
        channel: Any = opened
        methods = [method for service in _services(channel) for method in _methods(channel, service)]
        assert len(methods) > 15
        for method in {*methods, "/no.such.Service/Method"} - OPEN_METHODS:
            for strange in ((), (("x-api-key", "wrong"),)):
                refusal = refused(partial(channel.unary_unary(method), b"", metadata=strange))
                assert refusal.code == grpc.StatusCode.UNAUTHENTICATED, method
        assert set(methods) >= OPEN_METHODS
        for method in OPEN_METHODS:
            if not method.endswith("Watch"):
                channel.unary_unary(method)(b"")


def test_grpc_with_a_key(guarded: ServerProcess) -> None:
    """Each key opens a method, as a bearer token or alone."""
    with connect(guarded) as channel:
        stub = SentimentStub(channel)
        for metadata in ((("x-api-key", FIRST),), (("authorization", f"Bearer {SECOND}"),)):
            assert stub.Predict(PredictRequest(text="great"), metadata=metadata).label
            answers = list(stub.PredictStream(iter([PredictRequest(text="great")] * 3), metadata=metadata))
            assert len(answers) == 3


def test_closed_health_and_open_metrics() -> None:
    """Settings close health and open the metrics, and the container's probe sends a key."""
    flags = ("--workers", "1", "--no-open-health", "--open-metrics")
    with ServerProcess(*flags, SENTIMENT_API_KEYS=FIRST) as server:
        assert server.client.get("/readyz").status_code == 401
        assert server.client.get("/metrics").status_code == 200
        port = str(server.port)
        assert run(*PROBE, SENTIMENT_PORT=port).returncode == 1
        assert run(*PROBE, SENTIMENT_PORT=port, SENTIMENT_API_KEYS=FIRST).returncode == 0
        with connect(server) as opened:
            channel: Any = opened
            refusal = refused(partial(channel.unary_unary("/grpc.health.v1.Health/Check"), b""))
            assert refusal.code == grpc.StatusCode.UNAUTHENTICATED


def load(server: ServerProcess, key: str | None = None, *, unload: bool = False) -> tuple[int, str, Any, str]:
    """Load or unload the shipped model over REST and gRPC. Returns the statuses and messages."""
    given = {} if key is None else {"x-api-key": key}
    answer = server.client.post(UNLOAD if unload else LOAD, headers=given)
    code, details = grpc.StatusCode.OK, ""
    with connect(server) as channel:
        stub: Any = GRPCInferenceServiceStub(channel)
        method = stub.RepositoryModelUnload if unload else stub.RepositoryModelLoad
        kind = pb.RepositoryModelUnloadRequest if unload else pb.RepositoryModelLoadRequest
        try:
            method(kind(model_name="imdb-cnn"), metadata=tuple(given.items()))
        except grpc.RpcError as error:
            failed: Any = error
            code, details = failed.code(), failed.details()
    return answer.status_code, answer.json()["error"] if answer.content else "", code, details


def test_administration_is_off() -> None:
    """By default nobody can load or unload a model, the message names the setting, and the index can be read."""
    with ServerProcess("--workers", "1") as server:
        for unload in (False, True):
            status, message, code, details = load(server, unload=unload)
            assert (status, code) == (403, grpc.StatusCode.PERMISSION_DENIED)
            assert message == details == "loading and unloading models is off; the setting --admin turns it on"
        assert server.client.post("/v2/repository/index").json()[0]["state"] == "READY"
        assert server.client.post("/v1/predict", json={"text": "great"}).status_code == 200


def test_administration_with_api_keys() -> None:
    """Loading a model needs an administration key, which is also valid wherever an API key is."""
    flags, administrators = ("--workers", "1", "--admin", "key"), f"{ADMIN},{OTHER_ADMIN}"
    with ServerProcess(*flags, SENTIMENT_API_KEYS=FIRST, SENTIMENT_ADMIN_KEYS=administrators) as server:
        for stranger in (None, "wrong"):
            status, _, code, _ = load(server, stranger, unload=True)
            assert (status, code) == (401, grpc.StatusCode.UNAUTHENTICATED)
        status, message, code, details = load(server, FIRST, unload=True)
        assert (status, code) == (403, grpc.StatusCode.PERMISSION_DENIED)
        assert message == details and "use an administration key" in message
        for administrator in (ADMIN, OTHER_ADMIN):
            assert load(server, administrator) == (200, "", grpc.StatusCode.OK, "")
        for known in (FIRST, ADMIN):
            given = {"authorization": f"Bearer {known}"}
            assert server.client.post("/v1/predict", json={"text": "great"}, headers=given).status_code == 200
            assert server.client.post("/v2/repository/index", headers=given).status_code == 200
            with connect(server) as channel:
                assert SentimentStub(channel).Predict(PredictRequest(text="great"), metadata=tuple(given.items())).label


def test_administration_without_api_keys() -> None:
    """Without API keys, loading a model still needs an administration key."""
    with ServerProcess("--workers", "1", "--admin", "key", SENTIMENT_ADMIN_KEYS=ADMIN) as server:
        for stranger in (None, FIRST):
            status, _, code, _ = load(server, stranger, unload=True)
            assert (status, code) == (401, grpc.StatusCode.UNAUTHENTICATED)
        assert server.client.post(LOAD).headers["www-authenticate"] == "Bearer"
        assert server.client.post("/v1/predict", json={"text": "great"}).status_code == 200
        assert load(server, ADMIN) == (200, "", grpc.StatusCode.OK, "")


def test_errors_while_the_default_model_is_unloaded() -> None:
    """While the default model is unloaded, errors and readiness name the call that loads it, and the call works."""
    with ServerProcess("--workers", "1", "--admin", "open") as server:
        assert server.client.post(UNLOAD).status_code == 200
        with connect(server) as channel:
            refusal = refused(lambda: SentimentStub(channel).Predict(PredictRequest(text="great")))
        assert refusal.code == grpc.StatusCode.NOT_FOUND
        messages = [refusal.message]
        for path, status in (("/readyz", 503), ("/ping", 503), ("/health", 503), ("/v2/health/ready", 503)):
            answer = server.client.get(path)
            assert answer.status_code == status
            messages.append(answer.text)
        answer = server.client.post("/v1/predict", json={"text": "great"})
        assert answer.status_code == 404
        for message in (*messages, answer.text):
            assert "model 'imdb-cnn' was unloaded" in message and f"POST {LOAD}" in message
        assert server.client.post(LOAD).status_code == 200
        assert server.client.get("/readyz").status_code == 200


def statuses(server: ServerProcess, key: str) -> set[int]:
    """Return the statuses for a key from all workers, on separate connections."""
    found = set()
    for _ in range(8):
        with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
            found.add(client.get("/v1/models", headers={"x-api-key": key}).status_code)
    return found


def test_keys_change(tmp_path: Path) -> None:
    """When a key file changes, all workers accept its new keys and refuse the removed ones.

    A file that cannot be used leaves the old keys valid, also in later workers, and the log never shows a key.
    """
    file, admin_file, next_file = tmp_path / "keys", tmp_path / "admin", tmp_path / "next"

    def put(target: Path, content: str) -> None:
        next_file.write_text(content)
        next_file.rename(target)

    put(file, FIRST)
    put(admin_file, ADMIN)
    files = ("--api-key-file", str(file), "--admin", "key", "--admin-key-file", str(admin_file))
    with ServerProcess("--workers", "2", "--log-level", "debug", *files) as server:
        assert (statuses(server, FIRST), statuses(server, SECOND)) == ({200}, {401})
        put(file, f"# of the nightly job\n{SECOND}\n")
        eventually(lambda: (statuses(server, FIRST), statuses(server, SECOND)) == ({401}, {200}))
        put(admin_file, OTHER_ADMIN)
        eventually(lambda: (statuses(server, ADMIN), statuses(server, OTHER_ADMIN)) == ({401}, {200}))
        assert load(server, ADMIN)[0] == 401
        assert load(server, OTHER_ADMIN) == (200, "", grpc.StatusCode.OK, "")

        server.wait_for_log("DEBUG .*the API keys changed")  # in the supervisor
        for content, reason in ((f"{FIRST}\nshort", "key 2 must be at least"), ("# none", "there are no keys in")):
            put(file, content)
            server.wait_for_log(f"ERROR .*the API keys changed, and the old ones stay in use: .*{reason}")
        file.write_bytes(FIRST.encode() + b"\xff")
        server.wait_for_log("is not UTF-8")
        file.unlink()
        server.wait_for_log("ERROR .*--api-key-file: .* cannot be read: No such file or directory")
        kill_children(server.process.pid)
        assert (statuses(server, FIRST), statuses(server, SECOND)) == ({401}, {200}), "in new workers too"
        put(file, FIRST)
        eventually(lambda: (statuses(server, FIRST), statuses(server, SECOND)) == ({200}, {401}))
        kill_children(server.process.pid)
        assert (statuses(server, FIRST), statuses(server, SECOND)) == ({200}, {401}), "new workers read the new file"
    for secret in (FIRST, SECOND, ADMIN, OTHER_ADMIN, "short"):
        assert secret not in "".join(server.log)


def test_one_key_with_two_names(tmp_path: Path) -> None:
    """The log names both callers of a key, in one list or two, also after a change, and never shows the key."""
    file = tmp_path / "keys"
    file.write_text(f"shop {FIRST}\nnightly {FIRST}\nops {SECOND}\nops {SECOND}\n{OTHER_ADMIN}\n")
    flags = ("--workers", "1", "--no-grpc", "--api-key-file", str(file), "--admin", "key")
    with ServerProcess(*flags, SENTIMENT_ADMIN_KEYS=f"{OTHER_ADMIN},ops {SECOND},boss {ADMIN}") as server:
        server.wait_for_log("WARNING .*shop and nightly have the same key; requests with it count as those of shop")
        server.wait_for_log("WARNING .*5 and admin-1 have the same key; requests with it count as those of 5")
        (tmp_path / "next").write_text(f"shop {FIRST}\nnightly {ADMIN}\n")
        (tmp_path / "next").rename(file)
        server.wait_for_log("WARNING .*nightly and boss have the same key; requests with it count as those of nightly")
    assert "ops" not in "".join(server.log), "the same caller may have a key twice"
    for secret in (FIRST, SECOND, ADMIN, OTHER_ADMIN):
        assert secret not in "".join(server.log)


def _services(channel: Any) -> list[str]:
    """Return all services, by reflection with a key."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    [listed] = stub.ServerReflectionInfo(iter([request]), metadata=(("x-api-key", SECOND),))
    return [service.name for service in listed.list_services_response.service]


def _methods(channel: Any, service: str) -> list[str]:
    """Return all methods of a service, by reflection with a key."""

    class Keyed(grpc.StreamStreamClientInterceptor):
        def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
            return continuation(details._replace(metadata=[("x-api-key", FIRST)]), requests)

    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, Keyed())))
    return [f"/{service}/{method.name}" for method in pool.FindServiceByName(service).methods]
