"""Fuzzes the messages of every gRPC method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.protos import inference_pb2, sentiment_pb2
from tests.processes import PATIENCE, ServerProcess
from tests.service.grpc.channels import connect

#: Statuses of a defect or of a stopped server.
OURS = {"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED"}

METHODS = [
    (f"/{service.full_name}/{method.name}", method.input_type.full_name, method.client_streaming)
    for descriptor in (inference_pb2.DESCRIPTOR, sentiment_pb2.DESCRIPTOR)
    for service in descriptor.services_by_name.values()
    for method in service.methods
    if method.name not in ("RepositoryModelLoad", "RepositoryModelUnload")
]

_FIELD = st.tuples(st.integers(1, 12), st.sampled_from([0, 1, 2, 5]), st.binary(max_size=12))


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    """Open a channel to a server whose log must not contain errors."""
    with ServerProcess("--workers", "1") as process, connect(process) as channel:
        yield channel
        assert not [line for line in process.log if " ERROR " in line or "Traceback" in line]


def encode(field: tuple[int, int, bytes]) -> bytes:
    """Build a protobuf field whose content matches its wire type."""
    number, kind, content = field
    key = bytes([number << 3 | kind]) if number < 16 else b""
    match kind:
        case 0:
            return key + bytes(byte | 0x80 for byte in content[:8]) + b"\x01"
        case 1 | 5:
            return key + content.ljust(12, b"\0")[: 8 if kind == 1 else 4]
        case _:
            return key + bytes([len(content)]) + content


def ask(channel: grpc.Channel, method: str, streaming: bool, messages: list[bytes]) -> None:
    """Call a method with bytes. An error must be the caller's fault."""
    try:
        if streaming:
            stream: Any = channel.stream_stream(method)
            list(stream(iter(messages), timeout=PATIENCE))
        else:
            single: Any = channel.unary_unary(method)
            single(messages[0], timeout=PATIENCE)
    except grpc.RpcError as error:
        assert error.code().name not in OURS, error


@given(
    method=st.sampled_from(METHODS),
    messages=st.lists(
        st.one_of(
            st.binary(max_size=60), st.lists(_FIELD, max_size=6).map(lambda fields: b"".join(map(encode, fields)))
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_any_message(channel: grpc.Channel, method: tuple[str, str, bool], messages: list[bytes]) -> None:
    """Any bytes, sent to any method, get an answer or a client error."""
    ask(channel, method[0], method[2], messages)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(texts=st.lists(_TEXT, max_size=4), model=st.sampled_from(["", "imdb-cnn"]) | _TEXT, version=_TEXT | st.just(""))
def test_any_text(channel: grpc.Channel, texts: list[str], model: str, version: str) -> None:
    """Any text, model and version get an answer or a client error."""
    batch = sentiment_pb2.PredictBatchRequest(texts=texts, model=model, version=version)
    ask(channel, "/sentiment.v1.Sentiment/PredictBatch", False, [batch.SerializeToString()])
    messages = [sentiment_pb2.PredictRequest(text=text, model=model).SerializeToString() for text in texts]
    ask(channel, "/sentiment.v1.Sentiment/PredictStream", True, messages)
