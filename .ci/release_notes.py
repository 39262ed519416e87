"""Prints the notes of a release, which are its entry in CHANGELOG.md: `python .ci/release_notes.py [TAG]`.

It fails if the version in pyproject.toml has no entry with a date, or if TAG is not `v` and this version. Links to
files become links to `--files URL`, because the page of a release is not in the repository.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path


def read(name: str) -> str:
    """Return the text of a file of the project. Raises `ValueError` if the working directory is not the project."""
    try:
        return Path(name).read_text("utf-8")
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror}): run this in the folder of the project") from error


def version() -> str:
    """Return the version of the project. Raises `ValueError`."""
    return str(tomllib.loads(read("pyproject.toml"))["project"]["version"])


def entry(changelog: str, released: str) -> str:
    """Return the text below the heading of a version. Raises `ValueError` if there is none, or if it is empty."""
    heading = rf"^## {re.escape(released)} \(\d{{4}}-\d\d-\d\d\)\n(.*?)(?=^## |\Z)"
    found = re.search(heading, changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no entry such as '## {released} (2026-01-31)' with a text")
    return found[1].strip() + "\n"


def notes(tag: str | None, files: str) -> str:
    """Return the notes of the current version. Raises `ValueError` if the tag or the changelog does not fit it."""
    released = version()
    if tag is not None and tag != f"v{released}":
        raise ValueError(f"the tag {tag} is not v{released}, the version in pyproject.toml")
    text = entry(read("CHANGELOG.md"), released)
    return re.sub(r"\]\((?!\w+:|#)", f"]({files}", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag", nargs="?")
    parser.add_argument("--files", metavar="URL", default="", help="where the files of the release are, with a slash")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    options = parser.parse_args()
    try:
        print(f"{version()}\n" if options.version else notes(options.tag, options.files), end="")
    except ValueError as error:
        sys.exit(f"error: {error}")
