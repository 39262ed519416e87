"""The run folder: everything one training leaves behind, complete or not there at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model.artifact import Metrics
from model.configuration import Configuration
from model.errors import SentimentError
from model.tokenizer import Tokenizer, TokenizerError

KERAS_FILE = "model.keras"
TOKENIZER_FILE = "tokenizer.json"
CONFIGURATION_FILE = "configuration.json"
HISTORY_FILE = "history.json"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
PLOTS_FOLDER = "plots"


class RunError(SentimentError):
    """A run folder that is missing, incomplete or in the way."""


@dataclass(frozen=True)
class Run:
    """What export and evaluation read of a run. `metrics` is None where nothing was held out to measure on."""

    path: Path
    configuration: Configuration
    tokenizer: Tokenizer
    metrics: Metrics | None

    @property
    def keras_file(self) -> Path:
        """The trained Keras model."""
        return self.path / KERAS_FILE


def read_run(path: Path) -> Run:
    """Read a run folder. Raises `RunError`, which names the file at fault."""
    if not path.is_dir():
        raise RunError(f"{path}: there is no such run folder")
    if not (path / KERAS_FILE).is_file():
        raise RunError(f"{path / KERAS_FILE}: the file is missing")
    configuration_text = _read(path / CONFIGURATION_FILE)
    metrics_text = _read(path / METRICS_FILE)
    try:
        configuration = Configuration.model_validate_json(configuration_text)
    except ValidationError as error:
        raise RunError(f"{path / CONFIGURATION_FILE}: {error}") from error
    try:
        tokenizer = Tokenizer.from_json(_read(path / TOKENIZER_FILE))
    except TokenizerError as error:
        raise RunError(f"{path / TOKENIZER_FILE}: {error}") from error
    try:
        metrics = None if json.loads(metrics_text) is None else Metrics.model_validate_json(metrics_text)
    except ValueError as error:
        raise RunError(f"{path / METRICS_FILE}: {error}") from error
    return Run(path, configuration, tokenizer, metrics)


def write_json(path: Path, document: Any) -> None:
    """Write a document as a person would read it."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def ensure_free(path: Path, overwrite: bool, marker: str = CONFIGURATION_FILE) -> None:
    """Raise `RunError` if `path` is taken and may not be replaced, so that hours of training are not lost to it.

    Only a folder that holds the file `marker` is ever replaced: a slip in a path must not delete something else.
    """
    if path.exists() and not overwrite:
        raise RunError(f"{path} exists: choose another folder or pass --overwrite")
    if path.exists() and not (path / marker).is_file():
        raise RunError(f"{path} exists and holds no {marker}: it will not be overwritten")


@contextmanager
def staging(path: Path, overwrite: bool = False, marker: str = CONFIGURATION_FILE) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and goes away when it does not."""
    ensure_free(path, overwrite, marker)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise RunError(f"{path.parent}: cannot be written to ({error.strerror})") from error
    try:
        temporary.chmod(0o755)
        yield temporary
        ensure_free(path, overwrite, marker)
        if path.exists():
            path.rename(temporary.with_name(temporary.name + "-replaced"))
        temporary.rename(path)
    finally:
        for leftover in (temporary, temporary.with_name(temporary.name + "-replaced")):
            shutil.rmtree(leftover, ignore_errors=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunError(f"{path}: the file is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error
