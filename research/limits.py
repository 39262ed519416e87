"""Measure the limits of `confident` of an artifact: `python -m research.limits ARTIFACT --data TEXTS`.

The texts that its training held out are held out again, so the texts, the share and the seed must be those of that
training. A model that has learned all texts has no answers that show how it answers others. It gets the limits of other
trainings of the same network, which held some texts out (`--runs`): the highest of each label, because trainings differ
by chance. Only the manifest and the card are written.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from research.__main__ import VALIDATION_FRACTION
from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.artifact.decision import MIN_PRECISION, DecisionRule
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.artifact.manifest import MANIFEST_FILE
from sentiment_conv1d.artifact.model_card import CARD_FILE, model_card
from sentiment_conv1d.commands.parser import Parser, local_path, number
from sentiment_conv1d.commands.running import run_command
from sentiment_conv1d.model import data
from sentiment_conv1d.model.data.flags import SOURCES, add_reading_flags, add_sources, locate, reading_of
from sentiment_conv1d.model.evaluation.candidate import open_candidate
from sentiment_conv1d.model.evaluation.confidence import confidence_lines, with_limits
from sentiment_conv1d.model.evaluation.multilabel import of_one_label
from sentiment_conv1d.model.run import read_run

_SHARE = number(float, "a number above 0 and below 1", lambda value: 0 < value < 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status, as `run_command` does."""
    return run_command(_parser(), arguments, _run)


def _parser() -> argparse.ArgumentParser:
    top = Parser(prog="python -m research.limits", description="Measure the limits of `confident` of an artifact.")
    top.add_argument("artifact", type=local_path, metavar="ARTIFACT", help="a folder REPOSITORY/NAME/VERSION")
    add_sources(top, "--data", f"the texts of the training: {SOURCES}")
    top.add_argument(
        "--runs",
        type=local_path,
        nargs="+",
        metavar="RUN",
        help="runs of the same network, whose limits were measured on texts that they have not learned",
    )
    add_reading_flags(top)
    top.add_argument(
        "--validation-fraction",
        type=_SHARE,
        default=VALIDATION_FRACTION,
        metavar="SHARE",
        help=f"share of the texts that the training held out (default: {VALIDATION_FRACTION})",
    )
    top.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the training (default: 0)")
    top.add_argument(
        "--min-precision",
        type=_SHARE,
        default=MIN_PRECISION,
        metavar="NUMBER",
        help=f"share of right predictions of each label (default: {MIN_PRECISION})",
    )
    return top


def _run(options: argparse.Namespace) -> int:
    if (options.data is None) == (options.runs is None):
        raise SentimentError("pass either --data or --runs")
    artifact = read_artifact(options.artifact)
    rule = _of_runs(artifact, options.runs) if options.runs else _of_data(artifact, options)
    manifest = artifact.manifest.model_copy(update={"decision": rule})
    (artifact.path / MANIFEST_FILE).write_bytes(manifest.to_bytes())
    if (artifact.path / CARD_FILE).exists():
        (artifact.path / CARD_FILE).write_text(model_card(manifest), encoding="utf-8")
    print(f"wrote {artifact.path / MANIFEST_FILE}: confident from {rule.confident_from}, chosen on {rule.chosen_on}")
    return 0


def _of_data(artifact: Artifact, options: argparse.Namespace) -> DecisionRule:
    """Return the decision rule with limits that are measured on the texts which the training held out."""
    dataset = data.load(locate(options.data), reading=reading_of(options))
    if dataset.label_names != artifact.manifest.labels:
        raise SentimentError(f"the labels of the data are {', '.join(dataset.label_names)}: see --label-map")
    work = data.plan(dataset, test_fraction=0, validation_fraction=options.validation_fraction, seed=options.seed)
    assert work.validation is not None
    evaluation = of_one_label(open_candidate(artifact.path).evaluate(work.validation, True))
    rule = with_limits(artifact.manifest.decision, evaluation, options.min_precision)
    print(f"accuracy {evaluation.accuracy:.4f}", *confidence_lines(evaluation, rule), sep="\n")
    return rule.model_copy(update={"chosen_on": work.validation_source})


def _of_runs(artifact: Artifact, paths: Sequence[Path]) -> DecisionRule:
    """Return the decision rule with the highest limit of each label in runs of the same network."""
    runs = [read_run(path) for path in paths]
    for run in runs:
        if _network(run.configuration.model_dump(mode="json")) != _network(artifact.manifest.configuration or {}):
            raise SentimentError(f"{run.path}: the run is not a training of the network of {artifact.path}")
    labels = artifact.manifest.labels
    highest: dict[str, float | None] = {}
    for label, *limits in zip(labels, *(run.decision.limits(labels) for run in runs), strict=True):
        known = [limit for limit in limits if limit is not None]
        if len(known) == len(limits):
            highest[label] = max(known) if max(known) < math.inf else None
    sources = ", ".join(dict.fromkeys(run.decision.chosen_on or "" for run in runs))
    return artifact.manifest.decision.model_copy(
        update={
            "confident_from": highest,
            "min_precision": runs[0].decision.min_precision,
            "chosen_on": f"{sources}, in each of {len(runs)} other trainings of this network, of which the highest "
            "limits count",
        }
    )


def _network(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the seed."""
    return {name: value for name, value in configuration.items() if name != "seed"}


if __name__ == "__main__":
    sys.exit(main())
