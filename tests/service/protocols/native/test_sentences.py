"""`sentences` of `/v1/predict`, `/v1/explain` and `sentiment.v1.Sentiment`: answers, limits and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sentiment_conv1d.protos.sentiment_pb2 import ExplainRequest, Prediction, PredictRequest
from sentiment_conv1d.service.protocols.native.rest.explanations import ExplainResponse
from sentiment_conv1d.service.protocols.native.rest.predictions import PredictResponse
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import ServerProcess, eventually
from tests.service import artifacts
from tests.service.grpc.channels import connect, refused
from tests.service.telemetry.test_metrics import metric

TEXT = "Éclair: a gripping film \U0001f600, e.g. the end. Two dull hours that I will never get back!  So bad.\n"
SENTENCES = [
    "Éclair: a gripping film \U0001f600, e.g. the end.",
    "Two dull hours that I will never get back!",
    "So bad.",
]
ROUTES = ("/v1/predict", "/v1/explain")


@pytest.fixture(scope="module")
def small() -> Iterator[ServerProcess]:
    """Serve with at most four texts per request."""
    with ServerProcess("--workers", "1", "--max-batch-texts", "4") as process:
        yield process


def ask(server: ServerProcess, path: str, **body: Any) -> dict[str, Any]:
    response = server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def texts_counted(server: ServerProcess) -> float:
    return metric(server, "sentiment_texts_total", model="imdb-cnn")


@pytest.mark.parametrize("version", [{}, {"model": "imdb-cnn"}, {"model": "imdb-cnn-8bit"}])
def test_answer(server: ServerProcess, version: dict[str, str]) -> None:
    """Each sentence has its own answer, and its share is the sum of the shares of its words."""
    whole = ask(server, "/v1/explain", text=TEXT, **version)
    explained = ask(server, "/v1/explain", text=TEXT, sentences=True, **version)
    sentences = explained["sentences"]
    decided_by = explained["decided_by"]
    assert {**whole, "sentences": sentences, "decided_by": decided_by} == explained
    assert [each["text"] for each in sentences] == SENTENCES
    own = ask(server, "/v1/predict_batch", texts=SENTENCES, **version)["predictions"]
    for each, prediction in zip(sentences, own, strict=True):
        start, end = each["start"], each["end"]
        assert TEXT[start:end] == each["text"]
        share = sum(word["share"] for word in whole["words"] if start <= word["start"] < end)
        assert each == {
            **prediction,
            "text": TEXT[start:end],
            "start": start,
            "end": end,
            "share": pytest.approx(share),
        }
    predicted = ask(server, "/v1/predict", text=TEXT, sentences=True, **version)
    assert predicted == {
        **whole["prediction"],
        **{name: explained[name] for name in ("logit", "bias", "padding", "sentences", "decided_by")},
    }
    parts = [predicted["bias"], predicted["padding"], *(each["share"] for each in predicted["sentences"])]
    assert sum(parts) == pytest.approx(predicted["logit"], abs=1e-4)
    PredictResponse.model_validate_json(json.dumps(predicted), strict=True, extra="forbid")
    ExplainResponse.model_validate_json(json.dumps(explained), strict=True, extra="forbid")


def test_deciding_sentence(server: ServerProcess) -> None:
    """The sentence that decided adds most to the label, or takes most from the other label of a sigmoid."""
    text = "A wonderful, gripping, beautifully acted film. Awful, boring, dull and the worst. It is a film."
    for label, index in (("positive", 0), ("negative", 1)):
        assert ask(server, "/v1/explain", text=text, label=label, sentences=True)["decided_by"] == index
    for threshold, index in ((1e-9, 0), (1 - 1e-9, 1)):
        answer = ask(server, "/v1/predict", text=text, threshold=threshold, sentences=True, model="imdb-cnn")
        assert answer["decided_by"] == index


@pytest.mark.parametrize("label", artifacts.LABELS)
def test_several_labels(several: ServerProcess, label: str) -> None:
    """The shares of a softmax are those of the explained label, and a sentence without a share decides nothing."""
    answer = ask(several, "/v1/explain", text="Praise! Question? Complaint.", label=label, sentences=True)
    shares = [each["share"] for each in answer["sentences"]]
    assert answer["bias"] + answer["padding"] + sum(shares) == pytest.approx(answer["logit"], abs=1e-4)
    assert answer["decided_by"] == (shares.index(max(shares)) if max(shares) > 0 else None)


def test_options(server: ServerProcess) -> None:
    """The threshold, the number of labels and the logits of a request apply to the sentences too."""
    options = {"threshold": 0.999, "top_k": 1, "logits": True, "model": "imdb-cnn"}
    answer = ask(server, "/v1/predict", text=TEXT, sentences=True, **options)
    own = ask(server, "/v1/predict_batch", texts=SENTENCES, **options)["predictions"]
    for each, prediction in zip(answer["sentences"], own, strict=True):
        assert {name: each[name] for name in prediction} == prediction


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("text", ["", " \n "])
def test_no_sentence(server: ServerProcess, path: str, text: str) -> None:
    """A text without a sentence has an answer, an empty list, and no sentence that decided."""
    answer = ask(server, path, text=text, sentences=True)
    assert (answer["sentences"], answer["decided_by"]) == ([], None)


@pytest.mark.parametrize("path", ROUTES)
def test_not_asked_for(server: ServerProcess, path: str) -> None:
    """Without sentences, the answer is the same bytes as before."""
    bodies = ({"text": TEXT}, {"text": TEXT, "sentences": False})
    first, second = (server.client.post(path, json=body).content for body in bodies)
    assert first == second and b"sentences" not in first


@pytest.mark.parametrize("path", ROUTES)
def test_too_many(small: ServerProcess, path: str) -> None:
    """The text and its sentences count against the limit of texts, and nothing is computed beyond it."""
    before = texts_counted(small)
    ask(small, path, text="One. Two. Three.", sentences=True)
    eventually(lambda: texts_counted(small) == before + 4)
    for text in ("One. Two. Three. Four.", "a. " * 300_000):
        response = small.client.post(path, json={"text": text, "sentences": True})
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
        assert response.json()["error"]["message"] == (
            "sentences: the text and its sentences are more than 4 texts, the limit of a request"
        )
    assert texts_counted(small) == before + 4


@pytest.mark.parametrize("path", ROUTES)
def test_long_text(server: ServerProcess, path: str) -> None:
    """A text of a million characters is split, and sentences that the model did not read have no share."""
    answer = ask(server, path, text=f"{'good ' * 99_000}. {'bad ' * 99_000}. Fine.", sentences=True)
    assert [each["tokens"] for each in answer["sentences"]] == [99_001, 99_001, 2]
    assert answer["sentences"][0]["share"] == 0 != answer["sentences"][1]["share"]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"text": "x", "sentences": 1}, 422, "sentences: Input should be a valid boolean"),
        ({"text": "x" * 1_000_001, "sentences": True}, 413, "text 0: 1000001 characters; the limit is 1000000"),
    ],
)
def test_refusals(server: ServerProcess, path: str, body: dict[str, Any], status: int, message: str) -> None:
    """A wrong request is refused with a reason."""
    response = server.client.post(path, json=body)
    assert (response.status_code, response.json()["error"]["message"]) == (status, message)


def test_no_exact_explanation(tmp_path: Path) -> None:
    """A model outside the family has no shares, so it refuses the sentences, and answers the text."""
    artifacts.publish_table(tmp_path)
    with ServerProcess("--workers", "1", repository=tmp_path) as server, connect(server) as channel:
        for path in ROUTES:
            response = server.client.post(path, json={"text": "Praise. Praise.", "sentences": True})
            assert (response.status_code, response.json()["error"]["code"]) == (422, "not_explainable")
        stub = SentimentStub(channel)
        refusal = refused(lambda: stub.Predict(PredictRequest(text="Praise.", sentences=True)))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert stub.Predict(PredictRequest(text="Praise.")).label == "thanks"


def fields(sentences: Any) -> list[dict[str, Any]]:
    return [
        {"text": each.text, "start": each.start, "end": each.end, "share": each.share, "label": each.prediction.label}
        for each in sentences
    ]


def test_grpc(server: ServerProcess, stub: SentimentStub) -> None:
    """The messages have the same sentences as the answers of REST, in calls and in streams."""
    expected = ask(server, "/v1/explain", text=TEXT, sentences=True)
    right = [
        {**{name: each[name] for name in ("text", "start", "end", "label")}, "share": pytest.approx(each["share"])}
        for each in expected["sentences"]
    ]
    request = PredictRequest(text=TEXT, sentences=True)
    plain = PredictRequest(text=TEXT)
    streamed = list(stub.PredictStream(iter([request, plain, request])))
    for answer in (stub.Predict(request), streamed[0], streamed[2]):
        assert fields(answer.sentences) == right
        assert answer.decided_by == expected["decided_by"]
        for name in ("logit", "bias", "padding"):
            assert getattr(answer, name) == pytest.approx(expected[name])
        answer.ClearField("sentences")
        assert answer.label == streamed[1].label and answer.probabilities == streamed[1].probabilities
    explanation = stub.Explain(ExplainRequest(text=TEXT, sentences=True))
    assert fields(explanation.sentences) == right and explanation.decided_by == expected["decided_by"]
    for without in (stub.Predict(plain), stub.Explain(ExplainRequest(text=TEXT))):
        assert not without.sentences and not without.HasField("decided_by")
    nothing: Prediction = stub.Predict(PredictRequest(text="", sentences=True))
    assert nothing.label and not nothing.sentences and not nothing.HasField("decided_by")


def test_too_many_in_a_message(small: ServerProcess) -> None:
    """A message is refused like a request of REST."""
    with connect(small) as channel:
        stub = SentimentStub(channel)
        assert len(stub.Predict(PredictRequest(text="One. Two. Three.", sentences=True)).sentences) == 3
        refusal = refused(lambda: stub.Predict(PredictRequest(text="One. Two. Three. Four.", sentences=True)))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT and "more than 4 texts" in refusal.message
