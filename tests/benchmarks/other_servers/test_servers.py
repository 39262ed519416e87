"""The other servers and applications are started as they are measured, and their answers are checked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import answers, environments
from benchmarks.environments import NotInstalled
from benchmarks.other_servers.servers import OTHER_SERVERS, MeasuredServer, OtherServer, measured_server, references
from benchmarks.serving.cases import CPP, NODE
from loadtest.errors import LoadTestError

TEXTS = ["What a wonderful film.", "dull " * 500, "", "fine " * 396, "fine " * 397]


@pytest.fixture(scope="module")
def service() -> Iterator[MeasuredServer]:
    """Start this service as for a measurement."""
    service, *_ = references(1)
    with service.server:
        yield service


def test_correct_answers(service: MeasuredServer) -> None:
    """The check accepts the probabilities of the classifier."""
    answers.check(service.server, service.form, answers.expected(TEXTS))


@pytest.mark.parametrize("title", [NODE, CPP])
def test_other_languages(title: str) -> None:
    """The applications in Node and C++ return the probabilities of the service."""
    installed = {each.title: each for each in references(2)}
    if title not in installed:
        pytest.skip(f"make compare has not installed the application in {title}")
    with installed[title].server as server:
        answers.check(server, installed[title].form, answers.expected(TEXTS))


def test_wrong_answer(service: MeasuredServer) -> None:
    """A server with a wrong answer is not measured."""
    with pytest.raises(LoadTestError, match=r"service answers .* instead of 0.5 for 'What a wonderful film.'"):
        answers.check(service.server, service.form, {TEXTS[0]: 0.5})


@pytest.mark.parametrize("other", OTHER_SERVERS, ids=lambda other: other.name)
def test_not_installed(other: OtherServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not installed raises an error that says so."""
    monkeypatch.setattr(environments, "_ENVIRONMENTS", tmp_path)
    with pytest.raises(NotInstalled, match="not installed"):
        measured_server(other, 2, tmp_path)
