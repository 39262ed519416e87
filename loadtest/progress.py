"""The progress of a test: one line per step and, on a terminal, a progress bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping

from tqdm import tqdm

from loadtest.units import duration


class Progress:
    """Prints to standard error, so that standard output holds only the results.

    A test goes on if standard error can no longer be written to.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._number = 0
        self._head = ""
        self._bar = tqdm(
            total=steps,
            disable=None,  # tqdm: only on a terminal
            leave=False,
            dynamic_ncols=True,
            bar_format="{desc} {bar:20}{postfix}, {remaining} left",
        )

    def say(self, line: str) -> None:
        """Print a line that stays."""
        with contextlib.suppress(OSError):
            tqdm.write(line, file=sys.stderr)

    def more(self, steps: int) -> None:
        """Expect more steps than before, or fewer if `steps` is negative."""
        self._steps += steps

    def begin(self, title: str) -> None:
        """Start a step."""
        self._number += 1
        self._bar.total = self._steps = max(self._steps, self._number)
        self._head = f"[{self._number:>2}/{self._steps}] {title:<44}"
        self.update(0.0, 1.0, 0)

    def update(self, passed: float, seconds: float, over: int) -> None:
        """Show how many of the step's seconds have passed and how many requests have ended."""
        self._bar.n = self._number - 1 + min(max(passed / seconds, 0.0), 1.0)
        with contextlib.suppress(OSError):
            self._bar.set_description_str(self._head, refresh=False)
            self._bar.set_postfix_str(f"{over:,} answers")

    def end(self, throughput: float, latency: Mapping[str, float], failed: int) -> None:
        """Print the results of the step: requests per second, percentiles in seconds, and failures."""
        times = f"p50 {duration(latency['p50'])}  p99 {duration(latency['p99'])}" if latency else "no answers"
        failures = f"  {failed:,} failed" if failed else ""
        self.say(f"{self._head} {throughput:>9,.0f}/s  {times}{failures}")

    def close(self) -> None:
        """Remove the bar."""
        with contextlib.suppress(OSError):
            self._bar.close()
