"""What a person sees while a test runs: one line a step, and on a terminal a bar for the one that goes on."""

from __future__ import annotations

import contextlib
import shutil
import sys
from time import monotonic

from loadtest.measurement import Step
from loadtest.units import duration

_BAR, _LEAST_BAR = 20, 5


class Progress:
    """Prints to standard error, so that standard output holds the results alone."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._number = 0
        self._began = monotonic()
        self._terminal = sys.stderr.isatty()
        self._title = ""

    def say(self, line: str) -> None:
        """A line that stays."""
        self._print(f"{line}\n")

    def more(self, steps: int) -> None:
        """There are more steps to come than was thought, or fewer."""
        self._steps += steps

    def begin(self, title: str) -> None:
        """A step begins."""
        self._number += 1
        self._steps = max(self._steps, self._number)
        self._title = title
        self.watch(0.0, 1.0, 0)

    def watch(self, passed: float, seconds: float, over: int) -> None:
        """So many of its seconds have passed, so many requests are over."""
        if not self._terminal:
            return
        share = min(max(passed / seconds, 0.0), 1.0)
        done = self._number - 1 + share
        left = (monotonic() - self._began) / done * (self._steps - done) if done > 0.5 else None
        remaining = "" if left is None else f", ~{int(left) // 60}:{int(left) % 60:02} left"
        numbers = f"{over:,} answers{remaining}"
        # A line that wraps could not be written over.
        room = shutil.get_terminal_size().columns - 1
        width = min(_BAR, room - len(self._head()) - len(numbers) - 2)
        bar = f"{'█' * round(share * width):░<{width}} " if width >= _LEAST_BAR else ""
        self._print(f"{self._head()} {bar}{numbers}"[:room])

    def end(self, step: Step) -> None:
        """A step is over."""
        latency = step["latency"]
        times = f"p50 {duration(latency['p50'])}  p99 {duration(latency['p99'])}" if latency else "no answers"
        failed = f"  {step['failed']:,} failed" if step["failed"] else ""
        self.say(f"{self._head()} {step['throughput']:>9,.0f}/s  {times}{failed}")

    def _head(self) -> str:
        return f"[{self._number:>2}/{self._steps}] {self._title:<44}"

    def _print(self, text: str) -> None:
        # Where nobody looks any more, the report is wanted all the same.
        with contextlib.suppress(OSError):
            print(f"\r\033[K{text}" if self._terminal else text, end="", file=sys.stderr, flush=True)
