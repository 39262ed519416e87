"""The repository: which models and versions are served, and what is refused."""

import shutil
from pathlib import Path

import pytest

from sentiment_conv1d.model.artifact import ArtifactError
from sentiment_conv1d.service.errors import NotFound, StartupError
from sentiment_conv1d.service.models.repository import Refusal, Repository, load_repository
from sentiment_conv1d.service.settings import Settings
from tests.service.artifacts import publish_table, shipped_copy


def load(path: Path, default: str | None = None) -> Repository:
    return load_repository(Settings(model_repository=path, default_model=default, execution_provider="cpu"))


def states(repository: Repository) -> list[tuple[str, str, str]]:
    """The index: version, state and reason."""
    return [(each.version, each.state, each.reason) for each in repository.index(repository.scanner.scan())]


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


def test_broken_newest_version(tmp_path: Path) -> None:
    """Whoever loads offline gets the error; a service serves the next version and says what it refused."""
    publish_table(tmp_path)
    broken = publish_table(tmp_path).path / "model.onnx"
    broken.unlink()
    with pytest.raises(ArtifactError) as error:
        load(tmp_path)
    assert str(broken) in str(error.value)
    repository = Repository(Settings(model_repository=tmp_path, execution_provider="cpu"))
    repository.open_all()
    assert repository.get().manifest.version == 1
    refusal = repository.refusal("tickets", 2)
    assert refusal is not None and refusal.fault == "incomplete" and str(broken) in refusal.reason
    assert states(repository) == [("1", "READY", ""), ("2", "UNAVAILABLE", refusal.reason)]


def test_nothing_to_serve(tmp_path: Path) -> None:
    """A service does not start without a version of its default model, and says what is wrong with the newest."""
    first, second = publish_table(tmp_path), publish_table(tmp_path)
    publish_table(tmp_path, name="calls")
    settings = Settings(model_repository=tmp_path, default_model="tickets", execution_provider="cpu")
    with pytest.raises(StartupError, match=r"no version of 'tickets' fits --versions only:3; there are: 1, 2"):
        Repository(settings.model_copy(update={"versions": "only:3"})).open_all()
    for artifact in (first, second):
        (artifact.path / "tokenizer.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"tickets/2/tokenizer\.json"):
        Repository(settings).open_all()
    Repository(settings.model_copy(update={"default_model": "calls"})).open_all()


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


@pytest.mark.parametrize(
    ("versions", "served"),
    [
        ("newest:1", [3]),
        ("newest:2", [3, 2]),
        ("all", [3, 2, 1]),
        ("only:1,2", [2, 1]),
        ("all tickets=newest:2", [3, 2]),
    ],
)
def test_several_versions(tmp_path: Path, versions: str, served: list[int]) -> None:
    """The versions of the policy answer, each by its number, and the newest of them where none is named."""
    for _ in range(3):
        publish_table(tmp_path)
    repository = Repository(Settings(model_repository=tmp_path, versions=versions, execution_provider="cpu"))
    repository.open_all()
    assert [each.manifest.version for each in repository] == served
    assert repository.versions("tickets") == served[::-1]
    for name in ("", "tickets"):
        assert repository.get(name).manifest.version == served[0]
        for version in (1, 2, 3):
            assert repository.holds(name, str(version)) == (version in served)
    assert [each.manifest.version for each in repository.select("tickets")] == served
    assert [each.manifest.version for each in repository.select("tickets", str(served[-1]))] == [served[-1]]
    unserved = f"not among the versions to serve: {repository.policy.rule('tickets')}"
    for number, state, reason in states(repository):
        assert (state, reason) == (("READY", "") if int(number) in served else ("UNAVAILABLE", unserved))


def test_put_and_drop(tmp_path: Path) -> None:
    """A version answers once it is put and until it is dropped, the newest of those that are left for the model."""
    publish_table(tmp_path)
    repository = load(tmp_path)
    second = publish_table(tmp_path)
    repository.refuse("tickets", 2, Refusal("fingerprint", "damaged", "broken"))
    assert states(repository)[1] == ("2", "UNAVAILABLE", "broken")
    repository.put(repository.open(repository.read("tickets", 2)))
    assert repository.get().manifest.version == 2
    assert [state for _, state, _ in states(repository)] == ["READY", "READY"]
    shutil.rmtree(second.path)
    assert states(repository)[1] == ("2", "READY", "its folder is gone")
    repository.drop("tickets", 2)
    assert repository.get().manifest.version == 1
    assert [version for version, _, _ in states(repository)] == ["1"]
    repository.refuse("tickets", 1, Refusal("fingerprint", "damaged", "broken"))
    assert states(repository) == [("1", "READY", "what lies in its place now was refused: broken")]
    repository.forget("tickets", 1)
    repository.unload("tickets")
    assert not repository.holds()
    assert states(repository) == [("1", "UNAVAILABLE", "unloaded")]
    with pytest.raises(NotFound, match=r"model 'tickets' was unloaded; POST .* serves it again"):
        repository.get()
