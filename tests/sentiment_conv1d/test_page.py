"""docs/python.md: every example runs and prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

from tests.processes import PROJECT
from tests.sentiment_conv1d.page import run

PAGE = PROJECT / "docs" / "python.md"


def test_examples() -> None:
    """Every line of the page prints what is below it."""
    results = run(PAGE)
    assert results.attempted > 15
    assert results.failed == 0


def test_all_examples_are_run() -> None:
    """Every block of Python is run, here or by the test of the program."""
    blocks = re.findall(r"^```python\n(.*)", PAGE.read_text(), re.MULTILINE)
    assert [block for block in blocks if not block.startswith(">>> ")] == ["# app.py"]


def test_wrong_output_is_noticed(tmp_path: Path) -> None:
    """An example that prints something else fails."""
    (tmp_path / "page.md").write_text("```python\n>>> 0.123456\n0.123457\n>>> 0.12345\n0.12346\n\n```\n")
    results = run(tmp_path / "page.md")
    assert (results.attempted, results.failed) == (2, 1)
