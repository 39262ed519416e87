"""`python -m tests.faults [SCENARIO ...]`: run each fault in its long form and print the outcomes of requests."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import sys
from functools import partial
from time import perf_counter

from tests.faults.scenarios import SCENARIOS, soak


def main() -> int:
    """Run scenarios. Returns 1 if a request got a wrong answer or no answer."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"by default all of: {', '.join(SCENARIOS)}")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes, as in `make test-all`")
    parser.add_argument("--soak-minutes", type=float, default=10)
    arguments = parser.parse_args()
    if strange := set(arguments.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(strange))}")
    scenarios = SCENARIOS | {"soak": partial(soak, minutes=arguments.soak_minutes)}
    failed = []
    for name in arguments.scenarios or SCENARIOS:
        started = perf_counter()
        print(f"\n### {name}\n\n{inspect.getdoc(SCENARIOS[name])}\n", flush=True)
        try:
            report = asyncio.run(scenarios[name](arguments.short))
        except (AssertionError, ExceptionGroup) as error:
            failed.append(name)
            print(f"FAILED: {error!r}")
            continue
        print("\n".join([*report.tally.lines(), "", *report.notes, f"{perf_counter() - started:.0f} s"]), flush=True)
    print(f"\n{len(failed)} failed: {', '.join(failed)}" if failed else "\nall passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
