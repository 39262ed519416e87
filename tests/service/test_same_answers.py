"""A text gets the same answer over every protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from huggingface_hub import InferenceClient

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, Prediction, PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import ServerProcess
from tests.service.grpc.channels import connect
from tests.service.reviews import reviews


class Answer(NamedTuple):
    """The parts of an answer that every protocol has."""

    label: str
    positive: float


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return many texts of different lengths."""
    return reviews(500, seed=1)


@pytest.fixture(scope="module")
def expected(classifier: Classifier, texts: list[str]) -> list[Answer]:
    """Return the predictions of the model in this process, one text at a time."""
    predictions = [classifier.predict([text])[0] for text in texts]
    assert sum(each.truncated for each in predictions) > 10
    assert sum(each.unknown_tokens or 0 for each in predictions) > 500
    assert 50 < sum(each.label == "positive" for each in predictions) < 450
    return [Answer(each.label, float(each.probabilities[1])) for each in predictions]


def scored(labels: list[dict[str, Any]]) -> Answer:
    return Answer(labels[0]["label"], next(each["score"] for each in labels if each["label"] == "positive"))


def native(document: dict[str, Any]) -> Answer:
    return Answer(document["label"], document["probabilities"]["positive"])


def typed(prediction: Prediction) -> Answer:
    return Answer(prediction.label, prediction.probabilities[1].probability)


def post(server: ServerProcess, path: str, body: Any) -> Any:
    response = server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def predict(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    for text in texts:
        yield native(post(server, "/v1/predict", {"text": text}))


def predict_batch(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    yield from map(native, post(server, "/v1/predict_batch", {"texts": texts})["predictions"])


def huggingface_client(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    client = InferenceClient(server.url)
    for text in texts:
        yield scored([{"label": each.label, "score": each.score} for each in client.text_classification(text)])


def huggingface_list(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    yield from map(scored, post(server, "/", {"inputs": texts}))


def tei(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    for text in texts:
        yield scored(post(server, "/predict", {"inputs": text}))


def tei_batch(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    yield from map(scored, post(server, "/predict", {"inputs": [[text] for text in texts]}))


def tfserving_rows(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    for row in post(server, "/v1/models/imdb-cnn:predict", {"instances": texts})["predictions"]:
        yield Answer(row["label"], row["probabilities"][1])


def tfserving_columns(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    outputs = post(server, "/v1/models/imdb-cnn:predict", {"inputs": {"text": texts}})["outputs"]
    for label, probabilities in zip(outputs["label"], outputs["probabilities"], strict=True):
        yield Answer(label, probabilities[1])


def sagemaker(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    for text in texts:
        headers = {"content-type": "text/plain"}
        yield scored(server.client.post("/invocations", content=text.encode(), headers=headers).json())


def sagemaker_inputs(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    yield from map(scored, post(server, "/invocations", {"inputs": texts}))


def open_inference(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts), 1], "data": texts}
    answer = post(server, "/v2/models/imdb-cnn/infer", {"inputs": [tensor]})
    data = {output["name"]: output["data"] for output in answer["outputs"]}
    yield from map(Answer, data["label"], data["probabilities"][1::2])


def grpc_predict(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    with connect(server) as channel:
        for text in texts:
            yield typed(SentimentStub(channel).Predict(PredictRequest(text=text)))


def grpc_batch(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    with connect(server) as channel:
        yield from map(typed, SentimentStub(channel).PredictBatch(PredictBatchRequest(texts=texts)).predictions)


def grpc_stream(server: ServerProcess, texts: list[str]) -> Iterator[Answer]:
    with connect(server) as channel:
        yield from map(typed, SentimentStub(channel).PredictStream(PredictRequest(text=text) for text in texts))


@pytest.mark.parametrize(
    "ask",
    [
        predict,
        predict_batch,
        huggingface_client,
        huggingface_list,
        tei,
        tei_batch,
        tfserving_rows,
        tfserving_columns,
        sagemaker,
        sagemaker_inputs,
        open_inference,
        grpc_predict,
        grpc_batch,
        grpc_stream,
    ],
)
def test_same_answers(
    server: ServerProcess,
    texts: list[str],
    expected: list[Answer],
    ask: Callable[[ServerProcess, list[str]], Iterator[Answer]],
) -> None:
    """Every text gets the model's label and probability, alone and in batches."""
    answers = list(ask(server, texts))
    assert [each.label for each in answers] == [each.label for each in expected]
    for given, right in zip(answers, expected, strict=True):
        assert given.positive == pytest.approx(right.positive, abs=1e-6)
