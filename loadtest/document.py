"""The document of a test, `report.json`: its reports are made from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.measurement.step import Step
from sentiment_conv1d.artifact.errors import reading

Document = Mapping[str, Any]

#: Version of the document. Readers reject other versions.
FORMAT = 1

#: The keys of the steps of each kind, and those of a single step or None.
STEPS, SINGLE_STEPS = ("closed", "open", "protocols"), ("knee", "best")


def write_document(path: Path, document: Document) -> None:
    """Write a document as JSON."""
    path.write_text(json.dumps(document, indent=1, default=asdict) + "\n")


def read_document(path: Path) -> Document:
    """Read the document in a file, or in the folder of a report. Raises `LoadTestError`."""
    file = path / "report.json" if path.is_dir() else path
    try:
        with reading(file, LoadTestError):
            document = json.loads(file.read_text())
        form = document["format"]
        if form != FORMAT:
            raise LoadTestError(f"{file} has format {form}, but this program reads format {FORMAT}")
        steps = {kind: [Step.read(each) for each in document[kind]] for kind in STEPS}
        single = {name: document[name] and Step.read(document[name]) for name in SINGLE_STEPS}
    except (ValueError, KeyError, TypeError) as error:
        raise LoadTestError(f"{file} is not a report of a load test") from error
    return {**document, **steps, **single}
