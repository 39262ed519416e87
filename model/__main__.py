"""`python -m model`: train and evaluate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sentiment_conv1d.model import data
from sentiment_conv1d.model.command_line import flag_name, parser
from sentiment_conv1d.model.commands.parser import next_command
from sentiment_conv1d.model.commands.tensorflow import import_tensorflow
from sentiment_conv1d.model.configuration import PRESETS, Configuration
from sentiment_conv1d.model.data import Plan
from sentiment_conv1d.model.data.flags import locate, print_left_out, reading_options
from sentiment_conv1d.model.data.mixture.stored_answers import StoredAnswers
from sentiment_conv1d.model.errors import SentimentError, run_command
from sentiment_conv1d.model.interruption import handle_signals
from sentiment_conv1d.model.mixture import DEFAULT_PLAN, Mixture
from sentiment_conv1d.model.run import Run, stages_folder
from sentiment_conv1d.model.tokenizer import learn

if TYPE_CHECKING:
    from sentiment_conv1d.model.evaluation.evaluation import Evaluation

#: The share of the training texts that is held out if the configuration needs held-out texts.
_VALIDATION_FRACTION = 0.1

#: The number of probable label errors that are printed.
_LABEL_ERRORS = 10


def main(arguments: Sequence[str] | None = None, prog: str = "python -m model") -> int:
    """Run a command and return its exit status: 0, 2 after an error that the caller can fix, 130 if interrupted."""
    options = parser(prog).parse_args(arguments)
    handle_signals()
    return run_command(lambda: _run(options), lambda: _left_behind(options))


def _run(options: argparse.Namespace) -> int:
    if options.command in ("evaluate", "compare"):
        from sentiment_conv1d.model.evaluation import commands

        return commands.evaluate(options) if options.command == "evaluate" else commands.compare(options)
    return _train(options) if options.command == "train" else _check_data(options)


def _left_behind(options: argparse.Namespace) -> str:
    """Say what an interrupted command wrote, and how to continue it."""
    if options.command == "train" and stages_folder(options.out).is_dir():
        return "the same command continues from the last checkpoint"
    return "nothing was written"


def _train(options: argparse.Namespace) -> int:
    from sentiment_conv1d.model.evaluation.terminal import value_lines
    from sentiment_conv1d.model.run import BAD_ROWS_FILE, ensure_free, read_run

    start = None if options.init_from is None else read_run(options.init_from)
    configuration = _configuration(options, start)
    ensure_free(options.out, options.overwrite)
    work = _plan(options, configuration, start)

    import_tensorflow()
    from sentiment_conv1d.model.training import trainer
    from sentiment_conv1d.model.training.task import Task

    task = Task(configuration, work, options.out, options.embeddings, start, options.overwrite, progress=True)
    print(f"training on {work.source}, labels: {', '.join(work.label_names)}")
    measured = trainer.train(task, segment_column=options.by, list_bad_rows=options.on_bad_rows == "report")
    if work.faults and options.on_bad_rows == "report":
        print(f"{options.out / BAD_ROWS_FILE} lists the rows that were left out")
    if measured.decision.calibration is not None:
        print(f"calibration: {measured.decision.calibration.describe()}")
    if measured.network is not None:
        print(f"measured on {work.test_source}:", *value_lines(measured.network.values()), sep="\n")
        if measured.segments is not None:
            print(*measured.segments.lines(), sep="\n")
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
        segment_column=getattr(options, "by", None),
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
    if getattr(options, "by", None) is not None:
        raise SentimentError("--by: a training with the preset reviews cannot measure segments; evaluate can")
    work = data.mixture_plan(mixture, list(map(Path, options.data)), validation_fraction, configuration.seed)
    sampling = work.sampling
    assert sampling is not None
    print(f"{work.source}:", *sampling.lines(), sep="\n")
    if mixture.answers is not None:
        beside, shipped = (
            plan.parent / mixture.answers for plan in (Path(options.mixture or DEFAULT_PLAN), DEFAULT_PLAN)
        )
        work = replace(
            work, answers=StoredAnswers.read(shipped if shipped.exists() and not beside.exists() else beside)
        )
    for domain in sorted(mixture.domains.keys() - {*sampling.names}):
        print(f"warning: the plan of the mixture names {domain!r}, and the data has no such domain")
    return work


def _configuration(options: argparse.Namespace, start: Run | None = None) -> Configuration:
    if start is not None and options.preset is not None:
        raise SentimentError("--preset: a training with --init-from has the configuration of that run")
    initial = PRESETS[options.preset or _default_preset(options)] if start is None else start.configuration
    values: dict[str, Any] = initial.model_dump()
    for name in Configuration.model_fields:
        if (given := getattr(options, name, None)) is not None:
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
        place = flag_name(str(first["loc"][0])) + ": " if first["loc"] else ""
        raise SentimentError(place + first["msg"].removeprefix("Value error, ")) from error


def _default_preset(options: argparse.Namespace) -> str:
    if options.data == ["imdb"]:
        return "imdb-cnn"
    return "text-cnn" if getattr(options, "embeddings", None) else "text-ensemble"


def _convolutions(text: str) -> list[dict[str, str]]:
    banks = [bank.partition(":") for bank in text.split(",")]
    return [{"width": width, "filters": filters} for width, _, filters in banks]


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
