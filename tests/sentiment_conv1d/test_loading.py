"""`load` finds models by name, version, folder and URL."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from sentiment_conv1d import SentimentError, load
from tests.processes import MODEL_REPOSITORY
from tests.service.artifacts import publish_table


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Create a repository with two versions of `tickets` and one of `calls`."""
    publish_table(tmp_path / "models")
    publish_table(tmp_path / "models")
    publish_table(tmp_path / "models", name="calls")
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in an empty folder."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def test_names(repository: Path) -> None:
    """A name stands for the newest version, and a colon precedes another one."""
    assert load("tickets", repository=repository).version == "2"
    assert load("tickets:1", repository=str(repository)).version == "1"


def test_default_repository(repository: Path) -> None:
    """Names are those of the shipped models, or of `model_repository` in the working directory if it exists."""
    assert load("imdb-cnn").folder == MODEL_REPOSITORY / "imdb-cnn" / "1"
    shutil.move(repository, "model_repository")
    assert load("calls").folder == Path("model_repository/calls/1").absolute()
    with pytest.raises(SentimentError, match="there is no model 'imdb-cnn' in model_repository; there are: calls, t"):
        load("imdb-cnn")


def test_default_model(repository: Path) -> None:
    """Without a name, the model is the one that the service would answer with."""
    assert load().name == "reviews"
    shutil.rmtree(repository / "calls")
    assert load(repository=repository).name == "tickets"


def test_folders(repository: Path) -> None:
    """A folder is that of a version, of a model, or of a repository."""
    shutil.copytree(repository / "tickets" / "1", "copy")
    assert load("./copy").version == load(Path("copy")).version == "1"
    assert load(repository / "tickets" / "1").version == "1"
    assert load(f"{repository}/tickets/").version == "2"
    shutil.rmtree(repository / "calls")
    assert load(repository).name == "tickets"


def test_urls(repository: Path, tmp_path: Path) -> None:
    """A model at a URL is copied to the cache."""
    url, cache = repository.as_uri(), tmp_path / "cache"
    for model in (
        load(f"{url}/tickets/1", cache=cache),
        load("tickets:1", repository=url, cache=cache),
        load("tickets", repository=f"{url}/", cache=cache),
    ):
        assert model.folder.is_relative_to(cache)
        assert model.predict("praise").label == "thanks"
    assert load("tickets", repository=url, cache=cache).version == "2"
    shutil.rmtree(repository / "calls")
    assert load(url, cache=cache).name == "tickets"


def test_cache_at_a_url(repository: Path) -> None:
    """A URL as the cache is refused, because it would become a folder of the working directory."""
    with pytest.raises(SentimentError, match="'s3://bucket/cache' is a URL; a path on this machine is needed"):
        load(repository.as_uri(), cache="s3://bucket/cache")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ticket", "there is no model 'ticket' in REPOSITORY; there are: calls, tickets"),
        ("tickets:7", "there is no version 7 of 'tickets' in REPOSITORY; there are: 1, 2"),
        ("tickets:new", "'tickets:new' is neither NAME nor NAME:VERSION; a folder is written with a slash"),
        ("a b", "'a b' is neither NAME nor NAME:VERSION; a folder is written with a slash"),
        ("", "'' is neither NAME nor NAME:VERSION; a folder is written with a slash"),
        ("./tickets", "./tickets: repository= goes with the name of a model, not with a folder or a URL"),
    ],
)
def test_what_is_not_there(repository: Path, model: str, message: str) -> None:
    """A model that does not exist is an error, which says what there is."""
    with pytest.raises(SentimentError, match=f"^{re.escape(message.replace('REPOSITORY', str(repository)))}$"):
        load(model, repository=repository)


def test_damaged_files(repository: Path) -> None:
    """A damaged artifact is an error that names the file."""
    graph = repository / "tickets" / "2" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(SentimentError, match=r"2/model\.onnx: "):
        load("tickets", repository=repository)


def test_unknown_execution_provider(repository: Path) -> None:
    """An execution provider that does not exist is an error, not the CPU."""
    with pytest.raises(SentimentError, match="there is no execution provider 'gpu'; there are: auto, cpu, cuda"):
        load("tickets", repository=repository, execution_provider="gpu")  # type: ignore[arg-type]
