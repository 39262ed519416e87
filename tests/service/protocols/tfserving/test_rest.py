"""TensorFlow Serving's REST API, which KServe v1 clients also use."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from sentiment_conv1d.inference.classifier import Classifier
from tests.processes import ServerProcess

PREDICT = "/v1/models/imdb-cnn:predict"
CLASSIFY = "/v1/models/imdb-cnn:classify"
TEXTS = ["A gripping, beautifully acted film.", "Two dull hours that I will never get back.", "Ça va — ½ étoile", ""]


def encoded(text: str) -> dict[str, str]:
    return {"b64": base64.b64encode(text.encode()).decode()}


def rows(classifier: Classifier, texts: list[str]) -> list[dict[str, Any]]:
    """Return the answers of the model as rows."""
    return [
        {"label": each.label, "score": each.score, "probabilities": list(each.probabilities)}
        for each in classifier.predict(texts)
    ]


def assert_rows(answer: Any, expected: list[dict[str, Any]]) -> None:
    assert [row["label"] for row in answer] == [row["label"] for row in expected]
    for given, right in zip(answer, expected, strict=True):
        assert given.keys() == right.keys()
        assert given["score"] == pytest.approx(right["score"], abs=1e-6)
        assert given["probabilities"] == pytest.approx(right["probabilities"], abs=1e-6)


def refusal(response: httpx.Response, status: int) -> str:
    """Return the message of an error, and check its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert document.keys() == {"error"} and isinstance(document["error"], str)
    message: str = document["error"]
    return message


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/imdb-cnn/versions/1:predict", "/v1/models/imdb-cnn%3Apredict"])
@pytest.mark.parametrize("signature", [{}, {"signature_name": "serving_default"}, {"signature_name": ""}])
def test_rows(server: ServerProcess, classifier: Classifier, path: str, signature: dict[str, str]) -> None:
    """Rows under `instances` get rows under `predictions` in order, with or without a version and a signature."""
    response = server.client.post(path, json={**signature, "instances": TEXTS})
    assert response.status_code == 200
    assert response.json().keys() == {"predictions"}
    assert_rows(response.json()["predictions"], rows(classifier, TEXTS))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text,
        lambda text: [text],
        lambda text: {"text": text},
        lambda text: {"text": [text]},
        lambda text: [{"text": text}],
        encoded,
        lambda text: [encoded(text)],
        lambda text: {"text": encoded(text)},
        lambda text: {"text": [encoded(text)]},
    ],
)
def test_forms_of_a_row(server: ServerProcess, classifier: Classifier, wrap: Any) -> None:
    """A row is a string, an object with a string, base64, or a list with one of these."""
    response = server.client.post(PREDICT, json={"instances": [wrap(text) for text in TEXTS]})
    assert_rows(response.json()["predictions"], rows(classifier, TEXTS))


@pytest.mark.parametrize(
    "column",
    [
        TEXTS,
        {"text": TEXTS},
        [[text] for text in TEXTS],
        {"text": [[text] for text in TEXTS]},
        [encoded(text) for text in TEXTS],
        {"text": [encoded(text) for text in TEXTS]},
    ],
)
def test_column(server: ServerProcess, classifier: Classifier, column: Any) -> None:
    """A column under `inputs` gets one column per output under `outputs`."""
    response = server.client.post(PREDICT, json={"inputs": column})
    assert response.json().keys() == {"outputs"}
    outputs = response.json()["outputs"]
    assert outputs.keys() == {"label", "score", "probabilities"}
    names = ("label", "score", "probabilities")
    assert_rows(
        [dict(zip(names, row, strict=True)) for row in zip(*(outputs[name] for name in names), strict=True)],
        rows(classifier, TEXTS),
    )


@pytest.mark.parametrize("column", [TEXTS[0], {"text": TEXTS[0]}, encoded(TEXTS[0]), {"text": encoded(TEXTS[0])}])
def test_column_of_one(server: ServerProcess, classifier: Classifier, column: Any) -> None:
    """A column of one text can be the text without a list."""
    outputs = server.client.post(PREDICT, json={"inputs": column}).json()["outputs"]
    assert outputs["label"] == ["positive"]
    assert outputs["score"] == pytest.approx([classifier.predict(TEXTS[:1])[0].score], abs=1e-6)


def test_unknown_fields_are_ignored(server: ServerProcess) -> None:
    """Fields of other servers, such as Vertex AI's `parameters`, have no effect."""
    body = {"instances": TEXTS, "parameters": {"confidence": 0.5}}
    assert (
        server.client.post(PREDICT, json=body).json() == server.client.post(PREDICT, json={"instances": TEXTS}).json()
    )


