"""The model repository of commands that are not told which one to use.

They read `model_repository` in the working directory if this folder exists, and otherwise the shipped models. They
write only to `model_repository` in the working directory, never to the installed package.
"""

from __future__ import annotations

from pathlib import Path

#: The folder in the working directory.
FOLDER = Path("model_repository")

#: The models next to the code: in an installed package, in a checkout and in an image.
SHIPPED = Path(__file__).parents[2] / "model_repository"


def readable_repository() -> Path:
    """Return the folder that commands read from by default."""
    return FOLDER if FOLDER.is_dir() else SHIPPED


def find_artifact(place: Path) -> Path:
    """Return the folder of an artifact that is given by its path, or as NAME/VERSION in the default repository."""
    named = readable_repository() / place
    return named if not place.exists() and named.is_dir() else place
