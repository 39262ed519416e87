"""`python -m model`: train and evaluate."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from sentiment_conv1d.model import data
from sentiment_conv1d.model.commands.parser import Parser, next_command
from sentiment_conv1d.model.configuration import PRESETS, Configuration
from sentiment_conv1d.model.data import BadDataError, Plan
from sentiment_conv1d.model.data.flags import (
    SOURCES,
    add_reading_flags,
    add_sources,
    locate,
    print_left_out,
    reading_options,
)
from sentiment_conv1d.model.errors import SentimentError, one_line
from sentiment_conv1d.model.interruption import handle_signals
from sentiment_conv1d.model.mixture import DEFAULT_PLAN, Mixture
from sentiment_conv1d.model.quiet import quiet_tensorflow
from sentiment_conv1d.model.run import Run, checkpointed_epochs, stages_folder
from sentiment_conv1d.model.tokenizer import learn

if TYPE_CHECKING:
    from sentiment_conv1d.model.evaluation.evaluation import Evaluation

#: Fields without a flag of the same form: the labels come from the data, and `--convolutions` is defined below.
_NO_FLAG = {"labels", "convolutions", "mixture"}


#: The share of the training texts that is held out if the configuration needs held-out texts.
_VALIDATION_FRACTION = 0.1

#: The number of probable label errors that are printed.
_LABEL_ERRORS = 10


def parser(prog: str = "python -m model") -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = Parser(prog=prog, description="Train and evaluate the Conv1D text classifier.")
    commands = top.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train on labelled texts and write a run folder")
    add_sources(train, "--data", f"training data: {SOURCES}", required=True)
    _add_plan_flags(train)
    train.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the run folder to write")
    train.add_argument("--overwrite", action="store_true", help="replace an existing run folder")
    train.add_argument(
        "--resume", action="store_true", help="continue an interrupted training of the same run folder, if there is one"
    )
    train.add_argument(
        "--embeddings",
        type=Path,
        metavar="FILE",
        help="pretrained word vectors, in the text format of word2vec or GloVe",
    )

    train.add_argument(
        "--init-from",
        type=Path,
        metavar="RUN",
        help="start with the configuration, vocabulary and weights of another run, and learn from new texts; the "
        "labels must be the same, or more",
    )

    check = commands.add_parser("check-data", help="read data as train does, and report its contents and problems")
    add_sources(check, "data", SOURCES)
    _add_plan_flags(check)
    check.add_argument(
        "--label-errors",
        action="store_true",
        help="list the texts whose label a model of the other texts contradicts most, with the words responsible",
    )
    check.add_argument("--out", type=Path, metavar="FILE", help="write all texts of --label-errors, as JSON lines")

    evaluate = commands.add_parser("evaluate", help="measure a run or an artifact on labelled texts")
    evaluate.add_argument("run", type=Path, metavar="RUN", help="a run folder, or an artifact REPOSITORY/NAME/VERSION")
    add_sources(evaluate, "--data", f"data to measure on: {SOURCES}", required=True)
    add_reading_flags(evaluate)
    evaluate.add_argument(
        "--by", metavar="COLUMN", help="measure the texts with each value of this column separately too"
    )
    evaluate.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for metrics and plots (default: RUN/evaluation; none for an artifact)",
    )

    compare = commands.add_parser("compare", help="measure two runs or artifacts on the same labelled texts")
    compare.add_argument(
        "models", type=Path, nargs=2, metavar="RUN", help="a run folder, or an artifact REPOSITORY/NAME/VERSION"
    )
    add_sources(compare, "--data", f"data to measure on: {SOURCES}", required=True)
    add_reading_flags(compare)
    compare.add_argument(
        "--differences", type=Path, metavar="FILE", help="write the texts with different predictions, as JSON lines"
    )
    return top


def _add_plan_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags for the data and the configuration of a training."""
    add_sources(
        command,
        "--test-data",
        "what to measure on (default: the test part of the data, or --test-fraction of it)",
        default=[],
    )
    add_reading_flags(command)
    command.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="the configuration to start from (default: text-ensemble; text-cnn with --embeddings, and imdb-cnn for "
        "the data imdb)",
    )
    command.add_argument(
        "--test-fraction",
        type=_fraction,
        metavar="SHARE",
        default=0.2,
        help="share of the texts held out to measure on, if the data has no test part (default: 0.2)",
    )
    command.add_argument(
        "--validation-fraction",
        type=_fraction,
        metavar="SHARE",
        help="share of the training texts held out for early stopping, calibration and learning curves (default: 0.1 "
        "if the configuration needs them, else 0)",
    )
    domains = command.add_argument_group("domains", "for the preset reviews, whose data are folders")
    domains.add_argument(
        "--mixture", type=Path, metavar="FILE", help="plan of the mixture (default: that of the preset)"
    )
    domains.add_argument("--without", action="append", metavar="DOMAIN", help="leave out a domain; may be repeated")
    numbers = command.add_argument_group("configuration", "each flag replaces a value of the preset")
    for name, field in Configuration.model_fields.items():
        if name not in _NO_FLAG:
            meaning = f"{field.description} ({_presets(name)})".replace("%", "%%")
            numbers.add_argument(_flag(name), metavar=_metavar(field), help=meaning)
    numbers.add_argument(
        "--convolutions",
        metavar="WIDTH:FILTERS,...",
        help=f"banks of filters, for example 3:100,4:100,5:100 ({_presets('convolutions')})",
    )


