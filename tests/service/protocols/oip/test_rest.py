"""The Open Inference Protocol over REST, as specified and with Triton's extensions."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.proc import peak_megabytes
from tests.processes import SHIPPED_MODELS, ServerProcess
from tests.service.artifacts import publish_table
from tests.service.protocols.oip.bodies import (
    HEADER,
    INFER,
    binary_input,
    outputs,
    pack,
    read,
    refusal,
    request,
    text_input,
    with_binary,
)
from tests.service.protocols.oip.forms import TEXTS, native_outputs
from tests.service.rest.raw import Connection

#: Names of encodings, and how a body gets them.
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.fixture(scope="module")
def expected(server: ServerProcess) -> dict[str, list[Any]]:
    """Return the elements of every output for `TEXTS`, from the native route."""
    return native_outputs(server, *TEXTS)


@pytest.fixture
def tickets(repository: Path) -> Iterator[ServerProcess]:
    """Serve that repository."""
    with ServerProcess("--watch-interval", "0", "--admin", "open", repository=repository) as process:
        yield process


def test_binary_inputs_and_outputs(server: ServerProcess, expected: dict[str, list[Any]]) -> None:
    """A binary answer has JSON first, then the outputs in their order, little-endian."""
    raw = pack(*TEXTS)
    document = request(binary_input(raw, shape=[3, 1]), parameters={"binary_data_output": True})
    answer = read(server.client.post(INFER, **with_binary(document, raw)))
    assert list(answer.binary) == ["label", "score", "probabilities"]
    assert outputs(answer) == expected
    assert struct.unpack("<3f", answer.binary["score"]) == tuple(outputs(answer)["score"])


def test_binary_inputs(server: ServerProcess, expected: dict[str, list[Any]]) -> None:
    """Binary inputs do not request binary outputs. The answer names the model and its version."""
    raw = pack(*TEXTS)
    response = server.client.post(INFER, **with_binary(request(binary_input(raw, shape=[3, 1])), raw))
    answer = read(response)
    assert HEADER not in response.headers and outputs(answer) == expected
    assert (answer.document["model_name"], answer.document["model_version"]) == ("imdb-cnn", "1")


def test_binary_outputs(server: ServerProcess, expected: dict[str, list[Any]]) -> None:
    """A request with JSON inputs can request binary outputs, with and without the header."""
    document = request(text_input(*TEXTS), parameters={"binary_data_output": True})
    for arguments in ({"content": document}, with_binary(document)):
        answer = read(server.client.post(INFER, **arguments))
        assert len(answer.binary) == 3 and outputs(answer) == expected


@pytest.mark.parametrize("whole", [None, True, False])
def test_mixed_outputs(server: ServerProcess, expected: dict[str, list[Any]], whole: bool | None) -> None:
    """The form that an output requests overrides the form that the request asks for."""
    wished = [
        {"name": "probabilities", "parameters": {"binary_data": True}},
        {"name": "label", "parameters": {"binary_data": False}},
        {"name": "score"},
    ]
    parameters = {} if whole is None else {"binary_data_output": whole}
    document = request(text_input(*TEXTS), outputs=wished, parameters=parameters)
    answer = read(server.client.post(INFER, content=document))
    assert list(answer.binary) == ["probabilities"] + ["score"] * bool(whole)
    assert [each["name"] for each in answer.document["outputs"]] == ["probabilities", "label", "score"]
    assert outputs(answer) == expected


def test_mixed_inputs(server: ServerProcess, expected: dict[str, list[Any]]) -> None:
    """One input can be binary and the other JSON, in any order. Of two binary inputs, each has its own bytes."""
    raw, ids = pack(*TEXTS), struct.pack("<6i", *range(6))
    tokens = {"name": "tokens", "shape": [3, 2], "datatype": "INT32"}
    for document, tail in (
        (request(binary_input(raw, shape=[3, 1]), tokens | {"data": [7] * 6}), raw),
        (request(tokens | {"data": [[7, 7]] * 3}, binary_input(raw, shape=[3, 1])), raw),
        (request(text_input(*TEXTS), tokens | {"parameters": {"binary_data_size": len(ids)}}), ids),
        (
            request(tokens | {"parameters": {"binary_data_size": len(ids)}}, binary_input(raw, shape=[3, 1])),
            ids + raw,
        ),
    ):
        assert outputs(read(server.client.post(INFER, **with_binary(document, tail)))) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_raw_binary_request(server: ServerProcess, text: str) -> None:
    """With a header of 0 the body is the text, and the outputs are binary."""
    answer = read(server.client.post(INFER, content=text.encode(), headers={HEADER: "0"}))
    native = server.client.post("/v1/predict", json={"text": text}).json()
    assert list(answer.binary) == ["label", "score", "probabilities"]
    elements = outputs(answer)
    assert (elements["label"], elements["score"]) == ([native["label"]], [pytest.approx(native["score"], abs=1e-6)])
    assert answer.document["outputs"][0]["shape"] == [1]


@pytest.mark.parametrize("algorithm", COMPRESSIONS)
def test_compressed_request(server: ServerProcess, expected: dict[str, list[Any]], algorithm: str) -> None:
    """JSON and tensors are compressed together, and the header states the length of the uncompressed JSON."""
    raw = pack(*TEXTS)
    plain = with_binary(request(binary_input(raw, shape=[3, 1])), raw)
    headers = plain["headers"] | {"content-encoding": algorithm}
    response = server.client.post(INFER, content=COMPRESSIONS[algorithm](plain["content"]), headers=headers)
    assert outputs(read(response)) == expected


@pytest.mark.parametrize(("accepted", "binary"), [("gzip", True), ("deflate", False)])
def test_compressed_answer(server: ServerProcess, expected: dict[str, list[Any]], accepted: str, binary: bool) -> None:
    """An answer is compressed as the caller accepts, and the header states the length of the uncompressed JSON."""
    document = request(text_input(*TEXTS), parameters={"binary_data_output": binary})
    response = server.client.post(INFER, content=document, headers={"accept-encoding": accepted})
    assert response.headers["content-encoding"] == accepted
    assert outputs(read(response)) == expected


def test_answer_without_compression(server: ServerProcess) -> None:
    """A caller that accepts no encoding gets an uncompressed answer and the length of the JSON."""
    with Connection(server.port) as connection:
        connection.post(INFER, request(text_input("x")))
        answer = connection.answer()
        assert answer.status == 200 and "content-encoding" not in answer.headers
        assert json.loads(answer.body)["model_name"] == "imdb-cnn"


@pytest.mark.parametrize(
    ("encoding", "content", "status"),
    [
        ("gzip", b"", 400),
        ("gzip", gzip.compress(request(text_input("x")))[:-1], 400),
        ("gzip", gzip.compress(b""), 400),
        ("deflate", gzip.compress(request(text_input("x"))), 400),
        ("gzip, gzip", b"", 415),
        ("\xff", b"", 415),
    ],
    ids=["no stream", "cut", "no JSON", "other encoding", "twice", "unknown"],
)
def test_broken_compression(server: ServerProcess, encoding: str, content: bytes, status: int) -> None:
    """A body that is not one complete stream of JSON in the stated encoding is refused."""
    headers = {b"content-encoding": encoding.encode("latin-1")}
    refusal(server.client.post(INFER, content=content, headers=headers), [status])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a kernel that tells the peak of memory")
def test_decompression_bomb(server: ServerProcess) -> None:
    """A small body that decompresses to 128 MB is refused without taking that memory."""
    bomb = gzip.compress(bytes(128 * 1024 * 1024))
    read(server.client.post(INFER, content=request(text_input("x" * 1000))))
    before = peak_megabytes(server.process.pid)
    response = server.client.post(INFER, content=bomb, headers={"content-encoding": "gzip"})
    assert "8388608 bytes" in refusal(response, [HTTPStatus.REQUEST_ENTITY_TOO_LARGE])
    assert peak_megabytes(server.process.pid) - before < 64
    read(server.client.post(INFER, content=request(text_input("x"))))


@pytest.mark.parametrize(("flags", "level"), [((), "INFO"), (("--request-timeout", "0.000001"), "ERROR")])
def test_log_of_a_timeout(flags: tuple[str, ...], level: str) -> None:
    """A timeout that the client set is in the access log, and the service's own timeout is an error."""
    tensor = text_input(*["word " * 5] * 512)
    document = request(tensor, parameters={"timeout": 2 if flags else 1})
    with ServerProcess("--workers", "1", "--access-log", *flags) as server:
        refusal(server.client.post(INFER, content=document), [HTTPStatus.GATEWAY_TIMEOUT])
        server.wait_for_log(rf".*{level}.*POST {INFER} .*status=504.*")


