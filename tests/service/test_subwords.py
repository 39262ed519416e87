"""A model that reads subwords gets the answers of Keras in every protocol, and does not count unknown words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tokenizers

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.protos.sentiment_pb2 import ExplainRequest, PredictRequest
from sentiment_conv1d.scoring.batches import BatchScorer
from sentiment_conv1d.service.__main__ import main as service
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import ServerProcess
from tests.service.grpc.channels import connect
from tests.subwords import byte_level

TIME = 10
TEXTS = [
    "The film was GOOD!",
    "A lovely story. \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "unheard of <pad> things",
    "good " * 20,
    "\u597d\u770b",
    "",
]


@pytest.fixture(scope="module")
def library() -> tokenizers.Tokenizer:
    """Train byte-level BPE."""
    tokenizer = byte_level(TEXTS * 5, 300)
    tokenizer.enable_truncation(TIME)
    tokenizer.enable_padding(length=TIME, pad_token="<pad>")
    return tokenizer


@pytest.fixture(scope="module")
def model(library: tokenizers.Tokenizer) -> keras.Model:
    """Build a model whose answers depend on every id."""
    keras.utils.set_random_seed(3)
    spread = keras.initializers.RandomUniform(-1, 1)
    return keras.Sequential(
        [
            keras.Input((TIME,), dtype="int32"),
            keras.layers.Embedding(library.get_vocab_size(), 4, embeddings_initializer=spread),
            keras.layers.Conv1D(6, 3, activation="relu"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


@pytest.fixture(scope="module")
def artifact(library: tokenizers.Tokenizer, model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export that model."""
    folder: Path = tmp_path_factory.mktemp("own")
    model.save(folder / "model.keras")
    library.save(str(folder / "tokenizer.json"))
    arguments = ["--labels", "no,yes", "--name", "own", "--repository", str(folder / "repository")]
    arguments.append("--unverified")  # nothing but the tokenizer says how texts become ids
    assert main([str(folder / "model.keras"), "--vocabulary", str(folder / "tokenizer.json"), *arguments]) == 0
    return folder / "repository" / "own" / "1"


@pytest.fixture(scope="module")
def own(artifact: Path) -> Iterator[ServerProcess]:
    """Serve that model."""
    with ServerProcess("--workers", "1", "--default-model", "own", repository=artifact.parents[1]) as process:
        yield process


@pytest.fixture(scope="module")
def expected(library: tokenizers.Tokenizer, model: keras.Model) -> Any:
    """Return the answers of Keras."""
    return model.predict(np.array([each.ids for each in library.encode_batch(TEXTS)]), verbose=0)[:, 0]


def post(server: ServerProcess, path: str, body: Any) -> Any:
    response = server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_same_answers_as_keras(own: ServerProcess, library: tokenizers.Tokenizer, expected: Any) -> None:
    """Texts and ids get the answers of Keras. Unknown tokens are null in REST, and not set in gRPC."""
    together = post(own, "/v1/predict_batch", {"texts": TEXTS})["predictions"]
    with connect(own) as channel:
        typed = [SentimentStub(channel).Predict(PredictRequest(text=text)) for text in TEXTS]
    for text, right, answer, message in zip(TEXTS, expected, together, typed, strict=True):
        alone = post(own, "/v1/predict", {"text": text})
        assert alone == answer
        assert alone["probabilities"]["yes"] == pytest.approx(right, abs=1e-5)
        assert message.probabilities[1].probability == pytest.approx(right, abs=1e-5)
        assert (alone["unknown_tokens"], alone["confident"]) == (None, None)
        assert not message.HasField("unknown_tokens") and not message.HasField("confident")
        ids = library.encode(text).ids
        tensor = {"name": "tokens", "datatype": "INT32", "shape": [1, len(ids)], "data": ids}
        outputs = post(own, "/v2/models/own/infer", {"inputs": [tensor]})["outputs"]
        assert next(each["data"] for each in outputs if each["name"] == "probabilities")[1] == pytest.approx(
            right, abs=1e-5
        )


@pytest.mark.parametrize("text", [*TEXTS, "good. \U0001f600 bad!"])
def test_explanations_add_up(text: str, own: ServerProcess) -> None:
    """The shares of the tokens, and of the sentences, add up to the logit, and each has the right place."""
    answer = post(own, "/v1/explain", {"text": text, "sentences": True})
    total = answer["bias"] + answer["padding"] + sum(word["share"] for word in answer["words"])
    assert total == pytest.approx(answer["logit"], abs=1e-4)
    total = answer["bias"] + answer["padding"] + sum(each["share"] for each in answer["sentences"])
    assert total == pytest.approx(answer["logit"], abs=1e-4) or not answer["sentences"]
    for word in answer["words"]:
        assert text[word["start"] : word["end"]] == word["text"] and word["known"]
    with connect(own) as channel:
        explained = SentimentStub(channel).Explain(ExplainRequest(text=text))
    assert explained.logit == pytest.approx(answer["logit"], abs=1e-5)


def test_description(own: ServerProcess) -> None:
    """The description of the model says that unknown words are not counted."""
    assert own.client.get("/v1/models/own").json()["tokenizer"] == {
        "padding_id": 0,
        "start_id": None,
        "unknown_id": None,
        "padding_side": "right",
        "truncation_side": "right",
        "counts_unknown": False,
    }


def test_long_texts(own: ServerProcess) -> None:
    """Texts that do not fit in a turn of the event loop get the same answer as short ones with the same ids."""
    long = "The film was GOOD!" * 3 + " good" * 20_000
    answers = post(own, "/v1/predict_batch", {"texts": [long] * 20})["predictions"]
    short = post(own, "/v1/predict", {"text": long[:200]})
    assert all(answer["probabilities"] == short["probabilities"] for answer in answers)


def test_columns(artifact: Path) -> None:
    """Scored rows have an empty column of integers."""
    import pyarrow

    table = BatchScorer(artifact)(pyarrow.table({"text": TEXTS[:2]}))
    assert table.schema.field("unknown_tokens").type == pyarrow.int64()
    assert table["unknown_tokens"].to_pylist() == [None, None]


def test_refused_conversion(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """text.onnx cannot contain the tokenizer, and the message says so."""
    from sentiment_conv1d.export.conversion.command import main as convert

    assert convert([str(artifact), "--to", "text-onnx", "--out", str(tmp_path / "text.onnx")]) == 2
    assert "text.onnx cannot contain this tokenizer" in capsys.readouterr().err


def test_without_the_library(
    artifact: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` and Python name the extra if the library is not installed."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert service(["check", str(artifact)]) != 0
    assert "install the `subwords` extra" in "".join(capsys.readouterr())


def test_no_library_for_other_models() -> None:
    """Models of this project are served without importing the library."""
    program = (
        "import sys; import sentiment_conv1d; sentiment_conv1d.load('imdb-cnn').predict('good'); "
        "sys.exit('tokenizers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_same_as_the_classifier(artifact: Path, own: ServerProcess) -> None:
    """The Python interface answers as the service does."""
    [prediction] = Classifier(read_artifact(artifact)).predict([TEXTS[0]])
    assert prediction.unknown_tokens is None
    assert post(own, "/v1/predict", {"text": TEXTS[0]})["label"] == prediction.label
