"""Compares this service with typical applications.

`python -m benchmarks` prints their tables as Markdown.
"""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parent.parent / "model_repository"

#: The shipped model that this service, the applications and the other servers are measured with.
ARTIFACT = REPOSITORY / "imdb-cnn" / "1"


def shipped(name: str) -> Path:
    """Return the folder of a shipped model: its only version."""
    [manifest] = (REPOSITORY / name).glob("*/manifest.json")
    return manifest.parent
