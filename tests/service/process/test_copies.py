"""The supervisor keeps the copies of a store up to date."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.service.process.copies import Copies
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.sharing.store import Store, StoreError, StoreUnreachable
from tests.processes import PATIENCE
from tests.service.models.test_mirror import NEWEST, URL, Contents, contents, damage, started
from tests.service.telemetry.test_metrics import read, value

__all__ = ["contents"]


#: When every update is due.
LATER = 1e15


def wait(copies: Copies) -> None:
    """Wait for the end of the running update."""
    assert copies.pid is not None
    _, status = os.waitpid(copies.pid, 0)
    copies.end(status)


def test_updates(contents: Contents, tmp_path: Path) -> None:
    """An update begins when it is due, one at a time."""
    mirror = started(URL, tmp_path / "cache", NEWEST)
    copies = Copies(mirror, PATIENCE, 600, Metrics({}))
    copies.every_second(0)
    assert copies.pid is None
    contents.publish()
    copies.every_second(LATER)
    running = copies.pid
    copies.every_second(LATER)
    assert copies.pid == running
    wait(copies)
    assert mirror.copies() == {("tickets", 2), ("tickets", 3)}


def test_update_after_the_start(contents: Contents, tmp_path: Path) -> None:
    """If the first update fails, the next one follows at once and also replaces damaged copies, until one succeeds."""
    mirror = started(URL, tmp_path / "cache", NEWEST)
    graph = mirror.path / "tickets" / "2" / "model.onnx"
    mirror.problem = "the store did not answer"
    copies = Copies(mirror, PATIENCE, 600, Metrics({}))
    graph.write_bytes(b"?")
    copies.every_second(0)
    wait(copies)
    assert read_artifact(graph.parent).manifest.version == 2
    graph.write_bytes(b"?")
    copies.every_second(LATER)
    wait(copies)
    assert graph.read_bytes() == b"?"


def test_failures_are_logged_once(contents: Contents, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log has one warning when the store fails, and says when it works again."""
    mirror = started(URL, tmp_path / "cache", NEWEST)
    copies = Copies(mirror, PATIENCE, 600, Metrics({}))
    whole = contents.files.store.copy()
    contents.remove("/models")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            copies.every_second(LATER)
            wait(copies)
        contents.files.store.update(whole)
        copies.every_second(LATER)
        wait(copies)
    assert [record.message for record in caplog.records if record.name.endswith(".copies")] == [
        f"{URL}: cannot be read (/models); the copies in {mirror.path} stay",
        f"{URL} can be read again",
    ]


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _late() -> None:
    signal.raise_signal(signal.SIGALRM)


def _unreachable() -> None:
    raise StoreUnreachable("it does not answer")


def _refused() -> None:
    raise StoreError("no such bucket")


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("process", _killed),
        ("timeout", _late),
        ("unreachable", _unreachable),
        ("refused", _refused),
        ("folder", _full),
    ],
)
def test_metrics(
    contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, failure: Callable[[], None]
) -> None:
    """Failures count by their reason. The time of the last success is that of an earlier service at first."""
    mirror, metrics = started(URL, tmp_path / "cache", NEWEST), Metrics({})
    before = mirror.updated_at
    copies = Copies(mirror, PATIENCE, 600, metrics)

    def counted() -> tuple[float, float]:
        samples = read(metrics)
        failures = value(samples, "sentiment_store_failures_total", reason=reason)
        assert value(samples, "sentiment_store_failures_total") == failures
        return failures, value(samples, "sentiment_store_last_success_timestamp_seconds")

    assert counted() == (0, before) and before > 0
    with monkeypatch.context() as patch:
        patch.setattr(Store, "versions", lambda _: failure())
        copies.every_second(LATER)
        wait(copies)
    assert counted() == (1, before)
    copies.every_second(LATER)
    wait(copies)
    assert counted() == (1, mirror.updated_at) and mirror.updated_at > before


def test_requests(contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request gets the result of an update that begins after it, which tries bad versions of its model again."""
    monkeypatch.setattr(Store, "fingerprint", lambda *_: "as before")
    whole = damage(contents)
    mirror = started(URL, tmp_path / "cache", NEWEST)
    copies = Copies(mirror, PATIENCE, 0, Metrics({}))
    answers: list[str] = []
    contents.write("/models/tickets/2/model.onnx", whole)
    copies.ask("other", answers.append)
    copies.ask("tickets", answers.append)
    wait(copies)
    assert answers == [""] and mirror.copies() == {("tickets", 1)}
    wait(copies)
    assert answers == ["", ""] and mirror.copies() == {("tickets", 1), ("tickets", 2)}
    contents.remove("/models")
    copies.ask("tickets", answers.append)
    wait(copies)
    assert answers[2] == f"{URL}: cannot be read (/models)"
    copies.every_second(LATER)
    assert copies.pid is None  # without an interval only requests update


def test_stop(contents: Contents, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The service ends the running update, which is no failure, and begins no other one."""
    copies = Copies(started(URL, tmp_path / "cache", NEWEST), PATIENCE, 600, Metrics({}))
    copies.every_second(LATER)
    copies.stop()
    wait(copies)
    copies.every_second(LATER)
    assert copies.pid is None
    assert not caplog.records


def test_no_process(
    contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the system can start no process, that is the answer, and the next update tries again."""
    mirror = started(URL, tmp_path / "cache", NEWEST)
    copies = Copies(mirror, PATIENCE, 600, Metrics({}))
    answers: list[str] = []
    with monkeypatch.context() as patch:

        def fail() -> int:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        patch.setattr(os, "fork", fail)
        copies.ask("tickets", answers.append)
    assert answers == ["the system cannot start a process (Resource temporarily unavailable)"]
    assert answers[0] in caplog.text
    copies.ask("tickets", answers.append)
    wait(copies)
    assert answers[1] == ""
