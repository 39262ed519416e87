"""Every prediction says whether the model is confident of it, in each protocol that has a field for it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas
import polars
import pyarrow
import pytest
from pyarrow import parquet

import sentiment_conv1d
from sentiment_conv1d.__main__ import main
from sentiment_conv1d.protos.sentiment_pb2 import ExplainRequest, PredictBatchRequest, PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import ServerProcess
from tests.service.grpc.channels import connect

#: Texts, and whether the model of `doubtful` is confident of its answer.
TEXTS = {
    "A gripping, beautifully acted film.": True,  # positive, 0.998
    "A film with a few good scenes.": False,  # positive, below 0.9
    "Two dull hours that I will never get back.": False,  # negative, which it never is confident of
    "qwertyuiop zorptastic": False,  # no known word
    "A superb qwertyuiop zorptastic flumberous plinth": False,  # fewer than half of the words are known
    "": False,
}


def test_native_rest(doubtful: ServerProcess) -> None:
    """A single text, a batch and an explanation have the same field."""
    post = doubtful.client.post
    batch = post("/v1/predict_batch", json={"texts": [*TEXTS]}).json()["predictions"]
    for (text, confident), prediction in zip(TEXTS.items(), batch, strict=True):
        assert prediction["confident"] is confident
        assert post("/v1/predict", json={"text": text}).json()["confident"] is confident
        assert post("/v1/explain", json={"text": text}).json()["prediction"]["confident"] is confident


def test_native_rest_without_limits(doubtful: ServerProcess) -> None:
    """A model without limits says nothing about its confidence: the field is null, also for unknown words."""
    post = doubtful.client.post
    batch = post("/v1/predict_batch", json={"texts": [*TEXTS], "model": "unmeasured"}).json()["predictions"]
    for text, prediction in zip(TEXTS, batch, strict=True):
        body = {"text": text, "model": "unmeasured"}
        answers = [
            prediction,
            post("/v1/predict", json=body).json(),
            post("/v1/explain", json=body).json()["prediction"],
        ]
        assert [answer["confident"] for answer in answers] == [None] * 3
        assert post("/v1/predict", json=body | {"threshold": 0.999}).json()["confident"] is None


def test_threshold_of_a_request(doubtful: ServerProcess) -> None:
    """A threshold changes the label, and `confident` is about the new label."""
    body = {"text": "A gripping, beautifully acted film.", "threshold": 0.999}
    answer = doubtful.client.post("/v1/predict", json=body).json()
    assert (answer["label"], answer["confident"]) == ("negative", False)


def test_native_grpc(doubtful: ServerProcess) -> None:
    """All methods of the native service have the same field."""
    with connect(doubtful) as channel:
        stub = SentimentStub(channel)
        requests = [PredictRequest(text=text) for text in TEXTS]
        expected = [*TEXTS.values()]
        assert [stub.Predict(each).confident for each in requests] == expected
        assert [each.confident for each in stub.PredictStream(iter(requests))] == expected
        assert [
            each.confident for each in stub.PredictBatch(PredictBatchRequest(texts=[*TEXTS])).predictions
        ] == expected
        assert [stub.Explain(ExplainRequest(text=text)).prediction.confident for text in TEXTS] == expected
        assert all(stub.Predict(each).HasField("confident") for each in requests)


def test_native_grpc_without_limits(doubtful: ServerProcess) -> None:
    """A model without limits does not set the field."""
    with connect(doubtful) as channel:
        stub = SentimentStub(channel)
        answers = [
            *(stub.Predict(PredictRequest(text=text, model="unmeasured")) for text in TEXTS),
            *stub.PredictBatch(PredictBatchRequest(texts=[*TEXTS], model="unmeasured")).predictions,
            *stub.PredictStream(iter([PredictRequest(text=text, model="unmeasured") for text in TEXTS])),
            *(stub.Explain(ExplainRequest(text=text, model="unmeasured")).prediction for text in TEXTS),
        ]
    assert len(answers) == 4 * len(TEXTS)
    assert not any(answer.HasField("confident") for answer in answers)


def test_python(doubtful_repository: Path) -> None:
    """The Python interface has the field in predictions and explanations, and a column in scored tables."""
    model = sentiment_conv1d.load(repository=doubtful_repository)
    assert [each.confident for each in model.predict([*TEXTS])] == [*TEXTS.values()]
    assert model.explain("A film with a few good scenes.").prediction.confident is False
    scored = model.score([text for text in TEXTS if text])
    assert [row["confident"] for row in scored] == [confident for text, confident in TEXTS.items() if text]
    unmeasured = sentiment_conv1d.load("unmeasured", repository=doubtful_repository)
    assert {each.confident for each in unmeasured.predict([*TEXTS])} == {None}


def test_data_frames_without_limits(doubtful_repository: Path) -> None:
    """The column is empty, and keeps its type, whether the model has limits or not."""
    models = [sentiment_conv1d.load(name, repository=doubtful_repository) for name in ("imdb-cnn", "unmeasured")]
    texts = ["A gripping, beautifully acted film.", "A film with a few good scenes."]
    frames = (pandas.DataFrame({"text": texts}), polars.DataFrame({"text": texts}), pyarrow.table({"text": texts}))
    for frame in frames:
        limited, unlimited = (model.score(frame)["confident"] for model in models)
        assert str(getattr(limited, "type", getattr(limited, "dtype", None))).lower() in ("bool", "boolean")
        assert getattr(limited, "type", getattr(limited, "dtype", None)) == getattr(
            unlimited, "type", getattr(unlimited, "dtype", None)
        )
        found = [
            values.to_pylist() if hasattr(values, "to_pylist") else list(values) for values in (limited, unlimited)
        ]
        assert found[0] == [True, False]
        assert all(value is None or value is pandas.NA for value in found[1])
    arrays = {"text": np.array(texts)}
    assert [model.score(arrays)["confident"].tolist() for model in models] == [[True, False], [None, None]]


def test_offline_scoring(doubtful_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`predict` writes a column, and `explain` says that the model is not sure."""
    texts = [text for text in TEXTS if text]
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in texts))
    repository = ["--model-repository", str(doubtful_repository)]
    assert main(["predict", str(tmp_path / "in.txt"), "--out", str(tmp_path / "out.csv"), *repository]) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        found = {row["text"]: row["confident"] for row in csv.DictReader(file)}
    assert found == {text: str(TEXTS[text]).lower() for text in texts}
    capsys.readouterr()
    for text in texts:
        assert main(["explain", text, *repository]) == 0
        assert ("not sure about this text" in capsys.readouterr().out) is not TEXTS[text]


def test_offline_scoring_without_limits(
    doubtful_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without limits, the column is empty in CSV and null in JSONL and Parquet, and `explain` says nothing."""
    (tmp_path / "in.txt").write_text("qwertyuiop zorptastic\n")
    chosen = ["--model-repository", str(doubtful_repository), "--default-model", "unmeasured"]
    for suffix in ("csv", "jsonl", "parquet"):
        assert main(["predict", str(tmp_path / "in.txt"), "--out", str(tmp_path / f"{suffix}.{suffix}"), *chosen]) == 0
    with (tmp_path / "csv.csv").open(newline="") as file:
        assert [row["confident"] for row in csv.DictReader(file)] == [""]
    assert json.loads((tmp_path / "jsonl.jsonl").read_text())["confident"] is None
    assert parquet.read_table(tmp_path / "parquet.parquet")["confident"].to_pylist() == [None]
    capsys.readouterr()
    assert main(["explain", "qwertyuiop zorptastic", *chosen]) == 0
    assert "not sure" not in capsys.readouterr().out
