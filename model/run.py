"""The run folder, which contains everything that a training writes. It exists only if it is complete."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.errors import SentimentError, first_fault, reading
from sentiment_conv1d.artifact.explaining.network import QuantizedTables
from sentiment_conv1d.artifact.layers import Bank
from sentiment_conv1d.artifact.manifest import Metrics, TrainingData
from sentiment_conv1d.artifact.text_statistics import TextStatistics
from sentiment_conv1d.artifact.tokenizer import TokenizerError, VocabularyTokenizer, read_vocabulary_tokenizer
from sentiment_conv1d.inference.graph_file import read_network
from sentiment_conv1d.model.data import DataError, TrainingTexts

KERAS_FILE = "model.keras"
TOKENIZER_FILE = "tokenizer.json"
CONFIGURATION_FILE = "configuration.json"
TRAINING_TEXTS_FILE = "training_texts.npy"
HISTORY_FILE = "history.json"
METRICS_FILE = "metrics.json"
STATISTICS_FILE = "text_statistics.json"
DECISION_FILE = "decision.json"
DATA_FILE = "data.json"
INHERITED_FILE = "inherited.json"
KEPT_FILE = "kept.onnx"
REPORT_FILE = "report.html"
BAD_ROWS_FILE = "bad_rows.jsonl"
PLOTS_FOLDER = "plots"
EVALUATION_FOLDER = "evaluation"

#: The contents of each kind of folder. The first file identifies the kind.
RUN_CONTENTS = (
    CONFIGURATION_FILE,
    KERAS_FILE,
    TOKENIZER_FILE,
    TRAINING_TEXTS_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    STATISTICS_FILE,
    DECISION_FILE,
    DATA_FILE,
    INHERITED_FILE,
    KEPT_FILE,
    REPORT_FILE,
    BAD_ROWS_FILE,
    PLOTS_FOLDER,
    EVALUATION_FOLDER,
)
EVALUATION_CONTENTS = (METRICS_FILE, BAD_ROWS_FILE, PLOTS_FOLDER)


#: The copies of the embedding that a training writes: of the network, and of two checkpoints with the optimizer's sums.
_COPIES = 5

Document = TypeVar("Document", bound=BaseModel)


class RunError(SentimentError):
    """A run folder is missing or incomplete, or it exists and must not be replaced."""


class Inherited(BaseModel):
    """What applies to a run because its training started with the weights of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str  # name and version of the artifact
    precision: Literal["float32", "uint8", "int8"]  # of its tables
    license: str | None
    notes: str  # of its card
    is_kept: bool = False  # whether the run has its network, and learned none of the texts

    def card(self) -> str:
        """Return what the card of the run says about it, in Markdown."""
        about = f"## Continued from {self.model}\n\nThe training started with the weights of {self.model}, "
        if self.is_kept:
            about += (
                "and kept its vocabulary and its filters. Labels, calibration and limits of confidence can differ. The "
                "sources of its training texts and their terms apply to this model too."
            )
        else:
            about += (
                "so the sources of its training texts and their terms apply to this model too. How many texts of those "
                "sources it still answers correctly was not measured. Expect fewer, because a model forgets some of "
                "what it does not see again."
            )
        if not self.notes:
            return about
        demoted = re.sub(r"^#", "##", self.notes, flags=re.MULTILINE)
        return f"{about}\n\nThe card of {self.model} says about that model:\n\n{demoted}"


@dataclass(frozen=True)
class Run:
    """The part of a run that export and evaluation read."""

    path: Path
    configuration: BaseConfiguration
    tokenizer: VocabularyTokenizer
    metrics: Metrics | None  # None if there were no test texts
    trained_on: TrainingTexts | None  # None in a run of an older version
    decision: DecisionRule
    statistics: TextStatistics | None = None  # None without test texts, and in a run of an older version
    data: TrainingData | None = None  # None in a run of an older version
    inherited: Inherited | None = None  # None if it did not start with an artifact

    @property
    def title(self) -> str:
        """The name of the folder."""
        return self.path.name

    @property
    def weights_file(self) -> Path:
        """The trained Keras model."""
        return self.path / KERAS_FILE

    def kept_banks(self) -> tuple[tuple[Bank, QuantizedTables], ...]:
        """Return the banks of the artifact whose network the training kept, and their tables.

        Return none if it kept none, or one that is not 8-bit. Raises `RunError`.
        """
        if self.inherited is None or not self.inherited.is_kept:
            return ()
        path = self.path / KEPT_FILE
        with reading(path, RunError):
            network = read_network(path.read_bytes())
        if network is None:
            raise RunError(f"{path}: not the graph of a network that a training can keep")
        pairs = zip(network.banks, network.tables, strict=True)
        return tuple((bank, tables) for bank, tables in pairs if isinstance(tables, QuantizedTables))


