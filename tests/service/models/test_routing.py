"""Requests that name no version are split between the versions of a model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.request_context import RequestContext, current
from tests.processes import PROJECT
from tests.service.artifacts import publish_strength
from tests.service.models.test_late_workers import put
from tests.service.models.test_startup import begin

TEXTS = [f"praise {number}" for number in range(2000)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a repository with versions 1, 2 and 3 of `tickets`."""
    path = tmp_path_factory.mktemp("repository")
    for strength in (1, 2, 3):
        publish_strength(path, strength)
    return path


def load(repository: Path) -> LoadedModels:
    """Load all versions."""
    return begin(Settings(model_repository=repository, versions="all", execution_provider="cpu"))


@pytest.fixture
def models(repository: Path) -> LoadedModels:
    return load(repository)


@pytest.fixture
def routing_key() -> Iterator[RequestContext]:
    """Return the context of a request with a routing key."""
    context = RequestContext("abc", headers={b"x-routing-key": b"somebody"})
    token = current.set(context)
    yield context
    current.reset(token)


def route(models: LoadedModels, rules: dict[str, dict[str, int]], name: str = "tickets") -> None:
    models.follow(Order("route", name, rules=rules))


def chosen(models: LoadedModels, text: str = "praise", version: str = "") -> int:
    return models.get("", version, (text,)).manifest.version


def shares(models: LoadedModels) -> Counter[int]:
    return Counter(chosen(models, text) for text in TEXTS)


def test_newest_version_without_a_split(models: LoadedModels) -> None:
    """Without a split, or after the removal of its rule, the newest version answers."""
    assert shares(models) == {3: len(TEXTS)}
    route(models, {"split": {"1": 1}})
    assert shares(models) == {1: len(TEXTS)}
    route(models, {"split": {}})
    assert shares(models) == {3: len(TEXTS)}


def test_weights(models: LoadedModels) -> None:
    """The shares match the weights, whose sum need not be 100, of versions and of labels."""
    route(models, {"labels": {"stable": 1}, "split": {"stable": 6, "2": 3, "3": 1}})
    found = shares(models)
    assert [found[version] / len(TEXTS) for version in (1, 2, 3)] == pytest.approx([0.6, 0.3, 0.1], abs=0.04)


def test_more_weight(models: LoadedModels) -> None:
    """A version whose weight increases keeps the requests that it had."""
    got: list[set[str]] = []
    for weight in (0, 10, 50, 100):
        route(models, {"split": {"1": 100 - weight, "2": weight}})
        got.append({text for text in TEXTS if chosen(models, text) == 2})
    assert got[0] < got[1] < got[2] < got[3]


def test_routing_key(models: LoadedModels, routing_key: RequestContext) -> None:
    """Requests with the same key get the same version for any texts. An empty key has no effect."""
    route(models, {"split": {"1": 1, "2": 1, "3": 1}})
    assert len(shares(models)) == 1
    versions = set()
    for number in range(30):
        routing_key.headers = {b"x-routing-key": b"%d" % number}
        versions.add(chosen(models))
    assert versions == {1, 2, 3}
    routing_key.headers = {b"x-routing-key": b""}
    assert len(shares(models)) == 3


def test_named_version(models: LoadedModels) -> None:
    """A split does not apply to requests that name a version, and descriptions use the largest weight."""
    route(models, {"labels": {"new": 3}, "split": {"1": 40, "2": 60}})
    assert {chosen(models, text, "new") for text in TEXTS[:50]} == {3}
    assert models.get().manifest.version == models.get("tickets").manifest.version == 2


def test_version_that_is_not_served(models: LoadedModels) -> None:
    """While a version of the split is not served, none answers requests that name no version."""
    route(models, {"labels": {"new": 9}, "split": {"1": 50, "new": 50}})
    for texts in (None, ["praise"]):
        for name in ("", "tickets"):
            with pytest.raises(Unavailable, match="split of tickets: version 9, labelled 'new', is not served"):
                models.get(name, "", texts)
    with pytest.raises(Unavailable, match="version 9"):
        models.check_ready()
    assert not models.holds()
    assert chosen(models, version="2") == 2
    assert models.name_of("") == "tickets"
    assert [each.manifest.version for each in models.select("tickets")] == [3, 2, 1]
    put(models, "tickets", 9)
    assert set(shares(models)) == {1, 9}
    models.check_ready()
    models.follow(Order("unload", "tickets"))
    with pytest.raises(NotFound, match="model 'tickets' was unloaded"):
        models.get()


