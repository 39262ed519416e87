"""Downloads of models: what is read, built, shared, kept and refused."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from sentiment_conv1d.model.artifact import Artifact, read_artifact
from sentiment_conv1d.model.graphs.text.file import text_graph
from sentiment_conv1d.model.manifest import MANIFEST_FILE, ParityCheck, TextGraph, describe
from sentiment_conv1d.model.tokenizer import WordLevelTokenizer
from sentiment_conv1d.server.errors import Overloaded
from sentiment_conv1d.service import downloads
from sentiment_conv1d.service.downloads import MAX_FILES, Downloads
from sentiment_conv1d.service.errors import NotFound
from tests.model.tokenizer.test_word_level import IDS, RULE
from tests.service.artifacts import publish_strength


class Reader:
    """Reads the artifacts of a test, and counts how often."""

    def __init__(self, *artifacts: Artifact) -> None:
        self._artifacts = {(each.manifest.name, each.manifest.version): each for each in artifacts}
        self.count = 0

    def __call__(self, name: str, version: int) -> Artifact:
        self.count += 1
        return self._artifacts[name, version]


@pytest.fixture
def artifacts(tmp_path: Path) -> list[Artifact]:
    """Publish one version more than callers can download at the same time."""
    return [publish_strength(tmp_path, strength) for strength in range(1, MAX_FILES + 2)]


def test_built(artifacts: list[Artifact]) -> None:
    """Without text.onnx in the artifact, the file is built once for all callers, with its digest."""
    read = Reader(*artifacts)

    async def run() -> None:
        found = Downloads(read)
        files = await asyncio.gather(*(found.find(artifacts[0].manifest) for _ in range(3)))
        assert [each is files[0] for each in files] == [True] * 3
        assert files[0].content == text_graph(artifacts[0])
        assert files[0].digest == sha256(files[0].content).hexdigest()

    asyncio.run(run())
    assert read.count == 1


def test_read(tmp_path: Path) -> None:
    """text.onnx of the artifact is returned as it is, and none that has changed."""
    proof = ParityCheck(against="text.onnx", inputs="texts", examples=1, largest_difference=0)
    described = TextGraph(file=describe(b"graph"), proof=proof)
    artifact = publish_strength(tmp_path, 1, text_graph=described)

    async def content(written: bytes) -> bytes:
        (artifact.path / "text.onnx").write_bytes(written)
        return (await Downloads(Reader(artifact)).find(artifact.manifest)).content

    assert asyncio.run(content(b"graph")) == b"graph"
    with pytest.raises(NotFound, match=r"^there is no text\.onnx of tickets, version 1: the repository no longer"):
        asyncio.run(content(b"other"))


def test_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A version whose files were replaced or removed since it was loaded cannot be downloaded. The log has the path."""
    artifact = publish_strength(tmp_path, 1)
    other = artifact.manifest.model_copy(update={"created": "2027-01-01T00:00:00+00:00"})
    (artifact.path / MANIFEST_FILE).write_bytes(other.to_bytes())
    read = Downloads(lambda name, version: read_artifact(tmp_path / name / str(version)))
    with pytest.raises(NotFound, match=r"contains the files that are served$"):
        asyncio.run(read.find(artifact.manifest))
    assert f"{artifact.path}: it was replaced" in caplog.text
    shutil.rmtree(artifact.path)
    gone = Downloads(lambda name, version: read_artifact(tmp_path / name / str(version)))
    with pytest.raises(NotFound):
        asyncio.run(gone.find(artifact.manifest))
    assert f"{artifact.path}: there is no such artifact folder" in caplog.text


def test_tokenizer_that_onnx_cannot_express(artifacts: list[Artifact]) -> None:
    """The reason is that of the conversion, which is not tried again for every caller."""
    tokenizer = WordLevelTokenizer(IDS, replace(RULE, lowercase="unicode", separators="\u0307"))
    read = Reader(replace(artifacts[0], tokenizer=tokenizer))

    async def run() -> None:
        found = Downloads(read)
        for _ in range(2):
            with pytest.raises(NotFound, match=r"version 1: .*cannot turn the character 'İ' into 'i '"):
                await found.find(artifacts[0].manifest)

    asyncio.run(run())
    assert read.count == 1


def test_limit(artifacts: list[Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    """While callers download as many versions as fit, another one is refused. A file goes after its last reader."""
    monkeypatch.setattr(downloads, "KEEP_SECONDS", 0.0)
    *some, last = (each.manifest for each in artifacts)

    async def run() -> None:
        found = Downloads(Reader(*artifacts))
        files = [(await found.find(each)).__enter__() for each in some]
        for _ in range(10):
            await asyncio.sleep(0)
        with pytest.raises(Overloaded, match=f"^callers download {MAX_FILES} other models"):
            await found.find(last)
        assert await found.find(some[0]) is files[0]
        files[0].__exit__()
        while True:
            try:
                await found.find(last)
            except Overloaded:
                await asyncio.sleep(0)
            else:
                return

    asyncio.run(asyncio.wait_for(run(), 60))


def test_kept(artifacts: list[Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is there for the next caller for some time after the last one, and is built again later."""
    manifest = artifacts[0].manifest
    read = Reader(*artifacts)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: now)
        monkeypatch.setattr(downloads, "KEEP_SECONDS", 1e6)
        found = Downloads(read)
        first = await found.find(manifest)
        now += 0.9e6
        assert await found.find(manifest) is first
        now += 0.2e6  # the first timer ends
        await asyncio.sleep(0)
        assert await found.find(manifest) is first
        now += 2e6
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await found.find(manifest) is not first

    asyncio.run(run())
    assert read.count == 2