def test_probabilities_are_float32(server: ServerProcess, classifier: Classifier) -> None:
    """Every number is the shortest that parses to the model's float32."""
    [row] = server.client.post(PREDICT, json={"instances": TEXTS[:1]}).json()["predictions"]
    assert str(np.float32(row["score"])) == str(row["score"])
    assert row["score"] == max(row["probabilities"])
    assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"instances": ["\xff"]}', "not valid JSON"),
        (b'{"instances": ["\\ud800"]}', "not valid JSON"),
        (b"[" * 10_000, "not valid JSON"),
        (b"[]", "object"),
        (b"{}", "exactly one of instances and inputs"),
        (b'{"instances": null, "inputs": null}', "exactly one of instances and inputs"),
        (b'{"instances": ["a"], "inputs": ["a"]}', "exactly one of instances and inputs"),
        (b'{"instances": "a"}', "instances"),
        (b'{"instances": {"text": "a"}}', "instances"),
        (b'{"instances": []}', "at least one"),
        (b'{"inputs": []}', "at least one"),
        (b'{"instances": [1]}', "instances.0"),
        (b'{"instances": ["a", null]}', "instances.1"),
        (b'{"instances": ["a", ["b", "c"]]}', "instances.1"),
        (b'{"instances": [[]]}', "instances.0"),
        (b'{"instances": [{"txt": "a"}]}', "instances.0"),
        (b'{"instances": [{"text": "a", "more": "b"}]}', "instances.0"),
        (b'{"instances": [{"b64": "a"}]}', "instances.0: b64"),
        (b'{"instances": [{"b64": "/w=="}]}', "instances.0: b64"),
        (b'{"instances": [{"b64": 3}]}', "instances.0"),
        (b'{"inputs": [7]}', "inputs.0"),
        (b'{"inputs": {"txt": ["a"]}}', "'txt'"),
        (b'{"inputs": {}}', "none"),
        (b'{"inputs": {"text": ["a", 1]}}', "inputs.1"),
        (b'{"inputs": false}', "inputs.0"),
        (b'{"instances": ["a"], "signature_name": "classify"}', "'classify'"),
        (b'{"instances": ["a"], "signature_name": 1}', "signature_name"),
    ],
)
def test_bad_bodies(server: ServerProcess, body: bytes, names: str) -> None:
    """An invalid request gets a 400, because the protocol has no 422, and the message names the reason."""
    assert names in refusal(server.client.post(PREDICT, content=body), 400)


def test_too_large(server: ServerProcess) -> None:
    """Texts and bodies over the limits get a 413."""
    for body in ({"instances": ["a"] * 1025}, {"inputs": ["a" * 1_000_001]}, {"inputs": ["a" * 8_388_608]}):
        assert "limit" in refusal(server.client.post(PREDICT, json=body), 413)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/models/other:predict", "'other'"),
        ("/v1/models/im:db:predict", "'im:db'"),
        ("/v1/models/imdb-cnn/versions/2:predict", "'2'"),
        ("/v1/models/imdb-cnn/versions/newest:predict", "'newest'"),
    ],
)
def test_unknown_model(server: ServerProcess, path: str, names: str) -> None:
    """An unknown model or version gets a 404 that names it and lists the known ones."""
    message = refusal(server.client.post(path, json={"instances": TEXTS}), 404)
    assert names in message and "loaded: " in message


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/imdb-cnn/versions/1:predict"])
def test_predict_takes_post(server: ServerProcess, path: str) -> None:
    """Any other method gets a 405 that allows POST."""
    for method in ("GET", "PUT", "DELETE"):
        response = server.client.request(method, path)
        assert "POST" in refusal(response, 405)
        assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/models/imdb-cnn/metadata", "/v1/models/imdb-cnn/versions/1/metadata"])
def test_metadata(server: ServerProcess, path: str) -> None:
    """The only signature names its input and outputs with types and sizes."""
    document = server.client.get(path).json()
    assert document["model_spec"] == {"name": "imdb-cnn", "signature_name": "", "version": "1"}
    [(name, signature)] = document["metadata"]["signature_def"]["signature_def"].items()
    assert name == "serving_default"
    assert signature["method_name"] == "tensorflow/serving/predict"
    shapes = {
        tensor: (each["dtype"], [dimension["size"] for dimension in each["tensor_shape"]["dim"]])
        for tensor, each in (signature["inputs"] | signature["outputs"]).items()
    }
    assert shapes == {
        "text": ("DT_STRING", ["-1"]),
        "label": ("DT_STRING", ["-1"]),
        "score": ("DT_FLOAT", ["-1"]),
        "probabilities": ("DT_FLOAT", ["-1", "2"]),
    }


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/other/metadata",
        "/v1/models/imdb-cnn/versions/2/metadata",
        "/v1/models/imdb-cnn/versions/2",
        "/v1/models/other/versions/1",
    ],
)
def test_description_of_an_unknown_model(server: ServerProcess, path: str) -> None:
    """Metadata and status of an unknown model get a 404 in the protocol's form, and a wrong method a 405."""
    assert "loaded: " in refusal(server.client.get(path), 404)
    assert "GET" in refusal(server.client.post(path), 405)


