"""The copy of a remote model repository follows its store, and contains only complete versions."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from sentiment_conv1d.artifact.artifact import ArtifactError, read_artifact
from sentiment_conv1d.artifact.errors import TransientError
from sentiment_conv1d.artifact.manifest import FILES
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.models import update
from sentiment_conv1d.service.models.mirror import Mirror
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.version_policy import VersionPolicy
from sentiment_conv1d.sharing.store import Store, StoreError, UnknownStore
from tests.processes import PATIENCE, PROJECT, in_child
from tests.service.artifacts import publish_table

URL = "memory://models"
GRAPH = "/models/tickets/2/model.onnx"

NEWEST, ALL = VersionPolicy("newest:1"), VersionPolicy("all")


class Contents:
    """The contents of `memory://models`, which tests write with local files."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.files = fsspec.filesystem("memory")

    def publish(self, name: str = "tickets") -> None:
        """Add the next version of a model to the store."""
        folder = publish_table(self.source, name=name).path
        for file in folder.iterdir():
            self.write(f"/models/{name}/{folder.name}/{file.name}", file.read_bytes())

    def write(self, path: str, content: bytes) -> None:
        """Write a file to the store."""
        self.files.pipe_file(path, content)

    def read(self, path: str) -> bytes:
        """Read a file from the store."""
        content: bytes = self.files.cat_file(path)
        return content

    def remove(self, path: str) -> None:
        """Remove a file or folder from the store."""
        self.files.rm(path, recursive=True)


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[Contents]:
    """Create a store with two versions of a model."""
    contents = Contents(tmp_path / "source")
    contents.publish()
    contents.publish()
    yield contents
    contents.files.store.clear()
    contents.files.pseudo_dirs[:] = [""]


def started(url: str, cache: Path, policy: VersionPolicy, *, watched: bool = False) -> Mirror:
    """Return the repository of a service that starts."""
    mirror = Mirror(url, cache, policy)
    update.start(mirror, PATIENCE, watched=watched)
    return mirror


def damage(contents: Contents) -> bytes:
    """Change a byte of version 2. Returns the original content."""
    whole = contents.read(GRAPH)
    contents.write(GRAPH, b"?" + whole[1:])
    return whole


def test_version_policy(contents: Contents, tmp_path: Path) -> None:
    """Only the versions that the policy chooses are copied, and the copies equal them."""
    contents.publish("calls")
    mirror = Mirror(URL, tmp_path / "cache", VersionPolicy("newest:1 calls=only:7"))
    mirror.update(first=True)
    assert mirror.copies() == {("tickets", 2)}
    copy = read_artifact(mirror.path / "tickets" / "2")
    assert copy.contents == read_artifact(tmp_path / "source" / "tickets" / "2").contents


def test_new_version(contents: Contents, tmp_path: Path) -> None:
    """An update copies new versions, and does not copy others again."""
    mirror = Mirror(URL, tmp_path / "cache", NEWEST)
    mirror.update(first=True)
    before = Repository(mirror.path, ALL).fingerprint("tickets", 2)
    contents.publish()
    mirror.update()
    assert mirror.copies() == {("tickets", 2), ("tickets", 3)}
    assert Repository(mirror.path, ALL).fingerprint("tickets", 2) == before


def test_deleted_version(contents: Contents, tmp_path: Path) -> None:
    """A copy is removed when two successive listings, or the first one of a process, do not contain its version."""
    mirror = Mirror(URL, tmp_path / "cache", ALL)
    mirror.update(first=True)
    contents.remove("/models/tickets/2")
    mirror.update()
    assert mirror.copies() == {("tickets", 1), ("tickets", 2)}
    mirror.update()
    assert mirror.copies() == {("tickets", 1)}
    contents.publish("calls")
    contents.remove("/models/tickets")
    mirror.update(first=True)
    assert mirror.copies() == {("calls", 1)}
    assert not (mirror.path / "tickets").exists()


def test_empty_store(contents: Contents, tmp_path: Path) -> None:
    """A store without models is an error, and the copies stay."""
    mirror = Mirror(URL, tmp_path / "cache", ALL)
    mirror.update(first=True)
    contents.remove("/models")
    contents.write("/models/README.md", b"Models.")
    for _ in range(3):
        with pytest.raises(StoreError, match="memory://models contains no model"):
            mirror.update()
    assert len(mirror.copies()) == 2


