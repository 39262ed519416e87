"""Runs the Python examples of docs/python.md line by line: `python page.py docs/python.md`.

It needs only the standard library and what the page imports, so that it also runs in other environments.
"""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path


class Rounding(doctest.OutputChecker):
    """Compares numbers up to five decimals, because processors differ in the last digits."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        """Return whether the output of an example is the one that is shown."""
        return super().check_output(_rounded(want), _rounded(got), optionflags)


def _rounded(text: str) -> str:
    return re.sub(r"\d+\.\d{5,}", lambda match: f"{float(match[0]):.5f}", text)


def run(page: Path) -> doctest.TestResults:
    """Run the examples of a page in one namespace, and print those that fail."""
    examples = doctest.DocTestParser().get_doctest(page.read_text("utf-8"), {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(Rounding(), verbose=False, optionflags=doctest.ELLIPSIS)
    return runner.run(examples)


if __name__ == "__main__":
    results = run(Path(sys.argv[1]))
    print(f"{results.attempted} examples")
    sys.exit(results.failed > 0)
