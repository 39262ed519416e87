"""Requests of Hugging Face's clients: InferenceClient, and `/predict` of text-embeddings-inference."""

import math
from typing import Any

import httpx
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from sentiment_conv1d.inference.classifier import Classifier
from tests.processes import ServerProcess

TEXTS = ["A gripping, beautifully acted film.", "Two dull hours that I will never get back.", ""]


def scored(classifier: Classifier, text: str) -> list[dict[str, Any]]:
    """Return the labels and scores of the model, the most probable first."""
    [prediction] = classifier.predict([text])
    pairs = sorted(zip(prediction.probabilities, classifier.labels, strict=True), reverse=True)
    return [{"label": label, "score": pytest.approx(probability, abs=1e-6)} for probability, label in pairs]


def refusal(response: httpx.Response, status: int, kind: str = "validation") -> str:
    """Return the message of an error, and check its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert document.keys() == {"error", "error_type"}
    assert document["error_type"] == kind
    message: str = document["error"]
    return message


def test_inference_client(server: ServerProcess, classifier: Classifier) -> None:
    """`text_classification` returns both labels, the most probable first, and at most `top_k`."""
    client = InferenceClient(server.url)
    for text in TEXTS:
        answer = client.text_classification(text)
        assert [{"label": each.label, "score": each.score} for each in answer] == scored(classifier, text)
        [best] = client.text_classification(text, top_k=1)
        assert best.label == answer[0].label
    for function in ("sigmoid", "softmax"):
        assert client.text_classification(TEXTS[0], function_to_apply=function) == client.text_classification(TEXTS[0])


def test_inference_client_shows_the_reason(server: ServerProcess) -> None:
    """The client raises an error with the message of the service."""
    with pytest.raises(HfHubHTTPError, match=r"parameters\.function_to_apply") as caught:
        InferenceClient(server.url).text_classification("x", function_to_apply="none")
    assert caught.value.response.status_code == 400


def test_several(server: ServerProcess, classifier: Classifier) -> None:
    """Several texts are answered in order, and the answer to one text is a list in a list."""
    assert server.client.post("/", json={"inputs": TEXTS}).json() == [scored(classifier, text) for text in TEXTS]
    assert server.client.post("/", json={"inputs": TEXTS[0]}).json() == [scored(classifier, TEXTS[0])]
    assert server.client.post("/", json={"inputs": TEXTS[:1]}).json() == [scored(classifier, TEXTS[0])]


@pytest.mark.parametrize(("top_k", "count"), [(None, 2), (1, 1), (2, 2), (99, 2)])
def test_top_k(server: ServerProcess, top_k: int | None, count: int) -> None:
    """`top_k` is the maximum number of labels per text."""
    body = {"inputs": TEXTS, "parameters": {"top_k": top_k}, "options": {"wait_for_model": True}}
    assert [len(labels) for labels in server.client.post("/", json=body).json()] == [count] * len(TEXTS)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'"text"', "object"),
        (b"{}", "inputs"),
        (b'{"inputs": null}', "inputs"),
        (b'{"inputs": 3}', "inputs"),
        (b'{"inputs": {"text": "a"}}', "inputs"),
        (b'{"inputs": []}', "at least one"),
        (b'{"inputs": ["a", 3]}', "inputs.1"),
        (b'{"inputs": [["a"]]}', "inputs.0"),
        (b'{"inputs": [' + b"1," * 400_000 + b"1]}", "inputs.0"),
        (b'{"inputs": "a", "parameters": []}', "parameters"),
        (b'{"inputs": "a", "parameters": {"top_k": 0}}', "parameters.top_k"),
        (b'{"inputs": "a", "parameters": {"top_k": "1"}}', "parameters.top_k"),
        (b'{"inputs": "a", "parameters": {"function_to_apply": "none"}}', "parameters.function_to_apply"),
        (b'{"inputs": "a", "parameters": {"function_to_apply": "tanh"}}', "parameters.function_to_apply"),
    ],
)
def test_bad_classifications(server: ServerProcess, body: bytes, names: str) -> None:
    """An invalid request gets a 400, and the message names the reason."""
    assert names in refusal(server.client.post("/", content=body), 400)


def test_root(server: ServerProcess) -> None:
    """POST at the root is Hugging Face's route, GET is the web page, and other methods are refused."""
    assert server.client.post("/", json={"inputs": "x"}).status_code == 200
    response = server.client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    for method in ("PUT", "DELETE", "TRACE"):
        response = server.client.request(method, "/")
        assert "POST" in refusal(response, 405)
        assert response.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: [text]])
def test_tei_one(server: ServerProcess, classifier: Classifier, wrap: Any) -> None:
    """One text, or a list of one text, is answered with a list of labels."""
    for text in TEXTS:
        assert server.client.post("/predict", json={"inputs": wrap(text)}).json() == scored(classifier, text)


def test_tei_batch(server: ServerProcess, classifier: Classifier) -> None:
    """A list of lists with one text each is a batch, even if it has one text."""
    for texts in (TEXTS, TEXTS[:1]):
        response = server.client.post("/predict", json={"inputs": [[text] for text in texts]})
        assert response.json() == [scored(classifier, text) for text in texts]


