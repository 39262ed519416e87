"""`python -m benchmarks`: runs the benchmarks and prints their tables, parts of which the documentation shows.

The sections run one after the other, each in its own process. `python -m benchmarks.SECTION` runs a single section and
has its own flags. Run all sections on an idle machine, and replace the tables of a page together, so that its
numbers come from one run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loadtest.processes import PROJECT

#: Sections that can plot their medians.
_PLOTTED = ("serving", "other_servers")


class Section(NamedTuple):
    """A benchmark: the pages that contain its numbers, seen from `docs/`, and its flags for `--quick`."""

    pages: tuple[str, ...]
    quick: tuple[str, ...]


SECTIONS = {
    "serving": Section(("../README.md", "performance.md"), ("--rounds", "1", "--seconds", "1", "--count", "256")),
    "other_servers": Section(("performance.md",), ("--rounds", "1", "--seconds", "1")),
    "transformer": Section(("../README.md",), ("--rounds", "1", "--count", "10")),
    "serving.cold_start": Section(("deployment.md",), ("--rounds", "1")),
    "serving.text_onnx": Section(("text-onnx.md",), ("--rounds", "1", "--count", "4")),
    "costs": Section(("performance.md",), ("--rounds", "1", "--count", "4")),
    "native_code": Section(("decisions/native-code.md",), ("--rounds", "1", "--count", "4")),
    "rules": Section(("decisions/native-code.md",), ("--rounds", "1", "--count", "4")),
    "scoring": Section(("scaling.md",), ("--rounds", "1", "--count", "600")),
    "subwords": Section(("own-models.md",), ("--rounds", "1", "--count", "4")),
    "explaining": Section(("performance.md",), ("--rounds", "1", "--count", "4")),
    "stops": Section(("decisions/sentences.md",), ("--rounds", "1", "--characters", "2000")),
    "accuracy.domains": Section(("../research/reviews/reviews-accuracy.md",), ("--smoke",)),
    "accuracy.neutral": Section(("models.md",), ("--smoke",)),
    "accuracy.typed": Section(("../research/reviews/reviews-accuracy.md",), ("--smoke",)),
    "accuracy.few_rows": Section(("training.md",), ("--smoke",)),
    "accuracy.training": Section(("training.md",), ("--smoke",)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections. If one of them fails, the others still run, and the exit status is 1."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="only check that they work; the numbers mean nothing")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help=f"draw {' and '.join(_PLOTTED)} as SVG into it")
    options = parser.parse_args(arguments)
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    failed = []
    for name in options.sections or SECTIONS:
        section = SECTIONS[name]
        print(f"\n## {name} (docs: {', '.join(section.pages) or 'none'})\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *(section.quick if options.quick else ())]
        if options.plots and name in _PLOTTED:
            command += ["--plot", str(options.plots.resolve() / f"{name}.svg")]
        if subprocess.run(command, cwd=PROJECT, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
