"""`push` publishes an artifact completely or not at all, and replaces no version. `tests/hub.py` stands for the Hub."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileOpener

from sentiment_conv1d.artifact.artifact import ArtifactError
from sentiment_conv1d.artifact.manifest import FILES
from sentiment_conv1d.artifact.model_card import CARD_FILE
from sentiment_conv1d.sharing.push import push
from sentiment_conv1d.sharing.store import StoreUnreachable
from tests.service.artifacts import publish_strength
from tests.sharing.interception import Interception
from tests.stores import Bucket, Folder, Hub, Store

ALL = (*FILES, CARD_FILE)


def artifact(repository: Path, name: str, strength: float = 1) -> Path:
    """Write an artifact, version 1."""
    return publish_strength(repository, strength, name=name).path


def files(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pushed(store: Store, name: str) -> dict[str, bytes | None]:
    """Return the files of version 1 in a store."""
    return {file: store.read(f"{name}/1/{file}") for file in ALL}


def test_round_trip(store: Store, tmp_path: Path) -> None:
    """A pushed artifact comes back with every file, also its card, and to repeat both commands changes nothing."""
    folder = artifact(tmp_path / "source", "complete")
    answers = [store.run("push", str(folder), store.url).stdout for _ in range(2)]
    assert answers == [
        f"{store.url}/complete/1: wrote {', '.join(ALL)}; all files are verified\n",
        f"{store.url}/complete/1: is already there; all files are verified\n",
    ]
    for _ in range(2):
        pulled = store.run("pull", f"{store.url}/complete", "--to", str(tmp_path / "target"))
        assert pulled.stdout == f"{tmp_path}/target/complete/1: complete, version 1; all files are verified\n"
    assert files(tmp_path / "target" / "complete" / "1") == files(folder)


def test_another_artifact(store: Store, tmp_path: Path) -> None:
    """A version that contains another artifact is not replaced."""
    first = artifact(tmp_path / "first", "taken")
    store.publish(first)
    before = pushed(store, "taken")
    refused = store.run("push", str(artifact(tmp_path / "second", "taken", strength=2)), store.url)
    assert refused.stderr == (
        f"error: {store.url}/taken/1: contains another model.onnx, so nothing was written; to push the artifact as "
        "another version, use `copy` first\n"
    )
    assert refused.returncode == 2
    assert pushed(store, "taken") == before


def test_interrupted(store: Store, tmp_path: Path) -> None:
    """Readers ignore what an interrupted push leaves, and another push completes it."""
    folder = artifact(tmp_path / "source", "half")
    graph = (folder / "model.onnx").read_bytes()
    store.write("half/1/model.onnx", graph[: len(graph) // 2])
    pulled = store.run("pull", f"{store.url}/half", "--to", str(tmp_path / "target"))
    assert pulled.stderr == f"error: {store.url}: contains no complete version of 'half'\n"
    assert store.run("push", str(folder), store.url).returncode == 0
    assert pushed(store, "half") == files(folder)


def test_store_that_disappears(bucket: Bucket, tmp_path: Path) -> None:
    """If the store disappears during a push, the manifest, which comes last, is missing, and a push continues."""
    folder = artifact(tmp_path / "source", "gone")
    with Interception(bucket.address, lambda name: name != "manifest.json") as between:
        failed = bucket.run("push", str(folder), bucket.url, AWS_ENDPOINT_URL=between.address)
    assert failed.returncode == 75
    assert failed.stderr.startswith(f"error: {bucket.url}: cannot be written to (")
    assert failed.stderr.count("\n") == 1
    assert pushed(bucket, "gone") == files(folder) | {"manifest.json": None, CARD_FILE: None}
    answer = bucket.run("push", str(folder), bucket.url).stdout
    assert answer == f"{bucket.url}/gone/1: wrote manifest.json, {CARD_FILE}; all files are verified\n"


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk of a folder becomes full within a file, the error says so, and a push completes the version."""
    folder, place = artifact(tmp_path / "source", "large"), tmp_path / "target"
    content = (folder / "model.onnx").read_bytes()

    def write_half(opener: LocalFileOpener, content: bytes) -> int:
        opener.f.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileOpener, "write", write_half)
        with pytest.raises(StoreUnreachable, match=r"cannot be written to \(.*No space left on device"):
            push(folder, place.as_uri())
    assert content.startswith((place / "large" / "1" / "model.onnx").read_bytes())
    push(folder, place.as_uri())
    assert files(place / "large" / "1") == files(folder)


def test_push_at_the_same_time(bucket: Bucket, tmp_path: Path) -> None:
    """If another push creates a file of the version first, its file stays, and no manifest is written."""
    other = (artifact(tmp_path / "second", "raced", strength=2) / "model.onnx").read_bytes()

    def write_first(name: str) -> bool:
        bucket.write("raced/1/model.onnx", other)
        return True

    with Interception(bucket.address, write_first) as between:
        folder = artifact(tmp_path / "first", "raced")
        failed = bucket.run("push", str(folder), bucket.url, AWS_ENDPOINT_URL=between.address)
    assert failed.returncode == 2
    assert failed.stderr == f"error: {bucket.url}/raced/1: another push wrote model.onnx at the same time\n"
    assert pushed(bucket, "raced") == dict.fromkeys(ALL) | {"model.onnx": other}


def test_answer_that_is_lost(bucket: Bucket, tmp_path: Path) -> None:
    """If a file was written, and the answer was lost, so that the client tries again, the push goes on."""
    folder = artifact(tmp_path / "source", "retried")

    def write_first(name: str) -> bool:
        bucket.write(f"retried/1/{name}", (folder / name).read_bytes())
        return True

    with Interception(bucket.address, write_first) as between:
        answer = bucket.run("push", str(folder), bucket.url, AWS_ENDPOINT_URL=between.address)
    assert answer.returncode == 0
    assert pushed(bucket, "retried") == files(folder)


