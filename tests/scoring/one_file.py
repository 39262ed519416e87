"""Scores one file in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sentiment_conv1d.scoring.part import Job, Result, score_part
from sentiment_conv1d.scoring.plan import Part
from sentiment_conv1d.scoring.run import Output, score_sources
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.scoring.storage import find_sources


def in_process(job: Job, parts: Iterator[Part]) -> Iterator[Result]:
    """Score parts one after the other. This is the simplest engine."""
    return (score_part(job, part) for part in parts)


def score_file(
    source: Path, out: Path, classifier: Any, *, text_column: str = "text", progress: bool = False, **settings: Any
) -> int:
    """Score a file as one part. By default a bad row is an error. Returns the number of rows."""
    session = cast(Session, SimpleNamespace(classifier=lambda: classifier))
    extension = out.suffix.lower()
    job = Job(session, "", extension, text_column=text_column)
    output = Output(str(out), True, extension)
    settings = {"on_bad_rows": "error"} | settings
    return score_sources(find_sources([str(source)]), output, job, in_process, progress=progress, **settings).rows
