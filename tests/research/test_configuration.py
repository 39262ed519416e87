"""The configurations of the shipped models whose recipes are in `research`."""

from typing import Any

import pytest
from pydantic import ValidationError

from research.configuration import ACCURATE, REVIEWS, MixtureConfiguration
from research.mixture.plan import DEFAULT_PLAN, Mixture
from sentiment_conv1d.artifact.artifact import read_artifact
from tests.processes import SHIPPED_MODELS


def test_accurate() -> None:
    """The manifest of the shipped `accurate` records this configuration."""
    manifest = read_artifact(SHIPPED_MODELS["accurate"]).manifest
    assert manifest.configuration == ACCURATE.model_dump(mode="json")


def test_reviews() -> None:
    """The manifest of the shipped `reviews` records this configuration with its plan, and has the notes beside it.

    It may lack values that were introduced after its training and have their default.
    """
    manifest = read_artifact(SHIPPED_MODELS["reviews"]).manifest
    expected = REVIEWS.model_copy(update={"mixture": Mixture.read(DEFAULT_PLAN)})
    assert MixtureConfiguration.model_validate(manifest.configuration) == expected
    assert manifest.notes == DEFAULT_PLAN.with_suffix(".md").read_text(encoding="utf-8").strip()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("bad", "fair", "good")}, "has the labels negative, positive"),
        ({"hidden_width": 5}, "no hidden layer"),
        ({"convolutions": ({"width": 2}, {"width": 3})}, "sum of the widths of all its filters"),
        ({"embedding_width": 50}, "sum of the widths of all its filters"),
        ({"tokenizer": "characters:1-2"}, "needs the tokenizer words or words:marks"),
        ({"tokenizer": "words:unicode"}, "needs the tokenizer words or words:marks"),
        ({"patience": 2}, "no patience"),
        ({"class_weights": "balanced"}, "no class weights"),
        ({"calibration": "temperature"}, "has its own calibration"),
        ({"members": 2}, "has one network"),
        ({"word_dropout": 0.1}, "only a mixture leaves out words"),
        ({"recipe": "mixture"}, "should match pattern"),
    ],
)
def test_invalid_distillations(changes: dict[str, Any], message: str) -> None:
    """A distillation that cannot be trained as look-up tables is refused."""
    with pytest.raises(ValidationError, match=message):
        ACCURATE.changed(**changes)
