"""Compares this service with typical applications.

`python -m benchmarks` prints their tables as Markdown.
"""

from __future__ import annotations

from pathlib import Path

#: The shipped model that this service, the applications and the other servers are measured with.
ARTIFACT = Path(__file__).parent.parent / "model_repository" / "imdb-cnn" / "1"