def test_status(server: ServerProcess) -> None:
    """`/v1/models/{name}` has the fields for our clients, TensorFlow Serving's and KServe's."""
    state = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    document = server.client.get("/v1/models/imdb-cnn").json()
    assert document["model_version_status"] == [state]
    assert (document["name"], document["ready"]) == ("imdb-cnn", True)
    assert document["labels"] == ["negative", "positive"] and document["version"] == "1"
    assert server.client.get("/v1/models/imdb-cnn/versions/1").json() == {"model_version_status": [state]}
    assert document in server.client.get("/v1/models").json()["models"]


@pytest.mark.parametrize(
    "path", [CLASSIFY, "/v1/models/imdb-cnn/versions/1:classify", "/v1/models/imdb-cnn%3Aclassify"]
)
def test_classify(server: ServerProcess, classifier: Classifier, path: str) -> None:
    """Every example gets all labels with their probabilities, in order, and `context` has no effect."""
    body = {"context": {"text": "no"}, "examples": [{"text": text} for text in TEXTS], "signature_name": ""}
    response = server.client.post(path, json=body)
    assert response.status_code == 200
    assert (response.headers["x-model-name"], response.headers["x-model-version"]) == ("imdb-cnn", "1")
    assert response.json().keys() == {"result"}
    for classes, prediction in zip(response.json()["result"], classifier.predict(TEXTS), strict=True):
        assert [label for label, _ in classes] == ["negative", "positive"]
        assert [score for _, score in classes] == pytest.approx(list(prediction.probabilities), abs=1e-6)


def test_forms_of_an_example(server: ServerProcess) -> None:
    """The feature of an example is a string or base64, or a list with one of these."""
    forms: list[Any] = [TEXTS[0], [TEXTS[0]], encoded(TEXTS[0]), [encoded(TEXTS[0])]]
    first, *others = server.client.post(CLASSIFY, json={"examples": [{"text": form} for form in forms]}).json()[
        "result"
    ]
    assert others == [first] * 3


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "examples"),
        ({"instances": TEXTS}, "examples"),
        ({"examples": "a"}, "examples"),
        ({"examples": []}, "at least one"),
        ({"examples": [{"text": "a"}, {}]}, "examples.1"),
        ({"examples": [{"text": ["a", "b"]}]}, "examples.0"),
        ({"context": {"text": "a"}, "examples": [{}]}, "examples.0"),
        ({"examples": [{"text": "a"}], "signature_name": "other"}, "'other'"),
    ],
)
def test_bad_examples(server: ServerProcess, body: Any, names: str) -> None:
    """Examples without one text, and another signature, get a 400 that names the reason."""
    assert names in refusal(server.client.post(CLASSIFY, json=body), 400)


def test_classify_with_an_unknown_model(server: ServerProcess) -> None:
    """An unknown model or version gets a 404, too many examples a 413, and another method a 405."""
    example = {"text": TEXTS[0]}
    for path in ("/v1/models/other:classify", "/v1/models/imdb-cnn/versions/2:classify"):
        assert "loaded: " in refusal(server.client.post(path, json={"examples": [example]}), 404)
    assert "limit" in refusal(server.client.post(CLASSIFY, json={"examples": [example] * 1025}), 413)
    assert "POST" in refusal(server.client.get(CLASSIFY), 405)


@pytest.mark.parametrize("place", ["imdb-cnn", "imdb-cnn/versions/1", "imdb-cnn/labels/stable"])
@pytest.mark.parametrize("body", [b'{"examples": [{"text": "a"}]}', b"", b"{"])
def test_regress(server: ServerProcess, place: str, body: bytes) -> None:
    """`:regress` gets a 400 that names the methods which a classifier has."""
    assert ":classify" in refusal(server.client.post(f"/v1/models/{place}:regress", content=body), 400)


def test_unknown_label(server: ServerProcess) -> None:
    """A version label that the model does not have gets a 404."""
    for method, body in (("predict", {"instances": TEXTS}), ("classify", {"examples": [{"text": TEXTS[0]}]})):
        path = f"/v1/models/imdb-cnn/labels/stable:{method}"
        assert "'stable'" in refusal(server.client.post(path, json=body), 404)