@pytest.mark.parametrize("fields", [{"id": ""}, {"id": 'é"\n\0' + "x" * 1000}, {"id": None}])
def test_id(server: ServerProcess, fields: dict[str, Any]) -> None:
    """The answer has the id of the request, even an empty one, and no id if the request has none."""
    for binary in (False, True):
        document = request(text_input("x"), parameters={"binary_data_output": binary}, **fields)
        answer = read(server.client.post(INFER, content=document))
        assert answer.document.get("id") == fields.get("id")
        assert ("id" in answer.document) == (fields.get("id") is not None)


def test_versions(server: ServerProcess) -> None:
    """Every path can name the loaded version, and another version gets a 404."""
    client, body = server.client, request(text_input("x"))
    for path in ("", "/ready", "/config", "/stats"):
        for version in ("1", "01", "2", "v1", "1.0", "-1", "%00"):
            response = client.get(f"/v2/models/imdb-cnn/versions/{version}{path}")
            if version == "1":
                without = client.get(f"/v2/models/imdb-cnn{path}")
                assert response.status_code == 200 and response.json() == without.json()
            else:
                assert "is not loaded; loaded: 1" in refusal(response, [HTTPStatus.NOT_FOUND])
    read(client.post("/v2/models/imdb-cnn/versions/1/infer", content=body))
    response = client.post("/v2/models/imdb-cnn/versions/2/infer", content=body)
    assert refusal(response, [HTTPStatus.NOT_FOUND]) == "version '2' of model 'imdb-cnn' is not loaded; loaded: 1"


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata(server: ServerProcess, path: str) -> None:
    """The metadata of the server have its name, version and extensions, with and without a slash at the end."""
    document = server.client.get(path).json()
    assert document.keys() == {"name", "version", "extensions"}
    assert document["name"] == "sentiment-conv1d"
    assert {"binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"} <= {
        *document["extensions"]
    }


