"""The configuration of a training."""

from typing import Any

import pytest
from pydantic import ValidationError

from sentiment_conv1d.model.configuration import PRESETS, Configuration, Convolution


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("bad", "fair", "good")}, "two labels"),
        ({"hidden_width": 5}, "no hidden layer"),
        ({"convolutions": ({"width": 2}, {"width": 3})}, "sum of the widths of all its filters"),
        ({"embedding_width": 50}, "sum of the widths of all its filters"),
        ({"tokenizer": "characters:1-2"}, "needs the tokenizer words"),
        ({"patience": 2}, "no patience"),
        ({"class_weights": "balanced"}, "no class weights"),
        ({"calibration": "temperature"}, "has its own calibration"),
    ],
)
def test_invalid_distillations(changes: dict[str, Any], message: str) -> None:
    """A distillation that cannot be trained as look-up tables is refused."""
    with pytest.raises(ValidationError, match=message):
        Configuration.model_validate(PRESETS["accurate"].model_dump() | changes)


def test_default_recipe() -> None:
    """The default recipe is not written, so older releases can read the manifests."""
    assert "recipe" not in PRESETS["imdb-cnn"].model_dump()
    assert PRESETS["accurate"].model_dump()["recipe"] == "distillation"
