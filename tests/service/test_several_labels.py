"""A model that gives a text several labels is served in every protocol, and all that counts labels counts them."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest
from pyarrow import parquet

import sentiment_conv1d
from sentiment_conv1d.__main__ import main
from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.export.checks.text_graph import odd_texts, prove
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.protos.sentiment_pb2 import ExplainRequest, PredictBatchRequest, PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import ServerProcess
from tests.service.artifacts import LABELS, THRESHOLDS
from tests.service.grpc.channels import connect
from tests.service.telemetry.test_metrics import metric

TEXTS = ["", "praise", "question", "complaint", "praise question", "complaint complaint praise", "question complaint"]


def labels_of(probabilities: dict[str, float]) -> list[str]:
    return [label for label in LABELS if probabilities[label] >= THRESHOLDS[label]]


@pytest.fixture(scope="module")
def expected(several_labels: Artifact) -> list[dict[str, Any]]:
    """Return the probabilities and the labels of every text: none, one and several."""
    answers: list[dict[str, Any]] = []
    for prediction in Classifier(several_labels).predict(TEXTS):
        probabilities = dict(zip(LABELS, map(float, prediction.probabilities), strict=True))
        answers.append({"probabilities": pytest.approx(probabilities, abs=1e-6), "labels": labels_of(probabilities)})
    assert {len(each["labels"]) for each in answers} >= {0, 1, 2}
    return answers


def chosen(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("probabilities", "labels")}


def test_native_rest(toxic: ServerProcess, expected: list[dict[str, Any]]) -> None:
    """Single texts, batches, explanations and sentences have the labels; `label` is the most probable one."""
    post = toxic.client.post
    batch = post("/v1/predict_batch", json={"texts": TEXTS, "logits": True}).json()["predictions"]
    assert [chosen(each) for each in batch] == expected
    for text, prediction in zip(TEXTS, batch, strict=True):
        assert prediction["label"] == max(LABELS, key=lambda label: prediction["probabilities"][label])
        assert prediction["score"] == prediction["probabilities"][prediction["label"]]
        assert prediction["confident"] is None
        for label, logit in prediction["logits"].items():
            assert 1 / (1 + math.exp(-logit)) == pytest.approx(prediction["probabilities"][label], abs=1e-6)
        alone = post("/v1/predict", json={"text": text, "sentences": True}).json()
        assert chosen(alone) == chosen(prediction)
        assert [chosen(each) for each in alone["sentences"]] == ([chosen(prediction)] if text else [])


def test_explanations(toxic: ServerProcess) -> None:
    """Each label has its own logit, whose sigmoid is its probability, and the shares of the words add up to it."""
    for text in TEXTS:
        for label in LABELS:
            answer = toxic.client.post("/v1/explain", json={"text": text, "label": label}).json()
            assert 1 / (1 + math.exp(-answer["logit"])) == pytest.approx(
                answer["prediction"]["probabilities"][label], abs=1e-5
            )
            total = answer["bias"] + answer["padding"] + sum(word["share"] for word in answer["words"])
            assert answer["logit"] == pytest.approx(total, abs=1e-4)
            assert "contrast" not in answer


def test_threshold_of_a_request(toxic: ServerProcess) -> None:
    """A request cannot state one threshold for several labels."""
    answer = toxic.client.post("/v1/predict", json={"text": "praise", "threshold": 0.5})
    assert answer.status_code == 422
    assert "this model has one for each label" in answer.json()["error"]["message"]


def test_native_grpc(toxic: ServerProcess, expected: list[dict[str, Any]]) -> None:
    """All methods of the native service have the labels."""
    wanted = [each["labels"] for each in expected]
    with connect(toxic) as channel:
        stub = SentimentStub(channel)
        requests = [PredictRequest(text=text) for text in TEXTS]
        assert [[*stub.Predict(each).labels] for each in requests] == wanted
        assert [[*each.labels] for each in stub.PredictStream(iter(requests))] == wanted
        batch = stub.PredictBatch(PredictBatchRequest(texts=TEXTS)).predictions
        assert [[*each.labels] for each in batch] == wanted
        assert [[*stub.Explain(ExplainRequest(text=text)).prediction.labels] for text in TEXTS] == wanted
        assert not any(each.HasField("confident") for each in batch)


def test_other_protocols(toxic: ServerProcess, expected: list[dict[str, Any]]) -> None:
    """The other protocols have the probability of each label."""
    post = toxic.client.post
    wanted = [each["probabilities"] for each in expected]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}
    body = {"inputs": [tensor], "outputs": [{"name": "probabilities"}]}
    flat = post("/v2/models/tickets/infer", json=body).json()["outputs"][0]["data"]
    assert [dict(zip(LABELS, row, strict=True)) for row in np.reshape(flat, (-1, 3)).tolist()] == wanted
    rows = post("/v1/models/tickets:predict", json={"instances": TEXTS}).json()["predictions"]
    assert [dict(zip(LABELS, row["probabilities"], strict=True)) for row in rows] == wanted
    for function in ({}, {"function_to_apply": "sigmoid"}):
        lists = post("/", json={"inputs": TEXTS, "parameters": function}).json()
        assert [{each["label"]: each["score"] for each in row} for row in lists] == wanted
    data = post("/classify", json={"input": TEXTS}).json()["data"]
    assert [dict(zip(LABELS, row["probs"], strict=True)) for row in data] == wanted
    assert {row["num_classes"] for row in data} == {3}
    logits = post("/classify", json={"input": TEXTS, "use_activation": False}).json()["data"]
    assert [
        dict(zip(LABELS, [1 / (1 + math.exp(-logit)) for logit in row["probs"]], strict=True)) for row in logits
    ] == wanted


def test_softmax_of_several_labels(toxic: ServerProcess) -> None:
    """Hugging Face's clients cannot ask for a softmax of labels that do not exclude each other."""
    answer = toxic.client.post("/", json={"inputs": "praise", "parameters": {"function_to_apply": "softmax"}})
    assert answer.status_code == 400
    assert "ends in a sigmoid for each label, not in a softmax" in answer.json()["error"]


