"""The statuses of calls."""

from __future__ import annotations

from urllib.parse import unquote

import grpc
from google.rpc.code_pb2 import Code
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.errors import RequestError
from sentiment_conv1d.server.grpc.status import quote


def test_numbers() -> None:
    """Status codes equal those of gRPC, and every error has one."""
    assert dict(Code.items()) == {each.name: each.value[0] for each in grpc.StatusCode}
    assert {kind.grpc_status for kind in RequestError.kinds} | {RequestError.grpc_status} <= set(Code.keys())


@given(st.text())
def test_messages(message: str) -> None:
    """Any message is sent as printable ASCII and decodes to the original."""
    quoted = quote(message)
    assert all(0x20 <= byte <= 0x7E for byte in quoted)
    assert unquote(quoted.decode()) == message
