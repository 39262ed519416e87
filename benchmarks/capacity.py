"""`python -m benchmarks.capacity`: the highest rate at which this service meets an objective, and its cost.

Starts the service, runs `python -m loadtest` against it, and prints the numbers of docs/deployment.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.markdown import circumstances, table
from loadtest.__main__ import MISSED
from loadtest.__main__ import main as loadtest
from loadtest.reporting.columns import rows


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slo", default="p99<20ms,errors<0.1%", help="the objective (default: p99<20ms,errors<0.1%%)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="run a few very short steps")
    options = parser.parse_args()
    flags = ["--slo", options.slo, "--workers", str(options.workers), *(["--smoke"] if options.smoke else [])]
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(sys.stderr):
            status = loadtest([*flags, "--out", folder])
        if status not in (0, MISSED):
            raise SystemExit(status)
        document = json.loads((Path(folder) / "report.json").read_text())
    print(circumstances())
    print("\n".join(report(document)))


def report(document: Mapping[str, Any]) -> list[str]:
    """Return the table of rates, and the other numbers for capacity planning below it."""
    objective, steps = document["objective"], document["open"]
    meets = ["no" if objective["misses"][f"{step['rate']:g}"] else "yes" for step in steps]
    columns = ["Requests/s", "answers/s", "p50", "p99", "cores", "CPU per text", "memory"]
    best, batch = document["best"], next((s for s in document["protocols"] if s["traffic"] == "rest-batch"), None)
    lines = [
        f"{document['workers']} workers, {objective['text']}; the generator shares the processors.\n",
        table([*columns, "meets the objective"], rows(columns, steps, meets)),
        "",
        f"- the highest rate that meets the objective, a worker: {objective['rate_per_worker'] or 0:,.0f} requests/s",
        f"- the knee: {document['knee']['rate']:,.0f} requests/s",
        f"- closed loop: {best['throughput']:,.0f} requests/s, with {best['callers']} callers",
    ]
    if batch is not None:
        lines.append(f"- batches of {document['batch']}: {batch['texts_per_second']:,.0f} texts/s")
    return lines


if __name__ == "__main__":
    main()
