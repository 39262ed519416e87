"""Loading models at startup: which versions are served, and which are refused."""

from pathlib import Path

import pytest

from sentiment_conv1d.artifact.artifact import ArtifactError, Fault
from sentiment_conv1d.artifact.errors import TransientError
from sentiment_conv1d.service.errors import NotFound, StartupError
from sentiment_conv1d.service.models.index import index
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.models.startup import choose, default_artifact, opener, repository_of
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.version_policy import VersionPolicy
from tests.service.artifacts import publish_table, shipped_copy


def load(path: Path, default: str | None = None) -> LoadedModels:
    return begin(Settings(model_repository=path, default_model=default, execution_provider="cpu"))


def begin(settings: Settings) -> LoadedModels:
    """Load the models of a starting service."""
    models = LoadedModels(settings.default_model)
    open_version = opener(settings)

    repository = repository_of(settings)

    def admit(order: Order) -> None:
        models.put(ServedClassifier(open_version(repository.read(*order.key))))

    choose(repository, models, admit)
    return models


def states(models: LoadedModels, path: Path, versions: str = "newest:1") -> list[tuple[str, str, str]]:
    """Return the version, state and reason of every model in the index."""
    repository = Repository(path, VersionPolicy(versions))
    return [(each.version, each.state, each.reason) for each in index(repository.scan(), models, repository.policy)]


def test_newest_version_wins(tmp_path: Path) -> None:
    """The newest version is the highest number: 10 is newer than 9."""
    for _ in range(10):
        publish_table(tmp_path)
    assert load(tmp_path).get().manifest.version == 10


def test_older_versions_are_not_opened(tmp_path: Path) -> None:
    """A broken older version does not affect the newest version."""
    publish_table(tmp_path).path.joinpath("model.onnx").unlink()
    publish_table(tmp_path)
    assert load(tmp_path).get().manifest.version == 2


def test_broken_newest_version(tmp_path: Path) -> None:
    """Offline commands raise the error of a broken version, and a service serves the next one and logs the reason."""
    publish_table(tmp_path)
    broken = publish_table(tmp_path).path / "model.onnx"
    broken.unlink()
    with pytest.raises(ArtifactError) as error:
        default_artifact(Settings(model_repository=tmp_path))
    assert str(broken) in str(error.value)
    models = load(tmp_path)
    assert models.get().manifest.version == 1
    [_, refusal] = models.states()
    assert refusal.fault == "incomplete" and str(broken) in refusal.reason
    assert states(models, tmp_path) == [("1", "READY", ""), ("2", "UNAVAILABLE", refusal.reason)]


def test_artifact_of_a_command(tmp_path: Path) -> None:
    """An offline command uses the newest version of the default model, and ignores all others."""
    publish_table(tmp_path)
    for path in (publish_table(tmp_path).path, publish_table(tmp_path, name="calls").path):
        path.joinpath("model.onnx").unlink()
    settings = Settings(model_repository=tmp_path, default_model="tickets", versions="only:1,7")
    assert default_artifact(settings).path == tmp_path / "tickets" / "1"
    with pytest.raises(StartupError, match=r"no version of 'tickets' fits --versions only:7; there are: 1, 2"):
        default_artifact(settings.model_copy(update={"versions": "only:7"}))
    with pytest.raises(
        StartupError, match=r"--default-model \(SENTIMENT_DEFAULT_MODEL\) chooses one of: calls, tickets"
    ):
        default_artifact(settings.model_copy(update={"default_model": "nothing"}))