def test_hub_that_changes(hub: Hub, tmp_path: Path) -> None:
    """If somebody else commits to the repository after it was checked, nothing is committed, and a push succeeds."""
    folder = artifact(tmp_path / "source", "raced")
    hub.server.before_commit = lambda: hub.server.write("other", b"")
    failed = hub.run("push", str(folder), hub.url)
    assert failed.returncode == 75
    assert failed.stderr == f"error: {hub.url}/raced/1: the repository changed at the same time; push again\n"
    assert set(hub.server.files) == {"other"}
    hub.server.before_commit = lambda: None
    assert hub.run("push", str(folder), hub.url).returncode == 0
    assert pushed(hub, "raced") == files(folder)


def test_hub_that_disappears(hub: Hub, tmp_path: Path) -> None:
    """If the Hub disappears after the upload of the graph, the repository is unchanged."""
    hub.server.before_commit = hub.stop
    failed = hub.run("push", str(artifact(tmp_path / "source", "gone")), hub.url)
    assert failed.returncode == 75
    assert failed.stderr.startswith(f"error: {hub.url}: cannot be written to (")
    assert failed.stderr.count("\n") == 1
    assert len(hub.server.objects) == 1
    assert hub.server.files == {}


def test_store_that_changes_a_file(hub: Hub, tmp_path: Path) -> None:
    """If the store returns another file than it got, the push fails."""

    def damage() -> None:
        hub.server.objects = dict.fromkeys(hub.server.objects, b"?")

    hub.server.before_commit = damage
    failed = hub.run("push", str(artifact(tmp_path / "source", "damaged")), hub.url)
    assert failed.returncode == 2
    message = "the store does not return the files that were written to it"
    assert failed.stderr == f"error: {hub.url}/damaged/1: {message}\n"


def test_card_of_a_repository(hub: Hub, tmp_path: Path) -> None:
    """On the Hub, the model card is also that of the repository, in place of that of an earlier version only."""
    for version in (1, 2):
        folder = publish_strength(tmp_path / "source", version, name="carded").path
        assert hub.run("push", str(folder), hub.url).returncode == 0
        assert hub.server.files[CARD_FILE] == hub.read(f"carded/{version}/{CARD_FILE}")
    card = hub.server.files[CARD_FILE]
    assert hub.run("push", str(artifact(tmp_path / "source", "unrelated")), hub.url).returncode == 0
    assert hub.server.files[CARD_FILE] == card


def test_edited_card(tmp_path: Path) -> None:
    """Pushing an artifact again replaces its card, which people may edit."""
    store, folder = Folder(tmp_path / "store"), artifact(tmp_path / "source", "edited")
    push(folder, store.url)
    (folder / CARD_FILE).write_text("# Mine\n")
    assert push(folder, store.url).written == [CARD_FILE]
    assert store.read(f"edited/1/{CARD_FILE}") == b"# Mine\n"


def test_artifact_without_a_card(tmp_path: Path) -> None:
    """An artifact without a card gets one."""
    store, folder = Folder(tmp_path / "store"), artifact(tmp_path / "source", "bare")
    card = (folder / CARD_FILE).read_bytes()
    (folder / CARD_FILE).unlink()
    push(folder, store.url)
    assert store.read(f"bare/1/{CARD_FILE}") == card


def test_damaged_artifact(tmp_path: Path) -> None:
    """A damaged artifact, or one in the folder of another version, is not pushed."""
    folder = artifact(tmp_path / "source", "damaged")
    moved = folder.rename(folder.with_name("2"))
    for change in (lambda: None, lambda: (moved / "model.onnx").write_bytes(b"?")):
        change()
        with pytest.raises(ArtifactError, match=str(moved)):
            push(moved, (tmp_path / "store").as_uri())
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "url", ["http://user:SECRET@127.0.0.1/models", "bucket/models", "hf://buckets/org/name", "hf://nobody", "s3://"]
)
def test_urls(url: str, hub: Hub, tmp_path: Path) -> None:
    """Web servers, paths, buckets and owners of the Hub, and URLs without a place are refused."""
    failed = hub.run("push", str(artifact(tmp_path, "refused")), url)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert failed.stderr.startswith(f"error: {url.replace('user:SECRET@', '')}")


def test_folder_that_is_a_file(hub: Hub, tmp_path: Path) -> None:
    """A store in which no folder can exist is not one that may answer later."""
    (tmp_path / "file").touch()
    url = (tmp_path / "file").as_uri()
    failed = hub.run("push", str(artifact(tmp_path / "source", "refused")), url)
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"error: {url}: cannot be written to (")


def test_wrong_credentials(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """With wrong credentials, both commands fail with one line, which does not contain them."""
    monkeypatch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "1")  # Moto allows the creation of the bucket, then checks keys
    secret = "the-wrong-secret"
    folder = str(artifact(tmp_path / "source", "secret"))
    with Bucket() as bucket:
        for store in (hub, bucket):
            for command in (("push", folder, store.url), ("pull", f"{store.url}/secret", "--to", str(tmp_path))):
                failed = store.run(*command, HF_TOKEN=secret, AWS_SECRET_ACCESS_KEY=secret)
                assert (failed.returncode, failed.stdout) == (2, "")
                assert failed.stderr.startswith(f"error: {store.url}: cannot be ")
                assert failed.stderr.count("\n") == 1
                assert secret not in failed.stderr
    assert hub.server.files == {}