def test_health(server: ServerProcess) -> None:
    """Liveness and readiness of the server and the model are 200."""
    for path, document in {
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True},
        "/v2/models/imdb-cnn/ready": {"name": "imdb-cnn", "ready": True},
    }.items():
        response = server.client.get(path)
        assert (response.status_code, response.json()) == (200, document)


def test_descriptions(server: ServerProcess) -> None:
    """Every model has metadata, a configuration with the service's limit, and statistics, also of all models."""
    client = server.client
    metadata = client.get("/v2/models/imdb-cnn").json()
    assert (metadata["name"], metadata["versions"]) == ("imdb-cnn", ["1"])
    assert [each["name"] for each in metadata["inputs"]] == ["text", "tokens"]
    assert client.get("/v2/models/imdb-cnn/config").json()["max_batch_size"] == 1024
    read(client.post(INFER, content=request(text_input(*TEXTS))))
    [one] = client.get("/v2/models/imdb-cnn/stats").json()["model_stats"]
    every = client.get("/v2/models/stats").json()["model_stats"]
    assert one in every and one["inference_count"] >= 3
    assert {each["name"] for each in every} == {"accurate", "imdb-cnn", "imdb-cnn-8bit", "reviews"}


@pytest.mark.parametrize("content_type", [None, "text/plain", "nonsense"])
def test_content_type_does_not_matter(server: ServerProcess, content_type: str | None) -> None:
    """Any Content-Type is accepted, and so is none."""
    headers = {} if content_type is None else {"content-type": content_type}
    read(server.client.post(INFER, content=request(text_input("x")), headers=headers))


