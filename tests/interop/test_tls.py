"""Every client can use TLS."""

from __future__ import annotations

import pytest

from tests.interop.answers import SENTIMENT, TEXTS, predictions
from tests.interop.conftest import Connect
from tests.processes import ServerProcess
from tests.service.certificates import Authority, authority, secure

__all__ = ["authority", "secure"]


# Debian's Netty, which the Java client uses, cannot negotiate HTTP/2 over TLS.
@pytest.mark.parametrize("connect", ["go", "node", "python"], indirect=True)
def test_calls(connect: Connect, secure: ServerProcess, authority: Authority, server: ServerProcess) -> None:
    """A call, a batch and a stream get the same answers as without TLS."""
    expected = predictions(server, TEXTS)
    with connect(secure, authority.certificate) as client:
        assert client.call(f"{SENTIMENT}/Predict", {"text": TEXTS[2]}) == expected[2]
        assert client.call(f"{SENTIMENT}/PredictBatch", {"texts": TEXTS * 20})["predictions"] == expected * 20
        answers, end = client.start(f"{SENTIMENT}/PredictStream", *({"text": text} for text in TEXTS)).result()
        assert end.code == 0 and answers == expected