def _metavar(field: FieldInfo) -> str:
    """Return what the help calls the value of a field: its choices or its kind."""
    if get_origin(field.annotation) is Literal:
        return f"{{{','.join(get_args(field.annotation))}}}"
    return {int: "N", str: "NAME"}.get(field.annotation, "NUMBER") if isinstance(field.annotation, type) else "NUMBER"


def _presets(name: str) -> str:
    """Return the value of a field in the default preset, and in the presets where it differs."""
    values = {preset: _shown(getattr(configuration, name)) for preset, configuration in PRESETS.items()}
    default = values["text-ensemble"]
    others = [f"{preset}: {value}" for preset, value in values.items() if value != default]
    return "; ".join([f"default: {default}", *others])


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{each.width}:{each.filters}" for each in value)
    return "none" if value is None else str(value)


def main(arguments: Sequence[str] | None = None, prog: str = "python -m model") -> int:
    """Run a command and return its exit status: 0, 2 after an error that the caller can fix, 130 if interrupted."""
    options = parser(prog).parse_args(arguments)
    quiet_tensorflow()
    handle_signals()
    try:
        return _run(options)
    except BadDataError as error:
        print(error.report, file=sys.stderr)
        return 2
    except SentimentError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        left = _left_behind(options.out) if options.command == "train" else "nothing was written"
        print(f"interrupted: {left}", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    if options.command in ("evaluate", "compare"):
        from sentiment_conv1d.model.evaluation import commands

        return commands.evaluate(options) if options.command == "evaluate" else commands.compare(options)
    return _train(options) if options.command == "train" else _check_data(options)


def _left_behind(out: Path) -> str:
    """Say what an interrupted training wrote, and how to continue it."""
    if epochs := checkpointed_epochs(out):
        return f"--resume continues after epoch {epochs[-1]}"
    if stages_folder(out).is_dir():
        return "the same command continues from the last checkpoint"
    return "nothing was written"


def _train(options: argparse.Namespace) -> int:
    from sentiment_conv1d.model.evaluation.terminal import value_lines
    from sentiment_conv1d.model.run import BAD_ROWS_FILE, ensure_free, read_run

    start = None if options.init_from is None else read_run(options.init_from)
    configuration = _configuration(options, start)
    ensure_free(options.out, options.overwrite)
    work = _plan(options, configuration, start)

    from sentiment_conv1d.model.training import trainer

    if options.resume and configuration.recipe == "labels":
        done = max(checkpointed_epochs(options.out), default=0)
        print(f"continuing after epoch {done}" if done else "there is no checkpoint, so the training starts")
    print(f"training on {work.source}, labels: {', '.join(work.label_names)}")
    measured = trainer.train(
        configuration,
        work,
        options.out,
        overwrite=options.overwrite,
        resume=options.resume,
        embeddings=options.embeddings,
        start=start,
        list_bad_rows=options.on_bad_rows == "report",
        progress=True,
    )
    if work.faults and options.on_bad_rows == "report":
        print(f"{options.out / BAD_ROWS_FILE} lists the rows that were left out")
    if measured.decision.calibration is not None:
        print(f"calibration: {measured.decision.calibration.describe()}")
    if measured.network is not None:
        print(f"measured on {work.test_source}:", *value_lines(measured.network.values()), sep="\n")
        if measured.baseline is not None:
            _print_baseline(measured.network, measured.baseline)
    print(f"wrote {options.out} (open {options.out / 'report.html'})")
    print(f"export it with: {next_command('export', str(options.out))}")
    return 0


def _check_data(options: argparse.Namespace) -> int:
    if options.out is not None and not options.label_errors:
        raise SentimentError("--out needs --label-errors")
    configuration = _configuration(options)
    work = _plan(options, configuration)
    if options.label_errors:
        from sentiment_conv1d.model.evaluation.label_errors import cross_validate

        examples = data.joined([work.train, work.validation, work.test])
        characters = configuration.tokenizer.startswith("characters")
        found = cross_validate(work.label_names, examples, characters=characters)
        print(*found.lines(_LABEL_ERRORS), sep="\n")
        if options.out is not None:
            found.write(options.out)
            print(f"wrote {options.out}")
    return 0


def _plan(options: argparse.Namespace, configuration: Configuration, start: Run | None = None) -> Plan:
    """Read the data, and print its profile and the rows that were left out."""
    validation_fraction = options.validation_fraction
    if validation_fraction is None:
        validation_fraction = _VALIDATION_FRACTION if configuration.needs_validation else 0
    if configuration.mixture is not None:
        return _mixture_plan(options, configuration, configuration.mixture, validation_fraction)
    dataset = data.load(
        locate(options.data),
        test_data=locate(options.test_data),
        unlabelled=configuration.recipe == "distillation",
        least_examples=1 + bool(options.test_fraction) + bool(validation_fraction),
        **reading_options(options),
    )
    work = data.plan(
        dataset,
        test_fraction=options.test_fraction,
        validation_fraction=validation_fraction,
        seed=configuration.seed,
        seen=None if start is None else start.trained_on,
    )
    words = () if start is None else start.tokenizer.words
    profile = data.profile(work, learn(configuration, work.train.texts, words))
    print(f"{work.source}:", *profile.lines(), sep="\n")
    for warning in profile.warnings():
        print(f"warning: {warning}")
    print_left_out(work.faults, every=options.command == "check-data" and options.on_bad_rows == "report")
    return work


def _mixture_plan(
    options: argparse.Namespace, configuration: Configuration, mixture: Mixture, validation_fraction: float
) -> Plan:
    """Read the texts of all domains, and print how many there are."""
    work = data.mixture_plan(mixture, list(map(Path, options.data)), validation_fraction, configuration.seed)
    assert work.sampling is not None
    print(f"{work.source}:", *work.sampling.lines(), sep="\n")
    for domain in sorted(mixture.domains.keys() - {*work.sampling.names}):
        print(f"warning: the plan of the mixture names {domain!r}, and the data has no such domain")
    return work


def _configuration(options: argparse.Namespace, start: Run | None = None) -> Configuration:
    if start is not None and options.preset is not None:
        raise SentimentError("--preset: a training with --init-from has the configuration of that run")
    initial = PRESETS[options.preset or _default_preset(options)] if start is None else start.configuration
    values: dict[str, Any] = initial.model_dump()
    for name in Configuration.model_fields:
        given = getattr(options, name, None)
        if given is not None:
            values[name] = _convolutions(given) if name == "convolutions" else given
    if values.get("recipe") == "mixture":
        plan = Mixture.read(options.mixture or DEFAULT_PLAN)
        values["mixture"] = plan.model_copy(update={"without": (*plan.without, *(options.without or ()))})
    elif options.mixture or options.without:
        raise SentimentError("--mixture and --without are for the preset reviews")
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = _flag(str(first["loc"][0])) + ": " if first["loc"] else ""
        raise SentimentError(place + first["msg"].removeprefix("Value error, ")) from error


def _default_preset(options: argparse.Namespace) -> str:
    if options.data == ["imdb"]:
        return "imdb-cnn"
    return "text-cnn" if getattr(options, "embeddings", None) else "text-ensemble"


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
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return value


def _print_baseline(network: Evaluation, baseline: Evaluation) -> None:
    from sentiment_conv1d.model.evaluation.baseline import BASELINE
    from sentiment_conv1d.model.evaluation.terminal import value_lines

    values = value_lines({"accuracy": baseline.accuracy, "log_loss": baseline.log_loss})
    print(f"{BASELINE} on the same texts:", *values, sep="\n")
    if network.accuracy < baseline.accuracy:
        print(
            f"warning: {BASELINE} is right more often than this network: try --preset text-ensemble, more --epochs or "
            "more --patience"
        )


if __name__ == "__main__":
    sys.exit(main())
