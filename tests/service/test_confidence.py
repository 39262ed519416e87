"""Every prediction says whether the model is confident of it, in each protocol that has a field for it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import sentiment_conv1d
from loadtest.stubs import SentimentStub
from sentiment_conv1d.__main__ import main
from sentiment_conv1d.protos.sentiment_pb2 import ExplainRequest, PredictBatchRequest, PredictRequest
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


def test_python(doubtful_repository: Path) -> None:
    """The Python interface has the field in predictions and explanations, and a column in scored tables."""
    model = sentiment_conv1d.load(repository=doubtful_repository)
    assert [each.confident for each in model.predict([*TEXTS])] == [*TEXTS.values()]
    assert model.explain("A film with a few good scenes.").prediction.confident is False
    scored = model.score([text for text in TEXTS if text])
    assert [row["confident"] for row in scored] == [confident for text, confident in TEXTS.items() if text]


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
