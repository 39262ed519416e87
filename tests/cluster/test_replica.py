"""A replica in this process, without Ray."""

from pathlib import Path

import pytest

from sentiment_conv1d.cluster.replica import Replica
from sentiment_conv1d.cluster.servicers import METHODS
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.settings import Settings


@pytest.mark.parametrize("log", ["request_log", "feedback_log"])
def test_log_in_a_folder(tmp_path: Path, log: str) -> None:
    """A replica refuses a log in a folder, because replicas on several nodes do not share folders."""
    with pytest.raises(StartupError, match="-log: replicas on Ray share no folder"):
        Replica(Settings.model_validate({log: str(tmp_path)}))


def test_feedback_key() -> None:
    """A replica needs a key for feedback, because feedback reaches another replica than the prediction."""
    with pytest.raises(StartupError, match="--feedback-log: replicas on Ray need the same --feedback-key"):
        Replica(Settings(feedback_log="http://sink.example/"))


def test_methods() -> None:
    """A replica answers the gRPC methods that Ray's proxies pass on, whose names are unique."""
    assert len({path.rpartition("/")[2] for path in METHODS}) == len(METHODS)
    methods = Replica(Settings()).methods
    assert {path: method.streaming for path, method in methods.items() if path in METHODS} == METHODS
