"""An update in a child process: the store can hang, and the process can be killed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.errors import exit_status
from sentiment_conv1d.server.process import child
from sentiment_conv1d.service.models.mirror import Mirror
from sentiment_conv1d.service.models.update import StoreTimeout, Update, UpdateLost
from sentiment_conv1d.sharing.store import Store, StoreError
from tests.processes import PATIENCE
from tests.service.models.test_mirror import ALL, URL, Contents, contents, started

__all__ = ["contents"]


def updated(mirror: Mirror, seconds: float = PATIENCE) -> str:
    """Update a mirror in a child, and return the problem."""
    update = Update(mirror, seconds)
    status = child.run(update.start)
    assert status is not None
    update.end(status)
    return mirror.problem


def test_memory_of_the_process(contents: Contents, tmp_path: Path) -> None:
    """What one child found counts for the next: a version disappears after two listings, a bad one is bad after two."""
    mirror = started(URL, tmp_path / "cache", ALL)
    contents.remove("/models/tickets/1")
    contents.write("/models/tickets/3/manifest.json", b"{")
    assert updated(mirror) == ""
    assert list(mirror.scan()["tickets"]) == [1, 2]
    assert updated(mirror) == ""
    assert list(mirror.scan()["tickets"]) == [2, 3]


def test_failure(contents: Contents, tmp_path: Path) -> None:
    """The error of the child reaches its parent."""
    mirror = started(URL, tmp_path / "cache", ALL)
    contents.remove("/models")
    update = Update(mirror, PATIENCE)
    problem = update.end(child.run(update.start) or 0)
    assert isinstance(problem, StoreError)
    assert str(problem) == mirror.problem == f"{URL}: cannot be read (/models)"


def test_listing_that_hangs(tmp_path: Path) -> None:
    """A store that accepts connections and says nothing is given up, with the setting in the message."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/models"
        mirror = Mirror(url, tmp_path, ALL)
        mirror.store.load_library()
        update = Update(mirror, 1)  # also the time for the start of the child
        problem = update.end(child.run(update.start) or 0)
    assert isinstance(problem, StoreTimeout) and exit_status(problem) == os.EX_TEMPFAIL
    assert str(problem) == f"{url}: listing the models takes more than 1 s (--store-timeout)"


def test_copy_that_hangs(contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy may take ten times as long as a listing. A version whose copy the kernel ends is not visible."""
    monkeypatch.setattr("sentiment_conv1d.sharing.copier.read_at_most", lambda *_: signal.raise_signal(signal.SIGALRM))
    mirror = Mirror(URL, tmp_path, ALL)
    reason = f"copying version 2 of tickets takes more than {10 * PATIENCE:g} s"
    assert updated(mirror) == f"{URL}: {reason} (--store-timeout)"
    assert mirror.scan() == {}


def test_time_of_each_step(contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline begins anew with every step: one time for the listing, and ten for each version."""
    left: dict[str, float] = {}

    def note(step: str) -> None:
        left[step] = signal.getitimer(signal.ITIMER_REAL)[0]

    def versions(_: Store) -> dict[str, set[int]]:
        note("listing")
        return {"tickets": {2}}

    def copy(*_: object, **__: object) -> None:
        note("copy")
        assert left["listing"] <= PATIENCE < left["copy"] <= 10 * PATIENCE

    monkeypatch.setattr(Store, "versions", versions)
    monkeypatch.setattr("sentiment_conv1d.service.models.mirror.copy_version", copy)
    assert updated(Mirror(URL, tmp_path, ALL)) == ""


def test_child_that_is_killed(contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is killed while it writes leaves no visible version, and the next one copies it."""
    mirror = Mirror(URL, tmp_path, ALL)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        update = Update(mirror, PATIENCE)
        problem = update.end(child.run(update.start) or 0)
    assert isinstance(problem, UpdateLost)
    reason = "copying the models failed: the process was killed by signal 9 (SIGKILL)"
    assert str(problem) == f"{URL}: {reason}"
    assert list(mirror.path.glob("*/.publishing-*")) and mirror.scan() == {}
    assert updated(mirror) == ""
    assert list(mirror.scan()["tickets"]) == [1, 2] and not list(mirror.path.glob("*/.publishing-*"))


def test_copies_if_the_child_is_killed(
    contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A service starts with the copies that it has if the process that updates them is killed."""
    started(URL, tmp_path, ALL)
    monkeypatch.setattr(Mirror, "update", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    assert list(started(URL, tmp_path, ALL, watched=True).scan()["tickets"]) == [1, 2]
    assert "(SIGKILL); serving the copies in" in caplog.text


def test_two_processes(contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two services with one cache, one updates at a time, and the other says for what it waits."""
    monkeypatch.setattr("sentiment_conv1d.service.models.mirror.COPY_FACTOR", 1)
    mirror = started(URL, tmp_path, ALL)
    reader, writer = os.pipe()

    def hold() -> None:
        with mirror._locked(lambda what, factor: None):
            os.write(writer, b"x")
            signal.pause()

    holding = child.start(hold, PATIENCE, writer)
    os.read(reader, 1)
    waiting = f"waiting for another process that updates {mirror.path} takes more than 1 s (--store-timeout)"
    assert updated(mirror, 1) == f"{URL}: {waiting}"
    os.kill(holding, signal.SIGKILL)
    os.waitpid(holding, 0)
    assert updated(mirror) == ""
    os.close(reader)
    os.close(writer)
