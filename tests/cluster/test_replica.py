"""A replica in this process, without Ray."""

from pathlib import Path

import pytest

from sentiment_conv1d.cluster.replica import Replica
from sentiment_conv1d.cluster.servicers import METHODS
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.settings import Settings


def test_log_in_a_folder(tmp_path: Path) -> None:
    """A replica refuses a log in a folder, because replicas on several nodes do not share folders."""
    with pytest.raises(StartupError, match="--request-log: replicas on Ray share no folder"):
        Replica(Settings(request_log=str(tmp_path)))


def test_methods() -> None:
    """A replica answers the gRPC methods that Ray's proxies pass on, whose names are unique."""
    assert len({path.rpartition("/")[2] for path in METHODS}) == len(METHODS)
    methods = Replica(Settings()).methods
    assert {path: method.streaming for path, method in methods.items() if path in METHODS} == METHODS
