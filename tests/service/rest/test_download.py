"""`GET …/text.onnx` over HTTP: the file, its tag, and who gets it."""

from __future__ import annotations

import asyncio
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest

from sentiment_conv1d.export.checks.text_graph import open_text_graph
from sentiment_conv1d.model.artifact import Artifact
from sentiment_conv1d.model.graphs.text.file import text_graph
from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.server.http.asgi import PIECE_BYTES
from sentiment_conv1d.service.downloads import TextGraphFile
from sentiment_conv1d.service.rest.native import Download
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from tests.processes import ServerProcess, eventually
from tests.service.artifacts import publish_strength
from tests.service.rest.raw import request

KEY = "a-key-of-some-length"
PATH = "/v1/models/imdb-cnn/text.onnx"
TEXT = "A gripping, beautifully acted film."


def test_file(server: ServerProcess, artifact: Artifact) -> None:
    """The file is that of the conversion, and answers as the service does."""
    response = server.client.get(PATH)
    assert response.status_code == 200
    assert response.content == text_graph(artifact)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["cache-control"] == "private, no-cache"
    [label], [probabilities] = open_text_graph(response.content)([TEXT])
    answer = server.client.post("/v1/predict", json={"text": TEXT}).json()
    assert label == answer["label"]
    assert probabilities.tolist() == pytest.approx(list(answer["probabilities"].values()), abs=1e-6)
    assert f'route="{"/v1/models/{name}/text.onnx"}"' in server.client.get("/metrics").text


def test_tag(server: ServerProcess) -> None:
    """The tag is the digest of the file, and a client that has the file gets a 304."""
    response = server.client.get(PATH)
    tag = response.headers["etag"]
    assert tag == f'"{sha256(response.content).hexdigest()}"'
    for known in (tag, f'"other", {tag}', "*"):
        again = server.client.get(PATH, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert server.client.get(PATH, headers={"if-none-match": '"other"'}).status_code == 200


def test_reader() -> None:
    """A download counts as a reader of its file until it is sent or broken off."""
    file = TextGraphFile(bytes(3 * PIECE_BYTES), "digest")
    readers = []

    async def send(message: Any) -> None:
        readers.append(file.readers)
        if len(readers) == 3:
            raise ClientDisconnected

    with pytest.raises(ClientDisconnected):
        asyncio.run(Download(file)({"type": "http"}, cast(Any, None), send))
    assert (readers, file.readers) == ([1, 1, 1], 0)


def test_client_that_disconnects(server: ServerProcess) -> None:
    """Clients that ask for a model and break the connection leave no request in flight, and the log has no error."""
    logged = len(server.log)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request(PATH, method="GET"))
            connection.recv(1)
    eventually(lambda: 'sentiment_requests_in_flight{protocol="rest"} 1.0\n' in server.client.get("/metrics").text)
    assert not [line for line in server.log[logged:] if "ERROR" in line]


def test_versions(tmp_path: Path) -> None:
    """A path can name a version or a label; otherwise the file is that of the version that answers."""
    contents = [text_graph(publish_strength(tmp_path, strength)) for strength in (1, 2)]
    flags = ("--versions", "all", "--version-labels", "tickets=stable:1")
    with ServerProcess("--workers", "1", *flags, repository=tmp_path) as server:
        for path, content in {
            "text.onnx": contents[1],
            "versions/1/text.onnx": contents[0],
            "versions/2/text.onnx": contents[1],
            "versions/stable/text.onnx": contents[0],
        }.items():
            assert server.client.get(f"/v1/models/tickets/{path}").content == content
        for path in ("tickets/versions/3", "other", "tickets/versions/..%2f1"):
            assert server.client.get(f"/v1/models/{path}/text.onnx").status_code == 404


def test_key() -> None:
    """A download needs the key that predictions need, and the page's files open no model."""
    with ServerProcess("--workers", "1", "--open-page", "--model-downloads", "on", SENTIMENT_API_KEYS=KEY) as server:
        assert server.client.get(PATH).status_code == 401
        assert server.client.get(PATH, headers={"x-api-key": KEY}).status_code == 200


def test_disabled() -> None:
    """By default, callers who need a key cannot download models, and the list of models says so."""
    with ServerProcess("--workers", "1", SENTIMENT_API_KEYS=KEY) as server:
        server.client.headers["x-api-key"] = KEY
        response = server.client.get(PATH)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "disabled")
        assert "--model-downloads" in response.json()["error"]["message"]
        assert not server.client.get("/v1/models/imdb-cnn").json()["downloadable"]


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({}, True),
        ({"api_keys": KEY}, False),
        ({"tls_certificate": "a", "tls_key": "b"}, True),
        ({"tls_certificate": "a", "tls_key": "b", "tls_client_ca": "c"}, False),
        ({"admin": "key", "admin_keys": KEY}, True),
        ({"model_downloads": "off"}, False),
        ({"model_downloads": "on", "api_keys": KEY}, True),
    ],
)
def test_setting(settings: dict[str, str], allowed: bool) -> None:
    """`auto` allows downloads unless callers need a key or a certificate."""
    assert Access(Settings.model_validate(settings)).allows_downloads == allowed
