"""The command `predict`: scores files with the engine that the user chooses."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from glob import has_magic
from importlib import import_module
from pathlib import Path
from textwrap import shorten

from sentiment_conv1d.model.commands.counting import counted
from sentiment_conv1d.model.commands.parser import next_command
from sentiment_conv1d.model.tables import READABLE, DataError, Format, extension, open_table
from sentiment_conv1d.model.tables.files import is_compressed
from sentiment_conv1d.model.tables.format import read_format
from sentiment_conv1d.scoring.local import LocalEngine
from sentiment_conv1d.scoring.part import Job
from sentiment_conv1d.scoring.rows import keep_columns, select
from sentiment_conv1d.scoring.run import Engine, Output, Summary, score_sources
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.scoring.storage import STANDARD, Source, find_sources, is_remote
from sentiment_conv1d.scoring.writers import WRITABLE
from sentiment_conv1d.server.process.processors import processors
from sentiment_conv1d.service.models.startup import default_artifact
from sentiment_conv1d.service.settings import Settings

#: The most characters of a text that an error repeats.
_SHOWN_CHARACTERS = 60


def predict(options: Namespace, settings: Settings) -> int:
    """Score the files that the command line names, and return the exit status. Raises `DataError`."""
    _check_no_text(options.files)
    sources = find_sources(options.files)
    if STANDARD in options.files:
        if len(sources) > 1:
            raise DataError("standard input cannot be combined with files")
        sources = [sources[0]._replace(extension=f".{options.format}")]
    output = _output(options.files, sources, options.out)
    form = read_format(options)
    columns = None if options.columns is None else tuple(filter(None, options.columns.split(",")))
    job = Job(
        _session(settings),
        "",
        output.extension,
        text_column=options.text_column,
        columns=columns,
        explain=options.explain,
        max_characters=settings.max_text_characters,
    )
    job = job._replace(schema=_schema(sources[0], form, job))
    if job.explain:
        _check_explainable(job.session)
    if ".parquet" in (output.extension, *(source.extension for source in sources)):
        import_module("sentiment_conv1d.scoring.parquet")  # once for all processes
    with _engine(options, settings, job.session) as engine:
        summary = score_sources(
            sources,
            output,
            job,
            engine,
            on_bad_rows=options.on_bad_rows,
            form=form,
            part_rows=options.part_rows,
            overwrite=options.overwrite,
        )
    _report(output, summary)
    return 0


def _check_no_text(files: Sequence[str]) -> None:
    """Raise `DataError` if an argument is not a file, but probably a text to classify."""
    for place in files:
        if any(map(str.isspace, place)) and not is_remote(place) and not has_magic(place) and not os.path.exists(place):  # noqa: PTH110 - `Path.exists` raises if the name is too long
            command = next_command("explain", shorten(place, _SHOWN_CHARACTERS, placeholder=" ..."))
            raise DataError(f"there is no file of this name; predict takes files. To classify one text, run: {command}")


def default_output(source: Path) -> Path:
    """Return the default output for a file: next to it, in its format if that can be written, else JSONL.

    Raises `DataError` if the extension is not supported.
    """
    kind = extension(source)
    if kind not in READABLE:
        raise DataError(f"{source}: only these extensions can be read: {', '.join(READABLE)}")
    name = source.with_suffix("") if is_compressed(source) and source.with_suffix("").suffix else source
    return source.with_name(f"{name.stem}.predictions{kind if kind in WRITABLE else '.jsonl'}")


def _session(settings: Settings) -> Session:
    """Return a reference to the default model."""
    path = default_artifact(settings).path.absolute()
    return Session(str(path), settings.execution_provider, settings.threads, settings.device)


def _check_explainable(session: Session) -> None:
    """Raise `DataError` if the decisions of the model cannot be explained."""
    classifier = session.classifier()
    if not classifier.explainer.explainable:
        raise DataError(f"--explain: there is no exact explanation for model {classifier.manifest.name!r}")


def _engine(options: Namespace, settings: Settings, session: Session) -> AbstractContextManager[Engine]:
    if options.engine == "ray":
        from sentiment_conv1d.scoring.ray_data import score_on_ray

        return nullcontext(partial(score_on_ray, workers=options.workers))
    # Several processes would share the GPU.
    return LocalEngine(session, options.workers or (1 if session.uses_gpu() else processors()))


def _output(files: list[str], sources: list[Source], out: str | None) -> Output:
    """Return where the predictions go: beside a single file, or to a folder for several files."""
    if out == STANDARD or (out is None and files == [STANDARD]):
        return Output(STANDARD, True, ".jsonl")
    if out is None:
        if len(sources) > 1 or sources[0].place != files[0] or is_remote(files[0]):
            raise DataError("give the folder of the predictions with --out")
        out = str(default_output(Path(files[0])))
    extension = Path(out).suffix.lower()
    if Path(out).exists() and not (Path(out).is_dir() or extension in WRITABLE):
        raise DataError(f"{out}: is not a folder")
    if extension in WRITABLE and not is_remote(out) and not out.endswith("/") and not Path(out).is_dir():
        return Output(out, True, extension)
    if extension and extension not in WRITABLE and len(sources) == 1 and not is_remote(out) and not out.endswith("/"):
        raise DataError(f"{out}: only these extensions can be written: {', '.join(WRITABLE)}; a folder ends with /")
    extensions = {source.extension for source in sources}
    return Output(out, False, extensions.pop() if len(extensions) == 1 and extensions <= set(WRITABLE) else ".jsonl")


def _schema(source: Source, form: Format, job: Job) -> object:
    """Return the columns of the first JSON rows that can be scored, if all parts need the same columns."""
    if (
        source.extension not in (".jsonl", ".json")
        or job.extension == ".jsonl"
        or is_remote(source.place)
        or source.place == STANDARD
    ):
        return None
    with open_table(Path(source.place), form, []) as table:
        selected = (select(chunk, job.text_column, job.max_characters).chunk for chunk in table.chunks())
        chunk = next(filter(len, selected), None)
    if chunk is None:
        return None
    if job.columns is not None:
        chunk = keep_columns(chunk, job.columns)
    if job.extension == ".csv":
        return tuple(chunk.rows[0].values)
    from sentiment_conv1d.scoring.parquet import schema_of_rows

    return schema_of_rows(chunk)


def _report(output: Output, summary: Summary) -> None:
    to_file = output.place != STANDARD
    where = f" into {_printable(output.place)}" if to_file else ""
    print(f"{counted(summary.rows, 'review')} scored{where}", file=sys.stdout if to_file else sys.stderr)
    if summary.bad_rows:
        errors = summary.errors
        if errors is not None and not output.single:
            errors = os.path.join(output.place, errors)  # noqa: PTH118 - it can be a URL
        listed = "" if errors is None else f"; {errors} says why"
        print(f"{counted(summary.bad_rows, 'row')} cannot be scored{listed}", file=sys.stderr)


def _printable(place: str) -> str:
    """Return a path that every terminal takes: bytes that are not UTF-8 are escaped."""
    return place.encode(errors="backslashreplace").decode()
