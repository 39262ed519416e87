"""The model card of an artifact."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from sentiment_conv1d.artifact.artifact import Artifact, copy, read_artifact
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.manifest import TrainingData
from sentiment_conv1d.artifact.model_card import CARD_FILE, model_card
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from tests.processes import PROJECT, SHIPPED_MODELS
from tests.service.artifacts import LABELS, publish_table


def test_metadata(artifact: Artifact) -> None:
    """Hugging Face's library reads the metadata of the card, with the metrics of the manifest."""
    manifest = artifact.manifest
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


def test_decision(artifact: Artifact) -> None:
    """The card states the threshold and the temperature."""
    decision = DecisionRule(threshold=0.4, temperature=1.25, chosen_on="50 held out of tickets.csv")
    card = model_card(artifact.manifest.model_copy(update={"decision": decision, "metrics": None}))
    assert "if the probability is at least 0.4" in card
    assert "divided by 1.25, a temperature chosen on 50 held out of tickets.csv" in card
    assert "The model was not evaluated." in card


def test_limits_of_confidence(artifact: Artifact) -> None:
    """The card states the limits, and what they were chosen for, or that there are none."""
    limits = {"negative": None, "positive": 0.75}
    decision = DecisionRule(confident_from=limits, min_precision=0.9, chosen_on="50 held out of tickets.csv")
    card = model_card(artifact.manifest.model_copy(update={"decision": decision}))
    assert (
        "confident of an answer from this probability on, chosen on 50 held out of tickets.csv so that at least 90% of "
        "the predictions of each label are right:\n" in card
    )
    assert "| positive | 0.7500 |" in card
    without = model_card(artifact.manifest.model_copy(update={"decision": DecisionRule()}))
    assert "The model has no limits for its answers, so `confident` is null." in without


def test_sections(tmp_path: Path) -> None:
    """The card has the scores of each label, the training data, the licence, limits, and how to upload the model."""
    evaluation = Evaluation(LABELS, np.array([0, 0, 1, 2]), np.eye(3)[[0, 1, 1, 2]])
    data = TrainingData(source="480 of 600 reviews of a|b.csv", labels=dict.fromkeys(LABELS, 160), started_from="may")
    artifact = publish_table(tmp_path, metrics=evaluation.metrics("4 texts"), training_data=data, license="apache-2.0")
    card = huggingface_hub.ModelCard((artifact.path / CARD_FILE).read_text(encoding="utf-8"))
    assert card.data.to_dict()["license"] == "apache-2.0"  # type: ignore[no-untyped-call]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.text.splitlines() if "|" in line]
    assert [LABELS[0], "1.0000", "0.5000", "0.6667", "2"] in rows
    assert [LABELS[2], "160"] in rows
    assert "Trained on 480 of 600 reviews of a|b.csv, starting with the weights of may:" in card.text
    assert f"It finds 50.0% of the texts with the label `{LABELS[0]}`, the least of all labels." in card.text
    assert "The licence of the model is apache-2.0." in card.text
    assert "sentiment-conv1d push model_repository/tickets/1 hf://ORGANIZATION/tickets/models" in card.text


def test_markdown_in_names(tmp_path: Path) -> None:
    """Labels and names of files are shown as they are, also if they contain Markdown, HTML or line breaks."""
    labels = ("a|b", "<i>c`d</i>", "*e*\n# f")
    evaluation = Evaluation(labels, np.array([0, 1, 2]), np.eye(3)[[0, 1, 1]])
    data = TrainingData(source="3 texts of *_my_*.csv", labels=dict.fromkeys(labels, 1), started_from="[x](y)")
    artifact = publish_table(tmp_path, labels=labels, metrics=evaluation.metrics("4 of <b>.csv"), training_data=data)
    card = (artifact.path / CARD_FILE).read_text(encoding="utf-8")
    assert "with the labels `a|b`, `` <i>c`d</i> ``, `*e* # f`." in card
    assert r"| \<i>c\`d\</i> | 1 |" in card
    assert r"| a\|b | 1 |" in card
    assert r"| \*e\* # f | 1 |" in card
    assert r"Measured on 4 of \<b>.csv (3 texts):" in card
    assert r"Trained on 3 texts of \*\_my\_\*.csv, starting with the weights of \[x\](y):" in card


def test_unknown_data(artifact: Artifact) -> None:
    """The card says what the manifest does not know."""
    card = model_card(artifact.manifest.model_copy(update={"license": None}))
    assert "The artifact does not state what the model was trained on." in card
    assert "The artifact states no licence. `export --license` does." in card
    assert "Its training texts can have other terms, which it does not state." in card
    assert "\nlicense:" not in card


@pytest.mark.parametrize("folder", SHIPPED_MODELS.values(), ids=SHIPPED_MODELS)
def test_shipped_cards(folder: Path) -> None:
    """Every shipped artifact has the project's licence, and the card that its manifest gives."""
    manifest = read_artifact(folder).manifest
    assert manifest.license == "apache-2.0"
    assert (folder / CARD_FILE).read_text(encoding="utf-8") == model_card(manifest)


@pytest.mark.parametrize(("name", "notes"), [("accurate", "accurate.md"), ("reviews", "reviews/reviews.md")])
def test_shipped_notes(name: str, notes: str) -> None:
    """The notes with the sources of the training texts are those of the recipe."""
    manifest = read_artifact(SHIPPED_MODELS[name]).manifest
    assert manifest.notes == (PROJECT / "research" / notes).read_text(encoding="utf-8").strip()
    assert "## Sources of the training texts\n" in manifest.notes
    assert "Its training texts can have other terms: see above." in model_card(manifest)


def test_card_of_an_artifact(tmp_path: Path) -> None:
    """Publishing and copying write the card. No digest includes it, so it can be edited."""
    artifact = publish_table(tmp_path / "repository")
    assert "# tickets, version 1" in (artifact.path / CARD_FILE).read_text()
    (artifact.path / CARD_FILE).write_text("edited")
    read_artifact(artifact.path)
    copied = copy(artifact.path, tmp_path / "repository" / "other" / "7")
    assert "# other, version 7" in (copied.path / CARD_FILE).read_text()
