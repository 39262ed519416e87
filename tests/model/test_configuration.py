"""The configuration of a training."""

from typing import Any

import pytest
from pydantic import ValidationError

from sentiment_conv1d.artifact.configuration import BaseConfiguration, Convolution
from sentiment_conv1d.model.configuration import PRESETS, Configuration


def test_classic_preset() -> None:
    """`imdb-cnn` has the numbers of Keras' example."""
    preset = PRESETS["imdb-cnn"]
    assert (preset.vocabulary_size, preset.max_tokens, preset.embedding_width) == (5000, 400, 50)
    assert preset.convolutions == (Convolution(width=3, filters=250),)
    assert (preset.hidden_width, preset.embedding_dropout, preset.hidden_dropout) == (250, 0.2, 0.2)
    assert (preset.optimizer, preset.learning_rate) == ("adam", 0.001)
    assert (preset.batch_size, preset.epochs) == (32, 2)
    assert (preset.labels, preset.activation, preset.outputs) == (("negative", "positive"), "sigmoid", 1)


@pytest.mark.parametrize("name", PRESETS)
def test_names_of_presets(name: str) -> None:
    """The model of a preset has the name of the preset."""
    assert PRESETS[name].name == name


def test_more_than_two_labels() -> None:
    """A model of more than two labels has a softmax with one output per label."""
    configuration = Configuration(labels=("bad", "fair", "good"))
    assert (configuration.activation, configuration.outputs) == ("softmax", 3)


def test_round_trip() -> None:
    """A configuration is the same after writing and reading its file."""
    configuration = PRESETS["kim-cnn"]
    assert Configuration.model_validate_json(configuration.model_dump_json()) == configuration


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vocabulary_size", 3, "greater than 3"),
        ("max_tokens", 2, "width 3 does not fit into 2 tokens"),
        ("convolutions", ({"width": 3}, {"width": 3}), "repeat"),
        ("convolutions", ({"pooling": "mean"}, {"pooling": "mean"}), "repeat"),
        ("convolutions", (), "at least 1 item"),
        ("labels", ("a", "a"), "labels repeat"),
        ("labels", ("a",), "at least 2 items"),
        ("hidden_dropout", 1.0, "less than 1"),
        ("epochs", 0, "greater than or equal to 1"),
        ("optimizer", "sorcery", "'adam', 'rmsprop', 'sgd' or 'adagrad'"),
        ("name", "../up", "pattern"),
        ("depth", 3, "Extra inputs"),
    ],
)
def test_invalid_numbers(field: str, value: Any, message: str) -> None:
    """An impossible number is refused with a reason."""
    with pytest.raises(ValidationError, match=message):
        Configuration.model_validate({field: value})


def test_default_recipe() -> None:
    """The default recipe is not written, so older releases can read the manifests."""
    assert "recipe" not in PRESETS["imdb-cnn"].model_dump()
    assert PRESETS["text-ensemble"].model_dump()["recipe"] == "ensemble"


def test_other_recipes() -> None:
    """A recorded configuration keeps the fields of its recipe, which cannot be trained on own rows."""
    recorded = {"recipe": "mixture", "mixture": {"texts": 3}, "epochs": 4}
    assert (
        BaseConfiguration.model_validate(recorded).changed(epochs=5).model_dump().items()
        >= (recorded | {"epochs": 5}).items()
    )
    with pytest.raises(ValidationError, match="'labels' or 'ensemble'"):
        Configuration.model_validate(recorded)