def test_unknown_fields_are_ignored(server: ServerProcess) -> None:
    """Unknown fields and parameters have no effect, as the protocol requires."""
    document = request(
        text_input("x", note=1, parameters={"x": [1]}),
        outputs=[{"name": "label", "parameters": {"y": None}, "z": 2}],
        parameters={"priority": 3, "sequence_id": 7, "other": {"a": 1}, "timeout": 10_000_000},
        more={"a": []},
    )
    assert list(outputs(read(server.client.post(INFER, content=document)))) == ["label"]


HUGE = 10**3000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"null", "the body"),
        (b"{}", "inputs: "),
        (b'{"inputs": {}}', "inputs: "),
        (request(None), "inputs.0: "),
        (request({"name": "text"}), "inputs.0.shape: "),
        (request(text_input("x", name=1)), "inputs.0.name: "),
        (request(text_input("x", shape=None)), "inputs.0.shape: "),
        (request(text_input("x", shape=["1"])), "inputs.0.shape.0: "),
        (request(text_input("x", shape=[1.0])), "inputs.0.shape.0: "),
        (request(text_input("x", shape=[True])), "inputs.0.shape.0: "),
        (request(text_input("x", datatype=8)), "inputs.0.datatype: "),
        (request(text_input("x", parameters=[])), "inputs.0.parameters: "),
        (request(text_input("x"), parameters=[]), "parameters: "),
        (request(text_input("x"), outputs={}), "outputs: "),
        (request(text_input("x"), outputs=[{}]), "outputs.0.name: "),
        (request(text_input("x"), outputs=["label"]), "outputs.0: "),
        (request(text_input("x"), id=7), "id: "),
        (request(text_input("x", shape=[HUGE, 1])), "a dimension is not from 1"),
        (request(text_input("x"), parameters={"timeout": -1}), "'timeout' must be a whole number"),
        (request(text_input("x"), parameters={"timeout": 1.5}), "'timeout' must be a whole number"),
        (request(text_input("x"), parameters={"timeout": True}), "'timeout' must be a whole number"),
        (request(text_input("x"), parameters={"timeout": HUGE}), "'timeout' must be a whole number"),
        (request(text_input("x"), parameters={"binary_data_output": 1}), "'binary_data_output' must be true or false"),
        (
            request(text_input("x"), outputs=[{"name": "label", "parameters": {"binary_data": "yes"}}]),
            "'binary_data' must be true or false",
        ),
        (
            request(text_input("x"), outputs=[{"name": "probabilities", "parameters": {"classification": HUGE}}]),
            "'classification' must be a whole number",
        ),
        (
            request(text_input("x"), outputs=[{"name": "probabilities", "parameters": {"classification": -1}}]),
            "'classification' must be a whole number",
        ),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_refused(server: ServerProcess, body: bytes, reason: str) -> None:
    """An invalid infer request gets a 400 with a short reason."""
    message = refusal(server.client.post(INFER, content=body))
    assert reason in message and len(message) <= 500


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("-1", "not a number"),
        ("", "not a number"),
        ("1_0", "not a number"),
        ("\xb2", "not a number"),
        ("9" * 19, "and the body has"),
        ("9" * 5000, "not a number"),
        ("1", "not valid JSON"),
        ("10000", "and the body has"),
    ],
)
def test_invalid_header(server: ServerProcess, header: str, reason: str) -> None:
    """A header that is not a number of bytes in the body is refused."""
    raw = pack("x")
    body = request(binary_input(raw)) + raw
    message = refusal(server.client.post(INFER, content=body, headers={HEADER.encode(): header.encode("latin-1")}))
    assert reason in message


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (-1, "must be a whole number"),
        (5.0, "must be a whole number"),
        (True, "must be a whole number"),
        (4, "no input declares the last 1 byte"),
        (6, "more than the remaining 5 bytes"),
        (HUGE, "binary_data_size is 1,000,000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mismatched_binary_data_size(server: ServerProcess, size: Any, reason: str) -> None:
    """A binary_data_size that does not match the tensor is refused."""
    raw = pack("x")
    document = request(binary_input(raw, parameters={"binary_data_size": size}))
    assert reason in refusal(server.client.post(INFER, **with_binary(document, raw)))


@pytest.mark.parametrize(
    ("inputs", "tail", "reason"),
    [
        ((binary_input(b"12345", data=["x"]),), b"12345", "has both data and binary_data_size"),
        ((text_input("x"),), b"more", "no input declares the last 4 bytes of binary data"),
        ((binary_input(pack("x")),), pack("x")[:-1], "binary_data_size is 5, more than the remaining 4 bytes"),
    ],
)
def test_mismatched_binary_data(server: ServerProcess, inputs: tuple[Any, ...], tail: bytes, reason: str) -> None:
    """Binary data that does not match the JSON is refused."""
    assert reason in refusal(server.client.post(INFER, **with_binary(request(*inputs), tail)))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("GET", "/v2/models/other/config", 404),
        ("GET", "/v2/models/other/stats", 404),
        ("GET", "/v2/models/imdb-cnn/nothing", 404),
        ("GET", "/v2/models/imdb-cnn/ready/", 404),
        ("POST", "/v2/models/imdb-cnn/infer/", 404),
        ("POST", "/v2/models/imdb-cnn/versions/1/infer/x", 404),
        ("POST", "/v2/repository/models/other/load", 404),
        ("POST", "/v2/repository/models/other/unload", 404),
        ("POST", "/v2/repository/models/../load", 404),
        ("POST", "/v2/repository/models/..%2f..%2ftmp/load", 404),
        ("GET", INFER, 405),
        ("PUT", INFER, 405),
        ("POST", "/v2", 405),
        ("POST", "/v2/models/imdb-cnn", 405),
        ("DELETE", "/v2/models/imdb-cnn/ready", 405),
        ("GET", "/v2/repository/index", 405),
        ("GET", "/v2/repository/models/imdb-cnn/load", 405),
    ],
)
def test_unknown_paths_and_wrong_methods(server: ServerProcess, method: str, path: str, status: int) -> None:
    """Unknown paths and models, and wrong methods, are refused in the protocol's form."""
    refusal(server.client.request(method, path), [status])


