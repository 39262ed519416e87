"""Checks gRPC at the level of HTTP/2, with nghttp2's programs."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictBatchResponse, PredictRequest
from tests.interop.answers import SENTIMENT, TEXTS, answered, predictions
from tests.interop.client import Messages
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.programs import find
from tests.service.reviews import reviews

HEADERS = {"content-type": "application/grpc", "te": "trailers"}

#: A frame of the server in the output of `nghttp --verbose`.
RECEIVED = re.compile(r"recv (\w+) frame <length=\d+, flags=0x(\w+), stream_id=(\d+)>")
END_STREAM = 0x01


def ask(
    program: str,
    server: ServerProcess,
    method: str,
    request: Message,
    folder: Path,
    *options: str,
    headers: Mapping[str, str] = HEADERS,
) -> bytes:
    """Run a program that calls a method and return its output."""
    content = request.SerializeToString()
    body = folder / "body"
    body.write_bytes(b"\0" + len(content).to_bytes(4, "big") + content)
    fields = [f"--header={name}: {value}" for name, value in headers.items()]
    url = f"http://127.0.0.1:{server.grpc_port}/{SENTIMENT}/{method}"
    command = [find(program), *options, *fields, f"--data={body}", url]
    return subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout


def unwrap(data: bytes) -> tuple[bool, bytes]:
    """Return the message of an answer, and whether it was compressed."""
    assert len(data) == 5 + int.from_bytes(data[1:5], "big")
    return bool(data[0]), gzip.decompress(data[5:]) if data[0] else data[5:]


def test_frames(server: ServerProcess, tmp_path: Path) -> None:
    """The answer to a call is a head, data, and trailers that end the stream, without errors."""
    request = PredictRequest(text="good")
    printed = ask("nghttp", server, "Predict", request, tmp_path, "--verbose", "--null-out").decode()
    frames = [(name, int(flags, 16), int(stream)) for name, flags, stream in RECEIVED.findall(printed)]
    assert frames[0][0] == "SETTINGS"
    assert {name for name, _, stream in frames if not stream} <= {"SETTINGS", "WINDOW_UPDATE", "PING"}
    answer = [(name, flags & END_STREAM) for name, flags, stream in frames if stream and name != "WINDOW_UPDATE"]
    assert answer == [("HEADERS", 0), ("DATA", 0), ("HEADERS", END_STREAM)]
    head, tail = printed.partition("recv DATA frame")[::2]
    assert ":status: 200" in head and "content-type: application/grpc" in head and "grpc-status" not in head
    assert "grpc-status: 0" in tail and "x-request-id: " in tail


def test_refusal(server: ServerProcess, tmp_path: Path) -> None:
    """A failed call, and a request that is not gRPC, gets only trailers."""
    request = PredictRequest(text="good", model="nothing")
    refused = ask("nghttp", server, "Predict", request, tmp_path, "--verbose").decode()
    assert ":status: 200" in refused and "grpc-status: 5" in refused and "recv DATA" not in refused
    headers = {"content-type": "text/plain"}
    strange = ask("nghttp", server, "Predict", request, tmp_path, "--verbose", headers=headers).decode()
    assert ":status: 415" in strange and "grpc-status" not in strange


@pytest.mark.parametrize("encodings", [{}, {"grpc-accept-encoding": "identity,gzip"}], ids=["identity", "gzip"])
def test_content(server: ServerProcess, messages: Messages, tmp_path: Path, encodings: dict[str, str]) -> None:
    """The service compresses a message only if the caller accepts that."""
    texts = reviews(300, seed=6)
    data = ask(
        "nghttp", server, "PredictBatch", PredictBatchRequest(texts=texts), tmp_path, headers=HEADERS | encodings
    )
    compressed, content = unwrap(data)
    assert compressed == bool(encodings)
    answer = MessageToDict(PredictBatchResponse.FromString(content))
    assert messages.answer(f"{SENTIMENT}/PredictBatch", answer)["predictions"] == predictions(server, texts)


def test_load(server: ServerProcess, tmp_path: Path) -> None:
    """Thousands of calls on ten connections all succeed."""
    before = answered(server, "Predict")
    options = ("--requests=5000", "--clients=10", "--max-concurrent-streams=20")
    printed = ask("h2load", server, "Predict", PredictRequest(text=TEXTS[2]), tmp_path, *options).decode()
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in printed, printed
    eventually(lambda: answered(server, "Predict") == before + 5000)
