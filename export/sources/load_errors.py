"""Why Keras cannot load a file, and what to do about it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.sources.keras_2 import SAVED_MODEL
from sentiment_conv1d.export.sources.keras_configuration import configured, functions, has_only_weights, keras_version

#: The extensions of files that only running their code could read.
PICKLES = (".pickle", ".pkl", ".joblib")

#: The name of a class or function of the user in an error of Keras.
_MISSING = re.compile(
    r"(?:Could not locate (?:class|function)|Unknown layer:) '?(?:\w+>)?(\w+)|identifier: .*'class_name': '(\w+)'"
)


class _Failure(NamedTuple):
    """A file that Keras cannot load, and the message of its error."""

    path: Path
    error: str
    version: str  # of Keras, which wrote the file; empty if it is unknown


class _Reason(NamedTuple):
    """A possible reason, which holds if `test` returns a true value. `message` names it in place of {}."""

    test: Callable[[_Failure], str | bool]
    message: str
    hint: str


def load_error(path: Path, error: Exception) -> ExportError:
    """Return the error for a file that Keras cannot load, with the first reason that holds."""
    failure = _Failure(path, str(error), keras_version(path))
    found = ((reason.test(failure), reason) for reason in _REASONS)
    named, reason = next((named, reason) for named, reason in found if named)
    return ExportError(f"{path}: {reason.message.format(named)}", reason.hint)


def _lambdas(failure: _Failure) -> str:
    found = (each["config"].get("name") for each in configured(failure.path) if each.get("class_name") == "Lambda")
    return ", ".join(map(str, found))


def _text_lambda(failure: _Failure) -> str:
    found = (layer for layer, function in functions(failure.path) if function["class_name"] == "__lambda__")
    return next(found, "")


def _keras_1(failure: _Failure) -> str:
    return failure.version if failure.version.startswith("1.") else ""


def _keras_2(failure: _Failure) -> str:
    return failure.version if failure.version.startswith("2.") else ""


def _archive_of_keras_2(failure: _Failure) -> str:
    return _keras_2(failure) if zipfile.is_zipfile(failure.path) else ""


def _text_of_keras_2(failure: _Failure) -> str:
    reads_text = any(each.get("class_name") == "TextVectorization" for each in configured(failure.path))
    return _archive_of_keras_2(failure) if reads_text else ""


def _only_weights(failure: _Failure) -> bool:
    return has_only_weights(failure.path)


def _pickle(failure: _Failure) -> bool:
    return failure.path.suffix in PICKLES


def _missing(failure: _Failure) -> str:
    found = _MISSING.search(failure.error)
    return "" if found is None else found[1] or found[2]


def _missing_in_keras_2(failure: _Failure) -> str:
    return _missing(failure) if _keras_2(failure) else ""


def _cause(failure: _Failure) -> str:
    """Return the error of a layer without the description of the layer."""
    return quoted(failure.error.rsplit("Exception encountered: ", maxsplit=1)[-1]) or "no message"


def _cause_in_keras_2(failure: _Failure) -> str:
    return _cause(failure) if _keras_2(failure) else ""


_OLD_ARCHIVE = "Keras {} wrote this file, and Keras 3 reads a .keras file only if Keras 3 wrote it"
_LACKING = "{} is a class or function that Keras 3 lacks"
_UNKNOWN = "not a Keras model that can be loaded ({})"

#: The reasons, in the order in which they are tested. The last one always holds.
_REASONS = (
    _Reason(
        _lambdas,
        "layer {} is a Lambda, whose Python code is not loaded",
        "replace it with layers or operations of Keras, and save the model again",
    ),
    _Reason(
        _text_lambda,
        "layer {} standardizes or splits texts with a lambda, whose code is not loaded",
        "write the model with `model.export(folder)`, whose graph contains the function",
    ),
    _Reason(_keras_1, "Keras {} wrote this file", "load it with Keras 2.2, save it again and export the new file"),
    _Reason(_text_of_keras_2, _OLD_ARCHIVE, SAVED_MODEL),
    _Reason(
        _archive_of_keras_2,
        _OLD_ARCHIVE,
        "load it with Keras 2, save it with `model.save('model.h5')` and export the new file",
    ),
    _Reason(
        _only_weights,
        "the file contains weights, but no layers",
        "build the model, read the file with `model.load_weights` and write `model.save('model.keras')`",
    ),
    _Reason(
        _pickle,
        "a pickle can run any code, so it is never read",
        "load it where it was written, and write `model.save('model.keras')`",
    ),
    _Reason(_missing_in_keras_2, _LACKING, SAVED_MODEL),
    _Reason(
        _missing,
        _LACKING,
        "write the model with `model.export(folder)`, which contains the computation, or build it from Keras' own "
        "layers, load its weights and save it as .keras",
    ),
    _Reason(_cause_in_keras_2, _UNKNOWN, SAVED_MODEL),
    _Reason(_cause, _UNKNOWN, "write the file with `model.save('model.keras')`"),
)
