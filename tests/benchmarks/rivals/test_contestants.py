"""Answers are compared with the truth before anybody is measured."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.naive import Naive
from benchmarks.rivals import environments
from benchmarks.rivals.contestants import RIVALS, Contestant, Rival, contestant, references
from benchmarks.rivals.environments import NotInstalled
from loadtest.errors import LoadTestError

TEXTS = ["What a wonderful film.", "dull " * 500, ""]


@pytest.fixture(scope="module")
def service() -> Iterator[Contestant]:
    """This service, started as it is to be measured."""
    service, _ = references(workers=1)
    with service.server:
        yield service


def test_right_answers_pass(service: Contestant) -> None:
    """The naive application's probabilities are the service's."""
    naive = Naive()
    service.check({text: naive.predict(text) for text in TEXTS})


def test_a_wrong_answer_is_found(service: Contestant) -> None:
    """A server that answers something else is not measured."""
    with pytest.raises(LoadTestError, match=r"service answers .* instead of 0.5 for 'What a wonderful film.'"):
        service.check({TEXTS[0]: 0.5})


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_a_rival_that_is_not_installed_says_so(rival: Rival, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out with that sentence."""
    monkeypatch.setattr(environments, "_ENVIRONMENTS", tmp_path)
    with pytest.raises(NotInstalled, match="not installed"):
        contestant(rival, 2, tmp_path, tmp_path)
