"""`python -m research`: train the shipped models `accurate` and `reviews`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from research.configuration import ACCURATE, REVIEWS, DistillationConfiguration
from research.mixture.domains import MixturePlan, mixture_plan
from research.mixture.plan import DEFAULT_PLAN, Mixture
from sentiment_conv1d.artifact.tokenizer import learn
from sentiment_conv1d.commands.imports import import_tensorflow
from sentiment_conv1d.commands.parser import Parser, local_path
from sentiment_conv1d.commands.running import run_command
from sentiment_conv1d.model import data
from sentiment_conv1d.model.command_line import FRACTION, add_configuration_flags, configured
from sentiment_conv1d.model.data import Plan
from sentiment_conv1d.model.data.flags import (
    SOURCES,
    add_reading_flags,
    add_sources,
    locate,
    print_left_out,
    reading_of,
)
from sentiment_conv1d.model.run import ensure_free, stages_folder

#: The share of the training texts that is held out by default.
VALIDATION_FRACTION = 0.04


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status, as `run_command` does."""
    return run_command(_parser(), arguments, _run, lambda options: _left_behind(options.out))


def _parser() -> argparse.ArgumentParser:
    top = Parser(prog="python -m research", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    accurate = commands.add_parser("accurate", help="distill teachers that also read reviews without a label")
    add_sources(accurate, "--data", f"training data: {SOURCES}", required=True)
    add_sources(accurate, "--test-data", "what to measure on (default: the test split of the data)", default=[])
    accurate.add_argument(
        "--test-fraction",
        type=FRACTION,
        metavar="SHARE",
        default=0.2,
        help="share of the texts held out to measure on, if the data has no test split (default: 0.2)",
    )
    add_reading_flags(accurate)

    reviews = commands.add_parser("reviews", help="learn samples of several domains, with another model's answers")
    reviews.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="folders with train.csv, and perhaps test.csv and unlabelled.csv, or other formats that have columns",
    )
    reviews.add_argument(
        "--mixture",
        dest="plan",
        type=local_path,
        metavar="FILE",
        default=DEFAULT_PLAN,
        help="plan of the mixture (default: that of the shipped model)",
    )
    reviews.add_argument(
        "--without", action="append", default=[], metavar="DOMAIN", help="leave out a domain; may be repeated"
    )
    for command, preset in ((accurate, ACCURATE), (reviews, REVIEWS)):
        command.add_argument("--out", type=local_path, required=True, metavar="FOLDER", help="the run folder to write")
        command.add_argument("--overwrite", action="store_true", help="replace an existing run folder")
        command.add_argument(
            "--validation-fraction",
            type=FRACTION,
            metavar="SHARE",
            default=VALIDATION_FRACTION,
            help=f"share of the training texts held out to calibrate (default: {VALIDATION_FRACTION})",
        )
        add_configuration_flags(command, {preset.name: preset}, preset.name)
    return top


def _left_behind(out: Path) -> str:
    """Say what an interrupted training wrote, and how to continue it."""
    if stages_folder(out).is_dir():
        return "the same command continues from the last checkpoint"
    return "nothing was written"


def _run(options: argparse.Namespace) -> int:
    configuration: DistillationConfiguration
    work: Plan
    ensure_free(options.out, options.overwrite)
    if options.command == "accurate":
        configuration = configured(ACCURATE, options)
        work = _reviews_and_unlabelled(options, configuration)
    else:
        plan = Mixture.read(options.plan)
        mixture = plan.model_copy(update={"without": (*plan.without, *options.without)})
        configuration = configured(REVIEWS, options).model_copy(update={"mixture": mixture})
        work = _mixture(options, mixture, configuration.seed)

    import_tensorflow()
    from research.distillation import distill
    from research.mixture.training import distill_mixture
    from sentiment_conv1d.model.training import trainer
    from sentiment_conv1d.model.training.task import Task

    task = Task(configuration, work, options.out, overwrite=options.overwrite, progress=True)
    print(f"training on {data.use_of(configuration, work).learned_source}, labels: {', '.join(work.label_names)}")
    results = trainer.train(task, distill_mixture if isinstance(work, MixturePlan) else distill)
    print(*results.lines(work.test_source), f"wrote {options.out}", sep="\n")
    return 0


def _reviews_and_unlabelled(options: argparse.Namespace, configuration: DistillationConfiguration) -> Plan:
    """Read the texts with and without a label, and print their profile."""
    dataset = data.load(
        locate(options.data),
        test_data=locate(options.test_data),
        unlabelled=True,
        least_examples=1 + bool(options.test_fraction) + bool(options.validation_fraction),
        reading=reading_of(options),
    )
    work = data.plan(
        dataset,
        test_fraction=options.test_fraction,
        validation_fraction=options.validation_fraction,
        seed=configuration.seed,
    )
    profile = data.profile(data.use_of(configuration, work), learn(configuration, work.train.texts))
    print(f"{work.source}:", *profile.lines(), sep="\n")
    print_left_out(work.faults)
    return work


def _mixture(options: argparse.Namespace, mixture: Mixture, seed: int) -> MixturePlan:
    """Read the texts of all domains, and print how many there are."""
    work = mixture_plan(mixture, options.data, options.validation_fraction, seed, options.plan)
    print(f"{work.source}:", *work.sampling.lines(), sep="\n")
    named = mixture.in_last_epoch().domains.keys()
    for domain in sorted(named - {*work.sampling.names}):
        print(f"warning: the plan of the mixture names {domain!r}, and the data has no such domain")
    return work


if __name__ == "__main__":
    sys.exit(main())
