"""The limits of confidence of an artifact are those that its training would have measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from research.limits import main
from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.manifest import MANIFEST_FILE
from sentiment_conv1d.artifact.model_card import CARD_FILE, model_card
from sentiment_conv1d.export.__main__ import main as export
from sentiment_conv1d.model.__main__ import main as model
from sentiment_conv1d.model.run import CONFIGURATION_FILE, DECISION_FILE, read_run, write_json
from tests.tiny import FLAGS, write_reviews

HELD_OUT = ("--validation-fraction", "0.3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write six hundred reviews."""
    return write_reviews(tmp_path_factory.mktemp("data") / "reviews.csv", count=600)


@pytest.fixture(scope="module")
def run_path(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with limits."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert model(["train", "--data", str(data), "--out", str(out), *FLAGS, "--test-fraction", "0", *HELD_OUT]) == 0
    assert all(read_run(out).decision.confident_from.values())
    return out


@pytest.fixture
def artifact(run_path: Path, tmp_path: Path) -> Artifact:
    """Export the run without its decision rule."""
    assert export([str(run_path), "--name", "tiny", "--repository", str(tmp_path)]) == 0
    folder = tmp_path / "tiny" / "1"
    manifest = read_artifact(folder).manifest.model_copy(update={"decision": DecisionRule()})
    (folder / MANIFEST_FILE).write_bytes(manifest.to_bytes())
    return read_artifact(folder)


def test_held_out_again(data: Path, run_path: Path, artifact: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    """The artifact answers the texts that its training held out. Only the manifest and the card change."""
    assert main([str(artifact.path), "--data", str(data), *HELD_OUT]) == 0
    expected = read_run(run_path).decision
    found = read_artifact(artifact.path)
    assert found.manifest.decision == expected.model_copy(
        update={"confident_from": pytest.approx(expected.confident_from, abs=1e-5)}
    )
    assert found.manifest.model_copy(update={"decision": DecisionRule(), "manifest_sha256": ""}) == (
        artifact.manifest.model_copy(update={"manifest_sha256": ""})
    )
    assert (artifact.path / CARD_FILE).read_text(encoding="utf-8") == model_card(found.manifest)
    assert "right if confident: " in capsys.readouterr().out


def test_limits_of_runs(run_path: Path, artifact: Artifact, tmp_path: Path) -> None:
    """The highest limit of several runs counts, never is the highest, and a label without a limit in one has none."""
    expected = read_run(run_path).decision
    limits: list[dict[str, float | None]] = [
        {"negative": 0.5, "positive": 0.9999},
        {"negative": None, "positive": 0.5},
        {"positive": 0.5},
    ]
    runs = [run_path]
    for number, each in enumerate(limits):
        runs.append(shutil.copytree(run_path, tmp_path / f"run-{number}"))
        write_json(runs[-1] / DECISION_FILE, expected.model_copy(update={"confident_from": each}).model_dump())
    found = []
    for number in (2, 3, 4):
        assert main([str(artifact.path), "--runs", *map(str, runs[:number])]) == 0
        found.append(read_artifact(artifact.path).manifest.decision)
    negative = expected.confident_from["negative"]
    assert [rule.confident_from for rule in found] == [
        {"negative": negative, "positive": 0.9999},
        {"negative": None, "positive": 0.9999},
        {"positive": 0.9999},
    ]
    assert found[0].chosen_on == (
        f"{expected.chosen_on}, in each of 2 other trainings of this network, of which the highest limits count"
    )
    assert found[0].min_precision == 0.9


def test_run_of_another_network(
    run_path: Path, artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Limits of another network are refused."""
    other = shutil.copytree(run_path, tmp_path / "run")
    configuration = read_run(run_path).configuration.model_copy(update={"epochs": 9})
    write_json(other / CONFIGURATION_FILE, configuration.model_dump(mode="json"))
    assert main([str(artifact.path), "--runs", str(other)]) == 2
    assert "the run is not a training of the network" in capsys.readouterr().err


def test_other_labels(artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data with other labels is refused."""
    other = write_reviews(tmp_path / "other.csv", ("bad", "good"))
    assert main([str(artifact.path), "--data", str(other), *HELD_OUT]) == 2
    assert "the labels of the data are bad, good" in capsys.readouterr().err
