"""The native routes: the exact form and content of their answers."""

import json
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.prediction import prediction_body
from sentiment_conv1d.service.protocols.native.rest.predictions import PredictionBody
from tests.processes import PATIENCE, ServerProcess
from tests.service.artifacts import publish_table
from tests.text_graphs import artifact_of

#: JSON carries any text but lone surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def predict(server: ServerProcess, text: str) -> dict[str, Any]:
    response = server.client.post("/v1/predict", json={"text": text})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def predict_batch(server: ServerProcess, texts: list[str]) -> list[dict[str, Any]]:
    response = server.client.post("/v1/predict_batch", json={"texts": texts})
    assert response.status_code == 200, response.text
    document: dict[str, list[dict[str, Any]]] = response.json()
    assert document.keys() == {"predictions"}
    return document["predictions"]


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Assert that predictions are equal except for the last bits of the probabilities."""
    for name in first.keys() | second.keys():
        expected = second[name]
        assert first[name] == (pytest.approx(expected, abs=1e-6) if name in {"score", "probabilities"} else expected)


def test_shape(server: ServerProcess) -> None:
    """The answer has exactly these fields, in this order."""
    response = server.client.post("/v1/predict", json={"text": "A gripping, beautifully acted qwertyuiop."})
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    probability = answer["score"]
    assert json.dumps(answer) == json.dumps(
        {
            "label": "positive",
            "score": probability,
            "probabilities": {"negative": answer["probabilities"]["negative"], "positive": probability},
            "tokens": 6,
            "unknown_tokens": 1,
            "truncated": False,
            "confident": True,
            "model": {"name": "imdb-cnn", "version": "1"},
        }
    )


@given(text=TEXTS)
def test_any_text_is_answered(server: ServerProcess, text: str) -> None:
    """For any text, the score is the probability of the label, and the probabilities add up to 1."""
    answer = predict(server, text)
    assert answer["score"] == answer["probabilities"][answer["label"]] == max(answer["probabilities"].values())
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert 0 <= answer["unknown_tokens"] < answer["tokens"]


@given(texts=st.lists(TEXTS, min_size=1, max_size=40))
def test_batch_equals_singles(server: ServerProcess, texts: list[str]) -> None:
    """The predictions of a batch equal those of single texts, in the same order."""
    for text, prediction in zip(texts, predict_batch(server, texts), strict=True):
        assert_same(prediction, predict(server, text))


def test_large_batch_keeps_order(server: ServerProcess) -> None:
    """Texts up to the limit are answered in their order."""
    texts = ["word " * (number % 97) for number in range(1024)]
    assert [each["tokens"] for each in predict_batch(server, texts)] == [number % 97 + 1 for number in range(1024)]


def test_golden(server: ServerProcess, artifact: Artifact) -> None:
    """The golden text gets the golden answer over HTTP, in digits that parse to the same float32."""
    golden = artifact.manifest.golden
    answer = predict(server, golden.text)
    assert answer["probabilities"]["positive"] == pytest.approx(golden.probabilities[0], abs=1e-5)
    assert len(str(answer["score"])) <= len("0.123456789")


@pytest.mark.parametrize("text", ["", " ", "!?", '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " \n" * 1000])
def test_text_without_words(server: ServerProcess, text: str) -> None:
    """A text without words is a valid review of one id, the start id."""
    answer = predict(server, text)
    assert (answer["tokens"], answer["unknown_tokens"], answer["truncated"]) == (1, 0, False)
    assert answer["confident"] is False
    assert_same(answer, predict(server, ""))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("GREAT film", 3),
        ("don't", 2),
        ("one,two;three", 4),
        ("un café très sympathique", 5),
        ("素晴らしい映画", 2),
        ("😀 🎬😀", 3),
        ("a\x00b c", 3),
        ("a\N{NO-BREAK SPACE}b", 2),
        ("ÀÉÎ " * 3, 4),
        ("\N{RIGHT-TO-LEFT OVERRIDE}x", 2),
    ],
)
def test_tokens(server: ServerProcess, text: str, tokens: int) -> None:
    """Tokens include the start id, and only spaces and punctuation separate words."""
    assert predict(server, text)["tokens"] == tokens


def test_case_and_punctuation_do_not_matter(server: ServerProcess) -> None:
    """Case and punctuation do not change the answer."""
    assert_same(predict(server, "A GREAT film!!"), predict(server, "a, great... film"))


@pytest.mark.parametrize(("words", "truncated"), [(399, False), (400, True), (100_000, True)])
def test_long_review(server: ServerProcess, words: int, truncated: bool) -> None:
    """Tokens are counted before truncation, which the answer reports."""
    answer = predict(server, "great " * words)
    assert (answer["tokens"], answer["truncated"]) == (words + 1, truncated)
    assert answer["label"] == "positive"


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/json; charset=latin-1", "multipart/form-data", "nonsense"]
)
def test_content_type_does_not_matter(server: ServerProcess, content_type: str | None) -> None:
    """The body is read as JSON in UTF-8, for any Content-Type."""
    headers = {} if content_type is None else {"content-type": content_type}
    response = server.client.post("/v1/predict", content='{"text": "très bon"}'.encode(), headers=headers)
    assert (response.status_code, response.json()["tokens"]) == (200, 3)


def test_json_escapes(server: ServerProcess) -> None:
    """Escapes and surrogate pairs are decoded."""
    response = server.client.post("/v1/predict", content=rb'{"text": "a\u0020b\ud83d\ude00\u0000\n\"c"}')
    assert response.json()["tokens"] == 4


def test_models_of_openai(server: ServerProcess) -> None:
    """The list of models is in the form of OpenAI's API too, and names every model once."""
    document = server.client.get("/v1/models").json()
    assert document["object"] == "list"
    assert [each["id"] for each in document["data"]] == [each["name"] for each in document["models"]]
    created = {each["name"]: datetime.fromisoformat(each["created"]).timestamp() for each in document["models"]}
    for each in document["data"]:
        name = each["id"]
        model = {"id": name, "object": "model", "created": int(created[name]), "owned_by": "sentiment-conv1d"}
        assert each == model


