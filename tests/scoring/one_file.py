"""Scores one file in this process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sentiment_conv1d.scoring.files import Output, Source
from sentiment_conv1d.scoring.pool import Pool
from sentiment_conv1d.scoring.run import Job
from sentiment_conv1d.scoring.run import score_file as score
from sentiment_conv1d.scoring.session import Session


def score_file(
    source: Path, out: Path, classifier: Any, *, overwrite: bool = False, progress: bool = False, **settings: Any
) -> int:
    """Score a file. By default a bad row is an error. Returns the number of rows."""
    session = cast(Session, SimpleNamespace(classifier=lambda: classifier))
    job = Job(**{"on_bad_rows": "error"} | settings)
    return score(
        Source.at(source), Output(str(out)), Pool(session, 1), job, overwrite=overwrite, progress=progress
    ).rows