def test_damaged_version(contents: Contents, tmp_path: Path) -> None:
    """A damaged version is refused and not copied, an older one is copied instead, and a repair is noticed."""
    whole = damage(contents)
    repository = started(URL, tmp_path / "cache", NEWEST)
    mirror = Mirror(URL, tmp_path / "cache", NEWEST)
    assert mirror.copies() == {("tickets", 1)}
    bad = repository.scan()["tickets"]
    assert list(bad) == [1, 2] and bad == repository.scan()["tickets"]
    with pytest.raises(ArtifactError, match=r"^memory://models/tickets/2/model\.onnx: its SHA-256 is not") as error:
        repository.read("tickets", 2)
    assert error.value.fault == "damaged"
    contents.write(GRAPH, whole)
    mirror.update()
    assert mirror.copies() == {("tickets", 1), ("tickets", 2)}
    assert repository.read("tickets", 2).manifest.version == 2
    assert repository.scan()["tickets"][2] != bad[2]


def test_incomplete_version(contents: Contents, tmp_path: Path) -> None:
    """An incomplete version counts as bad only after two updates with the same files."""
    mirror = Mirror(URL, tmp_path / "cache", NEWEST)
    mirror.update(first=True)
    repository = started(URL, tmp_path / "cache", NEWEST)
    manifest = contents.read("/models/tickets/2/manifest.json")
    contents.write("/models/tickets/3/manifest.json", manifest)
    mirror.update()
    assert list(repository.scan()["tickets"]) == [2]
    contents.write("/models/tickets/3/model.onnx", b"half")
    mirror.update()
    assert list(repository.scan()["tickets"]) == [2]
    mirror.update()
    assert list(repository.scan()["tickets"]) == [2, 3]
    with pytest.raises(ArtifactError, match=r"tickets/3/tokenizer\.json: the file is missing") as error:
        repository.read("tickets", 3)
    assert error.value.fault == "incomplete"
    assert mirror.copies() == {("tickets", 2)}


def test_manifest_of_another_model(contents: Contents, tmp_path: Path) -> None:
    """A version whose manifest states another name is bad."""
    for file in ("model.onnx", "tokenizer.json", "manifest.json"):
        contents.write(f"/models/calls/1/{file}", contents.read(f"/models/tickets/1/{file}"))
    repository = started(URL, tmp_path / "cache", NEWEST)
    with pytest.raises(ArtifactError, match="memory://models/calls/1: the manifest belongs to tickets 1"):
        repository.read("calls", 1)


def test_damaged_copy(contents: Contents, tmp_path: Path) -> None:
    """A changed copy is made again at the next start, and files of killed processes are removed."""
    mirror = Mirror(URL, tmp_path / "cache", NEWEST)
    mirror.update(first=True)
    (mirror.path / "tickets" / "2" / "model.onnx").write_bytes(b"?")
    left = [mirror.path / ".mirroring-x" / "tickets", mirror.path / "tickets" / ".publishing-x" / "new"]
    for folder in left:
        folder.mkdir(parents=True)
    (mirror.path / ".mirror.json").write_text("[[")
    mirror.update(first=True)
    assert read_artifact(mirror.path / "tickets" / "2").manifest.version == 2
    assert not any(folder.parent.exists() for folder in left)


def test_unreachable_store_without_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the URL without its password, and the package to install."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for url, kind, message in (
        (
            "http://me:secret@127.0.0.1:9/models",
            TransientError,
            r"^http://127\.0\.0\.1:9/models: cannot be read .*no copy of a model",
        ),
        ("nowhere://models", UnknownStore, "^nowhere://models: Protocol not known: nowhere"),
        ("reference://models", UnknownStore, "^reference://models: .* missing 1 required positional argument: 'fo'"),
        ("hdfs://models", UnknownStore, r"(?s)^hdfs://models: needs a library that is not installed \(.*load libhdfs"),
        (
            "s3://models",
            UnknownStore,
            "^s3://models: needs a package that is not installed .* install the `remote` extra: pip install .*remote",
        ),
    ):
        with pytest.raises(kind, match=message) as error:
            started(url, tmp_path, ALL)
        assert "secret" not in str(error.value)


