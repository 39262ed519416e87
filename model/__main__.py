"""`python -m model`: train and evaluate."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sentiment_conv1d.model.configuration import PRESETS, Configuration
from sentiment_conv1d.model.errors import SentimentError, one_line
from sentiment_conv1d.model.quiet import quiet_tensorflow

#: Fields that have no flag of their own: the labels come from the data, the convolutions have `--convolutions`.
_NO_FLAG = {"labels", "convolutions"}


def parser(prog: str = "python -m model") -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog=prog, description="Train and evaluate the Conv1D text classifier.")
    commands = top.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train on labelled texts and write a run folder")
    _add_data(train)
    train.add_argument("--out", type=Path, required=True, help="the run folder to write")
    train.add_argument("--overwrite", action="store_true", help="replace a run folder that is there")
    train.add_argument("--preset", choices=sorted(PRESETS), default="imdb-cnn", help="numbers to start from")
    train.add_argument(
        "--test-fraction",
        type=_fraction,
        default=0.2,
        help="share of the texts held out to measure on, where the data has no test part (default: 0.2)",
    )
    train.add_argument(
        "--validation-fraction",
        type=_fraction,
        default=0.0,
        help="share of the training texts held out for the learning curves (default: 0)",
    )
    numbers = train.add_argument_group("configuration", "each replaces a number of the preset")
    for name, field in Configuration.model_fields.items():
        if name not in _NO_FLAG:
            numbers.add_argument(_flag(name), metavar="VALUE", help=field.description)
    numbers.add_argument(
        "--convolutions", metavar="WIDTH:FILTERS,...", help="banks of filters, for example 3:100,4:100,5:100"
    )

    evaluate = commands.add_parser("evaluate", help="measure a run on labelled texts")
    evaluate.add_argument("run", type=Path, help="a run folder")
    _add_data(evaluate)
    evaluate.add_argument("--out", type=Path, help="folder for metrics and plots (default: RUN/evaluation)")
    return top


def main(arguments: Sequence[str] | None = None, prog: str = "python -m model") -> int:
    """Run a command; returns its exit status: 0, 2 for what the caller can mend, 130 when interrupted."""
    options = parser(prog).parse_args(arguments)
    quiet_tensorflow()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.command == "train":
            return _train(options)
        return _evaluate(options)
    except SentimentError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130


def _train(options: argparse.Namespace) -> int:
    from sentiment_conv1d.model import data
    from sentiment_conv1d.model.run import ensure_free

    configuration = _configuration(options)
    ensure_free(options.out, options.overwrite)
    dataset = data.load(
        _locate(options.data),
        text_column=options.text_column,
        label_column=options.label_column,
        unlabelled=configuration.recipe == "distillation",
    )

    from sentiment_conv1d.model import training

    work = training.plan(
        dataset,
        test_fraction=options.test_fraction,
        validation_fraction=options.validation_fraction,
        seed=configuration.seed,
    )
    print(f"training on {work.source}, labels: {', '.join(work.label_names)}")
    evaluation = training.train(configuration, work, options.out, overwrite=options.overwrite, progress=True)
    if evaluation is not None:
        print(f"measured on {work.test_source}:")
        _print_values(evaluation.values())
    print(f"wrote {options.out} (open {options.out / 'report.html'})")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from sentiment_conv1d.model import data
    from sentiment_conv1d.model.artifact import Metrics
    from sentiment_conv1d.model.run import (
        EVALUATION_CONTENTS,
        EVALUATION_FOLDER,
        METRICS_FILE,
        PLOTS_FOLDER,
        ensure_free,
        read_run,
        staging,
        write_json,
    )

    run = read_run(options.run)
    out = options.out or options.run / EVALUATION_FOLDER
    ensure_free(out, True, EVALUATION_CONTENTS)
    path = _locate(options.data)
    labels = run.configuration.labels
    examples = data.load_examples(path, labels, text_column=options.text_column, label_column=options.label_column)

    from sentiment_conv1d.model import training

    evaluation = training.evaluate(training.load(run), run.tokenizer, labels, examples, True)
    with staging(out, True, EVALUATION_CONTENTS) as folder:
        metrics = Metrics(measured_on=path.name, examples=len(examples.texts), values=evaluation.values())
        write_json(folder / METRICS_FILE, metrics.model_dump())
        training.write_plots(folder / PLOTS_FOLDER, evaluation, None)
    _print_values(evaluation.values())
    print("confusion (rows: truth, columns: answer):")
    print(json.dumps(evaluation.confusion.tolist()))
    print(f"wrote {out}")
    return 0


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data",
        required=True,
        metavar="DIR_OR_FILE",
        help="a folder with train.parquet and test.parquet, an aclImdb folder or its tar.gz, a .csv, .tsv, .jsonl or "
        ".parquet file, or the word imdb for the official download",
    )
    command.add_argument("--text-column", default="text", help="column of the texts in a file (default: text)")
    command.add_argument("--label-column", default="label", help="column of the labels in a file (default: label)")


def _locate(data: str) -> Path:
    if data == "imdb" and not Path(data).exists():
        from sentiment_conv1d.model.download import fetch

        return fetch()
    return Path(data)


def _configuration(options: argparse.Namespace) -> Configuration:
    values: dict[str, Any] = PRESETS[options.preset].model_dump()
    for name in Configuration.model_fields:
        given = getattr(options, name, None)
        if given is not None:
            values[name] = _convolutions(given) if name == "convolutions" else given
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = _flag(str(first["loc"][0])) + ": " if first["loc"] else ""
        raise SentimentError(place + first["msg"].removeprefix("Value error, ")) from error


def _convolutions(text: str) -> list[dict[str, str]]:
    banks = [bank.partition(":") for bank in text.split(",")]
    return [{"width": width, "filters": filters} for width, _, filters in banks]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to below 1")
    return value


def _print_values(values: dict[str, float]) -> None:
    for name, value in values.items():
        print(f"  {name:28} {value:.4f}")


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
