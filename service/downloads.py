"""The files that callers download: `text.onnx` of a served version, read or built when somebody asks for it.

A file is in memory only while callers read it and some seconds longer. All callers of a version share it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from sentiment_conv1d.model.artifact import Artifact, ArtifactError, read_text_graph
from sentiment_conv1d.model.graphs.text.characters import TextGraphError
from sentiment_conv1d.model.graphs.text.file import text_graph
from sentiment_conv1d.model.manifest import Manifest
from sentiment_conv1d.server.errors import Overloaded
from sentiment_conv1d.service.errors import NotFound

logger = logging.getLogger(__name__)

#: The most files in memory.
MAX_FILES = 4

#: Seconds that a file, or why there is none, stays after its last use. It takes a tenth of a second of a processor.
KEEP_SECONDS = 10.0


@dataclass(eq=False)
class TextGraphFile:
    """The content of `text.onnx` and its SHA-256, or why there is none. Callers read it in a `with` block."""

    content: bytes
    digest: str
    problem: str = ""
    readers: int = 0
    used: float = 0.0  # the event loop's time

    def __enter__(self) -> Self:
        self.readers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.readers -= 1
        self.used = asyncio.get_running_loop().time()


class Downloads:
    """Reads or builds files, one at a time on a thread. Belongs to one event loop.

    `read` reads a version from the repository. It raises `ArtifactError`.
    """

    def __init__(self, read: Callable[[str, int], Artifact]) -> None:
        self._read = read
        self._files: dict[str, TextGraphFile] = {}  # by the digest of the manifest
        self._building = asyncio.Lock()

    async def find(self, manifest: Manifest) -> TextGraphFile:
        """Return the file of a version that is served.

        Raises `NotFound` if the repository does not contain the version any more or ONNX cannot express its tokenizer,
        and `Overloaded` while callers download `MAX_FILES` others.
        """
        async with self._building:
            file = self._files.get(manifest.manifest_sha256) or await self._add(manifest)
        file.used = asyncio.get_running_loop().time()
        if file.problem:
            raise NotFound(file.problem)
        return file

    async def _add(self, manifest: Manifest) -> TextGraphFile:
        if len(self._files) >= MAX_FILES:
            raise Overloaded(f"callers download {MAX_FILES} other models")
        file = await asyncio.to_thread(self._build, manifest)
        self._files[manifest.manifest_sha256] = file
        self._drop_later(manifest.manifest_sha256)
        return file

    def _build(self, manifest: Manifest) -> TextGraphFile:
        try:
            artifact = self._read(manifest.name, manifest.version)
            if artifact.manifest.manifest_sha256 != manifest.manifest_sha256:
                raise ArtifactError(f"{artifact.path}: it was replaced")
            content = read_text_graph(artifact) or text_graph(artifact)
        except ArtifactError as error:
            logger.warning("no download of %s: %s", manifest.name, error)
            return _missing(manifest, "the repository no longer contains the files that are served")
        except TextGraphError as error:
            return _missing(manifest, str(error))
        return TextGraphFile(content, sha256(content).hexdigest())

    def _drop_later(self, key: str) -> None:
        asyncio.get_running_loop().call_later(KEEP_SECONDS, self._drop, key)

    def _drop(self, key: str) -> None:
        """Drop a file that nobody has used for `KEEP_SECONDS`, or look again later."""
        file = self._files[key]
        if file.readers or asyncio.get_running_loop().time() - file.used < KEEP_SECONDS:
            self._drop_later(key)
        else:
            del self._files[key]


def _missing(manifest: Manifest, reason: str) -> TextGraphFile:
    return TextGraphFile(b"", "", f"there is no text.onnx of {manifest.name}, version {manifest.version}: {reason}")
