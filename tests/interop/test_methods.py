"""Every client decodes the same answers from every method as from REST."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tests.interop.answers import ADMINISTRABLE, HEALTH, OIP, SENTIMENT, TEXTS, prediction, predictions, rest
from tests.interop.client import Client, Document, Messages
from tests.interop.conftest import Connect
from tests.processes import ServerProcess

TFSERVING = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

MODEL = {"name": "imdb-cnn"}


def bytes_tensor(texts: list[str]) -> Document:
    """A request with texts as an input tensor, not raw."""
    contents = {"bytes_contents": [b64encode(text.encode()).decode() for text in texts]}
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts), 1], "contents": contents}
    return {"model_name": "imdb-cnn", "id": "42", "inputs": [tensor]}


def strings(raw: bytes) -> Iterator[str]:
    """Return the elements of a raw BYTES tensor."""
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        yield raw[4 : 4 + length].decode()
        raw = raw[4 + length :]


def tensors(answer: Document) -> list[Document]:
    """Convert the outputs of an answer to their REST form."""
    found: list[Document] = []
    for output, content in zip(answer["outputs"], answer["raw_output_contents"], strict=True):
        raw = b64decode(content)
        data = list(strings(raw)) if output["datatype"] == "BYTES" else list(struct.unpack(f"<{len(raw) // 4}f", raw))
        shape = list(map(int, output["shape"]))
        found.append({"name": output["name"], "datatype": output["datatype"], "shape": shape, "data": data})
    return found


def same_tensors(answer: Document, expected: Document) -> bool:
    """Whether a gRPC answer equals a REST answer, whose numbers have fewer digits."""
    return [
        each | {"data": [struct.unpack("f", struct.pack("f", value))[0] for value in each["data"]]}
        if each["datatype"] == "FP32"
        else each
        for each in expected["outputs"]
    ] == tensors(answer)


def test_predict(client: Client, server: ServerProcess) -> None:
    """`Predict` returns REST's answers for single texts."""
    found = [client.call(f"{SENTIMENT}/Predict", {"text": text}) for text in TEXTS]
    assert found == predictions(server, TEXTS)


def test_predict_batch(client: Client, server: ServerProcess) -> None:
    """`PredictBatch` returns REST's answers for a batch."""
    found = client.call(f"{SENTIMENT}/PredictBatch", {"texts": TEXTS, "model": "imdb-cnn", "version": "1"})
    assert found["predictions"] == predictions(server, TEXTS)


def test_predict_stream(client: Client, server: ServerProcess) -> None:
    """`PredictStream` answers a stream of 1,000 texts in order."""
    texts = [f"{number} {TEXTS[number % len(TEXTS)]}" for number in range(1000)]
    answers, end = client.start(f"{SENTIMENT}/PredictStream", *({"text": text} for text in texts)).result()
    assert end.code == 0
    assert answers == predictions(server, texts)


def test_explain(client: Client, server: ServerProcess, messages: Messages) -> None:
    """`Explain` returns every word's share."""
    for text in TEXTS[:5]:
        native = rest(server, "/v1/explain", {"text": text, "label": "positive"})
        expected = messages.answer(f"{SENTIMENT}/Explain", native | {"prediction": prediction(native["prediction"])})
        assert client.call(f"{SENTIMENT}/Explain", {"text": text, "label": "positive"}) == expected


def test_server(client: Client, server: ServerProcess) -> None:
    """`ServerLive`, `ServerReady`, `ServerMetadata`."""
    assert client.call(f"{OIP}/ServerLive", {}) == {"live": True}
    assert client.call(f"{OIP}/ServerReady", {}) == {"ready": True}
    assert client.call(f"{OIP}/ServerMetadata", {}) == rest(server, "/v2")


def test_models(client: Client, server: ServerProcess, messages: Messages) -> None:
    """`ModelReady`, `ModelMetadata`, `ModelConfig`, `ModelStatistics`, `RepositoryIndex`."""
    assert client.call(f"{OIP}/ModelReady", MODEL) == {"ready": True}
    assert client.call(f"{OIP}/ModelReady", {"name": "nothing"}) == {"ready": False}
    expected = {
        "ModelMetadata": rest(server, "/v2/models/imdb-cnn"),
        "ModelConfig": {"config": rest(server, "/v2/models/imdb-cnn/config")},
        "ModelStatistics": rest(server, "/v2/models/imdb-cnn/stats"),
        "RepositoryIndex": {"models": rest(server, "/v2/repository/index", {})},
    }
    for method, document in expected.items():
        found = client.call(f"{OIP}/{method}", {} if method == "RepositoryIndex" else MODEL)
        assert found == messages.answer(f"{OIP}/{method}", document)


