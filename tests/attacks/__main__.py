"""`python -m tests.attacks [ATTACK ...]`: run each attack on a separate server and print a table of its cost."""

from __future__ import annotations

import argparse
import sys

from tests.attacks.catalogue import SCENARIOS
from tests.attacks.measure import HEAD, Attacked
from tests.attacks.probe import Probe

#: Seconds by which another caller's p99 may grow.
WAITS = 0.1


def main() -> int:
    """Run the attacks. Returns 1 if one exceeded its bounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"by default all of: {', '.join(SCENARIOS)}")
    parser.add_argument("--times", type=int, default=1, help="how many times the usual size")
    parser.add_argument("--idle-seconds", type=float, default=3, help="how long idle waits are measured")
    arguments = parser.parse_args()
    if strange := set(arguments.attacks) - SCENARIOS.keys():
        parser.error(f"no such attack: {', '.join(sorted(strange))}")
    failed = []
    print(HEAD, flush=True)
    for name in arguments.attacks or SCENARIOS:
        scenario = SCENARIOS[name]
        try:
            with Probe() as probe, Attacked.started(scenario.setup, probe, arguments.idle_seconds) as attacked:
                result = attacked.measure(name, scenario, arguments.times, waits=WAITS)
                print(result.row(), flush=True)
        except AssertionError as error:
            failed.append(name)
            print(f"{name}: {error}", flush=True)
        else:
            failed += [name] if result.failures or result.slow else []
    print(f"\n{len(failed)} failed: {', '.join(failed)}" if failed else "\nall held")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
