"""The request log of a real server has complete records, and no sink can delay an answer."""

from __future__ import annotations

import json
import re
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.service.telemetry.sinks import LogFile
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, ServerProcess, eventually, run
from tests.service.grpc.channels import connect
from tests.service.telemetry.test_metrics import metric

ALL = ("--workers", "1", "--request-log-sample", "1")


class HttpSink:
    """A server that receives CloudEvents and answers with a status. Without a status it answers only when closed.

    With `endless`, the body of the answer ends only when the client closes the connection.
    """

    def __init__(self, status: int | None, *, keep: bool = True, endless: bool = False) -> None:
        self.events: list[tuple[dict[str, str], Any]] = []
        self.grown = threading.Condition()
        self._closed = threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                with sink.grown:
                    sink.events.append(({name.lower(): value for name, value in self.headers.items()}, content))
                    sink.grown.notify_all()
                if status is None:
                    sink._closed.wait(PATIENCE)
                    return
                self.send_response(status)
                self.send_header("content-length", str(10**12 if endless else 0))
                self.end_headers()
                self.close_connection = not keep
                with suppress(ConnectionError):
                    while endless:
                        self.wfile.write(bytes(65_536))

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/events?to=log"

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, count: int) -> None:
        """Wait until this number of events has arrived."""
        with self.grown:
            assert self.grown.wait_for(lambda: len(self.events) >= count, PATIENCE)