def test_infer(client: Client, server: ServerProcess) -> None:
    """`ModelInfer` accepts typed and raw texts."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(TEXTS), 1]}
    expected = rest(server, "/v2/models/imdb-cnn/infer", {"inputs": [tensor | {"data": TEXTS}]})
    packed = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in TEXTS)
    raw = {"model_name": "imdb-cnn", "inputs": [tensor], "raw_input_contents": [b64encode(packed).decode()]}
    for request in (bytes_tensor(TEXTS), raw):
        answer = client.call(f"{OIP}/ModelInfer", request)
        assert (answer["model_name"], answer["model_version"]) == ("imdb-cnn", "1")
        assert answer["id"] == request.get("id", "")
        assert same_tensors(answer, expected)


def test_stream_infer(client: Client, server: ServerProcess) -> None:
    """`ModelStreamInfer` answers an invalid request with an error, and the stream continues."""
    requests = [bytes_tensor([text]) for text in TEXTS]
    requests[3] |= {"model_name": "nothing"}
    answers, end = client.start(f"{OIP}/ModelStreamInfer", *requests).result()
    assert end.code == 0 and len(answers) == len(TEXTS)
    for number, (text, answer) in enumerate(zip(TEXTS, answers, strict=True)):
        if number == 3:
            assert "nothing" in answer["error_message"]
            continue
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
        assert answer["error_message"] == ""
        assert same_tensors(answer["infer_response"], rest(server, "/v2/models/imdb-cnn/infer", {"inputs": [tensor]}))


@pytest.fixture(scope="module")
def administrable() -> Iterator[ServerProcess]:
    """Run a server whose models callers can load and unload."""
    with ServerProcess(*ADMINISTRABLE) as process:
        yield process


def test_load_and_unload(connect: Connect, administrable: ServerProcess) -> None:
    """`RepositoryModelUnload` stops a model from answering, and `RepositoryModelLoad` restores it."""
    model = {"model_name": "imdb-cnn"}
    with connect(administrable) as client:
        assert client.call(f"{OIP}/RepositoryModelUnload", model) == {}
        assert client.call(f"{OIP}/ModelReady", MODEL) == {"ready": False}
        assert client.refused(f"{SENTIMENT}/Predict", {"text": TEXTS[2]}).code == 5  # NOT_FOUND
        assert client.call(f"{OIP}/RepositoryModelLoad", model) == {}
        assert client.call(f"{OIP}/ModelReady", MODEL) == {"ready": True}
        assert client.call(f"{SENTIMENT}/Predict", {"text": TEXTS[2]}) == predictions(administrable, TEXTS[2:3])[0]


def test_health(client: Client) -> None:
    """`Check`, `List` and `Watch`: every service is SERVING."""
    services = ("", OIP, SENTIMENT, *TFSERVING)
    for service in services:
        assert client.call(f"{HEALTH}/Check", {"service": service}) == {"status": "SERVING"}
        watch = client.start(f"{HEALTH}/Watch", {"service": service})
        assert watch.answer() == {"status": "SERVING"}
        watch.cancel()
        assert watch.end().code == 1  # CANCELLED
    assert client.call(f"{HEALTH}/List", {}) == {"statuses": {each: {"status": "SERVING"} for each in services}}
    assert client.refused(f"{HEALTH}/Check", {"service": "nothing"}).code == 5  # NOT_FOUND
    unknown = client.start(f"{HEALTH}/Watch", {"service": "nothing"})
    assert unknown.answer() == {"status": "SERVICE_UNKNOWN"}
    unknown.cancel()
    assert unknown.end().code == 1


@pytest.mark.parametrize("service", REFLECTION)
def test_reflection(client: Client, service: str) -> None:
    """Reflection, in both versions, lists the services and describes one, in one stream."""
    requests = [{"list_services": "*"}, {"file_containing_symbol": SENTIMENT}, {"file_containing_symbol": "nothing"}]
    answers, end = client.start(f"{service}/ServerReflectionInfo", *requests).result()
    assert end.code == 0
    listed, described, unknown = answers
    names = [each["name"] for each in listed["list_services_response"]["service"]]
    assert names == sorted((SENTIMENT, OIP, *TFSERVING, HEALTH, *REFLECTION))
    (content,) = described["file_descriptor_response"]["file_descriptor_proto"]
    (found,) = FileDescriptorProto.FromString(b64decode(content)).service
    assert [method.name for method in found.method] == ["Predict", "PredictBatch", "PredictStream", "Explain"]
    assert unknown["error_response"]["error_code"] == 5
