"""docs/stream.py, the program for Redis streams: nothing is lost when consumers are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import redis

import sentiment_conv1d
from tests.processes import PATIENCE, PROJECT, environment, eventually, pause
from tests.programs import find

PROGRAM = (PROJECT / "docs" / "stream.py").read_text()

#: Milliseconds instead of a minute, after which entries of a dead consumer are claimed.
SHORT = PROGRAM.replace("60_000", "500")

#: Dies of one text. Two tries are enough for it.
MORTAL = """
class Mortal:
    model = sentiment_conv1d.load()

    def predict(self, texts):
        return os._exit(1) if "poison" in texts else self.model.predict(texts)
"""
POISONED = SHORT.replace(" = sentiment_conv1d.load()", " = Mortal()").replace(", 5\n", f", 2\n{MORTAL}")

TEXTS = ["Warm, funny and wise. " * 40, "Two dull hours that I will never get back. " * 40, "", "Größe 👍"]

#: Entries that cannot be classified, by reason.
BAD: dict[str, dict[bytes, bytes]] = {
    "no text": {b"txt": b"a typo"},
    "not UTF-8": {b"text": b"caf\xe9"},
    "too long": {b"text": b"a" * 100_001},
}

Entries = list[tuple[bytes, dict[bytes, bytes]]]
Consumer = subprocess.Popen[str]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[redis.Redis]:
    """Start Redis with a Unix socket. Its libraries may be unpacked next to it."""
    path = tmp_path / "redis.sock"
    unpacked = map(str, Path(sys.prefix, "debian/usr/lib").glob("*-linux-gnu"))
    libraries = os.pathsep.join([*unpacked, os.environ.get("LD_LIBRARY_PATH", "")])
    command = [find("redis-server"), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    variables = os.environ | {"LD_LIBRARY_PATH": libraries}
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(path.exists)
            with redis.Redis(unix_socket_path=str(path)) as client:
                yield client
        finally:
            process.kill()


@pytest.fixture
def start(broker: redis.Redis, tmp_path: Path) -> Iterator[Callable[..., Consumer]]:
    """Return a function that starts a consumer."""
    (tmp_path / "stream.py").write_text(SHORT)
    (tmp_path / "poisoned.py").write_text(POISONED)
    variables = environment(PYTHONPATH=str(PROJECT), REDIS_URL=f"unix://{tmp_path}/redis.sock")
    with ExitStack() as stack:

        def consumer(program: str = "stream.py") -> Consumer:
            command = [sys.executable, str(tmp_path / program)]
            process = stack.enter_context(subprocess.Popen(command, env=variables, text=True))
            stack.callback(process.kill)
            return process

        yield consumer


def pending(broker: redis.Redis) -> dict[bytes, int]:
    """Return how many entries each consumer has read and not acknowledged. There may be no group yet."""
    try:
        consumers: Any = broker.xinfo_consumers("reviews", "sentiment")
    except redis.ResponseError:
        return {}
    return {each["name"]: int(each["pending"]) for each in consumers}


def send(broker: redis.Redis, count: int) -> dict[bytes, str]:
    """Add entries to the source. Returns their texts by their ids."""
    texts = list(islice(cycle(TEXTS), count))
    with broker.pipeline() as pipeline:
        for text in texts:
            pipeline.xadd("reviews", {"text": text})
        return dict(zip(pipeline.execute(), texts, strict=True))


def kill_with_pending_entries(broker: redis.Redis, process: Consumer) -> dict[bytes, str]:
    """Kill the only running consumer while it has entries that it has not acknowledged. Returns what was sent."""
    sent, killed = {}, pending(broker).keys()

    def has_pending() -> bool:
        return any(count for name, count in pending(broker).items() if name not in killed)

    def caught() -> bool:
        if not has_pending():
            return False
        pause(process.pid)
        if has_pending():
            return True
        process.send_signal(signal.SIGCONT)
        sent.update(send(broker, 1000))
        return False

    sent.update(send(broker, 1000))
    eventually(caught)
    process.kill()
    process.wait(PATIENCE)
    return sent


def entries(broker: redis.Redis, name: str) -> Entries:
    found: Any = broker.xrange(name)
    return list(found)


def test_killed_consumers(broker: redis.Redis, start: Callable[[], Consumer]) -> None:
    """Every entry gets its label or its reason, although consumers are killed. SIGTERM ends the others."""
    sent: dict[bytes, str] = {}
    bad = {broker.xadd("reviews", fields): reason for reason, fields in BAD.items()}  # type: ignore[arg-type]
    for _ in range(3):
        sent |= kill_with_pending_entries(broker, start())
    running = [start(), start()]

    def all_done() -> bool:
        [group] = broker.xinfo_groups("reviews")
        return bool((group["lag"], group["pending"], group["consumers"]) == (0, 0, 3 + len(running)))

    eventually(all_done)
    for process in running:
        process.terminate()
    assert [process.wait(PATIENCE) for process in running] == [0, 0]

    results = [fields for _, fields in entries(broker, "reviews:labels")]
    rejected = [fields for _, fields in entries(broker, "reviews:rejected")]
    assert {fields[b"id"] for fields in results} == sent.keys()
    labels = dict(zip(TEXTS, (each.label for each in sentiment_conv1d.load().predict(TEXTS)), strict=True))
    assert all(fields[b"label"].decode() == labels[sent[fields[b"id"]]] for fields in results)
    assert {fields[b"id"]: fields[b"reason"].decode() for fields in rejected} == bad
    counted: Any = broker.hgetall("reviews:rejected:count")
    assert {name.decode(): int(count) for name, count in counted.items()} == Counter(
        fields[b"reason"].decode() for fields in rejected
    )


def test_entry_that_kills_consumers(broker: redis.Redis, start: Callable[..., Consumer]) -> None:
    """An entry of which consumers die is rejected in the end, and the entries that were read with it get labels."""
    others = [broker.xadd("reviews", {"text": text}) for text in TEXTS[:2]]
    poison = broker.xadd("reviews", {"text": "poison"})
    assert [start("poisoned.py").wait(PATIENCE) for _ in range(2)] == [1, 1]
    last = start("poisoned.py")
    eventually(lambda: entries(broker, "reviews:rejected") != [])
    last.terminate()
    assert last.wait(PATIENCE) == 0
    [(_, rejected)] = entries(broker, "reviews:rejected")
    assert rejected == {b"id": poison, b"reason": b"too many tries"}
    assert {fields[b"id"] for _, fields in entries(broker, "reviews:labels")} == set(others)
    assert not any(pending(broker).values())


def test_consumers_that_end_leave_the_group(broker: redis.Redis, start: Callable[[], Consumer]) -> None:
    """After SIGTERM, a consumer without entries has left the group, and no entry is pending."""
    broker.xadd("reviews", {"text": "Warm, funny and wise."})
    process = start()
    eventually(lambda: len(entries(broker, "reviews:labels")) == 1)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert pending(broker) == {}
