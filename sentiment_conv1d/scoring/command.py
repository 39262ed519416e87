"""The command `predict`: scores files."""

from __future__ import annotations

import os
import sys
import threading
from argparse import Namespace
from collections.abc import Sequence
from glob import has_magic
from pathlib import Path
from textwrap import shorten

from tqdm import tqdm

from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.commands.parser import next_command
from sentiment_conv1d.scoring.files import (
    STANDARD,
    WRITABLE,
    Output,
    Source,
    check_local,
    default_output,
    find_sources,
)
from sentiment_conv1d.scoring.pool import Pool
from sentiment_conv1d.scoring.run import Job, Summary, score_file
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.server.process.processors import processors
from sentiment_conv1d.service.models.startup import default_artifact
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.tables import DataError
from sentiment_conv1d.tables.format import read_format

#: The most characters of a text that an error repeats.
_SHOWN_CHARACTERS = 60

#: The exit statuses of a run that wrote its outputs without all rows: every row of a file is bad, or some rows are.
ALL_ROWS_BAD, SOME_ROWS_BAD = 1, 3


def predict(options: Namespace, settings: Settings) -> int:
    """Score the files that the command line names, and return the exit status. Raises `DataError`.

    The status is 1 if every row of a file is bad, 3 if some rows are and the command line does not skip them, and
    otherwise 0.
    """
    job = Job(
        options.text_column,
        None if options.columns is None else tuple(filter(None, options.columns.split(","))),
        options.explain,
        settings.max_text_characters,
        options.on_bad_rows,
        read_format(options),
    )
    runs = _runs(options)
    waiting = [(source, output) for source, output in runs if not (options.resume and output.is_newer(source))]
    if len(waiting) < len(runs):
        print(f"{counted(len(runs) - len(waiting), 'file')} skipped: the output is newer", file=sys.stderr)
    if not waiting:
        return 0
    session = _session(settings)
    if job.explain:
        _check_explainable(session)
    workers = _workers(options.workers, session)
    # Only this process draws the bar. For tqdm's own lock, which several can share, Python 3.14 starts another process.
    tqdm.set_lock(threading.RLock())
    with Pool(session, workers) as pool:
        summaries = []
        for source, output in waiting:
            summary = score_file(source, output, pool, job, overwrite=options.overwrite or options.resume)
            _report(output, summary)
            summaries.append(summary)
    return _status(summaries, job)


def _status(summaries: Sequence[Summary], job: Job) -> int:
    incomplete = [summary for summary in summaries if summary.bad_rows]
    if not all(summary.rows for summary in incomplete):
        return ALL_ROWS_BAD
    return SOME_ROWS_BAD if incomplete and job.on_bad_rows != "skip" else 0


def _workers(wanted: int, session: Session) -> int:
    """Return how many processes score, and say so if they are fewer than wanted."""
    useful = processors()
    if wanted > useful:
        why = "more processes than processors take memory, and not less time"
        print(f"warning: --workers {wanted} is reduced to {useful}: {why}", file=sys.stderr)
    return min(wanted, useful) or (1 if session.uses_gpu() else useful)  # several would share the GPU


def _runs(options: Namespace) -> list[tuple[Source, Output]]:
    """Return the files to score and their outputs. Raises `DataError`."""
    _check_no_text(options.files)
    if STANDARD in options.files:
        if len(options.files) > 1:
            raise DataError("standard input cannot be combined with files")
        return [(Source(STANDARD, f".{options.format}"), _output(options.out or STANDARD))]
    sources = find_sources(options.files)
    if options.out is not None and not (Path(options.out).is_dir() or options.out.endswith("/")):
        if len(sources) > 1:
            raise DataError(f"{options.out}: the predictions of several files need a folder, which ends with /")
        return [(sources[0], _output(options.out))]
    folder = None if options.out is None else _folder(options.out)
    runs = []
    for source in sources:
        path = default_output(Path(source.location))
        runs.append((source, Output(str(path if folder is None else folder / path.name))))
    return _distinct(runs)


def _output(out: str) -> Output:
    check_local(out)
    output = Output(out)
    if out != STANDARD and output.extension not in WRITABLE:
        raise DataError(f"{out}: only these extensions can be written: {', '.join(WRITABLE)}; a folder ends with /")
    return output


def _folder(out: str) -> Path:
    check_local(out)
    folder = Path(out)
    if not folder.is_dir():
        raise DataError(f"{out}: there is no such folder")
    return folder


def _distinct(runs: list[tuple[Source, Output]]) -> list[tuple[Source, Output]]:
    """Leave out the files that are outputs of others. Raises `DataError` if two have the same output."""
    written: dict[Path, Source] = {}
    for source, output in runs:
        for path in output.paths:
            if written.setdefault(path.absolute(), source) != source:
                other = written[path.absolute()].location
                raise DataError(
                    f"{other} and {source.location} would both write {path}; score them one by one with --out"
                )
    return [(source, output) for source, output in runs if Path(source.location).absolute() not in written]


def _check_no_text(files: Sequence[str]) -> None:
    """Raise `DataError` if an argument is not a file, but probably a text to classify."""
    for file in files:
        if any(map(str.isspace, file)) and not has_magic(file) and not os.path.exists(file):  # noqa: PTH110 - `Path.exists` raises if the name is too long
            command = next_command("explain", shorten(file, _SHOWN_CHARACTERS, placeholder=" ..."))
            raise DataError(f"there is no file of this name; predict takes files. To classify one text, run: {command}")


def _session(settings: Settings) -> Session:
    """Return a reference to the default model."""
    path = default_artifact(settings).path.absolute()
    return Session(str(path), settings.execution_provider, settings.threads, settings.device)


def _check_explainable(session: Session) -> None:
    """Raise `DataError` if the decisions of the model cannot be explained."""
    classifier = session.classifier()
    if not classifier.explainer.explainable:
        raise DataError(f"--explain: there is no exact explanation for model {classifier.manifest.name!r}")


def _report(output: Output, summary: Summary) -> None:
    to_file = output.location != STANDARD
    where = f" into {_printable(output.location)}, described in {_printable(output.manifest.name)}" if to_file else ""
    print(f"{counted(summary.rows, 'text')} scored{where}", file=sys.stdout if to_file else sys.stderr)
    if summary.bad_rows:
        listed = "" if summary.errors is None else f"; {_printable(summary.errors)} says why"
        print(f"{counted(summary.bad_rows, 'row')} cannot be scored{listed}", file=sys.stderr)
    if summary.warning:
        print(f"warning: {summary.warning}", file=sys.stderr)
    if summary.hint:
        print(f"hint: {summary.hint}", file=sys.stderr)


def _printable(path: str) -> str:
    """Return a path that every terminal takes: bytes that are not UTF-8 are escaped."""
    return path.encode(errors="backslashreplace").decode()