def test_store_that_refuses(contents: Contents, tmp_path: Path) -> None:
    """A store that has no such folder is a mistake in the URL, not a failure that can pass by itself."""
    with pytest.raises(StartupError, match=r"memory://model: cannot be read .*no copy of a model") as error:
        started("memory://model", tmp_path, ALL)
    assert not isinstance(error.value, TransientError)


def test_store_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If there are copies, the service does not wait for a store that does not answer.

    It waits less if the copies are complete and updates follow.
    """
    monkeypatch.setattr(update, "_UPDATE_SECONDS", 0.2)
    monkeypatch.setattr(update, "_COMPLETE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/models"
        folder = Mirror(url, tmp_path, ALL).path
        publish_table(folder)
        for complete, watched, seconds in ((False, True, "0.2"), (True, False, "0.2"), (True, True, "0.1")):
            if complete:
                (folder / ".mirror.complete").touch()
            repository = started(url, tmp_path, ALL, watched=watched)
            assert list(repository.scan()) == ["tickets"]
            assert f"{url}: copying the models takes more than {seconds} s; serving the copies" in caplog.text
            caplog.clear()


def test_full_disk(contents: Contents, tmp_path: Path) -> None:
    """If the disk of the copies has no room, the message names it instead of the store, always with the same words."""
    mirror = Mirror(URL, tmp_path / "cache", NEWEST)

    def update() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        for _ in range(2):
            with pytest.raises(StoreError, match=rf"^{mirror.path}/tickets: cannot be written to \(File too large\)$"):
                mirror.update()

    in_child(update)


def test_too_many_bytes(contents: Contents, tmp_path: Path) -> None:
    """A version above the limit of bytes is bad, with its size in the reason, and the next one is copied instead."""
    size = sum(len(contents.read(f"/models/tickets/2/{file}")) for file in FILES)
    contents.write("/models/tickets/2/manifest.json", contents.read("/models/tickets/2/manifest.json") + b" ")
    mirror = Mirror(URL, tmp_path / "cache", NEWEST, size)
    mirror.update(first=True)
    assert mirror.copies() == {("tickets", 1)}
    with pytest.raises(ArtifactError, match=f"^memory://models/tickets/2: has more than {size:,} bytes") as error:
        mirror.read("tickets", 2)
    assert error.value.fault == "large"


def test_folders_by_url(tmp_path: Path) -> None:
    """Every URL has a separate folder in the cache."""
    folders = {Mirror(url, tmp_path, ALL).path for url in ("s3://a", "s3://a/", "s3://b", "gs://a")}
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {tmp_path}


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache folder is the setting, or by default a folder in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Settings().cache_folder() == tmp_path / "sentiment-conv1d"
    assert Settings(model_cache=Path("copies")).cache_folder() == Path("copies")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert Settings().cache_folder() == Path("/home/someone/.cache/sentiment-conv1d")


def test_ctrl_c_while_copying(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The process that copies at the start ends without a traceback at Ctrl-C, which it gets from the terminal too."""
    monkeypatch.setattr(Mirror, "update", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    with pytest.raises(TransientError, match="copying the models failed"):
        started(URL, tmp_path, NEWEST)
    assert capfd.readouterr().err == ""


def test_links_of_a_listing(contents: Contents) -> None:
    """Only folders with valid names are models and versions."""
    for path in ("Models/1/x", "calls/latest/x", "calls/.2/x", "notes/1", ".git/1/x"):
        contents.write(f"/models/{path}", b"")
    assert Store(URL).versions() == {"tickets": {1, 2}}


def test_imports_for_a_local_repository(tmp_path: Path) -> None:
    """A service with a local repository imports neither fsspec nor the modules for stores."""
    publish_table(tmp_path)
    program = (
        "import sys; from sentiment_conv1d.service.process import server; "
        "from sentiment_conv1d.service.settings import Settings; "
        f"server.load_core(Settings(model_repository={str(tmp_path)!r}, execution_provider='cpu')); print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    loaded = set(result.stdout.split())
    assert "sentiment_conv1d.service.models.repository" in loaded
    prefix = "sentiment_conv1d.service.models."
    assert not loaded & {"fsspec", f"{prefix}mirror", "sentiment_conv1d.sharing.store"}
