"""The model card of an artifact."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from sentiment_conv1d.model.artifact import copy, read_artifact
from sentiment_conv1d.model.decision import DecisionRule
from sentiment_conv1d.model.model_card import CARD_FILE, model_card
from tests.processes import PROJECT
from tests.service.artifacts import publish_table


def test_metadata() -> None:
    """Hugging Face's library reads the metadata of the card, with the metrics of the manifest."""
    manifest = read_artifact(PROJECT / "model_repository" / "imdb-cnn" / "1").manifest
    card = huggingface_hub.ModelCard(model_card(manifest))
    data = card.data.to_dict()  # type: ignore[no-untyped-call]
    assert data["pipeline_tag"] == "text-classification"
    [result] = data["model-index"][0]["results"]
    results = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert manifest.metrics is not None
    assert results == pytest.approx(manifest.metrics.values, abs=1e-6)
    assert "# imdb-cnn, version 1" in card.text
    assert "sentiment-conv1d explain --default-model imdb-cnn" in card.text
    assert "answers with this label if the probability is at least 0.5" in card.text


def test_decision() -> None:
    """The card states the threshold and the temperature."""
    manifest = read_artifact(PROJECT / "model_repository" / "imdb-cnn" / "1").manifest
    decision = DecisionRule(threshold=0.4, temperature=1.25, chosen_on="50 held out of tickets.csv")
    card = model_card(manifest.model_copy(update={"decision": decision, "metrics": None}))
    assert "if the probability is at least 0.4" in card
    assert "divided by 1.25, a temperature chosen on 50 held out of tickets.csv" in card
    assert "The model was not evaluated." in card


def test_card_of_an_artifact(tmp_path: Path) -> None:
    """Publishing and copying write the card. No digest includes it, so it can be edited."""
    artifact = publish_table(tmp_path / "repository")
    assert "# tickets, version 1" in (artifact.path / CARD_FILE).read_text()
    (artifact.path / CARD_FILE).write_text("edited")
    read_artifact(artifact.path)
    copied = copy(artifact.path, tmp_path / "repository" / "other" / "7")
    assert "# other, version 7" in (copied.path / CARD_FILE).read_text()
