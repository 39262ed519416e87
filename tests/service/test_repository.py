"""The repository: which models and versions are served, and what is refused."""

from pathlib import Path

import pytest

from model.artifact import ArtifactError
from service.errors import NotFound, StartupError
from service.repository import Repository, load_repository
from service.settings import Settings
from tests.service.artifacts import publish_table, shipped_copy


def load(path: Path, default: str | None = None) -> Repository:
    return load_repository(Settings(model_repository=path, default_model=default, execution_provider="cpu"))


def test_newest_version_wins(tmp_path: Path) -> None:
    """The highest version number is served; ten comes after nine."""
    for _ in range(10):
        publish_table(tmp_path)
    assert load(tmp_path).get().manifest.version == 10


def test_older_versions_are_not_opened(tmp_path: Path) -> None:
    """A broken older version does not keep the newest from being served."""
    publish_table(tmp_path).path.joinpath("model.onnx").unlink()
    publish_table(tmp_path)
    assert load(tmp_path).get().manifest.version == 2


def test_broken_newest_version_is_refused(tmp_path: Path) -> None:
    """Nothing falls back to an older version in silence."""
    publish_table(tmp_path)
    broken = publish_table(tmp_path).path / "model.onnx"
    broken.unlink()
    with pytest.raises(ArtifactError) as error:
        load(tmp_path)
    assert str(broken) in str(error.value)


def test_several_models(tmp_path: Path) -> None:
    """Several models need a default, and each is found by its name."""
    publish_table(tmp_path, name="tickets")
    publish_table(tmp_path, name="calls")
    with pytest.raises(StartupError, match="calls, tickets"):
        load(tmp_path)
    repository = load(tmp_path, default="tickets")
    assert repository.get().manifest.name == "tickets"
    assert repository.get("calls").manifest.name == "calls"
    assert [classifier.manifest.name for classifier in repository] == ["calls", "tickets"]


def test_unknown_model(tmp_path: Path) -> None:
    """A name that is not loaded is refused, and so is a default that is not there."""
    publish_table(tmp_path)
    with pytest.raises(NotFound, match="'nothing'; loaded: tickets"):
        load(tmp_path).get("nothing")
    assert load(tmp_path).get("").manifest.name == "tickets"
    with pytest.raises(NotFound, match="version '2' of model 'tickets' is not loaded; loaded: 1"):
        load(tmp_path).get("tickets", "2")
    with pytest.raises(StartupError, match="holds no model 'nothing'; there are: tickets"):
        load(tmp_path, default="nothing")


def test_foreign_entries_are_not_looked_at(tmp_path: Path) -> None:
    """Folders that are no models, versions that are no numbers, and files are left alone."""
    publish_table(tmp_path)
    for folder in ("lost+found", "notes/old", "tickets/.publishing-x", "tickets/latest", "tickets/02", "tickets/0"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text("Models.")
    (tmp_path / "tickets" / "3").write_text("A file is no version.")
    [classifier] = load(tmp_path)
    assert (classifier.manifest.name, classifier.manifest.version) == ("tickets", 1)


@pytest.mark.parametrize("place", ["other/1", "tickets/2"])
def test_manifest_of_another_place(tmp_path: Path, place: str) -> None:
    """An artifact that was moved to another name or version is refused, because clients would be told the wrong one."""
    moved = tmp_path / place
    moved.parent.mkdir(exist_ok=True)
    publish_table(tmp_path / "elsewhere").path.rename(moved)
    (tmp_path / "elsewhere" / "tickets").rmdir()
    with pytest.raises(ArtifactError, match="the manifest is that of tickets 1") as error:
        load(tmp_path)
    assert str(moved) in str(error.value)


def test_no_repository(tmp_path: Path) -> None:
    """A folder that is missing, a file, and a folder without models are refused with a sentence."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, reason in {"missing": "no such", "file": "no such", "empty": "no model in it"}.items():
        with pytest.raises(StartupError, match=reason) as error:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


def test_shipped_model(tmp_path: Path) -> None:
    """The shipped model loads from wherever it lies."""
    shipped_copy(tmp_path)
    assert load(tmp_path).get().labels == ("negative", "positive")


def test_load_and_unload(tmp_path: Path) -> None:
    """A new version answers once it is put, an unloaded model no more, and the index tells both."""
    publish_table(tmp_path)
    repository = load(tmp_path)
    publish_table(tmp_path)
    assert [(entry.version, entry.state) for entry in repository.index()] == [("1", "READY"), ("2", "UNAVAILABLE")]
    repository.put(repository.open("tickets"))
    assert repository.get().manifest.version == 2
    assert repository.holds("tickets", "2") and not repository.holds("tickets", "1")
    assert [(entry.version, entry.state) for entry in repository.index()] == [("1", "UNAVAILABLE"), ("2", "READY")]
    repository.unload("tickets")
    assert not repository.holds()
    with pytest.raises(NotFound, match="no model 'tickets'; loaded: none"):
        repository.get()
    with pytest.raises(NotFound):
        repository.unload("tickets")


@pytest.mark.parametrize("name", ["nothing", "..", "../tickets", "", ".", "tickets/1"])
def test_only_models_of_the_folder_are_opened(tmp_path: Path, name: str) -> None:
    """A name is one of the folder's own, never a path."""
    publish_table(tmp_path)
    with pytest.raises(NotFound):
        load(tmp_path).open(name)