def test_rules_without_requests(models: LoadedModels) -> None:
    """A missing version that gets no requests is reported. The others answer."""
    route(models, {"labels": {"old": 7, "other": 8}, "split": {"1": 50, "old": 0}, "shadow": {"9": 20}})
    assert shares(models) == {1: len(TEXTS)}
    models.check_ready()
    assert list(map(str, models.missing())) == [
        "labels of tickets: version 8, labelled 'other', is not served",
        "split of tickets: version 7, labelled 'old', is not served",
        "shadow of tickets: version 9 is not served",
    ]
    models.follow(Order("serve", "tickets", 8), os.open(os.devnull, os.O_RDONLY))  # other processes serve it
    assert [each.rule for each in models.missing()] == ["split", "shadow"]
    models.follow(Order("drop", "tickets", 8))


def test_model_that_is_not_served(models: LoadedModels) -> None:
    """The service is not ready if a split is for a model that does not exist, because its name may be a typo."""
    route(models, {"split": {"1": 1}}, "tikets")
    assert shares(models) == {3: len(TEXTS)}
    with pytest.raises(Unavailable, match="split of tikets: version 1 is not served"):
        models.check_ready()
    models.follow(Order("unload", "tikets"))
    models.check_ready()


def test_rows(models: LoadedModels) -> None:
    """One version, which depends on the texts, answers a batch. A request without texts is not split."""
    route(models, {"split": {"1": 1, "2": 1}})
    batches = [[f"text {number}", "more"] for number in range(50)]
    assert {models.get(texts=batch).manifest.version for batch in batches} == {1, 2}
    assert models.get(texts=[]).manifest.version in (1, 2)
    assert models.get(texts=["\ud800"]).manifest.version in (1, 2)
    route(models, {"split": {"1": 1, "2": 3}})
    assert models.get().manifest.version == 2


def test_same_in_every_process(models: LoadedModels, repository: Path) -> None:
    """Another process with another hash seed chooses the same versions."""
    route(models, {"split": {"1": 1, "2": 1}})
    program = f"""
from tests.service.models.test_routing import *
models = load(Path({str(repository)!r}))
route(models, {{"split": {{"1": 1, "2": 1}}}})
print([chosen(models, text) for text in TEXTS[:100]])
"""
    for seed in ("1", "2"):
        output = subprocess.run(
            [sys.executable, "-c", program],
            cwd=PROJECT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert output.strip() == str([chosen(models, text) for text in TEXTS[:100]])


def test_shadow(models: LoadedModels, routing_key: RequestContext) -> None:
    """A share of the requests that name no version is marked for the shadow version, unless it answers them itself."""

    def sampled(version: str = "") -> int:
        count = 0
        for text in TEXTS:
            models.get("", version, [text])
            shadow, routing_key.shadow = routing_key.shadow, None
            assert shadow in (None, models.get("", "2"))
            count += shadow is not None
        return count

    assert sampled() == 0
    route(models, {"shadow": {"2": 20}})
    assert sampled() / len(TEXTS) == pytest.approx(0.2, abs=0.06)
    assert sampled("1") == sampled("2") == 0
    route(models, {"split": {"2": 1}, "shadow": {"2": 100}})
    assert sampled() == 0
    route(models, {"split": {}, "shadow": {"9": 100}})
    assert sampled() == 0


def test_what_is_hashed(models: LoadedModels) -> None:
    """The first 32 texts and the first 1,024 characters of each choose the version, and the rest does not."""
    route(models, {"split": {"1": 1, "2": 1}})

    def versions(texts: Callable[[str], tuple[str, ...]]) -> set[int]:
        return {models.get("", "", texts(chr(number))).manifest.version for number in range(97, 123)}

    assert versions(lambda last: ("a",) * 31 + (last,)) == {1, 2}
    assert len(versions(lambda last: ("a",) * 32 + (last,))) == 1
    assert versions(lambda last: ("a" * 1023 + last,)) == {1, 2}
    assert len(versions(lambda last: ("a" * 1024 + last,))) == 1


def test_choices_last(models: LoadedModels) -> None:
    """A text has the same version in every release, so a roll-out that runs keeps its callers through an upgrade."""
    route(models, {"split": {"1": 1, "2": 1, "3": 1}})
    assert [chosen(models, text) for text in TEXTS[:12]] == [1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 3]
