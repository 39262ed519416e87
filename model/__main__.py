"""`python -m model`: train and evaluate."""

from __future__ import annotations

if __name__ == "__main__":
    from sentiment_conv1d.commands.startup import begin

    begin()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from sentiment_conv1d.artifact.artifact import versions
from sentiment_conv1d.artifact.decision import THRESHOLD
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.artifact.manifest import MANIFEST_FILE
from sentiment_conv1d.artifact.tokenizer import learn
from sentiment_conv1d.commands.default_repository import find_artifact
from sentiment_conv1d.commands.imports import ended_at_once, import_tensorflow
from sentiment_conv1d.commands.installation import training_packages
from sentiment_conv1d.commands.parser import next_command
from sentiment_conv1d.commands.running import run_command
from sentiment_conv1d.model import data
from sentiment_conv1d.model.command_line import configured, parser
from sentiment_conv1d.model.configuration import (
    FEWEST_TOKENS,
    MOST_TOKENS,
    PRESETS,
    RECIPES,
    Configuration,
    without_averages,
)
from sentiment_conv1d.model.data import Plan, Use
from sentiment_conv1d.model.data.flags import locate, print_left_out, reading_of
from sentiment_conv1d.model.duration import expected
from sentiment_conv1d.model.run import Run, read_run, stages_folder

if TYPE_CHECKING:
    from sentiment_conv1d.model.training.pretrained import Pretrained

#: The value of `--init-from` for a training that starts with random weights.
_ANEW = Path("none")

#: The number of probable label errors that are printed.
_LABEL_ERRORS = 10


def main(arguments: Sequence[str] | None = None, prog: str = "python -m model") -> int:
    """Run a command and return its exit status, as `run_command` does."""
    with training_packages(prog):
        return run_command(parser(prog), arguments, _run, _left_behind)


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
    from sentiment_conv1d.model.run import BAD_ROWS_FILE, ensure_free, ensure_writable

    start = None if options.init_from in (None, _ANEW) else _start(options.init_from)
    configuration = _configuration(options, start)
    if options.several_labels or options.label_columns:
        _check_several(options, configuration, start)
    ensure_free(options.out, options.overwrite)
    ensure_writable(options.out, configuration)
    configuration, use = _plan(options, configuration, start)
    work = use.plan
    if options.dry_run:
        return 0

    with ended_at_once():
        import_tensorflow()
        from sentiment_conv1d.model.evaluation.shipped import measure_shipped
        from sentiment_conv1d.model.training import trainer
        from sentiment_conv1d.model.training.task import Task

    shipped = {}
    if work.test is not None and options.init_from != _ANEW:
        shipped = measure_shipped(work.label_names, work.test)
    task = Task(
        configuration,
        work,
        options.out,
        options.embeddings,
        start,
        _shipped(options, configuration, work),
        options.overwrite,
        progress=True,
    )
    print(f"training on {use.learned_source}, labels: {', '.join(work.label_names)}")
    results = trainer.train(
        task, segment_column=options.by, shipped=shipped, list_bad_rows=options.on_bad_rows == "report"
    )
    if work.faults and options.on_bad_rows == "report":
        print(f"{options.out / BAD_ROWS_FILE} lists the rows that were left out")
    for line in results.lines(work.test_source):
        print(line)
    print(f"wrote {options.out} (open {options.out / 'report.html'})")
    print(f"export it with: {next_command('export', str(options.out))}")
    return 0


def _check_data(options: argparse.Namespace) -> int:
    if options.out is not None and not options.label_errors:
        raise SentimentError("--out needs --label-errors")
    configuration, use = _plan(options, _configuration(options))
    if options.label_errors:
        from sentiment_conv1d.model.evaluation.label_errors import cross_validate, one_by_one, write

        work = use.plan
        examples = data.joined([work.train, work.validation, work.test])
        characters = configuration.tokenizer.startswith("characters")
        found = [
            cross_validate(names, each, characters=characters) for names, each in one_by_one(work.label_names, examples)
        ]
        for each in found:
            print(*each.lines(_LABEL_ERRORS), sep="\n")
        if options.out is not None:
            write(options.out, found)
            print(f"wrote {options.out}")
    return 0


