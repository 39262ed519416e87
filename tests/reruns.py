"""With `STRICT=1`, a run fails if a test was repeated, unless `tests/reruns.txt` names the test with its reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def excused(listed: Path) -> set[str]:
    """Return the tests that may be repeated. Raises `ValueError` if one has no reason."""
    lines = [line for line in listed.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {test for test, _reason in (line.split(maxsplit=1) for line in lines)}


class Reruns:
    """Collects the tests that were repeated, of all processes of a parallel run."""

    def __init__(self) -> None:
        self._repeated: set[str] = set()
        self._unexcused: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome == "rerun":  # type: ignore[comparison-overlap]  # of pytest-rerunfailures
            self._repeated.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        listed = excused(session.config.rootpath / "tests" / "reruns.txt")
        self._unexcused = sorted(test for test in self._repeated if test.partition("[")[0] not in listed)
        if self._unexcused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for test in self._unexcused:
            terminalreporter.write_line(f"STRICT: {test} was repeated, and tests/reruns.txt has no reason for it")


def pytest_configure(config: pytest.Config) -> None:
    """Judge reruns in the process that reports the results."""
    if os.environ.get("STRICT") == "1" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reruns())
