"""The command line of `python -m model`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.commands.parser import Parser, local_path, number
from sentiment_conv1d.model.configuration import PRESETS
from sentiment_conv1d.model.data.flags import SOURCES, add_reading_flags, add_sources

Preset = TypeVar("Preset", bound=BaseConfiguration)

#: Fields without a flag of the same form: labels and their number come from the data, and `--convolutions` is below.
_NO_FLAG = {"labels", "multilabel", "convolutions"}

#: The type of a flag for a share of the texts.
FRACTION = number(float, "a number from 0 to below 1", lambda value: 0 <= value < 1)

#: What `evaluate` and `compare` measure.
_RUN = "a run folder, or an artifact: REPOSITORY/NAME/VERSION, or NAME/VERSION in model_repository or of the package"


def parser(prog: str = "python -m model") -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = Parser(prog=prog, description="Train and evaluate the Conv1D text classifier.")
    commands = top.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train on labelled texts and write a run folder")
    add_sources(train, "--data", f"training data: {SOURCES}", required=True)
    _add_plan_flags(train)
    train.add_argument("--out", type=local_path, required=True, metavar="FOLDER", help="the run folder to write")
    train.add_argument("--overwrite", action="store_true", help="replace an existing run folder")
    train.add_argument(
        "--dry-run", action="store_true", help="read the data, say what is wrong with it, and stop before the training"
    )
    train.add_argument("--resume", action="store_true", help="continue an interrupted training, which is the default")
    train.add_argument(
        "--embeddings",
        type=local_path,
        metavar="FILE",
        help="pretrained word vectors, in the text format of word2vec or GloVe",
    )

    _add_segments(train)
    train.add_argument(
        "--init-from",
        type=local_path,
        metavar="RUN",
        help="start with the weights and the vocabulary of a run, or of an artifact (REPOSITORY/NAME/VERSION), and "
        "learn from new texts; the labels of a run must be the same, or more; none: start anew (default: start anew, "
        "and also with the shipped model if the labels are opinions, and keep the better network)",
    )

    check = commands.add_parser("check-data", help="read data as train does, and report its contents and problems")
    add_sources(check, "data", SOURCES)
    _add_plan_flags(check)
    check.add_argument(
        "--label-errors",
        action="store_true",
        help="list the texts whose label a model of the other texts contradicts most, with the words responsible",
    )
    check.add_argument(
        "--out", type=local_path, metavar="FILE", help="write all texts of --label-errors, as JSON lines"
    )

    evaluate = commands.add_parser("evaluate", help="measure a run or an artifact on labelled texts")
    evaluate.add_argument("run", type=local_path, metavar="RUN", help=_RUN)
    add_sources(evaluate, "--data", f"data to measure on: {SOURCES}", required=True)
    add_reading_flags(evaluate)
    _add_segments(evaluate)
    evaluate.add_argument(
        "--out",
        type=local_path,
        metavar="FOLDER",
        help="folder for metrics and plots (default: RUN/evaluation; none for an artifact)",
    )

    compare = commands.add_parser("compare", help="measure two runs or artifacts on the same labelled texts")
    compare.add_argument("models", type=local_path, nargs=2, metavar="RUN", help=_RUN)
    add_sources(compare, "--data", f"data to measure on: {SOURCES}", required=True)
    add_reading_flags(compare)
    _add_segments(compare)
    compare.add_argument(
        "--differences",
        type=local_path,
        metavar="FILE",
        help="write the texts with different predictions, as JSON lines",
    )
    return top


def _add_segments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--by", metavar="COLUMN", help="measure the texts with each value of this column separately too"
    )


def _add_plan_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags for the data and the configuration of a training."""
    add_sources(
        command,
        "--test-data",
        "what to measure on (default: the test split of the data, or --test-fraction of it)",
        default=[],
    )
    add_reading_flags(command)
    command.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="the configuration to start from (default: text-ensemble; text-cnn with --embeddings and for several "
        "labels of a text, and imdb-cnn for the data imdb)",
    )
    command.add_argument(
        "--test-fraction",
        type=FRACTION,
        metavar="SHARE",
        default=0.2,
        help="share of the texts held out to measure on, if the data has no test split (default: 0.2)",
    )
    command.add_argument(
        "--validation-fraction",
        type=FRACTION,
        metavar="SHARE",
        default=0.1,
        help="share of the training texts held out for early stopping, calibration, learning curves and the limits of "
        "`confident` (default: 0.1)",
    )
    add_configuration_flags(command, PRESETS, "text-ensemble")


def add_configuration_flags(
    command: argparse.ArgumentParser, presets: Mapping[str, BaseConfiguration], default: str
) -> None:
    """Add a flag for each value of the configuration. The help shows the values of the presets."""
    numbers = command.add_argument_group("configuration", "each flag replaces a value of the preset")
    for name in BaseConfiguration.model_fields:
        if name not in _NO_FLAG:
            field = type(presets[default]).model_fields[name]
            meaning = f"{field.description} ({_presets(name, presets, default)})".replace("%", "%%")
            numbers.add_argument(_flag_name(name), metavar=_metavar(field), help=meaning)
    numbers.add_argument(
        "--convolutions",
        metavar="WIDTH:FILTERS,...",
        help="banks of filters, for example 3:100,4:100,5:100; WIDTH:FILTERS:mean averages over the text "
        f"({_presets('convolutions', presets, default)})",
    )


def configured(preset: Preset, options: argparse.Namespace) -> Preset:
    """Return a preset with the values of the flags. Raises `SentimentError`, which names the flag."""
    given: dict[str, Any] = {name: getattr(options, name, None) for name in type(preset).model_fields}
    given = {name: value for name, value in given.items() if value is not None}
    if "convolutions" in given:
        given["convolutions"] = [_bank(bank) for bank in given["convolutions"].split(",")]
    try:
        return preset.changed(**given)
    except ValidationError as error:
        first = error.errors()[0]
        place = _flag_name(str(first["loc"][0])) + ": " if first["loc"] else ""
        raise SentimentError(place + first["msg"].removeprefix("Value error, ")) from error


def _bank(text: str) -> dict[str, str]:
    """Return the values of a bank, `WIDTH:FILTERS` or `WIDTH:FILTERS:POOLING`."""
    width, _, rest = text.partition(":")
    filters, _, pooling = rest.partition(":")
    return {"width": width, "filters": filters, "pooling": pooling or "max"}


def _metavar(field: FieldInfo) -> str:
    """Return what the help calls the value of a field: its choices or its kind."""
    if get_origin(field.annotation) is Literal:
        return f"{{{','.join(get_args(field.annotation))}}}"
    return {int: "N", str: "NAME"}.get(field.annotation, "NUMBER") if isinstance(field.annotation, type) else "NUMBER"


def _presets(name: str, presets: Mapping[str, BaseConfiguration], default: str) -> str:
    """Return the value of a field in the default preset, and in the presets where it differs."""
    values = {preset: _shown(getattr(configuration, name)) for preset, configuration in presets.items()}
    others = [f"{preset}: {value}" for preset, value in values.items() if value != values[default]]
    return "; ".join([f"default: {values[default]}", *others])


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def _flag_name(name: str) -> str:
    """Return the flag of a field of the configuration."""
    return "--" + name.replace("_", "-")
