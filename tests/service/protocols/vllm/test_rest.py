"""The classification API of vLLM and SGLang."""

from __future__ import annotations

import math
from typing import Any

import pytest
import requests

from sentiment_conv1d.inference.classifier import Classifier
from tests.processes import PATIENCE, ServerProcess

TEXTS = ["A gripping, beautifully acted film.", "Two dull hours that I will never get back.", ""]


def ask(server: ServerProcess, path: str = "/classify", **body: Any) -> requests.Response:
    """Send a request like the examples of vLLM and SGLang."""
    return requests.post(f"{server.url}{path}", json=body, timeout=PATIENCE)


@pytest.mark.parametrize("path", ["/classify", "/v1/classify"])
@pytest.mark.parametrize("given", [TEXTS, TEXTS[:1], TEXTS[0]], ids=["several", "list of one", "text"])
def test_classify(server: ServerProcess, classifier: Classifier, path: str, given: str | list[str]) -> None:
    """Every text gets its label and the probabilities of all labels, and the tokens of all texts are counted."""
    texts = given if isinstance(given, list) else [given]
    predictions = classifier.predict(texts)
    response = ask(server, path, model="imdb-cnn", input=given)
    assert response.headers["x-model-version"] == "1"
    document = response.json()
    assert document["data"] == [
        {
            "index": index,
            "label": each.label,
            "probs": [pytest.approx(value, abs=1e-6) for value in each.probabilities],
            "num_classes": 2,
        }
        for index, each in enumerate(predictions)
    ]
    tokens = sum(each.tokens for each in predictions)
    assert document["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
    assert (document["object"], document["model"]) == ("list", "imdb-cnn")
    assert document["id"] == f"classify-{response.headers['x-request-id']}"


def test_default_model_and_unknown_options(server: ServerProcess) -> None:
    """The default model answers a body without a model, and options that this service does not have are ignored."""
    assert ask(server, input="great", add_special_tokens=True, priority=3).json()["model"] == "imdb-cnn"


def test_without_activation(server: ServerProcess) -> None:
    """Without the activation, `probs` are logits."""
    [plain] = ask(server, input=TEXTS[0], use_activation=True).json()["data"]
    [raw] = ask(server, input=TEXTS[0], use_activation=False).json()["data"]
    assert [1 / (1 + math.exp(-value)) for value in raw["probs"]] == pytest.approx(plain["probs"], abs=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "kind", "names"),
    [
        ({}, 400, "BadRequestError", "input"),
        ({"input": []}, 400, "BadRequestError", "at least one"),
        ({"input": None}, 400, "BadRequestError", "input: a text is needed"),
        ({"input": ["a", None]}, 400, "BadRequestError", "input.1: a text is needed"),
        ({"input": [1, 2, 3]}, 400, "BadRequestError", "ids of another tokenizer"),
        ({"input": "a", "use_activation": "no"}, 400, "BadRequestError", "use_activation"),
        ({"input": "a", "model": "other"}, 404, "NotFoundError", "other"),
    ],
)
def test_errors(server: ServerProcess, body: dict[str, Any], status: int, kind: str, names: str) -> None:
    """An error has vLLM's form, and its message names the fault."""
    response = ask(server, **body)
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["code"], error["type"], error["param"]) == (status, kind, None)
    assert names in error["message"]