def test_models(server: ServerProcess, artifact: Artifact) -> None:
    """The loaded models are listed with the metrics of their manifests."""
    manifest = artifact.manifest
    assert manifest.metrics is not None
    accurate, model, *quantized = server.client.get("/v1/models").json()["models"]
    assert [each["name"] for each in (accurate, *quantized)] == ["accurate", "imdb-cnn-8bit", "reviews"]
    assert {(each["precision"], each["explainable"]) for each in (accurate, *quantized)} == {("uint8", True)}
    assert model == {
        "name": "imdb-cnn",
        "version": "1",
        "version_labels": [],
        "labels": ["negative", "positive"],
        "activation": "sigmoid",
        "max_tokens": 400,
        "vocabulary_size": 5000,
        "tokenizer": {
            "padding_id": 0,
            "start_id": 1,
            "unknown_id": 2,
            "padding_side": "left",
            "truncation_side": "left",
            "counts_unknown": True,
        },
        "execution_provider": "CPUExecutionProvider",
        "precision": "float32",
        "explainable": True,
        "text_parity": "trained with its tokenizer",
        "unverified": False,
        "needs_words": False,
        "samples": [],
        **manifest.model_dump(
            mode="json",
            include={"created", "convolution_widths", "configuration", "metrics", "decision", "parity", "libraries"},
        ),
        "ready": True,
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ],
    }
    assert server.client.get("/v1/models/imdb-cnn").json() == model


def test_no_tokens(tmp_path: Path) -> None:
    """A text without words has no token if there is no start id, as the schema of the answer allows."""
    classifier = Classifier(artifact_of("TextVectorization", tmp_path))
    [prediction] = classifier.predict([""])
    assert PredictionBody.model_validate(prediction_body(classifier.manifest, prediction)).tokens == 0


@pytest.mark.parametrize("name", ["other", "imdb-cnn2", "IMDB-CNN", "%00", "imdb-cnn%2f1", "..%2f..%2fetc"])
def test_unknown_model(server: ServerProcess, name: str) -> None:
    """A model that is not loaded gets a 404."""
    response = server.client.get(f"/v1/models/{name}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "field"),
    [("/v1/predict", "text"), ("/v1/predict_batch", "texts"), ("/v1/explain", "text"), ("/v1/inspect", "text")],
)
def test_integer_versions(server: ServerProcess, path: str, field: str) -> None:
    """An integer names the same version as the string with its digits, and no other number does."""
    body: dict[str, Any] = {field: ["x"] if field == "texts" else "x", "model": "imdb-cnn"}
    answers = [server.client.post(path, json=body | {"version": version}) for version in (1, "1")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    for version in (0, -1, 2, 10**30):
        first, second = (server.client.post(path, json=body | {"version": each}) for each in (version, str(version)))
        assert first.status_code == second.status_code == 404
        assert first.json()["error"]["message"] == second.json()["error"]["message"]
    for wrong in (True, False, 1.0, 1.5, None, [1], {"version": 1}):
        for texts in ({}, {field: [" " * 70_000] if field == "texts" else " " * 70_000}):  # parsed in two steps
            refused = server.client.post(path, json=body | texts | {"version": wrong})
            assert refused.status_code == 422
            assert refused.json()["error"]["message"] == "version: Input should be an integer or a string"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/predict", {"texts": ["x"]}, "texts: unknown field; .* /v1/predict_batch several in `texts`"),
        ("/v1/predict", {"texts": ["x" * 70_000]}, "texts: unknown field; .* /v1/predict_batch several in `texts`"),
        ("/v1/predict", {"texts": "x", "text": "x"}, "texts: unknown field; .* /v1/predict_batch several in `texts`"),
        ("/v1/predict", {"a": 1, "model": 1, "texts": []}, "texts: unknown field; .* /v1/predict_batch .*"),
        ("/v1/predict_batch", {"text": "x"}, "text: unknown field; .* /v1/predict one review in `text`"),
        ("/v1/explain", {"texts": ["x"]}, "texts: unknown field; /v1/explain takes one review in `text`"),
        ("/v1/inspect", {"texts": ["x"]}, "texts: unknown field; /v1/inspect takes one review in `text`"),
        ("/v1/predict", {"txt": "x"}, "text: Field required"),
    ],
)
def test_text_for_another_route(server: ServerProcess, path: str, body: dict[str, Any], message: str) -> None:
    """The field of another route is an error that says which route takes it, whatever else is wrong."""
    response = server.client.post(path, json=body)
    assert response.status_code == 422
    assert re.fullmatch(message, response.json()["error"]["message"])


