"""A real server takes feedback on the answers of any worker, stores it or says why not, and counts it by version."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.stubs import GRPCInferenceServiceStub, SentimentStub
from sentiment_conv1d.protos import inference_pb2
from sentiment_conv1d.protos.sentiment_pb2 import (
    FeedbackRequest,
    FeedbackResponse,
    PredictBatchRequest,
    PredictRequest,
)
from tests.proc import children
from tests.processes import PATIENCE, ServerProcess, eventually, patch, run
from tests.service.grpc.channels import connect, refused
from tests.service.models.test_reconciler import client_of
from tests.service.telemetry.test_metrics import metric
from tests.service.telemetry.test_request_log import HttpSink

UNHURRIED = ("--feedback-rate", "1000000")
CLASSIC = {"name": "imdb-cnn", "version": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback") / "log"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    """Serve with two workers and a feedback log."""
    with ServerProcess("--workers", "2", "--feedback-log", str(folder), *UNHURRIED) as started:
        yield started


def read(folder: Path) -> list[dict[str, Any]]:
    """Read the records of all workers, oldest first."""
    lines = [line for path in folder.glob("feedback-*.jsonl*") for line in path.read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda record: str(record["time"]))


def predict(client: httpx.Client, text: str = "so good", **headers: str) -> str:
    """Classify a text and return the id for feedback."""
    answer = client.post("/v1/predict", json={"text": text}, headers=headers)
    answer.raise_for_status()
    return str(answer.headers["x-feedback-id"])


def send(client: httpx.Client, identity: str, label: Any = "negative", **fields: Any) -> httpx.Response:
    return client.post("/v1/feedback", json={"request_id": identity, "label": label, **fields})


def message(answer: httpx.Response) -> str:
    """Return the message of an error, which is one line."""
    found = str(answer.json()["error"]["message"])
    assert "\n" not in found
    return found


def counted(server: ServerProcess, outcome: str) -> float:
    return metric(server, "sentiment_feedback_total", outcome=outcome, model="imdb-cnn", version="1")


def test_record(server: ServerProcess, folder: Path) -> None:
    """Feedback is in the log, with the request id of the caller and what was predicted, when its answer arrives."""
    before = counted(server, "disagree")
    identity = predict(server.client, **{"x-request-id": "order/42"})
    answer = send(server.client, identity, comment="Not at all. \N{SNOWMAN}\n")
    assert answer.json() == {"model": CLASSIC, "predicted": "positive", "agrees": False}
    [record] = [each for each in read(folder) if each["request_id"] == "order/42"]
    times = [datetime.fromisoformat(record.pop(name)) for name in ("predicted_at", "time")]
    assert times == sorted(times)
    assert record == {
        "request_id": "order/42",
        "index": 0,
        "model": "imdb-cnn",
        "version": 1,
        "predicted": "positive",
        "label": "negative",
        "comment": "Not at all. \N{SNOWMAN}\n",
    }
    assert counted(server, "disagree") == before + 1


def test_any_worker(server: ServerProcess, folder: Path) -> None:
    """Each worker takes feedback on the answers of the other. Each one counts, also if it is repeated."""
    before, agreed = len(read(folder)), counted(server, "agree")
    first, second = children(server.process.pid)
    with client_of(server, first) as one, client_of(server, second) as other:
        clients = [one, other]
        identities = [predict(each) for each in clients]
        for client in clients:
            for identity in identities:
                assert send(client, identity, "positive").json()["agrees"] is True
    assert len(read(folder)) == before + 4 and counted(server, "agree") == agreed + 4
    assert {path.name for path in folder.iterdir()} == {"feedback-0.jsonl", "feedback-1.jsonl"}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


INSTANCES = {"instances": ["so good", "so bad"]}
TENSOR = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["so good", "so bad"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/predict_batch", {"texts": ["so good", "so bad"]}),
        ("/v1/predict_batch", {"texts": ["so good", 5, "so bad"], "on_error": "report"}),
        ("/v1/models/imdb-cnn:predict", INSTANCES),
        ("/v2/models/imdb-cnn/infer", {"inputs": [TENSOR]}),
        ("/", {"inputs": ["so good", "so bad"]}),
    ],
)
def test_batches(server: ServerProcess, path: str, body: dict[str, Any]) -> None:
    """The answer of every protocol has an id, and `index` is the text of a batch that feedback is about."""
    answer = server.client.post(path, json=body)
    identity = answer.headers["x-feedback-id"]
    predicted = [send(server.client, identity, index=index).json()["predicted"] for index in (0, 1)]
    assert predicted == ["positive", "negative"]
    refusal = send(server.client, identity, index=2)
    assert (refusal.status_code, message(refusal)) == (422, "index: 2; the request had 2 texts")


@pytest.mark.parametrize("path", ["/v1/explain", "/v1/inspect"])
def test_large_texts_and_explanations(server: ServerProcess, path: str) -> None:
    """Texts that run as a task, and explanations, have an id too."""
    for text in ("so good", "so good " * 20_000):
        answer = server.client.post(path, json={"text": text})
        assert send(server.client, answer.headers["x-feedback-id"]).status_code == 200


def test_no_id(server: ServerProcess) -> None:
    """Errors, and answers without a prediction, have no id."""
    for answer in (
        server.client.post("/v1/predict", json={"text": 5}),
        server.client.get("/v1/models"),
        send(server.client, predict(server.client)),
    ):
        assert "x-feedback-id" not in answer.headers


UNKNOWN = "is not the X-Feedback-ID of an answer of this service"


@pytest.mark.parametrize(
    ("changes", "status", "reason", "text"),
    [
        ({"request_id": "5f1c2d9a0000002a"}, 404, "unknown_id", f"request_id: '5f1c2d9a0000002a' {UNKNOWN}"),
        ({"request_id": "\n" * 10**6}, 404, "unknown_id", f"request_id: {chr(10) * 40!r} {UNKNOWN}"),
        ({"label": "Negative"}, 422, "invalid", "label: imdb-cnn has the labels negative, positive"),
        ({"index": 1}, 422, "invalid", "index: 1; the request had 1 text"),
        ({"comment": "\N{EURO SIGN}" * 1366}, 413, "invalid", "comment: 4098 bytes; the limit is 4096"),
        ({"label": None}, 422, None, "label: Input should be a valid string"),
        ({"index": -1}, 422, None, "index: Input should be greater than or equal to 0"),
        ({"index": True}, 422, None, "index: Input should be a valid integer"),
        ({"text": "so good"}, 422, None, "text: unknown field"),
    ],
)
def test_refusals(
    server: ServerProcess, folder: Path, changes: dict[str, Any], status: int, reason: str | None, text: str
) -> None:
    """Feedback that is refused gets one line that names what is wrong, is counted, and leaves the log as it is."""

    def counts() -> float:
        return metric(server, "sentiment_feedback_refused_total", **({"reason": reason} if reason else {}))

    before, log = counts(), read(folder)
    answer = send(server.client, **{"identity": predict(server.client), "label": "negative"} | _renamed(changes))
    assert (answer.status_code, message(answer)) == (status, text)
    assert read(folder) == log
    assert counts() == before + (reason is not None)


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {"identity" if name == "request_id" else name: value for name, value in fields.items()}


def test_longest_comment(server: ServerProcess, folder: Path) -> None:
    """A comment has up to 4096 bytes."""
    assert send(server.client, predict(server.client), comment="x" * 4096).status_code == 200
    assert any(each.get("comment") == "x" * 4096 for each in read(folder))


def test_grpc(server: ServerProcess, folder: Path) -> None:
    """Calls have the id in their trailing metadata, and `SendFeedback` takes it."""
    with connect(server) as channel:
        stub = SentimentStub(channel)
        single = stub.Predict.with_call(PredictRequest(text="so good"), metadata=[("x-request-id", "rpc")])
        batch = stub.PredictBatch.with_call(PredictBatchRequest(texts=["so bad", "so good"] * 20))
        tensor = inference_pb2.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(b"so good")
        infer = inference_pb2.ModelInferRequest(model_name="imdb-cnn", inputs=[tensor])
        tensors = GRPCInferenceServiceStub(channel).ModelInfer.with_call(infer)
        identities = [dict(call.trailing_metadata())["x-feedback-id"] for _, call in (single, batch, tensors)]
        for identity, index in zip(identities, (0, 39, 0), strict=True):
            answer = stub.SendFeedback(FeedbackRequest(request_id=identity, label="positive", index=index))
            assert answer == FeedbackResponse(model="imdb-cnn", version="1", predicted="positive", agrees=True)
        assert any(each["request_id"] == "rpc" for each in read(folder))
        refusal = refused(lambda: stub.SendFeedback(FeedbackRequest(request_id="one", label="positive")))
        assert (refusal.code.name, refusal.message) == ("NOT_FOUND", f"request_id: 'one' {UNKNOWN}")
        refusal = refused(lambda: stub.SendFeedback(FeedbackRequest(request_id=identities[0], label="good")))
        assert refusal.code.name == "INVALID_ARGUMENT"


def test_off() -> None:
    """By default, answers have no id, and feedback is refused with the setting that turns it on."""
    reason = "feedback is off; the setting --feedback-log turns it on"
    with ServerProcess("--workers", "1", SENTIMENT_API_KEYS="x" * 16) as server:
        assert send(server.client, "one").status_code == 401
        server.client.headers["x-api-key"] = "x" * 16
        assert "x-feedback-id" not in server.client.post("/v1/predict", json={"text": "good"}).headers
        answer = send(server.client, "one")
        assert (answer.status_code, message(answer)) == (404, reason)
        with connect(server) as channel:
            stub, key = SentimentStub(channel), [("x-api-key", "x" * 16)]
            _, call = stub.Predict.with_call(PredictRequest(text="good"), metadata=key)
            assert "x-feedback-id" not in dict(call.trailing_metadata())
            assert refused(lambda: stub.SendFeedback(FeedbackRequest())).code.name == "UNAUTHENTICATED"
            refusal = refused(lambda: stub.SendFeedback(FeedbackRequest(), metadata=key))
            assert (refusal.code.name, refusal.message) == ("UNIMPLEMENTED", reason)


def test_restart(tmp_path: Path) -> None:
    """After a restart, ids are valid if the instances have the same key, which can be random bytes."""
    flags = ("--workers", "1", "--feedback-log", str(tmp_path))
    identities = {}
    random = os.fsdecode(b"\xff" * 32)
    for key in (random, ""):
        with ServerProcess(*flags, SENTIMENT_FEEDBACK_KEY=key) as server:
            identities[key] = predict(server.client)
    for key, status in ((random, 200), ("", 404)):
        with ServerProcess(*flags, SENTIMENT_FEEDBACK_KEY=key) as server:
            assert send(server.client, identities[key]).status_code == status


def test_replaced_worker(tmp_path: Path) -> None:
    """A worker that replaces a dead one takes feedback on its answers, without a key too."""
    with ServerProcess("--workers", "1", "--feedback-log", str(tmp_path)) as server:
        identity = predict(server.client)
        [worker] = children(server.process.pid)
        os.kill(worker, signal.SIGKILL)
        server.wait_for_log("worker 0 was killed by signal 9")
        with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
            assert send(client, identity).status_code == 200


#: Lets a request wait for the log for as long as a slow machine needs.
PATIENT = f"""
from sentiment_conv1d.service.feedback import inbox
inbox._MAX_SECONDS = {PATIENCE}
"""


def test_shutdown(tmp_path: Path) -> None:
    """Feedback that waits for the log when the service stops is stored before its answer."""
    (tmp_path / "feedback-0.jsonl").symlink_to(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe")  # opening it waits for a reader
    flags = ("--workers", "1", "--shutdown-timeout", "600", "--feedback-log", str(tmp_path))
    with (
        ServerProcess(*flags, PYTHONPATH=patch(tmp_path / "patch", PATIENT)) as server,
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as other,
    ):
        waiting = pool.submit(send, other, predict(server.client))
        eventually(lambda: metric(server, "sentiment_requests_in_flight", protocol="rest") == 2)  # with the scrape
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("SIGTERM")
        with (tmp_path / "pipe").open() as pipe:
            assert json.loads(pipe.readline())["label"] == "negative"
            assert waiting.result().status_code == 200


def test_flood(tmp_path: Path) -> None:
    """Feedback above the rate is a 429 with a time, and predictions are answered. All that was accepted is stored."""
    with ServerProcess("--workers", "1", "--feedback-log", str(tmp_path), "--feedback-rate", "0.01") as server:
        identity = predict(server.client)
        for _ in range(3):
            assert send(server.client, "unknown").status_code == 404  # takes nothing of the rate
        answers = [send(server.client, identity) for _ in range(20)]
        assert [each.status_code for each in answers] == [200] + [429] * 19
        assert answers[-1].headers["retry-after"] and message(answers[-1]) == "more than 0.01 feedback per second"
        assert metric(server, "sentiment_feedback_refused_total", reason="rate") == 19
        assert predict(server.client)
    assert len(read(tmp_path)) == 1


def test_full_disk(tmp_path: Path) -> None:
    """Feedback that the disk has no room for is a 503, so that the caller can send it again."""
    (tmp_path / "feedback-0.jsonl").symlink_to("/dev/full")
    with ServerProcess("--workers", "1", "--feedback-log", str(tmp_path), *UNHURRIED) as server:
        identity = predict(server.client)
        answer = send(server.client, identity)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert message(answer) == "the feedback log cannot be written now; send it again later"
        server.wait_for_log("the feedback log cannot be written: .*No space left on device")
        assert metric(server, "sentiment_feedback_refused_total", reason="failed") == 1
        assert counted(server, "disagree") == 0
        (tmp_path / "feedback-0.jsonl").unlink()
        assert send(server.client, identity).status_code == 200
        server.wait_for_log("the feedback log is written again")
    assert len(read(tmp_path)) == 1


def test_http_sink(unused_url: str) -> None:
    """A URL gets feedback as CloudEvents. While its server is gone or fails, feedback is a 503."""
    with closing(HttpSink(202)) as target:
        with ServerProcess("--workers", "1", "--feedback-log", target.url, *UNHURRIED) as server:
            assert send(server.client, predict(server.client)).status_code == 200
        [(fields, content)] = target.events
        assert (fields["ce-type"], fields["ce-inferenceservicename"]) == ("org.kubeflow.serving.feedback", "imdb-cnn")
        assert json.loads(content)["label"] == "negative"
    with closing(HttpSink(500)) as target:
        for url in (target.url, unused_url):
            with ServerProcess("--workers", "1", "--feedback-log", url, *UNHURRIED) as server:
                assert send(server.client, predict(server.client)).status_code == 503
                assert predict(server.client)


@pytest.fixture
def unused_url() -> str:
    """Return a URL at which no server listens."""
    with closing(HttpSink(202)) as closed:
        return closed.url


def test_masks(tmp_path: Path) -> None:
    """Comments are masked as the texts of the request log are, also without one."""
    flags = ("--workers", "1", "--feedback-log", str(tmp_path), "--request-log-texts", "mask")
    with ServerProcess(*flags) as server:
        send(server.client, predict(server.client), comment="Call anna@mail.example at 555-0100")
    assert read(tmp_path)[0]["comment"] == "Call [email] at [number]"


def test_settings_that_are_refused(tmp_path: Path) -> None:
    """A folder that cannot be written to, and a short key, are errors of the start. The key is not repeated."""
    (tmp_path / "file").touch()
    serve: Callable[..., subprocess.CompletedProcess[str]] = lambda *flags, **variables: run(  # noqa: E731
        "-m", "service", "serve", "--port", "0", *flags, **variables
    )
    result = serve("--feedback-log", str(tmp_path / "file" / "log"))
    assert result.returncode == 2 and "--feedback-log: " in result.stderr and "cannot be written to" in result.stderr
    result = serve("--feedback-log", str(tmp_path), SENTIMENT_FEEDBACK_KEY="guessable-key")
    assert result.returncode == 2 and "(SENTIMENT_FEEDBACK_KEY) must have" in result.stderr
    assert "guessable-key" not in result.stderr