def _plan(
    options: argparse.Namespace, configuration: Configuration, start: Run | Pretrained | None = None
) -> tuple[Configuration, Use]:
    """Read the data, and print what a training does with it, its profile and the rows that were left out.

    Returns the configuration too. If neither a flag nor a run to start from says how many tokens an ensemble reads, the
    training texts do.
    """
    dataset = data.load(
        locate(options.data),
        test_data=locate(options.test_data),
        reading=reading_of(options, getattr(options, "by", None)),
        least_examples=1 + bool(options.test_fraction) + bool(options.validation_fraction),
    )
    work = data.plan(
        dataset,
        test_fraction=options.test_fraction,
        validation_fraction=options.validation_fraction,
        seed=configuration.seed,
        seen=None if start is None else start.trained_on,
    )
    if start is None and configuration.recipe == "ensemble" and options.max_tokens is None:
        tokenizer = learn(configuration, work.train.texts)
        length = data.fitting_length(work.train.texts, tokenizer, FEWEST_TOKENS, MOST_TOKENS)
        configuration = configuration.changed(max_tokens=length)
    known = None if start is None else start.tokenizer
    use = data.use_of(configuration, work, continues_run=isinstance(start, Run))
    tokenizer = learn(configuration, use.given.texts, () if known is None else known.words)
    profile = data.profile(use, tokenizer, known)
    print(f"{work.source}:", *profile.lines(), sep="\n")
    if use.in_turn:
        print(f"  to decide on: {use.decided_source}")
    if options.command == "train":
        tokens, texts = mean(profile.lengths), len(use.given)
        print(f"  {expected(configuration, texts, tokens, stops_early=work.validation is not None)}")
    for warning in profile.warnings():
        print(f"warning: {warning}")
    print_left_out(work.faults, every=options.command == "check-data" and options.on_bad_rows == "report")
    return configuration, use


def _start(path: Path) -> Run | Pretrained:
    """Read the run or the artifact that a training starts with."""
    from sentiment_conv1d.model.training.pretrained import read_pretrained

    path = find_artifact(path)
    is_artifact = (path / MANIFEST_FILE).is_file() or versions(path.parent, path.name)
    return read_pretrained(path) if is_artifact else read_run(path)


def _shipped(options: argparse.Namespace, configuration: Configuration, work: Plan) -> Pretrained | None:
    """Return the shipped model that a second training starts with, if the flags leave the choice and it can be made."""
    from sentiment_conv1d.model.evaluation.shipped import best_shipped
    from sentiment_conv1d.model.training.pretrained import read_pretrained

    is_free = options.init_from is None and options.tokenizer is None and configuration.recipe == "ensemble"
    path = best_shipped(work.label_names) if is_free and work.validation is not None else None
    return None if path is None else read_pretrained(path)


def _configuration(options: argparse.Namespace, start: Run | Pretrained | None = None) -> Configuration:
    if start is None:
        return configured(PRESETS[options.preset or _default_preset(options)], options)
    if not isinstance(start, Run):
        fresh = configured(PRESETS[options.preset or "text-ensemble"], options)
        if fresh.recipe != "ensemble":
            raise SentimentError("--preset: a training from an artifact needs text-ensemble")
        for name in ("tokenizer", "members"):
            if getattr(options, name) is not None:
                raise SentimentError(f"--{name}: a training from {start.path} cannot change it")
        return start.continued(fresh)
    if options.preset is not None:
        raise SentimentError("--preset: a training with --init-from has the configuration of that run")
    recorded = start.configuration
    if recorded.recipe not in RECIPES:
        raise SentimentError(f"--init-from: a run with the recipe {recorded.recipe} cannot be continued: {start.path}")
    if recorded.recipe == "ensemble":
        recorded = without_averages(recorded)
    return configured(Configuration.model_validate(recorded.model_dump()), options)


def _check_several(options: argparse.Namespace, configuration: Configuration, start: Run | Pretrained | None) -> None:
    """Raise `SentimentError` if a training with several labels for a text cannot do what a flag says."""
    refused = {
        "--init-from: a training with several labels for a text starts from no other run": start is not None,
        "--by: the segments of texts with several labels are not measured": options.by is not None,
        "--threshold: the held-out texts choose a threshold for each label": configuration.threshold != THRESHOLD,
        "--class-weights: several labels for a text cannot be weighed": configuration.class_weights != "none",
        "a text can have several labels only in a network that Keras fits: pass --preset text-cnn": (
            configuration.recipe != "labels"
        ),
    }
    for message, is_refused in refused.items():
        if is_refused:
            raise SentimentError(message)


def _default_preset(options: argparse.Namespace) -> str:
    if options.data == ["imdb"]:
        return "imdb-cnn"
    several = options.several_labels or options.label_columns
    return "text-cnn" if several or getattr(options, "embeddings", None) else "text-ensemble"


if __name__ == "__main__":
    sys.exit(main())
