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
from random import Random
from typing import Any

import pytest

from tests.proc import peak_megabytes
from tests.processes import ServerProcess
from tests.service.artifacts import publish_table
from tests.service.oip.bodies import (
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
from tests.service.oip.forms import TEXTS, native_outputs
from tests.service.rest.raw import Connection

#: Names of encodings, and how a body gets them.
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.fixture(scope="module")
def expected(server: ServerProcess) -> dict[str, list[Any]]:
    """Return the elements of every output for `TEXTS`, from the native route."""
    return native_outputs(server, *TEXTS)


@pytest.fixture
def tickets(repository: Path) -> Iterator[ServerProcess]:
    """Serve that repository."""
    with ServerProcess("--watch-interval", "0", "--admin", "open", repository=repository) as process:
        yield process


def test_json(server: ServerProcess, expected: dict[str, list[Any]]) -> None:
    """A JSON request gets a JSON answer with every output, flat, and the model's name and version."""
    response = server.client.post(INFER, content=request(text_input(*TEXTS)))
    answer = read(response)
    assert HEADER not in response.headers
    assert (answer.document["model_name"], answer.document["model_version"]) == ("imdb-cnn", "1")
    assert outputs(answer) == expected


def test_nested_data(server: ServerProcess, expected: dict[str, list[Any]]) -> None:
    """Data can be nested as its shape."""
    nested = text_input(*TEXTS, data=[[text] for text in TEXTS])
    assert outputs(read(server.client.post(INFER, content=request(nested)))) == expected


def test_binary_inputs_and_outputs(server: ServerProcess, expected: dict[str, list[Any]]) -> None:
    """A binary answer has JSON first, then the outputs in their order, little-endian."""
    raw = pack(*TEXTS)
    document = request(binary_input(raw, shape=[3, 1]), parameters={"binary_data_output": True})
    answer = read(server.client.post(INFER, **with_binary(document, raw)))
    assert list(answer.binary) == ["label", "score", "probabilities"]
    assert outputs(answer) == expected
    assert struct.unpack("<3f", answer.binary["score"]) == tuple(outputs(answer)["score"])


def test_binary_inputs(server: ServerProcess, expected: dict[str, list[Any]]) -> None:
    """Binary inputs do not request binary outputs."""
    raw = pack(*TEXTS)
    answer = read(server.client.post(INFER, **with_binary(request(binary_input(raw, shape=[3, 1])), raw)))
    assert not answer.binary and outputs(answer) == expected


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
    """One input can be binary and the other JSON, in any order."""
    raw, ids = pack(*TEXTS), struct.pack("<6i", *range(6))
    tokens = {"name": "tokens", "shape": [3, 2], "datatype": "INT32"}
    for document, tail in (
        (request(binary_input(raw, shape=[3, 1]), tokens | {"data": [7] * 6}), raw),
        (request(tokens | {"data": [[7, 7]] * 3}, binary_input(raw, shape=[3, 1])), raw),
        (request(text_input(*TEXTS), tokens | {"parameters": {"binary_data_size": len(ids)}}), ids),
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


@pytest.mark.parametrize(
    ("accepted", "used"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("br, gzip;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("identity", None),
        ("identity;q=0.5", None),
        ("gzip;q=0", None),
        ("br", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_compressed_answer(
    server: ServerProcess, expected: dict[str, list[Any]], accepted: str, used: str | None, binary: bool
) -> None:
    """An answer is compressed only in a way that the caller accepts."""
    document = request(text_input(*TEXTS), parameters={"binary_data_output": binary})
    response = server.client.post(INFER, content=document, headers={"accept-encoding": accepted})
    assert response.headers.get("content-encoding") == used
    assert outputs(read(response)) == expected


def test_answer_without_compression(server: ServerProcess) -> None:
    """A caller that accepts no encoding gets an uncompressed answer and the length of the JSON."""
    with Connection(server.port) as connection:
        connection.post(INFER, request(text_input("x")))
        answer = connection.answer()
        assert answer.status == 200 and "content-encoding" not in answer.headers
        assert json.loads(answer.body)["model_name"] == "imdb-cnn"


def compressed(content: bytes) -> bytes:
    """Compress without a timestamp, so that every process generates the same test names."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not compressed",
        compressed(request(text_input("x")))[:-1],
        compressed(request(text_input("x")))[:20],
        compressed(request(text_input("x"))) + b"\0",
        compressed(request(text_input("x"))) + compressed(b" "),
        compressed(request(text_input("x")))[:-8] + bytes(8),
        zlib.compress(request(text_input("x"))),
        compressed(b""),
        compressed(compressed(request(text_input("x")))),
    ],
    ids=lambda body: repr(body[-12:]),
)
def test_broken_gzip(server: ServerProcess, body: bytes) -> None:
    """A body that is not one complete gzip stream of JSON is refused."""
    refusal(server.client.post(INFER, content=body, headers={"content-encoding": "gzip"}))


def test_raw_deflate(server: ServerProcess) -> None:
    """HTTP's deflate is a zlib stream, and a raw deflate stream is refused."""
    stream = zlib.compressobj(wbits=-15)
    body = stream.compress(request(text_input("x"))) + stream.flush()
    refusal(server.client.post(INFER, content=body, headers={"content-encoding": "deflate"}))


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "nonsense", "\xff"])
def test_unknown_encoding(server: ServerProcess, encoding: str) -> None:
    """An unsupported encoding is refused, and the message names it."""
    response = server.client.post(
        INFER, content=request(text_input("x")), headers={b"content-encoding": encoding.encode("latin-1")}
    )
    assert "not one of gzip and deflate" in refusal(response, [HTTPStatus.UNSUPPORTED_MEDIA_TYPE])


@pytest.mark.parametrize("encoding", ["identity", "", "Identity"])
def test_no_encoding(server: ServerProcess, encoding: str) -> None:
    """A body can state that it is not compressed."""
    read(server.client.post(INFER, content=request(text_input("x")), headers={"content-encoding": encoding}))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a kernel that tells the peak of memory")
@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_decompression_bomb(server: ServerProcess, algorithm: str) -> None:
    """A small body that decompresses to 512 MB is refused without taking that memory."""
    piece = bytes(1024 * 1024)
    stream = zlib.compressobj(9, wbits=31 if algorithm == "gzip" else 15)
    bomb = b"".join([*(stream.compress(piece) for _ in range(512)), stream.flush()])
    read(server.client.post(INFER, content=request(text_input("x" * 1000))))
    before = peak_megabytes(server.process.pid)
    response = server.client.post(INFER, content=bomb, headers={"content-encoding": algorithm})
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


def test_body_up_to_the_limit(server: ServerProcess) -> None:
    """A body that decompresses to exactly the limit is read, and one byte more is refused."""
    document = request(text_input("x"))
    headers = {"content-encoding": "gzip"}
    # Random white space, because a short body must not expand to a long one.
    padding = Random(0).randbytes(8 * 1024 * 1024 - len(document)).translate(b" \t\n\r" * 64)
    read(server.client.post(INFER, content=gzip.compress(document + padding, 1), headers=headers))
    response = server.client.post(INFER, content=gzip.compress(document + padding + b" ", 1), headers=headers)
    refusal(response, [HTTPStatus.REQUEST_ENTITY_TOO_LARGE])


@pytest.mark.parametrize("fields", [{"id": "a 7"}, {"id": ""}, {"id": 'é"\n\0' + "x" * 1000}, {"id": None}, {}])
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


def test_model_metadata(server: ServerProcess) -> None:
    """The metadata and the configuration of a model have the same tensors."""
    metadata = server.client.get("/v2/models/imdb-cnn").json()
    assert metadata.keys() == {"name", "versions", "platform", "inputs", "outputs"}
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("imdb-cnn", ["1"], "onnx_onnxv1")
    assert metadata["inputs"][0] == {"name": "text", "datatype": "BYTES", "shape": [-1, 1]}
    config = server.client.get("/v2/models/imdb-cnn/config").json()
    assert config["max_batch_size"] == 1024
    for one, other in (("inputs", "input"), ("outputs", "output")):
        assert [each["shape"][1:] for each in metadata[one]] == [each["dims"] for each in config[other]]
        assert [each["name"] for each in metadata[one]] == [each["name"] for each in config[other]]


def test_statistics(server: ServerProcess) -> None:
    """Rows, runs, successes and failures are counted, and versions are integers in strings."""

    def statistics() -> dict[str, Any]:
        [one] = server.client.get("/v2/models/imdb-cnn/stats").json()["model_stats"]
        assert one in server.client.get("/v2/models/stats").json()["model_stats"]
        assert int(one["version"]) == 1
        document: dict[str, Any] = one
        return document

    before = statistics()
    read(server.client.post(INFER, content=request(text_input(*TEXTS))))
    read(server.client.post(INFER, content=request(text_input(*["x"] * 100))))
    refusal(server.client.post(INFER, content=request(text_input(*["x"] * 1025))), [413])
    after = statistics()
    assert after["inference_count"] - before["inference_count"] == 103
    assert after["execution_count"] - before["execution_count"] == 1 + 4
    assert after["last_inference"] >= before["last_inference"] > 0 or before["last_inference"] == 0
    grown = {
        name: after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"]
        for name in after["inference_stats"]
    }
    worked = ("success", "queue", "compute_input", "compute_infer", "compute_output")
    assert grown == dict.fromkeys(worked, 2) | {"fail": 1, "cache_hit": 0, "cache_miss": 0}
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/octet-stream", "nonsense"])
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
        (b"{", "not valid JSON"),
        (b'{"inputs": [] ', "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"null", "the body"),
        (b"[]", "the body"),
        (b"{}", "inputs: "),
        (b'{"inputs": {}}', "inputs: "),
        (request(None), "inputs.0: "),
        (request({"name": "text"}), "inputs.0.shape: "),
        (request(text_input("x", name=1)), "inputs.0.name: "),
        (request(text_input("x", shape=None)), "inputs.0.shape: "),
        (request(text_input("x", shape=1)), "inputs.0.shape: "),
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
        (request(text_input("x", data=None)), "data must be a list"),
        (request(text_input("x", data="x")), "data must be a list"),
        (request(text_input("x", data=[1])), "element 0 is not a string"),
        (request(text_input("x"), parameters={"timeout": -1}), "'timeout' must be a whole number"),
        (request(text_input("x"), parameters={"timeout": 1.5}), "'timeout' must be a whole number"),
        (request(text_input("x"), parameters={"timeout": "1"}), "'timeout' must be a whole number"),
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
        (request(binary_input(b"")), "0 elements in the binary data, 1 in its shape"),
        (request(binary_input(b"abc")), "binary_data_size is 3, more than the remaining 0 bytes"),
        (
            request({"name": "tokens", "shape": [HUGE, HUGE], "datatype": "INT32", "data": [1]}),
            "a dimension is not from 1",
        ),
        (
            request({"name": "tokens", "shape": [2**62, 4], "datatype": "INT32", "data": [1]}),
            "1 element in its data, 18,446,744,073,709,551,616 in its shape",
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
        ("+1", "not a number"),
        ("1.0", "not a number"),
        ("0x10", "not a number"),
        ("", "not a number"),
        ("twenty", "not a number"),
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


@pytest.mark.parametrize("size", [-1, 0, 4, 6, 2**31, 2**64, HUGE, 5.0, "5", True, [5]])
def test_mismatched_binary_data_size(server: ServerProcess, size: Any) -> None:
    """A binary_data_size that does not match the tensor is refused."""
    raw = pack("x")
    document = request(binary_input(raw, parameters={"binary_data_size": size}))
    message = refusal(server.client.post(INFER, **with_binary(document, raw)))
    assert "input 'text'" in message or "of binary data" in message


@pytest.mark.parametrize(
    ("inputs", "tail", "reason"),
    [
        ((binary_input(b"12345", data=["x"]),), b"12345", "has both data and binary_data_size"),
        ((text_input("x"),), b"more", "no input declares the last 4 bytes of binary data"),
        ((binary_input(pack("x")),), pack("x") + b"\0", "no input declares the last 1 byte of binary data"),
        ((binary_input(pack("x")),), pack("x")[:-1], "binary_data_size is 5, more than the remaining 4 bytes"),
        ((binary_input(b"\xff\xff\xff\xffx"),), b"\xff\xff\xff\xffx", "ends inside element 0"),
        ((binary_input(b"\1\0\0\0\xff"),), b"\1\0\0\0\xff", "element 0 is not UTF-8"),
        ((binary_input(pack("x"), shape=[2, 1]),), pack("x"), "1 element in the binary data, 2 in its shape"),
    ],
)
def test_mismatched_binary_data(server: ServerProcess, inputs: tuple[Any, ...], tail: bytes, reason: str) -> None:
    """Binary data that does not match the JSON is refused."""
    assert reason in refusal(server.client.post(INFER, **with_binary(request(*inputs), tail)))


def test_raw_binary_request_that_is_not_utf8(server: ServerProcess) -> None:
    """A raw binary request must be UTF-8."""
    response = server.client.post(INFER, content=b"\xff", headers={HEADER: "0"})
    assert refusal(response) == "input 'text': element 0 is not UTF-8"


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


def test_infer_of_an_unknown_model(server: ServerProcess) -> None:
    """An infer request for a model that is not loaded gets a 404."""
    response = server.client.post("/v2/models/other/infer", content=request(text_input("x")))
    assert refusal(response, [404]) == "there is no model 'other'; loaded: accurate, imdb-cnn, imdb-cnn-8bit, reviews"


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
    texts = ["word " * (number % 97) for number in range(1024)]
    elements = outputs(read(server.client.post(INFER, content=request(text_input(*texts)))))
    singly = [
        outputs(read(server.client.post(INFER, content=request(text_input(text)))))["score"] for text in texts[:97]
    ]
    assert elements["score"] == pytest.approx([score for _ in range(11) for [score] in singly][:1024], abs=1e-6)


def test_index(server: ServerProcess) -> None:
    """The index lists every version with its state, for an empty body and for an object."""
    names = ("accurate", "imdb-cnn", "imdb-cnn-8bit", "reviews")
    entries = [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in names]
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


def test_load_of_a_new_version(tickets: ServerProcess, repository: Path) -> None:
    """A version in the repository is served after it is loaded, and not before."""
    publish_table(repository)
    assert served_version(tickets) == "1"
    assert states(tickets) == [("tickets", "1", "READY"), ("tickets", "2", "UNAVAILABLE")]
    response = tickets.client.post("/v2/repository/models/tickets/load")
    assert (response.status_code, response.content) == (200, b"")
    assert served_version(tickets) == "2"
    assert states(tickets) == [("tickets", "1", "UNAVAILABLE"), ("tickets", "2", "READY")]
    assert states(tickets, ready=True) == [("tickets", "2", "READY")]
    assert tickets.client.get("/v2/models/tickets").json()["versions"] == ["2"]
    refusal(tickets.client.get("/v2/models/tickets/versions/1/ready"), [404])


def test_load_of_a_new_model(tickets: ServerProcess, repository: Path) -> None:
    """A model that is added after the start is served after it is loaded."""
    publish_table(repository, name="calls")
    refusal(tickets.client.get("/v2/models/calls/ready"), [404])
    assert tickets.client.post("/v2/repository/models/calls/load", json={}).status_code == 200
    read(tickets.client.post("/v2/models/calls/infer", content=request(text_input("praise"))))
    assert {each["name"] for each in tickets.client.get("/v2/models/stats").json()["model_stats"]} == {
        "calls",
        "tickets",
    }


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


def test_unload(tickets: ServerProcess) -> None:
    """An unloaded model gets a 404, and the server is not ready while the default model is unloaded."""
    client = tickets.client
    response = client.post("/v2/repository/models/tickets/unload")
    assert (response.status_code, response.content) == (200, b"")
    for path in ("", "/ready", "/config", "/stats"):
        refusal(client.get(f"/v2/models/tickets{path}"), [404])
    refusal(client.post("/v2/models/tickets/infer", content=request(text_input("praise"))), [404])
    refusal(client.post("/v2/repository/models/tickets/unload"), [404])
    refusal(client.get("/v2/health/ready"), [503])
    assert client.get("/readyz").status_code == 503
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/models/stats").json() == {"model_stats": []}
    assert states(tickets) == [("tickets", "1", "UNAVAILABLE")]
    assert states(tickets, ready=True) == []
    assert client.post("/v2/repository/models/tickets/load").status_code == 200
    assert served_version(tickets) == "1"
    assert client.get("/v2/health/ready").status_code == client.get("/readyz").status_code == 200