def test_metrics(toxic: ServerProcess, expected: list[dict[str, Any]]) -> None:
    """The scores of all predicted labels are counted, and those of other labels are not."""

    def counts() -> dict[str, float]:
        return {label: metric(toxic, "sentiment_score_count", label=label) for label in LABELS}

    before = counts()
    toxic.client.post("/v1/predict_batch", json={"texts": TEXTS})
    predicted = Counter(label for each in expected for label in each["labels"])
    assert {label: value - before[label] for label, value in counts().items()} == {
        label: predicted[label] for label in LABELS
    }


def test_python(several_labels: Artifact, expected: list[dict[str, Any]]) -> None:
    """Predictions have the labels, and a scored table of any kind has them in a column of lists."""
    model = sentiment_conv1d.load("tickets", repository=several_labels.path.parents[1])
    assert [chosen(each) for each in model.predict(TEXTS)] == expected
    texts = TEXTS[1:]  # scoring takes no empty text
    wanted = [each["labels"] for each in expected[1:]]
    assert [each["predicted_labels"] for each in model.score(texts)] == wanted
    frame = pandas.DataFrame({"text": texts})
    assert model.score(frame)["predicted_labels"].tolist() == wanted
    scored = model.score(polars.DataFrame(frame))["predicted_labels"]
    assert (scored.dtype, scored.to_list()) == (polars.List(polars.String), wanted)
    column = model.score(pyarrow.table({"text": texts}))["predicted_labels"]
    assert (column.type, column.to_pylist()) == (pyarrow.list_(pyarrow.string()), wanted)
    assert model.score({"text": np.array(texts)})["predicted_labels"].tolist() == wanted


def test_offline_scoring(several_labels: Artifact, tmp_path: Path, expected: list[dict[str, Any]]) -> None:
    """`predict` writes the labels as a list, in CSV as JSON."""
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in TEXTS[1:]))
    repository = ["--model-repository", str(several_labels.path.parents[1]), "--default-model", "tickets"]
    for suffix in ("csv", "jsonl", "parquet"):
        arguments = ["predict", str(tmp_path / "in.txt"), "--out", str(tmp_path / f"{suffix}.{suffix}"), *repository]
        assert main(arguments) == 0
    wanted = [each["labels"] for each in expected[1:]]
    column = pandas.read_csv(tmp_path / "csv.csv")["predicted_labels"]
    assert [json.loads(cell) for cell in column] == wanted
    lines = (tmp_path / "jsonl.jsonl").read_text().splitlines()
    assert [json.loads(line)["predicted_labels"] for line in lines] == wanted
    assert parquet.read_table(tmp_path / "parquet.parquet")["predicted_labels"].to_pylist() == wanted


def test_terminal(several_labels: Artifact, capsys: pytest.CaptureFixture[str], expected: list[dict[str, Any]]) -> None:
    """`explain` prints the labels, and explains the logit of the label that is asked for."""
    chosen = ["--model-repository", str(several_labels.path.parents[1]), "--default-model", "tickets"]
    for text, answer in zip(TEXTS[1:], expected[1:], strict=True):
        assert main(["explain", text, "--label", "asks", *chosen]) == 0
        printed = capsys.readouterr().out
        assert f"labels: {', '.join(answer['labels']) or 'none'}\n" in printed
        assert "logit of asks" in printed


def test_drift(several_labels: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The request log has the labels of every text, and drift compares the share of the texts with each label."""
    shares = []
    for name, texts in (("before", TEXTS), ("now", TEXTS[:2])):
        flags = ("--workers", "1", "--request-log", str(tmp_path / name), "--request-log-sample", "1")
        with ServerProcess(*flags, repository=several_labels.path.parents[1]) as process:
            answers = process.client.post("/v1/predict_batch", json={"texts": texts}).json()["predictions"]
        shares.append({label: sum(label in each["labels"] for each in answers) / len(texts) for label in LABELS})
    assert main(["drift", str(tmp_path / "now"), "--against", str(tmp_path / "before"), "--fail-above", "100"]) == 0
    printed = capsys.readouterr().out
    for label in LABELS:
        before, now = (each[label] for each in shares)
        if before or now:
            assert re.search(rf"^  label {label} .+ change", printed, re.MULTILINE)
            assert re.search(rf"^  {label} +{before:.1%} +{now:.1%}$", printed, re.MULTILINE)


def test_text_onnx(several_labels: Artifact) -> None:
    """`text.onnx` says which labels a text has, and its proof compares them."""
    proof = prove(several_labels, text_graph(several_labels), [*TEXTS, *odd_texts(several_labels)])
    assert proof.largest_difference < 1e-6
