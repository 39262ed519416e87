"""Character n-grams for languages without spaces between words, from training to explanations."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.export.__main__ import main as export
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.__main__ import main
from tests.tickets import write_chinese_reviews, write_thai_reviews

FLAGS = ("--tokenizer", "characters:1-3", "--max-tokens", "60")


@pytest.mark.parametrize("write", [write_chinese_reviews, write_thai_reviews])
def test_texts_without_spaces(write: Callable[[Path], Path], tmp_path: Path) -> None:
    """The model is far better than the most frequent label, and every n-gram is explained in its place."""
    data = write(tmp_path / "reviews.csv")
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), "--name", "reviews", *FLAGS]) == 0
    assert export([str(tmp_path / "run"), "--repository", str(tmp_path)]) == 0
    artifact = read_artifact(tmp_path / "reviews" / "1")
    assert artifact.manifest.convolution_widths == (1, 2)
    assert artifact.manifest.metrics is not None
    assert artifact.manifest.metrics.values["accuracy"] > 0.7

    classifier = Classifier(artifact)
    with data.open(encoding="utf-8", newline="") as file:
        text = next(csv.DictReader(file))["text"]
    [encoding] = classifier.encode([text])
    explanation = classifier.explainer.explain(text, encoding, "positive")
    assert "".join(word.text for word in explanation.words) == text
    assert all(word.text == text[word.start : word.end] for word in explanation.words)
    shares = sum(word.share for word in explanation.words)
    assert explanation.logit == pytest.approx(explanation.bias + explanation.padding + shares, abs=1e-3)