def read_run(path: Path) -> Run:
    """Read a run folder. Raises `RunError`, which names the file."""
    if not path.is_dir():
        raise RunError(f"{path}: there is no such run folder")
    if not (path / KERAS_FILE).is_file():
        raise RunError(f"{path / KERAS_FILE}: the file is missing")
    try:
        tokenizer = read_vocabulary_tokenizer(_read(path / TOKENIZER_FILE))
        trained_on = TrainingTexts.read(path / TRAINING_TEXTS_FILE) if (path / TRAINING_TEXTS_FILE).exists() else None
    except TokenizerError as error:
        raise RunError(f"{path / TOKENIZER_FILE}: {error}") from error
    except DataError as error:
        raise RunError(str(error)) from error
    return Run(
        path,
        _parsed(path / CONFIGURATION_FILE, BaseConfiguration),
        tokenizer,
        _parsed(path / METRICS_FILE, Metrics | None),
        trained_on,
        _optional(path / DECISION_FILE, DecisionRule) or DecisionRule(),
        _optional(path / STATISTICS_FILE, TextStatistics),
        _optional(path / DATA_FILE, TrainingData),
        _optional(path / INHERITED_FILE, Inherited),
    )


def stages_folder(run: Path) -> Path:
    """Return the folder with the finished stages of the training that writes `run`."""
    return run.with_name(f"{run.name}.stages")


def write_json(path: Path, document: Any) -> None:
    """Write a document as indented JSON."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def ensure_free(path: Path, overwrite: bool, contents: Sequence[str] = RUN_CONTENTS) -> None:
    """Raise `RunError` if `path` exists and must not be replaced. Call it before a training of several hours.

    Only a folder that contains the first of `contents`, and nothing but `contents`, is ever replaced, so that a typo in
    a path does not delete something else.
    """
    try:
        if not path.exists() and not path.is_symlink():
            return
        present = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    if not overwrite:
        raise RunError(f"{path} exists: choose another folder or pass --overwrite")
    if path.is_symlink():
        raise RunError(f"{path} is a link: it will not be overwritten")
    if contents[0] not in present:
        raise RunError(f"{path} exists and contains no {contents[0]}: it will not be overwritten")
    if strange := sorted(present - set(contents)):
        raise RunError(f"{path} contains {strange[0]}, which would be lost: it will not be overwritten")


def ensure_writable(path: Path, configuration: BaseConfiguration) -> None:
    """Raise `RunError` if the folder `path` cannot be written, or its disk has too little space for the training.

    Writes nothing that stays. Call it before a training of several hours.
    """
    home = next(each for each in path.absolute().parents if each.exists())
    needed = _COPIES * 4 * configuration.vocabulary_size * configuration.embedding_width
    with reading(path, RunError, "written to"):
        with TemporaryDirectory(prefix=f".{path.name}-", dir=home):
            free = shutil.disk_usage(home).free
        if free < needed:
            said = f"{free / 1e6:,.0f} MB of the disk are free, and the training writes about {needed / 1e6:,.0f} MB"
            raise OSError(errno.ENOSPC, said)


@contextmanager
def staging(path: Path, overwrite: bool = False, contents: Sequence[str] = RUN_CONTENTS) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` if the block succeeds, and is removed if it fails.

    Raises `RunError` as `ensure_free` does, and if the folder cannot be written to.
    """
    ensure_free(path, overwrite, contents)
    with reading(path.parent, RunError, "written to"):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent, ignore_cleanup_errors=True)
    temporary, replaced = Path(folder.name, "new"), Path(folder.name, "replaced")
    with folder, reading(path, RunError, "written to"):
        temporary.mkdir()
        temporary.chmod(0o755)
        try:
            yield temporary
        except OSError as error:
            # HDF5 repeats the path of the file in the message.
            said = str(error.strerror or error).replace(str(temporary), str(path))
            raise OSError(error.errno, said) from error
        ensure_free(path, overwrite, contents)
        try:
            if path.exists():
                path.rename(replaced)
            temporary.rename(path)
        finally:
            if replaced.exists() and not path.exists():
                replaced.rename(path)


def _parsed(path: Path, kind: Any) -> Any:
    """Read a JSON document of this kind."""
    try:
        return TypeAdapter(kind).validate_json(_read(path))
    except ValidationError as error:
        raise RunError(f"{path}: {first_fault(error)}") from error


def _optional(path: Path, kind: type[Document]) -> Document | None:
    """Read a file that not every run has; None if it is missing."""
    document: Document | None = _parsed(path, kind) if path.exists() else None
    return document


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunError(f"{path}: the file is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error
