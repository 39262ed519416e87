"""Every client can use TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.answers import SENTIMENT, TEXTS, predictions
from tests.interop.conftest import Connect
from tests.processes import ServerProcess
from tests.service.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Create the authority of the server's certificate."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[ServerProcess]:
    """Run a server that accepts only TLS."""
    certificate, key = authority.issue("server").pair
    with ServerProcess("--tls-certificate", certificate, "--tls-key", key) as process:
        yield process


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
