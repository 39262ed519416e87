"""Thresholds, temperatures and names of labels, from training to the service's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from sentiment_conv1d.export.__main__ import main as export
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.artifact import Artifact, read_artifact
from sentiment_conv1d.model.decision import DecisionRule
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.training import trainer
from sentiment_conv1d.service.inference.classifier import Classifier
from tests.processes import ServerProcess
from tests.tiny import FLAGS, write_reviews

TEXT = "A lovely film with some awful music."

#: Predictions of each protocol: the path, the body, and where the label is in the answer.
REQUESTS: dict[str, tuple[dict[str, Any], Any]] = {
    "/v1/predict": ({"text": TEXT}, lambda answer: answer["label"]),
    "/v1/explain": ({"text": TEXT}, lambda answer: answer["prediction"]["label"]),
    "/v1/models/decided:predict": ({"instances": [TEXT]}, lambda answer: answer["predictions"][0]["label"]),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a temperature, and a threshold that no text reaches."""
    folder = tmp_path_factory.mktemp("decided")
    data = write_reviews(folder / "reviews.csv")
    flags = ["--calibration", "temperature", "--threshold", "0.97", "--epochs", "4"]
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *FLAGS, *flags]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def artifact(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The artifact of the run, with other names for its labels."""
    repository = tmp_path_factory.mktemp("repository")
    arguments = [str(run), "--name", "decided", "--repository", str(repository), "--labels", "thumbs down, thumbs up"]
    data = ["--data", str(run.parent / "reviews.csv"), "--allow-poor-accuracy"]
    assert export([*arguments, *data]) == 0
    return read_artifact(repository / "decided" / "1")


def test_the_manifest_says_how_the_model_decides(run: Path, artifact: Artifact) -> None:
    """The manifest contains threshold, temperature and names, and the metrics use the threshold."""
    decision = read_run(run).decision
    assert decision.threshold == 0.97
    assert artifact.manifest.decision == decision != DecisionRule()
    assert artifact.manifest.labels == ("thumbs down", "thumbs up")
    assert artifact.manifest.configuration is not None
    assert artifact.manifest.configuration.labels == artifact.manifest.labels
    assert artifact.manifest.metrics is not None
    assert artifact.manifest.metrics.values["accuracy"] == 0.5


def test_the_service_decides_by_the_manifest(run: Path, artifact: Artifact) -> None:
    """Probabilities are those of the calibrated network, and the label follows the threshold."""
    [prediction] = Classifier(artifact).predict([TEXT])
    trained = read_run(run)
    answer = trainer.load(trained).predict_on_batch(trainer.encode(trained.tokenizer, [TEXT]))
    assert prediction.probabilities[1] == pytest.approx(float(np.asarray(answer)[0, 0]), abs=1e-5)
    assert prediction.label == "thumbs down"
    assert prediction.score == prediction.probabilities[0]


def test_every_protocol_has_the_label_of_the_threshold(artifact: Artifact) -> None:
    """Native predictions, explanations and TensorFlow Serving return the same label."""
    repository = artifact.path.parent.parent
    with ServerProcess("--workers", "1", repository=repository) as server:
        client: httpx.Client = server.client
        for path, (body, label) in REQUESTS.items():
            answer = client.post(path, json=body)
            assert answer.status_code == 200, answer.text
            assert label(answer.json()) == "thumbs down", path


def test_labels_must_have_a_name_each(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One name for two labels is refused, and so is a repeated name."""
    for labels, said in (("up", "1 names for the 2 labels negative, positive"), ("up,up", "labels repeat")):
        assert export([str(run), "--repository", str(tmp_path), "--labels", labels]) == 2
        assert said in capsys.readouterr().err
