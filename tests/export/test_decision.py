"""Thresholds, temperatures and names of labels, from training to the service's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.explaining.attribution import explain_words
from sentiment_conv1d.artifact.explaining.network import from_keras
from sentiment_conv1d.export.__main__ import main as export
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.evaluation.trained import encode, load
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.protos.inference_pb2 import InferTensorContents, ModelInferRequest
from sentiment_conv1d.protos.sentiment_pb2 import ExplainRequest, PredictRequest
from sentiment_conv1d.stubs import GRPCInferenceServiceStub, SentimentStub
from tests.chromium import browser
from tests.processes import ServerProcess
from tests.service.grpc.channels import connect
from tests.tiny import FLAGS, write_reviews

__all__ = ["browser"]

TEXT = "A lovely film with some awful music."

#: A text whose second label is more probable, but does not reach the threshold of the run.
LIKELY = "Lovely, bright, superb, warm, funny and moving."

#: For each protocol: the path, the body, and the place of the label in the answer.
REQUESTS: dict[str, tuple[Any, Callable[[Any], str]]] = {
    "/v1/predict": ({"text": LIKELY}, lambda answer: answer["label"]),
    "/v1/predict_batch": ({"texts": [LIKELY]}, lambda answer: answer["predictions"][0]["label"]),
    "/v1/explain": ({"text": LIKELY}, lambda answer: answer["prediction"]["label"]),
    "/v1/models/decided:predict": ({"instances": [LIKELY]}, lambda answer: answer["predictions"][0]["label"]),
    "/v2/models/decided/infer": (
        {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": [LIKELY]}]},
        lambda answer: next(output["data"][0] for output in answer["outputs"] if output["name"] == "label"),
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with a temperature, and set a threshold that no text reaches."""
    folder = tmp_path_factory.mktemp("decided")
    data = write_reviews(folder / "reviews.csv")
    flags = ["--calibration", "temperature", "--threshold", "0.97", "--epochs", "4", "--validation-fraction", "0.1"]
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *FLAGS, *flags]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def artifact(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Export the run, with other names for its labels."""
    repository = tmp_path_factory.mktemp("repository")
    arguments = [str(run), "--name", "decided", "--repository", str(repository), "--labels", "thumbs down, thumbs up"]
    data = ["--data", str(run.parent / "reviews.csv"), "--allow-poor-accuracy"]
    assert export([*arguments, *data]) == 0
    return read_artifact(repository / "decided" / "1")


def test_manifest(run: Path, artifact: Artifact) -> None:
    """The manifest contains threshold, temperature and names, and the metrics use the threshold."""
    decision = read_run(run).decision
    assert decision.threshold == 0.97
    assert artifact.manifest.decision == decision != DecisionRule()
    assert artifact.manifest.labels == ("thumbs down", "thumbs up")
    assert artifact.manifest.configuration is not None
    assert artifact.manifest.configuration["labels"] == [*artifact.manifest.labels]
    assert artifact.manifest.metrics is not None
    assert artifact.manifest.metrics.values["accuracy"] == 0.5


def test_served_model(run: Path, artifact: Artifact) -> None:
    """Probabilities are those of the calibrated network, and the label follows the threshold."""
    [prediction] = Classifier(artifact).predict([TEXT])
    trained = read_run(run)
    answer = load(trained).predict_on_batch(encode(trained.tokenizer, [TEXT]))
    assert prediction.probabilities[1] == pytest.approx(float(np.asarray(answer)[0, 0]), abs=1e-5)
    assert prediction.label == "thumbs down"
    assert prediction.score == prediction.probabilities[0]


def test_report(run: Path, artifact: Artifact) -> None:
    """Words, places and shares from the Keras model are the same as from the served graph."""
    trained = read_run(run)
    weights = from_keras(load(trained), trained.configuration)
    words = explain_words(weights, trained.tokenizer, TEXT, unit=0)
    classifier = Classifier(artifact)
    [encoding] = classifier.encode([TEXT])
    served = classifier.explainer.explain(TEXT, encoding, "thumbs up").words
    assert [word.text for word in words] == ["A", "lovely", "film", "with", "some", "awful", "music"]
    for word, expected in zip(words, served, strict=True):
        assert word.share == pytest.approx(expected.share, abs=1e-5)
        assert replace(word, share=0) == replace(expected, share=0)
    assert sum(abs(word.share) for word in words) > 0


@pytest.fixture(scope="module")
def decided(artifact: Artifact) -> Iterator[ServerProcess]:
    """Serve the model."""
    assert Classifier(artifact).predict([LIKELY])[0].probabilities[1] > 0.5
    with ServerProcess("--workers", "1", repository=artifact.path.parent.parent) as server:
        yield server


@pytest.mark.parametrize("path", REQUESTS)
def test_rest(path: str, decided: ServerProcess) -> None:
    """Every REST protocol with a label, and explanations, return the label of the threshold."""
    body, label = REQUESTS[path]
    answer = decided.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert label(answer.json()) == "thumbs down"


def test_grpc(decided: ServerProcess) -> None:
    """Predictions, explanations and the Open Inference Protocol return the label of the threshold over gRPC."""
    with connect(decided) as channel:
        sentiment: Any = SentimentStub(channel)
        assert sentiment.Predict(PredictRequest(text=LIKELY)).label == "thumbs down"
        assert sentiment.Explain(ExplainRequest(text=LIKELY)).prediction.label == "thumbs down"
        infer: Any = GRPCInferenceServiceStub(channel)
        contents = InferTensorContents(bytes_contents=[LIKELY.encode()])
        tensor = ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1, 1], contents=contents)
        answer = infer.ModelInfer(ModelInferRequest(model_name="decided", inputs=[tensor]))
        [label] = (
            raw
            for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
            if output.name == "label"
        )
        assert label[4:] == b"thumbs down"  # after its length


def test_label_lists(decided: ServerProcess) -> None:
    """Protocols that rank all labels by their probabilities use the names of the manifest."""
    for path in ("/", "/invocations"):
        [ranked] = decided.client.post(path, json={"inputs": [LIKELY]}).json()
        assert sorted(each["label"] for each in ranked) == ["thumbs down", "thumbs up"], path


def test_page(decided: ServerProcess, browser: Browser) -> None:
    """The page shows the name of the label of the threshold, although the other label is more probable."""
    page = browser.new_page()
    page.goto(decided.url)
    page.get_by_label("Your text").fill(LIKELY)
    expect(page.locator("#words")).to_contain_text("superb")
    expect(page.locator("#label")).to_have_text("thumbs down")
    page.close()


def test_names_of_labels(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A single name for two labels, or a repeated name, is refused."""
    for labels, said in (("up", "1 names for the 2 labels negative, positive"), ("up,up", "labels repeat")):
        assert export([str(run), "--repository", str(tmp_path), "--labels", labels]) == 2
        assert said in capsys.readouterr().err
