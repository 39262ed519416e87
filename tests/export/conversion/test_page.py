"""docs/text-onnx.md: every example runs and prints what the page shows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from sentiment_conv1d.__main__ import main
from tests.processes import MODEL_REPOSITORY, PROJECT, environment

PAGE = (PROJECT / "docs" / "text-onnx.md").read_text()


def example(language: str) -> tuple[str, str]:
    """Return the program of the page in a language, and what its last comment says that it prints."""
    [program] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return program, re.findall(r"  (?:#|//) (.*)$", program, re.MULTILINE)[-1]


def write_file(folder: Path) -> None:
    """Run the command of the page for the shipped models, and write the file into a folder."""
    [line] = re.findall(r"^sentiment-conv1d (convert .*)$", PAGE, re.MULTILINE)
    command, artifact, *flags, out = shlex.split(line)
    assert main([command, str(MODEL_REPOSITORY / artifact), *flags, str(folder / out)]) == 0


def test_python(tmp_path: Path) -> None:
    """The Python example prints the labels of the page."""
    write_file(tmp_path)
    program, printed = example("python")
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == printed