@pytest.fixture
def sink() -> Iterator[Callable[..., HttpSink]]:
    """Return a function that starts a server for events."""
    started: list[HttpSink] = []

    def start(status: int | None, **options: bool) -> HttpSink:
        started.append(HttpSink(status, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def read(folder: Path) -> list[dict[str, Any]]:
    """Read the records in all files of a folder."""
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]


def logged(server: ServerProcess, outcome: str) -> float:
    """Return the number of records with this outcome."""
    return metric(server, "sentiment_request_log_total", outcome=outcome)


def test_records(tmp_path: Path) -> None:
    """A record has the request and every prediction, without texts, over REST and gRPC. Shutdown writes all records."""
    folder = tmp_path / "logs" / "requests"
    began = datetime.now(UTC).replace(microsecond=0)
    with ServerProcess(*ALL, "--request-log", str(folder)) as server:
        single = server.client.post("/v1/predict", json={"text": "so good"}, headers={"x-request-id": "one"}).json()
        batch = server.client.post("/v1/predict_batch", json={"texts": ["bad qwzx", "a " * 500]}).json()
        with connect(server) as channel:
            SentimentStub(channel).Predict(PredictRequest(text="so bad"), metadata=[("x-request-id", "rpc")])
        assert server.client.post("/v1/predict", json={"text": 5}).status_code == 422
        ids = {"name": "tokens", "shape": [1, 2], "datatype": "INT32", "data": [1, 20]}
        assert server.client.post("/v2/models/imdb-cnn/infer", json={"inputs": [ids]}).status_code == 200
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["requests-0.jsonl"]
    records = read(folder)
    assert [(each["protocol"], each["route"], len(each["predictions"])) for each in records] == [
        ("rest", "/v1/predict", 1),
        ("rest", "/v1/predict_batch", 2),
        ("grpc", "/sentiment.v1.Sentiment/Predict", 1),
        ("rest", "/v2/models/{model}/infer", 1),
    ]
    assert (records[0]["request_id"], records[2]["request_id"]) == ("one", "rpc")
    assert all((each["model"], each["version"]) == ("imdb-cnn", 1) for each in records)
    assert all(began <= datetime.fromisoformat(each["time"]) <= datetime.now(UTC) for each in records)
    del single["model"]
    assert records[0]["predictions"] == [single]
    assert [each["unknown_tokens"] for each in records[1]["predictions"]] == [1, 0]
    assert records[1]["predictions"][1]["truncated"] and batch["predictions"][1]["truncated"]


def test_texts(tmp_path: Path) -> None:
    """The log contains texts only on request."""
    texts = ["naïve \N{SNOWMAN}", 'with "quotes"\nand lines']
    with ServerProcess(*ALL, "--request-log", str(tmp_path), "--request-log-texts") as server:
        server.client.post("/v1/predict_batch", json={"texts": texts})
    [record] = read(tmp_path)
    assert [each["text"] for each in record["predictions"]] == texts


def test_right_labels(tmp_path: Path) -> None:
    """The query of docs/metrics.md joins the log with right labels by request id."""
    with ServerProcess(*ALL, "--request-log", str(tmp_path)) as server:
        for identity, text in (("one", "so good"), ("two", "so bad"), ("three", "good")):
            server.client.post("/v1/predict", json={"text": text}, headers={"x-request-id": identity})
    [query] = re.findall(r"```sql\n(.*?)```", (PROJECT / "docs" / "metrics.md").read_text(), re.DOTALL)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE requests (line)")
        database.execute("CREATE TABLE corrections (request_id, label)")
        lines = (tmp_path / "requests-0.jsonl").read_text().splitlines()
        database.executemany("INSERT INTO requests VALUES (?)", [(line,) for line in lines])
        right = [("one", "positive"), ("two", "positive"), ("other", "negative")]
        database.executemany("INSERT INTO corrections VALUES (?, ?)", right)
        assert database.execute(query).fetchall() == [("imdb-cnn", 1, 2, 0.5)]


def test_large_texts(tmp_path: Path) -> None:
    """The record of a request with more than 1 MB of texts contains the predictions without the texts."""
    with ServerProcess(*ALL, "--request-log", str(tmp_path), "--request-log-texts") as server:
        for count in (2, 3):
            server.client.post("/v1/predict_batch", json={"texts": ["good " * 100_000] * count}).raise_for_status()
        eventually(lambda: logged(server, "written") == 2)
    assert [[("text" in each) for each in record["predictions"]] for record in read(tmp_path)] == [
        [True] * 2,
        [False] * 3,
    ]


def test_sample(tmp_path: Path) -> None:
    """The configured share of the requests is logged."""
    requests = 400
    with ServerProcess("--workers", "1", "--request-log", str(tmp_path), "--request-log-sample", "0.5") as server:
        for _ in range(requests):
            server.client.post("/v1/predict", json={"text": "good"})
    # The bounds are more than seven standard deviations from the mean.
    assert requests * 0.3 < len(read(tmp_path)) < requests * 0.7


def test_rotation(tmp_path: Path) -> None:
    """Files are rotated before they exceed the limit, old records are deleted, and only the user can read the files."""
    limit = 1000
    with ServerProcess(*ALL, "--request-log", str(tmp_path), "--request-log-bytes", str(limit)) as server:
        for number in range(40):
            server.client.post("/v1/predict", json={"text": "good"}, headers={"x-request-id": f"n{number:03}"})
    names = [f"requests-0.jsonl{suffix}" for suffix in ("", ".1", ".2", ".3", ".4")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(path.stat().st_size <= limit for path in tmp_path.iterdir())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    kept = sorted(each["request_id"] for each in read(tmp_path))
    assert kept == [f"n{number:03}" for number in range(40 - len(kept), 40)]


def test_bytes_of_a_file(tmp_path: Path) -> None:
    """The limit of a file is in bytes, not in characters, and a record that exceeds it does not leave an empty file."""
    file = LogFile(tmp_path / "log", 1000)
    for text in ("\N{EURO SIGN}" * 200, "\N{EURO SIGN}" * 200, "a" * 2000, "b"):
        file.write({"text": text})
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == {"log.3": 612, "log.2": 612, "log.1": 2012, "log": 13}


def test_disk_that_is_full_within_a_line(tmp_path: Path) -> None:
    """A line that the disk has no room for leaves no part of itself, so that the next line is complete."""
    file, path = LogFile(tmp_path / "log", 1000), tmp_path / "log"
    file.write({"number": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))  # bytes of a file, of which the kernel writes what fits
    try:
        with pytest.raises(OSError, match="File too large"):
            file.write({"text": "too long"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.write({"number": 2})
    assert path.read_text() == '{"number":1}\n{"number":2}\n'


def test_file_that_is_moved(tmp_path: Path) -> None:
    """If another program moves or deletes the file, the next record goes to a new file."""
    file, path = LogFile(tmp_path / "log", 1000), tmp_path / "log"
    file.write({"number": 0})
    path.rename(tmp_path / "moved")
    file.write({"number": 1})
    path.unlink()
    file.write({"number": 2})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "moved": '{"number":0}\n',
        "log": '{"number":2}\n',
    }


def test_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    """If the folder cannot be written to, the service does not start, and says why."""
    (tmp_path / "file").touch()
    flags = ("--model-repository", str(MODEL_REPOSITORY), "--request-log", str(tmp_path / "file" / "logs"))
    result = run("-m", "service", "serve", *flags, "--port", "0")
    assert result.returncode == 2
    assert f"--request-log: {tmp_path}/file/logs cannot be written to (Not a directory)" in result.stderr


def test_full_disk(tmp_path: Path) -> None:
    """If the disk is full, requests are answered, and their records are counted as failed."""
    (tmp_path / "requests-0.jsonl").symlink_to("/dev/full")
    with ServerProcess(*ALL, "--request-log", str(tmp_path)) as server:
        for _ in range(3):
            assert server.client.post("/v1/predict", json={"text": "good"}).status_code == 200
        eventually(lambda: logged(server, "failed") == 3)
        server.wait_for_log("the request log cannot be written: .*No space left on device")
        (tmp_path / "requests-0.jsonl").unlink()
        server.client.post("/v1/predict", json={"text": "bad"}, headers={"x-request-id": "after"})
        server.wait_for_log("the request log is written again")
    assert [each["request_id"] for each in read(tmp_path)] == ["after"]


@pytest.mark.parametrize("keep", [True, False])
def test_cloud_events(sink: Callable[..., HttpSink], keep: bool) -> None:
    """A URL receives CloudEvents in binary mode, even if its server closes the connection after each of them."""
    target = sink(202, keep=keep)
    with ServerProcess(*ALL, "--request-log", target.url) as server:
        for identity in ("one", "two"):
            server.client.post("/v1/predict", json={"text": "good"}, headers={"x-request-id": identity})
        eventually(lambda: logged(server, "written") == 2)
    for (fields, content), identity in zip(target.events, ("one", "two"), strict=True):
        record = json.loads(content)
        assert record["request_id"] == identity
        assert fields["content-type"] == "application/json"
        assert fields["ce-specversion"] == "1.0"
        assert fields["ce-type"] == "org.kubeflow.serving.inference.response"
        assert fields["ce-source"] and fields["ce-time"] == record["time"]
        assert fields["ce-inferenceservicename"] == "imdb-cnn"
    assert len({fields["ce-id"] for fields, _ in target.events}) == 2


def test_sink_that_fails(sink: Callable[..., HttpSink]) -> None:
    """If the sink answers 500, requests are answered, and their records are counted as failed."""
    with ServerProcess(*ALL, "--request-log", sink(500).url) as server:
        for _ in range(3):
            assert server.client.post("/v1/predict", json={"text": "good"}).status_code == 200
        eventually(lambda: logged(server, "failed") == 3)
        server.wait_for_log("the request log cannot be written: the server answers 500")
    assert sum("cannot be written" in line for line in server.log) == 1


def test_sink_with_an_endless_answer(sink: Callable[..., HttpSink]) -> None:
    """An endless answer is not read to its end. Its status counts, and the next record gets a new connection."""
    with ServerProcess(*ALL, "--request-log", sink(200, endless=True).url) as server:
        for _ in range(2):
            assert server.client.post("/v1/predict", json={"text": "good"}).status_code == 200
        eventually(lambda: logged(server, "written") == 2)


def test_sink_that_hangs(sink: Callable[..., HttpSink]) -> None:
    """If the sink hangs, requests are answered, records beyond the queue's limit are dropped, and the service exits."""
    target = sink(None)
    with ServerProcess(*ALL, "--request-log", target.url, "--request-log-texts") as server:
        server.client.post("/v1/predict", json={"text": "good"})
        target.wait_for(1)
        for _ in range(24):
            assert server.client.post("/v1/predict", json={"text": "good " * 199_000}).status_code == 200
        assert logged(server, "dropped") > 0
        assert logged(server, "written") == 0
        server.wait_for_log("the request log cannot be written: timed out")
        assert server.stop() == 0
        server.wait_for_log(r"\d+ records of the request log were not written")
