"""What the file of a Keras model says about it, without loading the model."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py


def keras_version(path: Path) -> str:
    """Return the version of Keras that wrote a file; empty if the file does not state it."""
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                version = file.attrs.get("keras_version", "")
            return version.decode() if isinstance(version, bytes) else str(version)
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, LookupError, TypeError, ValueError, zipfile.BadZipFile):
        return ""


def has_only_weights(path: Path) -> bool:
    """Whether a file is a complete HDF5 file without the configuration of a model."""
    try:
        with h5py.File(path) as file:
            return "model_config" not in file.attrs
    except OSError:
        return False


def configured(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the configuration of every layer in a file; nothing if it cannot be read."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                configuration = json.loads(archive.read("config.json"))
        else:
            with h5py.File(path) as file:
                configuration = json.loads(file.attrs["model_config"])
    except (OSError, LookupError, ValueError, zipfile.BadZipFile):
        return
    yield from walk(configuration)


def functions(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the functions with which `TextVectorization` layers standardize or split texts, and the layers' names."""
    for layer in configured(path):
        if layer.get("class_name") == "TextVectorization":
            for argument in ("standardize", "split"):
                function = layer["config"].get(argument)
                if isinstance(function, dict) and {"class_name", "config"} <= function.keys():
                    yield str(layer["config"].get("name")), function


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the configurations in a configuration, such as those of the layers of a model."""
    if isinstance(value, dict):
        if isinstance(value.get("config"), dict):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from walk(each)