def test_tei_raw_scores(server: ServerProcess, classifier: Classifier) -> None:
    """Raw scores are logits: their sigmoid is the probability."""
    raw = server.client.post("/predict", json={"inputs": TEXTS[0], "raw_scores": True}).json()
    squashed = [{"label": each["label"], "score": 1 / (1 + math.exp(-each["score"]))} for each in raw]
    assert squashed == scored(classifier, TEXTS[0])


@pytest.mark.parametrize(
    "options",
    [
        {"truncate": True},
        {"truncate": False},
        {"raw_scores": False},
        {"truncation_direction": "left"},
        {"truncation_direction": "Left", "truncate": None},
        {"other": 1},
    ],
)
def test_tei_options(server: ServerProcess, classifier: Classifier, options: dict[str, Any]) -> None:
    """Options that request the default behaviour have no effect."""
    response = server.client.post("/predict", json={"inputs": TEXTS[0], **options})
    assert response.json() == scored(classifier, TEXTS[0])


def test_tei_truncation(server: ServerProcess) -> None:
    """A long text keeps its last words, and with `truncate: false` it is refused."""
    long, end = "dull " * 500 + "great " * 399, "great " * 399
    answer = server.client.post("/predict", json={"inputs": long, "truncate": True}).json()
    assert answer[0]["label"] == "positive"
    assert server.client.post("/predict", json={"inputs": end, "truncate": False}).status_code == 200
    message = refusal(server.client.post("/predict", json={"inputs": long, "truncate": False}), 400)
    assert "900 tokens" in message and "400" in message


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"{", "not valid JSON"),
        (b"{}", "inputs"),
        (b'{"inputs": 1}', "inputs"),
        (b'{"inputs": null}', "inputs"),
        (b'{"inputs": []}', "at least one"),
        (b'{"inputs": ["a", "b"]}', "pair"),
        (b'{"inputs": ["a", ["b"]]}', "inputs.1"),
        (b'{"inputs": [["a"], "b"]}', "inputs.1"),
        (b'{"inputs": [["a"], ["b", "c"]]}', "inputs.1"),
        (b'{"inputs": [["a"], []]}', "inputs.1"),
        (b'{"inputs": [[1]]}', "inputs.0"),
        (b'{"inputs": "a", "raw_scores": "no"}', "raw_scores"),
        (b'{"inputs": "a", "truncation_direction": "right"}', "truncation_direction"),
        (b'{"inputs": "a", "truncation_direction": 1}', "truncation_direction"),
        (b'{"inputs": "a", "truncate": 1}', "truncate"),
    ],
)
def test_bad_tei_requests(server: ServerProcess, body: bytes, names: str) -> None:
    """An invalid request, such as a pair of texts, gets a 400, and the message names the reason."""
    assert names in refusal(server.client.post("/predict", content=body), 400)


@pytest.mark.parametrize("path", ["/", "/predict"])
def test_too_large(server: ServerProcess, path: str) -> None:
    """Texts and bodies over the limits get a 413."""
    many = ["a"] * 1025 if path == "/" else [["a"]] * 1025
    for inputs in (many, "a" * 1_000_001, "a" * 8_388_608):
        assert "limit" in refusal(server.client.post(path, json={"inputs": inputs}), 413)


def test_tei_headers(server: ServerProcess, classifier: Classifier) -> None:
    """The headers state the device, the number of tokens and the time in whole milliseconds."""
    headers = server.client.post("/predict", json={"inputs": [[text] for text in TEXTS]}).headers
    assert headers["x-compute-type"] == "cpu"
    assert headers["x-compute-characters"] == str(sum(map(len, TEXTS)))
    assert headers["x-compute-tokens"] == str(sum(each.tokens for each in classifier.predict(TEXTS)))
    assert headers["x-total-time"].isdigit()


def test_info(server: ServerProcess) -> None:
    """`/info` states the model, its labels and the limits."""
    document = server.client.get("/info").json()
    labels = {"id2label": {"0": "negative", "1": "positive"}, "label2id": {"negative": 0, "positive": 1}}
    assert document["model_id"] == "imdb-cnn" and document["model_type"] == {"classifier": labels}
    assert (document["max_input_length"], document["max_client_batch_size"]) == (400, 1024)
    assert document["auto_truncate"] is True
    assert document["version"] == server.client.get("/openapi.json").json()["info"]["version"]


def test_health(server: ServerProcess) -> None:
    """`/health` returns 200 without a body."""
    response = server.client.get("/health")
    assert (response.status_code, response.content) == (200, b"")


def test_wrong_methods(server: ServerProcess) -> None:
    """A wrong method gets a 405 in the protocol's form that names the right one."""
    both = "GET, HEAD"
    for path, method, right in (("/health", "POST", both), ("/info", "POST", both), ("/predict", "GET", "POST")):
        response = server.client.request(method, path)
        assert right in refusal(response, 405)
        assert response.headers["allow"] == right


def test_compressed(server: ServerProcess) -> None:
    """An unsupported encoding gets a 415 in the protocol's form."""
    response = server.client.post("/predict", content=b"x", headers={"content-encoding": "br"})
    assert "'br'" in refusal(response, 415)
