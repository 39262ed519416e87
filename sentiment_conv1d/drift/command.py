"""Runs the command `drift`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.errors import writing
from sentiment_conv1d.artifact.text_statistics import TextStatistics
from sentiment_conv1d.commands.default_repository import find_artifact
from sentiment_conv1d.commands.output import counted, table_lines
from sentiment_conv1d.drift.comparison import Bin, Comparison, compare, label_shares
from sentiment_conv1d.drift.log import Log, LoggedTexts, Version, read_log
from sentiment_conv1d.drift.page import HEAD, report, rows
from sentiment_conv1d.tables import DataError

#: The characters of a record's time up to its minutes.
_MINUTES = len("2026-11-02T09:30")

#: Exit status if the drift is above the limit.
_DRIFTED = 1


def drift(options: argparse.Namespace) -> int:
    """Compare a log with an artifact's statistics or another log. Returns the exit status.

    Raises `DataError`, also for options that exclude each other, and `ArtifactError` if the artifact cannot be read.
    """
    if options.artifact is not None and options.model is not None:
        raise DataError("--model goes with --against; with --artifact, the artifact says which model is compared")
    log = read_log(options.logs)
    if options.artifact is not None:
        manifest = read_artifact(find_artifact(options.artifact)).manifest
        if manifest.statistics is None:
            raise DataError(
                f"{options.artifact}: the manifest has no statistics; export the model with --data, or compare two "
                "logs with --against"
            )
        name, reference = f"{manifest.name} {manifest.version}", manifest.statistics
        texts = _find(log, manifest.name, manifest.version)
    else:
        other = read_log(options.against)
        name = options.model or _only_name(log)
        texts, before = _find(log, name), _find(other, name)
        reference = _statistics(options.against, other, before)
    observed = _statistics(options.logs, log, texts, reference)
    comparisons = compare(reference, observed)
    facts = [
        ("Before", f"{counted(reference.texts, 'text')} of {reference.source}"),
        ("Now", f"{counted(observed.texts, 'text')} of {observed.source}"),
    ]
    _print(name, facts, comparisons, label_shares(reference, observed))
    if options.out is not None:
        with writing(options.out):
            options.out.write_text(report(f"Drift of {name}", facts, comparisons), encoding="utf-8")
    drifted = any(each.psi > max(options.fail_above, each.chance) for each in comparisons)
    return _DRIFTED if drifted else 0


def _find(log: Log, name: str, version: int | None = None) -> LoggedTexts:
    """Return the texts of a version, or of all versions of a model. Raises `DataError` if there are none."""
    found = LoggedTexts()
    for logged, texts in log.texts.items():
        if logged.model == name and version in (None, logged.number) and texts.scores:
            found.extend(texts)
    if not found.scores:
        wanted = name if version is None else f"{name} {version}"
        raise DataError(f"the log contains no texts of {wanted}, but of: {_names(log.texts)}")
    return found


def _only_name(log: Log) -> str:
    names = {version.model for version in log.texts}
    if len(names) == 1:
        return names.pop()
    raise DataError(f"choose a model with --model; the log contains texts of: {_names(log.texts)}")


def _names(versions: dict[Version, LoggedTexts]) -> str:
    return ", ".join(f"{version.model} {version.number}" for version in sorted(versions)) or "no model"


def _statistics(
    paths: Sequence[Path], log: Log, texts: LoggedTexts, like: TextStatistics | None = None
) -> TextStatistics:
    """Return the statistics of texts in a log. Their source says in words what the log is."""
    names = paths[0].name if len(paths) == 1 else f"{len(paths)} files"
    skipped = f", without {counted(log.unreadable, 'unreadable line')}" if log.unreadable else ""
    first, last = (time[:_MINUTES].replace("T", " ") for time in texts.times)
    return TextStatistics.of(
        f"{names}, {first} to {last} UTC{skipped}",
        labels=texts.labels,
        scores=texts.scores,
        tokens=texts.tokens,
        unknown_tokens=texts.unknown_tokens,
        multilabel=texts.multilabel,
        like=like,
    )


def _print(
    name: str, facts: Sequence[tuple[str, str]], comparisons: Sequence[Comparison], shares: Sequence[Bin]
) -> None:
    print(name)
    for fact, value in facts:
        print(f"  {fact.lower()}: {value}")
    print("", *table_lines([HEAD, *rows(comparisons)], words=range(len(HEAD))), sep="\n")
    labels = [(each.name, f"{each.expected:.1%}", f"{each.actual:.1%}") for each in shares]
    print("", *table_lines([("Label", "Before", "Now"), *labels], words=range(3)), sep="\n")