@pytest.mark.parametrize("path", ["/v1%2fpredict", "/v1%2Fpredict", "/%2fv1/predict"])
def test_encoded_slashes(server: ServerProcess, path: str) -> None:
    """A path with an encoded slash is no route, with any method."""
    for method in ("GET", "POST"):
        response = server.client.request(method, path, json={"text": "x"})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert server.client.get("/v1%2fmodels").status_code == 404


def test_compressed_answers_are_not_needed(server: ServerProcess) -> None:
    """For any Accept header, the answer is JSON with a Content-Length."""
    response = httpx.post(
        f"{server.url}/v1/predict",
        json={"text": "x"},
        headers={"accept": "text/html"},
        timeout=PATIENCE,
        trust_env=False,
    )
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)


def test_options_of_the_answer(server: ServerProcess) -> None:
    """A request can choose the threshold, the number of labels, and logits."""
    text = "A gripping, beautifully acted film."
    plain = predict(server, text)
    body = {"text": text, "threshold": 0.999, "top_k": 1, "logits": True}
    answer = server.client.post("/v1/predict", json=body).json()
    assert (answer["label"], answer["score"]) == ("negative", plain["probabilities"]["negative"])
    assert answer["probabilities"] == {"positive": plain["probabilities"]["positive"]}
    assert 1 / (1 + math.exp(-answer["logits"]["positive"])) == pytest.approx(plain["score"], abs=1e-6)
    body = {"texts": [text], "top_k": 5, "logits": True}
    [other] = server.client.post("/v1/predict_batch", json=body).json()["predictions"]
    assert list(other["probabilities"]) == list(other["logits"]) == ["positive", "negative"]
    assert other["logits"]["negative"] == -other["logits"]["positive"]


@pytest.mark.parametrize("threshold", [0, 1, -0.5, 1.5, "0.5", True])
def test_bad_threshold(server: ServerProcess, threshold: Any) -> None:
    """A threshold is a number between 0 and 1."""
    response = server.client.post("/v1/predict", json={"text": "a", "threshold": threshold})
    assert (response.status_code, response.json()["error"]["message"].split(":")[0]) == (422, "threshold")


def test_threshold_of_a_softmax(tmp_path: Path) -> None:
    """A model that chooses among several labels has no threshold."""
    publish_table(tmp_path)
    with ServerProcess("--watch-interval", "0", repository=tmp_path) as server:
        response = server.client.post("/v1/predict", json={"text": "a", "threshold": 0.5})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid")
        answer = server.client.post("/v1/predict", json={"text": "a", "logits": True, "top_k": 2}).json()
        assert len(answer["logits"]) == 2
        for label, logit in answer["logits"].items():
            assert math.exp(logit) == pytest.approx(answer["probabilities"][label], abs=1e-6)


def test_bad_texts_are_reported(server: ServerProcess) -> None:
    """With `on_error: report`, good texts are answered in their places, and bad ones are named."""
    texts = ["great film", None, "x" * 1_000_001, "", {"text": "a"}]
    response = server.client.post("/v1/predict_batch", json={"texts": texts, "on_error": "report"})
    assert response.status_code == 200
    document = response.json()
    assert [each is None for each in document["predictions"]] == [False, True, True, False, True]
    for place in (0, 3):
        assert_same(document["predictions"][place], predict(server, texts[place]))  # type: ignore[arg-type]
    assert [(each["index"], each["code"]) for each in document["errors"]] == [
        (1, "invalid"),
        (2, "too_large"),
        (4, "invalid"),
    ]
    assert document["errors"][1]["message"] == "text 2: 1000001 characters; the limit is 1000000"


@pytest.mark.parametrize(("texts", "codes"), [(["a"], []), ([1], ["invalid"]), ([1, None], ["invalid", "invalid"])])
def test_report_of_all_or_none(server: ServerProcess, texts: list[Any], codes: list[str]) -> None:
    """A report is complete if all texts are bad, and empty if none is."""
    document = server.client.post("/v1/predict_batch", json={"texts": texts, "on_error": "report"}).json()
    assert [each["code"] for each in document["errors"]] == codes
    assert sum(each is None for each in document["predictions"]) == len(codes)


@pytest.mark.parametrize(
    ("body", "status"), [({"texts": []}, 422), ({"texts": [None] * 1025}, 413), ({"texts": "a"}, 422)]
)
def test_report_of_a_bad_batch(server: ServerProcess, body: dict[str, Any], status: int) -> None:
    """A batch that is itself wrong is an error, whatever `on_error` is."""
    assert server.client.post("/v1/predict_batch", json={**body, "on_error": "report"}).status_code == status