def test_no_version_to_serve(tmp_path: Path) -> None:
    """A service does not start without a version of its default model, and says why the newest was refused."""
    first, second = publish_table(tmp_path), publish_table(tmp_path)
    publish_table(tmp_path, name="calls")
    settings = Settings(model_repository=tmp_path, default_model="tickets", execution_provider="cpu")
    with pytest.raises(StartupError, match=r"no version of 'tickets' fits --versions only:3; there are: 1, 2"):
        begin(settings.model_copy(update={"versions": "only:3"}))
    for artifact in (first, second):
        (artifact.path / "tokenizer.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"tickets/2/tokenizer\.json"):
        begin(settings)
    begin(settings.model_copy(update={"default_model": "calls"}))


def test_several_models(tmp_path: Path) -> None:
    """Several models need a default unless one is the shipped model, and each is found by its name."""
    publish_table(tmp_path, name="tickets")
    publish_table(tmp_path, name="calls")
    with pytest.raises(StartupError, match=r"calls, tickets.*--default-model \(SENTIMENT_DEFAULT_MODEL\)"):
        load(tmp_path)
    models = load(tmp_path, default="tickets")
    assert models.get().manifest.name == "tickets"
    assert models.get("calls").manifest.name == "calls"
    assert [classifier.manifest.name for classifier in models] == ["calls", "tickets"]


def test_the_shipped_model_is_the_default_of_several(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A model with another name does not affect callers that name no model, and the log says which model they get."""
    shipped_copy(tmp_path)
    publish_table(tmp_path, name="tickets")
    with caplog.at_level("INFO"):
        assert load(tmp_path).get().manifest.name == "imdb-cnn"
    assert [record.getMessage() for record in caplog.records if "default" in record.getMessage()] == [
        "the default model is imdb-cnn; --default-model (SENTIMENT_DEFAULT_MODEL) chooses another of: imdb-cnn, tickets"
    ]
    assert load(tmp_path, default="tickets").get().manifest.name == "tickets"
    publish_table(tmp_path, name="reviews")
    assert load(tmp_path).get().manifest.name == "reviews"


def test_unknown_model(tmp_path: Path) -> None:
    """A model that is not loaded is refused, and so is a default model that does not exist."""
    publish_table(tmp_path)
    with pytest.raises(NotFound, match="'nothing'; loaded: tickets"):
        load(tmp_path).get("nothing")
    assert load(tmp_path).get("").manifest.name == "tickets"
    with pytest.raises(NotFound, match="version '2' of model 'tickets' is not loaded; loaded: 1"):
        load(tmp_path).get("tickets", "2")
    with pytest.raises(StartupError, match=r"contains no model 'nothing'; --default-model .* chooses one of: tickets"):
        load(tmp_path, default="nothing")


def test_other_entries_are_ignored(tmp_path: Path) -> None:
    """Folders and files with other names are ignored."""
    publish_table(tmp_path)
    for folder in ("lost+found", "notes/old", "tickets/.publishing-x", "tickets/latest", "tickets/02", "tickets/0"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text("Models.")
    (tmp_path / "tickets" / "3").write_text("A file is no version.")
    [classifier] = load(tmp_path)
    assert (classifier.manifest.name, classifier.manifest.version) == ("tickets", 1)


@pytest.mark.parametrize("place", ["other/1", "tickets/2"])
def test_manifest_of_another_place(tmp_path: Path, place: str) -> None:
    """An artifact under a different name or version is refused."""
    moved = tmp_path / place
    moved.parent.mkdir(exist_ok=True)
    publish_table(tmp_path / "elsewhere").path.rename(moved)
    (tmp_path / "elsewhere" / "tickets").rmdir()
    with pytest.raises(ArtifactError, match="the manifest belongs to tickets 1") as error:
        load(tmp_path)
    assert str(moved) in str(error.value)


def test_no_repository(tmp_path: Path) -> None:
    """A repository that is missing, a file, or without models is refused with one sentence."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, reason in {"missing": "no such", "file": "no such", "empty": "contains no model"}.items():
        with pytest.raises(StartupError, match=reason) as error:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


def test_shipped_model(tmp_path: Path) -> None:
    """The shipped model loads from any path."""
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
    """The versions of the policy answer by number, and the newest answers requests that name none."""
    for _ in range(3):
        publish_table(tmp_path)
    models = begin(Settings(model_repository=tmp_path, versions=versions, execution_provider="cpu"))
    assert [each.manifest.version for each in models] == served
    assert models.versions("tickets") == served[::-1]
    for name in ("", "tickets"):
        assert models.get(name).manifest.version == served[0]
        for version in (1, 2, 3):
            assert models.holds(name, str(version)) == (version in served)
    assert [each.manifest.version for each in models.select("tickets")] == served
    assert [each.manifest.version for each in models.select("tickets", str(served[-1]))] == [served[-1]]
    unserved = f"not among the versions to serve: {VersionPolicy(versions).rule('tickets')}"
    for number, state, reason in states(models, tmp_path, versions):
        assert (state, reason) == (("READY", "") if int(number) in served else ("UNAVAILABLE", unserved))


@pytest.mark.parametrize(("fault", "kind"), [("crashed", TransientError), ("graph", ArtifactError)])
def test_crash_of_the_only_version(tmp_path: Path, fault: Fault, kind: type[Exception]) -> None:
    """A crash while the default model is opened can pass by itself, because the system may have lacked memory."""
    publish_table(tmp_path)

    def admit(order: Order) -> None:
        raise ArtifactError("it crashed", fault)

    with pytest.raises(kind, match=r"^it crashed$"):
        choose(repository_of(Settings(model_repository=tmp_path)), LoadedModels(), admit)