def test_limits(server: ServerProcess) -> None:
    """A batch, a text and a body over their limits get a 413, in JSON and in binary form."""
    status = [HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
    client = server.client
    assert "1025 texts" in refusal(client.post(INFER, content=request(text_input(*["x"] * 1025))), status)
    assert "1000001 characters" in refusal(client.post(INFER, content=request(text_input("x" * 1_000_001))), status)
    assert "8388608" in refusal(client.post(INFER, content=bytes(8 * 1024 * 1024 + 1)), status)
    raw = bytes(4 * 1_000_000)
    tokens = binary_input(raw, name="tokens", datatype="INT32", shape=[1_000_000, 1])
    assert "1000000 texts" in refusal(client.post(INFER, **with_binary(request(tokens), raw)), status)


def test_largest_batch(server: ServerProcess) -> None:
    """Texts up to the limit are answered in their order."""
    two = ["awful " * 12, "great " * 12]
    labels = outputs(read(server.client.post(INFER, content=request(text_input(*two)))))["label"]
    answer = outputs(read(server.client.post(INFER, content=request(text_input(*two * 512)))))
    assert labels == ["negative", "positive"] and answer["label"] == labels * 512


def test_index(server: ServerProcess) -> None:
    """The index lists every version with its state, for an empty body and for an object."""
    versions = [(name, folder.name) for name, folder in SHIPPED_MODELS.items()]
    entries = [{"name": name, "version": each, "state": "READY", "reason": ""} for name, each in versions]
    for body in (b"", b"{}", b'{"ready": true}', b'{"ready": false, "more": 1}'):
        response = server.client.post("/v2/repository/index", content=body)
        assert (response.status_code, response.json()) == (200, entries)
    for body in (b"{", b"[]", b"null", b'{"ready": 1}', b"[" * 10_000, b"\xff"):
        refusal(server.client.post("/v2/repository/index", content=body))
    assert server.client.post("/v2/repository/index", content=b"{}".ljust(20_000)).status_code == 413


def states(server: ServerProcess, **wish: Any) -> list[tuple[str, str, str]]:
    """Return the name, version and state of every version in the index."""
    entries = server.client.post("/v2/repository/index", json=wish).json()
    return [(entry["name"], entry["version"], entry["state"]) for entry in entries]


def served_version(server: ServerProcess) -> str:
    """Return the version of `tickets` that answers an infer request."""
    response = server.client.post("/v2/models/tickets/infer", content=request(text_input("praise")))
    version: str = read(response).document["model_version"]
    return version


def test_load_and_unload(tickets: ServerProcess, repository: Path) -> None:
    """A new version or model is served after it is loaded, and not before. An unloaded model gets a 404.

    The server is not ready while the default model is unloaded.
    """
    client = tickets.client
    publish_table(repository)
    assert served_version(tickets) == "1"
    assert states(tickets) == [("tickets", "1", "READY"), ("tickets", "2", "UNAVAILABLE")]
    response = client.post("/v2/repository/models/tickets/load")
    assert (response.status_code, response.content) == (200, b"")
    assert served_version(tickets) == "2"
    assert states(tickets) == [("tickets", "1", "UNAVAILABLE"), ("tickets", "2", "READY")]
    assert states(tickets, ready=True) == [("tickets", "2", "READY")]
    assert client.get("/v2/models/tickets").json()["versions"] == ["2"]
    refusal(client.get("/v2/models/tickets/versions/1/ready"), [404])
    publish_table(repository, name="calls")
    refusal(client.get("/v2/models/calls/ready"), [404])
    assert client.post("/v2/repository/models/calls/load", json={}).status_code == 200
    read(client.post("/v2/models/calls/infer", content=request(text_input("praise"))))
    assert {each["name"] for each in client.get("/v2/models/stats").json()["model_stats"]} == {"calls", "tickets"}
    response = client.post("/v2/repository/models/tickets/unload")
    assert (response.status_code, response.content) == (200, b"")
    for path in ("", "/ready", "/config", "/stats"):
        refusal(client.get(f"/v2/models/tickets{path}"), [404])
    refusal(client.post("/v2/models/tickets/infer", content=request(text_input("praise"))), [404])
    refusal(client.post("/v2/repository/models/tickets/unload"), [404])
    refusal(client.get("/v2/health/ready"), [503])
    assert client.get("/readyz").status_code == 503
    assert client.get("/v2/health/live").status_code == 200
    assert states(tickets, ready=True) == [("calls", "1", "READY")]
    assert client.post("/v2/repository/models/tickets/load").status_code == 200
    assert served_version(tickets) == "2"
    assert client.get("/v2/health/ready").status_code == client.get("/readyz").status_code == 200


def test_load_of_a_broken_version(tickets: ServerProcess, repository: Path) -> None:
    """A load of a broken version is refused and names the file, and the old version stays."""
    broken = publish_table(repository).path
    graph = broken / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    message = refusal(tickets.client.post("/v2/repository/models/tickets/load"))
    assert str(graph) in message
    assert served_version(tickets) == "1"
    assert tickets.client.get("/v2/health/ready").status_code == 200
    shutil.rmtree(broken)
    assert tickets.client.post("/v2/repository/models/tickets/load").status_code == 200
    assert served_version(tickets) == "1"
