"""A model with padding behind the text, no start id and removed punctuation, served in every protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loadtest.stubs import SentimentStub
from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.service.grpc.protos.sentiment_pb2 import ExplainRequest, PredictBatchRequest, PredictRequest
from tests.processes import ServerProcess
from tests.service.grpc.channels import connect

WORDS = ["the", "film", "was", "a", "good", "bad", "dull", "fine", "story", "dont", "worth"]
TIME = 10
TEXTS = [
    "The film was GOOD!",
    "don't... a bad-dull film; worth\tevery\nminute",
    "fine " * 4 + "bad " * 5 + "story good",
    "unheard of",
    "good",
    "?!",
]


@pytest.fixture(scope="module")
def layer() -> Any:
    """The layer that makes ids of texts."""
    return keras.layers.TextVectorization(output_sequence_length=TIME, vocabulary=WORDS)


@pytest.fixture(scope="module")
def model(layer: Any) -> keras.Model:
    """A model of texts whose answers depend on every id."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            layer,
            keras.layers.Embedding(20, 4, embeddings_initializer=keras.initializers.RandomUniform(-1, 1)),
            keras.layers.Conv1D(6, 3, activation="relu"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


@pytest.fixture(scope="module")
def expected(model: keras.Model) -> Any:
    """Keras' answers."""
    return model.predict(tf.constant(TEXTS)[:, tf.newaxis], verbose=0)[:, 0]


@pytest.fixture(scope="module")
def own(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with that model."""
    folder: Path = tmp_path_factory.mktemp("own")
    model.save(folder / "model.keras")
    repository = folder / "repository"
    arguments = ["--labels", "no,yes", "--name", "own", "--repository", str(repository)]
    assert main([str(folder / "model.keras"), *arguments]) == 0
    with ServerProcess("--workers", "1", "--default-model", "own", repository=repository) as process:
        yield process


def post(server: ServerProcess, path: str, body: Any) -> Any:
    response = server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_rest_and_grpc_answer_as_keras_does(own: ServerProcess, expected: Any) -> None:
    """One text, several texts, and texts as a tensor."""
    alone = [post(own, "/v1/predict", {"text": text})["probabilities"]["yes"] for text in TEXTS]
    together = [
        each["probabilities"]["yes"] for each in post(own, "/v1/predict_batch", {"texts": TEXTS})["predictions"]
    ]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(TEXTS), 1], "data": TEXTS}
    outputs = post(own, "/v2/models/own/infer", {"inputs": [tensor]})["outputs"]
    inferred = next(each["data"] for each in outputs if each["name"] == "probabilities")[1::2]
    with connect(own) as channel:
        stub = SentimentStub(channel)
        typed = [stub.Predict(PredictRequest(text=text)).probabilities[1].probability for text in TEXTS]
        answer = stub.PredictBatch(PredictBatchRequest(texts=TEXTS))
        batch = [each.probabilities[1].probability for each in answer.predictions]
    for answers in (alone, together, inferred, typed, batch):
        np.testing.assert_allclose(answers, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("padded", [True, False])
def test_tokens_of_the_caller_answer_as_keras_does(padded: bool, own: ServerProcess, layer: Any, expected: Any) -> None:
    """Ids of the Open Inference Protocol, padded by the caller or not."""
    for row, right in zip(layer(tf.constant(TEXTS)).numpy().tolist(), expected, strict=True):
        ids = row if padded else [number for number in row if number] or [0]
        tensor = {"name": "tokens", "datatype": "INT32", "shape": [1, len(ids)], "data": ids}
        outputs = post(own, "/v2/models/own/infer", {"inputs": [tensor]})["outputs"]
        [probabilities] = [each["data"] for each in outputs if each["name"] == "probabilities"]
        assert probabilities[1] == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_explanations_add_up(text: str, own: ServerProcess, layer: Any, expected: Any) -> None:
    """The shares sum to the logit of Keras' answer, and every word is where it is said to be."""
    answer = post(own, "/v1/explain", {"text": text})
    right = expected[TEXTS.index(text)]
    assert answer["logit"] == pytest.approx(np.log(right / (1 - right)), abs=1e-4)
    total = answer["bias"] + answer["padding"] + sum(word["share"] for word in answer["words"])
    assert total == pytest.approx(answer["logit"], abs=1e-4)
    row = layer(tf.constant([text])).numpy()[0]
    assert [word["id"] for word in answer["words"]] == row[row > 0].tolist()
    for word in answer["words"]:
        assert text[word["start"] : word["end"]] == word["text"]
        assert layer(tf.constant(word["text"])).numpy()[0] == word["id"]
        assert word["known"] == (word["id"] != 1)
    with connect(own) as channel:
        assert SentimentStub(channel).Explain(ExplainRequest(text=text)).logit == pytest.approx(
            answer["logit"], abs=1e-5
        )


@pytest.mark.parametrize("text", TEXTS)
def test_the_page_reads_the_same_ids(text: str, own: ServerProcess, layer: Any) -> None:
    """`/v1/inspect`, which the page draws, has the padding behind the words."""
    shown = post(own, "/v1/inspect", {"text": text})
    assert shown["ids"] == layer(tf.constant([text])).numpy()[0].tolist()
    words = shown["explanation"]["words"]
    first = shown["first_word"]
    assert shown["ids"][first : first + len(words)] == [word["id"] for word in words]
