"""A model that averages over words has no answer to a text without any, and says so wherever it is asked."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas
import pytest

import sentiment_conv1d
from sentiment_conv1d.__main__ import main
from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.manifest import NO_ANSWER
from sentiment_conv1d.protos import inference_pb2
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest
from sentiment_conv1d.scoring import BatchScorer
from sentiment_conv1d.scoring.command import SOME_ROWS_BAD
from sentiment_conv1d.stubs import GRPCInferenceServiceStub, SentimentStub
from sentiment_conv1d.tables import DataError
from tests.processes import ServerProcess, eventually
from tests.service.artifacts import publish_averaging
from tests.service.grpc.channels import connect

#: Texts with an answer and texts without one.
TEXTS = ("praise", "?!", "unheard", "", "complaint")
WITHOUT = (1, 3)

LOG = ("--request-log-sample", "1", "--request-log")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Write the model."""
    return publish_averaging(tmp_path_factory.mktemp("averaging"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the request log."""
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="module")
def server(artifact: Artifact, log: Path) -> Iterator[ServerProcess]:
    """Serve the model, and log its answers."""
    with ServerProcess(*LOG, str(log), repository=artifact.path.parents[1]) as running:
        yield running


def tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"inputs": [{"name": name, "datatype": datatype, "shape": [len(data), 1], "data": data}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/predict", {"text": ""}),
        ("/v1/predict", {"text": "?!", "logits": True}),
        ("/v1/predict_batch", {"texts": [*TEXTS]}),
        ("/", {"inputs": ""}),
        ("/predict", {"inputs": [["praise"], ["?!"]]}),
        ("/classify", {"input": ["praise", ""]}),
        ("/v1/models/tickets:predict", {"instances": ["praise", ""]}),
        ("/invocations", {"inputs": ["", "praise"]}),
        ("/v2/models/tickets/infer", tensor("text", "BYTES", ["praise", "?!"])),
        ("/v2/models/tickets/infer", tensor("tokens", "INT32", [0, 3])),
        ("/v1/predict_batch", {"texts": ["praise"] * 100 + [" ! " * 10_000]}),
    ],
)
def test_rest(path: str, body: dict[str, Any], server: ServerProcess) -> None:
    """The request is invalid, and the message says why."""
    response = server.client.post(path, json=body)
    assert response.status_code == (422 if path.startswith("/v1/predict") else 400), response.text
    assert NO_ANSWER in response.text


def test_a_batch_that_reports_errors(server: ServerProcess) -> None:
    """Only the texts without an answer have none, beside texts that are bad for another reason."""
    body = {"texts": [7, *TEXTS, None], "on_error": "report"}
    answer = server.client.post("/v1/predict_batch", json=body).json()
    places = [place + 1 for place in WITHOUT]
    assert [each["index"] for each in answer["errors"]] == [0, *places, 6]
    assert [each["message"] for each in answer["errors"] if each["index"] in places] == [
        f"text {place}: it has no answer: {NO_ANSWER}" for place in places
    ]
    labels = [each and each["label"] for each in answer["predictions"]]
    assert labels == [None, "thanks", None, "thanks", None, "complains", None]


def test_explanations(server: ServerProcess) -> None:
    """A model that masks its input has no explanations, whatever the text."""
    response = server.client.post("/v1/explain", json={"text": ""})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "not_explainable")


def test_grpc(server: ServerProcess) -> None:
    """The methods for texts and for tensors end with INVALID_ARGUMENT, and the details say why."""
    infer = inference_pb2.ModelInferRequest(model_name="tickets")
    text = infer.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    text.contents.bytes_contents.append(b"?!")
    with connect(server) as channel:
        stub = SentimentStub(channel)
        for call in (
            lambda: stub.Predict(PredictRequest(text="")),
            lambda: stub.PredictBatch(PredictBatchRequest(texts=TEXTS)),
            lambda: list(stub.PredictStream(iter([PredictRequest(text="?!")]))),
            lambda: GRPCInferenceServiceStub(channel).ModelInfer(infer),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert NO_ANSWER in (refused.value.details() or "")


def test_counts_and_request_log(server: ServerProcess, log: Path) -> None:
    """Only answers are counted and logged."""
    body = {"texts": [*TEXTS], "on_error": "report"}
    server.client.post("/v1/predict_batch", json=body).raise_for_status()
    metrics = server.client.get("/metrics").text
    assert "sentiment_score_count{" in metrics
    assert "NaN" not in metrics

    def logged() -> list[Any]:
        lines = [line for file in log.rglob("*.jsonl") for line in file.read_text().splitlines()]
        return [[each["score"] for each in json.loads(line)["predictions"]] for line in lines]

    eventually(lambda: any(len(scores) == 3 for scores in logged()))
    assert all(score is not None for scores in logged() for score in scores)


def test_python(artifact: Artifact) -> None:
    """`predict` raises an error that quotes the text. Scoring raises one too, or leaves the columns empty."""
    model = sentiment_conv1d.load(artifact.path)
    assert model.predict("unheard").label == "thanks"
    for texts in ("?!", ["praise", "?!"]):
        with pytest.raises(ValueError, match=r"'\?!' has no answer: the model averages"):
            model.predict(texts)
    frame = BatchScorer(artifact.path, on_bad_rows="null")(pandas.DataFrame({"text": TEXTS}))
    assert frame["score"].isna().to_list() == [place in WITHOUT for place in range(len(TEXTS))]
    with pytest.raises(DataError, match=r"row 1 of the batch: .* without an answer"):
        BatchScorer(artifact.path)(np.array(TEXTS).tolist())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_scored_files(workers: str, artifact: Artifact, tmp_path: Path) -> None:
    """A row without an answer is a bad row."""
    (tmp_path / "in.csv").write_text("text\n" + "\n".join(text or '""' for text in TEXTS) + "\n")
    out = tmp_path / "out.csv"
    flags = ["--model-repository", str(artifact.path.parents[1]), "--out", str(out), "--workers", workers]
    assert main(["predict", str(tmp_path / "in.csv"), *flags]) == SOME_ROWS_BAD
    with out.open(newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == ["praise", "unheard", "complaint"]
    errors = [json.loads(line) for line in out.with_suffix(".errors.jsonl").read_text().splitlines()]
    assert [NO_ANSWER in error["reason"] for error in errors] == [True, False]  # the other text is empty


def test_evaluation(artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluate` says which text has no answer."""
    (tmp_path / "data.csv").write_text("text,label\npraise,thanks\n?!,asks\n")
    assert main(["evaluate", str(artifact.path), "--data", str(tmp_path / "data.csv")]) == 2
    assert f"1 text without an answer, such as '?!': {NO_ANSWER}" in capsys.readouterr().err
