"""The model repository of commands that are not told which one to use.

They read `model_repository` in the working directory if this folder exists, and otherwise the shipped models. They
write only to `model_repository` in the working directory, never to the installed package.
"""

from __future__ import annotations

from pathlib import Path

import sentiment_conv1d

#: The folder in the working directory.
FOLDER = Path("model_repository")

#: The shipped models: in an installed package, and beside it in a checkout and in an image.
SHIPPED = Path(sentiment_conv1d.__path__[-1]) / "model_repository"


def readable_repository() -> Path:
    """Return the folder that commands read from by default."""
    return FOLDER if FOLDER.is_dir() else SHIPPED


def find_artifact(path: Path) -> Path:
    """Return the folder of an artifact that is given by its path, or as NAME/VERSION in either repository."""
    named = (each for each in (FOLDER / path, SHIPPED / path) if each.is_dir())
    return path if path.exists() else next(named, path)
