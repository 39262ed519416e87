"""`pull` writes a verified artifact into a repository completely or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.artifact import ArtifactError, read_artifact
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.artifact.manifest import MOST_BYTES, ParityCheck, TextGraph, describe
from sentiment_conv1d.sharing.pull import pull
from sentiment_conv1d.sharing.push import push
from sentiment_conv1d.sharing.store import StoreError, StoreUnreachable
from tests.processes import PATIENCE, PROJECT, environment
from tests.service.artifacts import publish_strength, shipped_copy
from tests.stores import Folder, Hub, WebServer


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    """Return a store with version 1 of a model."""
    store = Folder(tmp_path / "store")
    store.publish(publish_strength(tmp_path / "source", 1).path)
    return store


def test_web_server(tmp_path: Path) -> None:
    """The newest and a named version come from a web server, too."""
    with WebServer(tmp_path / "web") as server:
        for strength in (1, 2):
            server.publish(publish_strength(tmp_path / "source", strength).path)
        assert pull(f"{server.url}/tickets", tmp_path / "target").path == tmp_path / "target" / "tickets" / "2"
        assert pull(f"{server.url}/tickets/1/", tmp_path / "target").path == tmp_path / "target" / "tickets" / "1"


def test_newest_version(store: Folder, tmp_path: Path) -> None:
    """A version without a manifest is not the newest one yet. The highest number is, not the last in the alphabet."""
    for strength in range(2, 12):
        folder = publish_strength(tmp_path / "source", strength).path
        store.write(f"tickets/{folder.name}/model.onnx", (folder / "model.onnx").read_bytes())
        if strength < 11:
            store.publish(folder)
    assert pull(f"{store.url}/tickets", tmp_path / "target").manifest.version == 10


@pytest.mark.parametrize("file", ["manifest.json", "tokenizer.json"])
def test_large_file(store: Folder, tmp_path: Path, file: str) -> None:
    """A file above its limit is read only up to the limit, and refused by its URL."""
    os.truncate(tmp_path / "store" / "tickets" / "1" / file, MOST_BYTES[file] + 1)
    with pytest.raises(ArtifactError, match=rf"^{store.url}/tickets/1/{file}: has more than .* bytes$") as error:
        pull(f"{store.url}/tickets/1", tmp_path / "target")
    assert error.value.fault == "large"


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("model.onnx", b"?", "1 bytes, while manifest.json says"),
        ("manifest.json", b"{", "not valid JSON"),
        ("tokenizer.json", None, "the file is missing"),
    ],
)
def test_damaged_version(store: Folder, tmp_path: Path, file: str, content: bytes | None, problem: str) -> None:
    """A damaged version is refused with the URL of its file, and nothing is written."""
    if content is None:
        (tmp_path / "store" / "tickets" / "1" / file).unlink()
    else:
        store.write(f"tickets/1/{file}", content)
    with pytest.raises(ArtifactError, match=f"^{store.url}/tickets/1/{file}: {problem}"):
        pull(f"{store.url}/tickets/1", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_version_in_another_place(store: Folder, tmp_path: Path) -> None:
    """A version is refused if its manifest has another number."""
    (tmp_path / "store" / "tickets" / "1").rename(tmp_path / "store" / "tickets" / "2")
    with pytest.raises(ArtifactError, match="tickets/2: the manifest belongs to tickets 1"):
        pull(f"{store.url}/tickets", tmp_path / "target")


def test_another_artifact(store: Folder, tmp_path: Path) -> None:
    """A local artifact is never replaced by another one of the same name and version."""
    present = publish_strength(tmp_path / "target", 2)
    with pytest.raises(ArtifactError, match=f"{present.path}: contains another artifact than {store.url}/tickets/1"):
        pull(f"{store.url}/tickets", tmp_path / "target")
    assert read_artifact(present.path).manifest == present.manifest


def test_graph_that_reads_texts(tmp_path: Path) -> None:
    """`text.onnx` is pushed and pulled with an artifact that describes it, if it has the digest in the manifest."""
    proof = ParityCheck(against="text.onnx", inputs="texts", examples=1, largest_difference=0)
    described = TextGraph(file=describe(b"graph"), proof=proof)
    folder = publish_strength(tmp_path / "source", 1, text_graph=described).path
    (folder / "text.onnx").write_bytes(b"graph")
    store = Folder(tmp_path / "store")
    assert push(folder, store.url).written == [
        "text.onnx",
        "model.onnx",
        "tokenizer.json",
        "manifest.json",
        "README.md",
    ]
    assert (pull(f"{store.url}/tickets", tmp_path / "target").path / "text.onnx").read_bytes() == b"graph"
    store.write("tickets/1/text.onnx", b"other")
    with pytest.raises(ArtifactError, match=f"^{store.url}/tickets/1/text.onnx: its SHA-256 is not"):
        pull(f"{store.url}/tickets", tmp_path / "other")


def test_graph_that_nothing_describes(store: Folder, tmp_path: Path) -> None:
    """A `text.onnx` that the manifest does not describe stays where it is, because nothing says what is right."""
    store.write("tickets/1/text.onnx", b"graph")
    assert not (pull(f"{store.url}/tickets", tmp_path / "target").path / "text.onnx").exists()


def test_full_disk(tmp_path: Path) -> None:
    """If the files do not fit, here because of a limit, one line says so, and the repository stays as it was."""
    store = Folder(tmp_path / "store")
    store.publish(shipped_copy(tmp_path / "source"))
    target = tmp_path / "target"
    # Not with `preexec_fn`, which forks: gRPC in this process may then write to the child's standard error.
    limited = ["prlimit", f"--fsize={1 << 20}", sys.executable]
    finished = subprocess.run(
        [*limited, "-m", "service", "pull", f"{store.url}/imdb-cnn", "--to", str(target)],
        cwd=PROJECT,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stderr == f"error: {target}/imdb-cnn: cannot be written to (File too large)\n"
    assert list((target / "imdb-cnn").iterdir()) == []


def test_store_that_does_not_answer(hub: Hub, tmp_path: Path) -> None:
    """The exit status of a store that does not answer is that of errors that can pass by themselves."""
    hub.stop()
    failed = hub.run("pull", f"{hub.url}/tickets", "--to", str(tmp_path / "target"))
    assert failed.returncode == 75
    assert failed.stderr == f"error: {hub.url}: cannot be read ([Errno 111] Connection refused)\n"


@pytest.mark.parametrize("url", ["s3://tickets", "tickets/1", "https://user:SECRET@host/Not a name"])
def test_urls(url: str, tmp_path: Path) -> None:
    """A URL without the name of a model is refused."""
    with pytest.raises(SentimentError, match=f"^{url.replace('user:SECRET@', '')}: pull needs URL/NAME or"):
        pull(url, tmp_path)


@pytest.mark.parametrize("name", ["tickets/2", "another/1"])
def test_missing_version(store: Folder, tmp_path: Path, name: str) -> None:
    """A version that does not exist is named with its URL."""
    with pytest.raises(StoreError, match=f"^{store.url}/{name}: the version does not exist"):
        pull(f"{store.url}/{name}", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_missing_version_on_a_web_server(tmp_path: Path) -> None:
    """A missing version is told from a server that fails, whose error can pass by itself."""
    with WebServer(tmp_path / "web") as server:
        with pytest.raises(StoreError, match=f"^{server.url}/tickets/1: the version does not exist"):
            pull(f"{server.url}/tickets/1", tmp_path)
        server.stop()
        with pytest.raises(StoreUnreachable, match=f"^{server.url}: cannot be read"):
            pull(f"{server.url}/tickets/1", tmp_path)


def test_missing_library(store: Folder, tmp_path: Path) -> None:
    """A store whose native library is not installed is an unknown one, and trying again does not help."""
    refused = store.run("pull", "hdfs://namenode/models/tickets", "--to", str(tmp_path))
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: hdfs://namenode/models: needs a library that is not installed (")


def test_too_many_bytes(store: Folder, tmp_path: Path) -> None:
    """All files of an artifact together have at most the bytes of a limit."""
    total = sum(file.stat().st_size for file in (tmp_path / "store" / "tickets" / "1").iterdir())
    refused = store.run("pull", f"{store.url}/tickets", "--to", str(tmp_path / "target"), "--max-bytes", str(total - 1))
    assert (
        refused.stderr == f"error: {store.url}/tickets/1: has more than {total - 1:,} bytes; --max-bytes allows more\n"
    )
    assert refused.returncode == 2 and not (tmp_path / "target").exists()
    assert pull(f"{store.url}/tickets", tmp_path / "target", total).manifest.version == 1


class Endless(BaseHTTPRequestHandler):
    """Answers with a file that never ends."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        with suppress(ConnectionError):
            while True:
                self.wfile.write(bytes(1 << 16))

    def log_message(self, *arguments: object) -> None: ...


def test_file_that_never_ends(tmp_path: Path) -> None:
    """Bytes are counted while they arrive."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/models/tickets/1"
        with pytest.raises(StoreError, match=f"^{url}: has more than 1,000,000 bytes"):
            pull(url, tmp_path, 1_000_000)
        server.shutdown()


def test_missing_store(tmp_path: Path) -> None:
    """A store that does not exist is not mistaken for one without the model."""
    with pytest.raises(SentimentError, match=f"^file://{tmp_path}/none: cannot be read"):
        pull(f"file://{tmp_path}/none/tickets", tmp_path)
