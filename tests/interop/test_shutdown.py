"""Every client handles SIGTERM of the server."""

from __future__ import annotations

import signal
from collections import deque

import pytest
from grpc import StatusCode

from tests.interop.answers import HEALTH, SENTIMENT, TEXTS, answered, measured, predictions
from tests.interop.client import Call
from tests.interop.conftest import Connect
from tests.processes import ServerProcess, eventually

#: Flags of a server that waits longer for its calls than a test.
PATIENT = ("--shutdown-timeout", "600")

#: Concurrent calls, and the number of calls that end before the signal.
CONCURRENT, BEFORE = 64, 500


def test_watch(connect: Connect) -> None:
    """A health watch reports that the server stops, and the call ends."""
    with ServerProcess(*PATIENT) as server, connect(server) as client:
        watch = client.start(f"{HEALTH}/Watch", {"service": SENTIMENT})
        assert watch.answer() == {"status": "SERVING"}
        server.process.send_signal(signal.SIGTERM)
        assert watch.answer() == {"status": "NOT_SERVING"}
        assert watch.end().code in (StatusCode.OK.value[0], StatusCode.UNAVAILABLE.value[0])


def test_running_call(connect: Connect) -> None:
    """A call in progress is answered."""
    with ServerProcess() as server, connect(server) as client:
        expected = predictions(server, TEXTS)
        batch = client.start(f"{SENTIMENT}/PredictBatch", {"texts": TEXTS * 50})
        eventually(lambda: measured(server, "sentiment_texts_waiting") + answered(server, "PredictBatch") > 0)
        server.process.send_signal(signal.SIGTERM)
        answers, end = batch.result()
        assert end.code == 0, end
        assert answers[0]["predictions"] == expected * 50


def test_open_stream(connect: Connect) -> None:
    """A stream that waits for its caller gets all its answers and ends."""
    with ServerProcess(*PATIENT) as server, connect(server) as client:
        texts = TEXTS[2:12]
        stream = client.start(f"{SENTIMENT}/PredictStream", *({"text": text} for text in texts), keep_open=True)
        assert [stream.answer() for _ in texts] == predictions(server, texts)
        server.process.send_signal(signal.SIGTERM)
        assert stream.end().code == StatusCode.UNAVAILABLE.value[0]


@pytest.mark.parametrize("delay", [0, 1], ids=lambda delay: f"drain-delay-{delay}")
def test_load(connect: Connect, delay: int) -> None:
    """Under load every call gets the right answer or a status that allows a retry."""
    with ServerProcess(*PATIENT, "--drain-delay", str(delay)) as server, connect(server) as client:
        expected = predictions(server, TEXTS)
        running: deque[tuple[int, Call]] = deque()
        started = refused = 0
        while running or not refused:
            while len(running) < CONCURRENT and not refused:
                number = started % len(TEXTS)
                running.append((number, client.start(f"{SENTIMENT}/Predict", {"text": TEXTS[number]})))
                started += 1
            number, call = running.popleft()
            answers, end = call.result()
            if end.code:
                assert end.code == StatusCode.UNAVAILABLE.value[0], end
                refused += 1
            else:
                assert answers == [expected[number]]
            if started == BEFORE + CONCURRENT and server.process.poll() is None:
                server.process.send_signal(signal.SIGTERM)
        assert started >= BEFORE + CONCURRENT
