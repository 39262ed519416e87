"""Padding, special ids and truncation of other Keras models are right in every protocol and on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.preprocessing.text import text_to_word_sequence

from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.protos.sentiment_pb2 import ExplainRequest, PredictBatchRequest, PredictRequest
from sentiment_conv1d.stubs import SentimentStub
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


class Vectorization:
    """A `TextVectorization` layer in the model: padding after the text, its first ids, no start id."""

    tokenizer: ClassVar = {
        "padding_id": 0,
        "start_id": None,
        "unknown_id": 1,
        "padding_side": "right",
        "truncation_side": "right",
        "counts_unknown": True,
    }

    def __init__(self) -> None:
        self._layer = keras.layers.TextVectorization(output_sequence_length=TIME, vocabulary=WORDS)

    def ids(self, texts: Sequence[str]) -> Any:
        return self._layer(tf.constant(texts)).numpy()

    def save(self, model: keras.Model, folder: Path) -> list[str]:
        text = keras.Input((1,), dtype="string")
        keras.Model(text, model(self._layer(text))).save(folder / "model.keras")
        return []


class WordList:
    """A list of words: padding after the text, its last ids, a start id, and unknown words dropped."""

    tokenizer: ClassVar = {
        "padding_id": 3,
        "start_id": 2,
        "unknown_id": None,
        "padding_side": "right",
        "truncation_side": "left",
        "counts_unknown": True,
    }

    def ids(self, texts: Sequence[str]) -> Any:
        known = {word: number for number, word in enumerate(WORDS, start=4)}
        rows = [[2, *(known[word] for word in text_to_word_sequence(text) if word in known)] for text in texts]
        return keras.utils.pad_sequences(rows, TIME, padding="post", truncating="pre", value=3)

    def save(self, model: keras.Model, folder: Path) -> list[str]:
        model.save(folder / "model.keras")
        (folder / "words.txt").write_text("\n".join(WORDS))
        ids = ["--first-id", "4", "--pad-id", "3", "--start-id", "2", "--unknown-id", "none"]
        return ["--vocabulary", str(folder / "words.txt"), *ids, "--padding-side", "right"]


@pytest.fixture(scope="module", params=[Vectorization, WordList], ids=["TextVectorization", "list of words"])
def vocabulary(request: pytest.FixtureRequest) -> Any:
    """Turns texts into ids."""
    return request.param()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Build a model whose answers depend on every id."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((TIME,), dtype="int32"),
            keras.layers.Embedding(20, 4, embeddings_initializer=keras.initializers.RandomUniform(-1, 1)),
            keras.layers.Conv1D(6, 3, activation="relu"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


@pytest.fixture(scope="module")
def expected(model: keras.Model, vocabulary: Any) -> Any:
    """Return the answers of Keras."""
    return model.predict(vocabulary.ids(TEXTS), verbose=0)[:, 0]


@pytest.fixture(scope="module")
def own(model: keras.Model, vocabulary: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve that model."""
    folder: Path = tmp_path_factory.mktemp("own")
    repository = folder / "repository"
    arguments = ["--labels", "no,yes", "--name", "own", "--repository", str(repository), "--unverified"]
    assert main([str(folder / "model.keras"), *vocabulary.save(model, folder), *arguments]) == 0
    with ServerProcess("--workers", "1", "--default-model", "own", repository=repository) as process:
        yield process


def post(server: ServerProcess, path: str, body: Any) -> Any:
    response = server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_same_answers_as_keras(own: ServerProcess, expected: Any) -> None:
    """One text, several texts, and a tensor of texts get the answers of Keras."""
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


def test_truncation_direction(own: ServerProcess, vocabulary: Any) -> None:
    """A client of text-embeddings-inference can name the side at which the model truncates, and not the other one."""
    for side in ("left", "Right"):
        answer = own.client.post("/predict", json={"inputs": "good", "truncation_direction": side})
        assert answer.status_code == (200 if side.lower() == vocabulary.tokenizer["truncation_side"] else 400)


@pytest.mark.parametrize("padded", [True, False])
def test_ids_of_the_caller(padded: bool, own: ServerProcess, vocabulary: Any, expected: Any) -> None:
    """Ids over the Open Inference Protocol get the answers of Keras, with and without padding."""
    for row, right in zip(vocabulary.ids(TEXTS).tolist(), expected, strict=True):
        ids = row if padded else unpadded(row, vocabulary)
        tensor = {"name": "tokens", "datatype": "INT32", "shape": [1, len(ids)], "data": ids}
        outputs = post(own, "/v2/models/own/infer", {"inputs": [tensor]})["outputs"]
        [probabilities] = [each["data"] for each in outputs if each["name"] == "probabilities"]
        assert probabilities[1] == pytest.approx(right, abs=1e-5)


def unpadded(row: list[int], vocabulary: Any) -> list[int]:
    padding_id = vocabulary.tokenizer["padding_id"]
    return [number for number in row if number != padding_id] or [padding_id]


@pytest.mark.parametrize("text", TEXTS)
def test_explanations_add_up(text: str, own: ServerProcess, vocabulary: Any, expected: Any) -> None:
    """The shares add up to the logit of Keras, and every word has the right offsets."""
    answer = post(own, "/v1/explain", {"text": text})
    right = expected[TEXTS.index(text)]
    assert answer["logit"] == pytest.approx(np.log(right / (1 - right)), abs=1e-4)
    total = answer["bias"] + answer["padding"] + sum(word["share"] for word in answer["words"])
    assert total == pytest.approx(answer["logit"], abs=1e-4)
    special = {vocabulary.tokenizer["padding_id"], vocabulary.tokenizer["start_id"]}
    read = [number for number in vocabulary.ids([text])[0].tolist() if number not in special]
    assert [word["id"] for word in answer["words"]] == read
    for word in answer["words"]:
        assert text[word["start"] : word["end"]] == word["text"]
        assert word["id"] in vocabulary.ids([word["text"]])[0]
        assert word["known"] == (word["id"] != vocabulary.tokenizer["unknown_id"])
    with connect(own) as channel:
        assert SentimentStub(channel).Explain(ExplainRequest(text=text)).logit == pytest.approx(
            answer["logit"], abs=1e-5
        )


@pytest.mark.parametrize("text", TEXTS)
def test_the_page_reads_the_same_ids(text: str, own: ServerProcess, vocabulary: Any) -> None:
    """`/v1/inspect` and `/v1/models` have the ids, the padding and the sides of the artifact."""
    shown = post(own, "/v1/inspect", {"text": text})
    row = vocabulary.ids([text])[0].tolist()
    assert shown["ids"] == row
    words = shown["explanation"]["words"]
    first = shown["first_word"]
    assert shown["ids"][first : first + len(words)] == [word["id"] for word in words]
    assert own.client.get("/v1/models/own").json()["tokenizer"] == vocabulary.tokenizer
    prediction = shown["explanation"]["prediction"]
    assert prediction["truncated"] == (prediction["tokens"] > TIME)
    assert min(prediction["tokens"], TIME) == len([each for each in row if each != vocabulary.tokenizer["padding_id"]])
