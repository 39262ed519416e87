"""`/v1/explain` and `/v1/inspect`: explanations in JSON, and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.protocols.native.rest import explanations
from tests.processes import ServerProcess
from tests.service import artifacts

TEXT = "Éclair: a gripping, beautifully acted \U0001f600 film?"


def ask(server: ServerProcess, path: str, **body: Any) -> dict[str, Any]:
    response = server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_answer(server: ServerProcess, classifier: Classifier) -> None:
    """The answer has the prediction of `/v1/predict` and the fields of the explanation, which add up."""
    answer = ask(server, "/v1/explain", text=TEXT)
    assert answer["prediction"] == ask(server, "/v1/predict", text=TEXT)
    assert answer["label"] == answer["prediction"]["label"] == "positive"
    assert answer["bias"] + answer["padding"] + sum(word["share"] for word in answer["words"]) == pytest.approx(
        answer["logit"], abs=1e-4
    )
    [encoding] = classifier.encode((TEXT,))
    expected = classifier.explainer.explain(TEXT, encoding, "positive")
    assert len(answer["words"]) == len(expected.words) and len(answer["filters"]) == 10
    for word, right in zip(answer["words"], expected.words, strict=True):
        assert word == {
            **{name: getattr(right, name) for name in ("text", "start", "end", "id", "known")},
            "share": pytest.approx(right.share, abs=1e-6),
        }
        assert TEXT[word["start"] : word["end"]] == word["text"]
    assert "contrast" not in answer
    explanations.ExplanationBody.model_validate_json(json.dumps(answer), strict=True, extra="forbid")


@pytest.mark.parametrize("label", [None, "neutral"])
def test_contrast(opinions: ServerProcess, label: str | None) -> None:
    """A model with the labels negative, neutral and positive also explains positive against negative."""
    answer = ask(opinions, "/v1/explain", text="praise, praise & question", label=label)
    explanations.ExplanationBody.model_validate_json(json.dumps(answer), strict=True, extra="forbid")
    contrast, probabilities = answer["contrast"], answer["prediction"]["probabilities"]
    assert len(contrast["shares"]) == len(answer["words"]) == 3
    assert contrast["bias"] + contrast["padding"] + sum(contrast["shares"]) == pytest.approx(
        contrast["log_odds"], abs=1e-4
    )
    assert contrast["log_odds"] == pytest.approx(
        np.log(probabilities["positive"] / probabilities["negative"]), abs=1e-4
    )
    assert ask(opinions, "/v1/inspect", text="praise, praise & question", label=label)["explanation"] == answer


def test_label_of_a_sigmoid(server: ServerProcess) -> None:
    """A sigmoid model has one logit, of the second label, for both labels."""
    negative, positive = (ask(server, "/v1/explain", text=TEXT, label=each) for each in ("negative", "positive"))
    assert negative.pop("label") == "negative" and positive.pop("label") == "positive"
    assert negative == positive


def test_number_of_filters(server: ServerProcess) -> None:
    """The number of filters is the requested one, and the strongest come first."""
    answers = [ask(server, "/v1/explain", text=TEXT, filters=count)["filters"] for count in (0, 3, 10_000)]
    assert [len(each) for each in answers[:2]] == [0, 3]
    assert answers[2][:3] == answers[1] and len(answers[2]) <= 250


@pytest.mark.parametrize("label", [None, *artifacts.LABELS])
def test_several_labels(several: ServerProcess, label: str | None) -> None:
    """Every label of a softmax has a logit and shares."""
    answer = ask(several, "/v1/explain", text="praise, praise & question", label=label)
    assert answer["label"] == (label or answer["prediction"]["label"])
    total = answer["bias"] + answer["padding"] + sum(word["share"] for word in answer["words"])
    assert total == pytest.approx(answer["logit"], abs=1e-4)
    inspection = ask(several, "/v1/inspect", text="praise, praise & question", label=label)
    assert inspection["explanation"] == answer
    assert [bank["width"] for bank in inspection["banks"]] == [2, 3, 4]
    assert inspection["final"] == "Softmax" and len(inspection["layers"][-1]["values"]) == 3
    logits = np.array(inspection["layers"][-1]["values"])
    probabilities = np.exp(logits) / np.exp(logits).sum()
    assert list(answer["prediction"]["probabilities"].values()) == pytest.approx(probabilities, abs=1e-5)


def test_inspection(server: ServerProcess) -> None:
    """Arrays have the shapes of the model, and the feature map is present only on request."""
    answer = ask(server, "/v1/inspect", text=TEXT, filter={"width": 3, "index": 5}, feature_map=True)
    explanations.InspectionBody.model_validate_json(json.dumps(answer), strict=True, extra="forbid")
    assert np.array(answer["embedding"]).shape == (400, 50)
    assert np.array(answer["filter"]["kernel"]).shape == (3, 50)
    feature_map = np.array(answer["banks"][0]["feature_map"])
    assert feature_map.shape == (398, 250)
    assert feature_map[:, 5].tolist() == answer["filter"]["curve"]
    assert feature_map.argmax(axis=0).tolist() == answer["banks"][0]["positions"]
    assert ask(server, "/v1/inspect", text=TEXT)["banks"][0]["feature_map"] is None


@pytest.mark.parametrize("path", ["/v1/explain", "/v1/inspect"])
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"text": "x", "label": "other"}, 422, "label: there is no 'other'; the labels are negative, positive"),
        ({"txt": "x"}, 422, "text: Field required"),
        ({"text": "x", "more": 1}, 422, "more: unknown field"),
        ({"text": "x" * 1_000_001}, 413, "text 0: 1000001 characters; the limit is 1000000"),
    ],
)
def test_refusals(server: ServerProcess, path: str, body: dict[str, Any], status: int, message: str) -> None:
    """A text that cannot be explained is refused with a reason."""
    response = server.client.post(path, json=body)
    assert (response.status_code, response.json()["error"]["message"]) == (status, message)


def test_unknown_filter(server: ServerProcess) -> None:
    """An unknown filter is refused, and the message lists the filters."""
    response = server.client.post("/v1/inspect", json={"text": "x", "filter": {"width": 3, "index": 250}})
    assert response.status_code == 422
    assert response.json()["error"]["message"].endswith("there are 250 of width 3")


def test_long_text(server: ServerProcess) -> None:
    """The explanation of a text of a million characters contains its last words."""
    answer = ask(server, "/v1/explain", text="great " * 166_000)
    assert answer["prediction"]["truncated"] and len(answer["words"]) == 400
    assert answer["words"][-1]["end"] == 6 * 166_000 - 1


def test_inspection_that_never_fits() -> None:
    """An inspection that may exceed the memory of a worker alone is refused for good."""
    with ServerProcess("--workers", "1", "--max-body-bytes", "10000", "--max-buffered-bytes", "1000000") as server:
        response = server.client.post("/v1/inspect", json={"text": "good", "feature_map": True})
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
        assert "requests can hold 1000000" in response.json()["error"]["message"]
        assert server.client.post("/v1/inspect", json={"text": "good"}).status_code == 200


def test_no_exact_explanation(tmp_path: Path) -> None:
    """A model outside the family predicts and says that it has no exact explanation."""
    artifacts.publish_table(tmp_path)
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        assert server.client.post("/v1/predict", json={"text": "praise"}).status_code == 200
        for path in ("/v1/explain", "/v1/inspect"):
            response = server.client.post(path, json={"text": "praise"})
            assert response.status_code == 422
            error = response.json()["error"]
            assert error["code"] == "not_explainable"
            assert error["message"].startswith("there is no exact explanation for model 'tickets'")
