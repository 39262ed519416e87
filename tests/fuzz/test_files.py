"""Fuzzes files, the environment and the command line."""

from __future__ import annotations

import hashlib
import json
import re
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError, read_artifact
from sentiment_conv1d.artifact.explaining.network import Network
from sentiment_conv1d.artifact.manifest import GRAPH_FILE, MANIFEST_FILE, TOKENIZER_FILE
from sentiment_conv1d.artifact.tokenizer import TokenizerError, read_tokenizer
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.graph_file import read_network
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.security.api_keys import ApiKeys
from sentiment_conv1d.service.settings import Settings, read_settings, variable
from sentiment_conv1d.tables import DataError
from tests.fuzz.documents import JSON, spoilt
from tests.scoring.one_file import score_file
from tests.service.artifacts import publish_table

_DIGEST = re.compile(rb'"manifest_sha256": "[0-9a-f]{64}"')
_NO_DIGEST = b'"manifest_sha256": "' + b"0" * 64 + b'"'


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Create a small artifact."""
    return publish_table(tmp_path_factory.mktemp("repository"))


def write(folder: Path, source: Artifact, manifest: Any, tokenizer: bytes | None = None) -> None:
    """Write an artifact whose manifest has a matching digest, whatever it contains."""
    (folder / GRAPH_FILE).write_bytes(source.graph)
    if tokenizer is None:
        tokenizer = (source.path / TOKENIZER_FILE).read_bytes()
    else:
        manifest["files"][TOKENIZER_FILE] = {
            "bytes": len(tokenizer),
            "sha256": hashlib.sha256(tokenizer).hexdigest(),
        }
    (folder / TOKENIZER_FILE).write_bytes(tokenizer)
    content = _DIGEST.sub(_NO_DIGEST, json.dumps(manifest, indent=2).encode())
    digest = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST_FILE).write_bytes(content.replace(b"0" * 64, digest.encode()))


@given(data=st.data())
def test_any_manifest(table: Artifact, data: st.DataObject) -> None:
    """A nearly valid manifest with a matching digest loads, or fails with an error that names the file."""
    manifest = data.draw(spoilt(json.loads((table.path / MANIFEST_FILE).read_bytes())))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), table, manifest)
        try:
            read_artifact(Path(folder))
        except ArtifactError as error:
            assert folder in str(error)


@given(data=st.data())
def test_any_tokenizer(table: Artifact, data: st.DataObject) -> None:
    """A nearly valid tokenizer with matching digests loads, or fails with an error that names the file."""
    document = data.draw(spoilt(json.loads((table.path / TOKENIZER_FILE).read_bytes())) | JSON)
    with tempfile.TemporaryDirectory() as folder:
        manifest = json.loads((table.path / MANIFEST_FILE).read_bytes())
        write(Path(folder), table, manifest, json.dumps(document).encode())
        try:
            read_artifact(Path(folder))
        except ArtifactError as error:
            assert TOKENIZER_FILE in str(error)


@given(content=st.binary(max_size=200))
def test_any_bytes_as_tokenizer(content: bytes) -> None:
    """Arbitrary bytes fail to load as a tokenizer."""
    with pytest.raises(TokenizerError):
        read_tokenizer(content)


@given(text=st.text(max_size=2000))
def test_any_text(classifier: Classifier, text: str) -> None:
    """Any text, including lone surrogates, has a prediction between 0 and 1 and a start id."""
    [prediction] = classifier.predict([text])
    assert prediction.tokens >= 1 and 0 <= prediction.score <= 1


@given(data=st.data())
def test_any_graph(artifact: Artifact, data: st.DataObject) -> None:
    """Reading a graph with changed, inserted or removed bytes succeeds or fails cleanly."""
    graph = bytearray(artifact.graph)
    # Most of a graph is weights; their description is at both ends.
    edges = st.integers(0, 300) | st.integers(len(graph) - 3000, len(graph) - 1) | st.integers(0, len(graph) - 1)
    for place, change in data.draw(st.lists(st.tuples(edges, st.binary(max_size=3)), min_size=1, max_size=4)):
        graph[place : place + data.draw(st.integers(0, 3))] = change
    network = read_network(bytes(graph))
    assert network is None or isinstance(network, Network)


@given(data=st.data())
def test_any_settings(data: st.DataObject) -> None:
    """Any values of flags or variables give settings, or an error message."""
    value = st.one_of(
        st.sampled_from(
            ["0", "1", "-1", "1e999", "nan", "inf", "true", "off", "cpu", "cuda", "", " ", "/", "/a/b", "\u0661"]
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    )
    names = st.sampled_from(list(Settings.model_fields))
    environment = {variable(name): text for name, text in data.draw(st.dictionaries(names, value, max_size=4)).items()}
    environment |= data.draw(
        st.dictionaries(st.sampled_from(["PORT", "AIP_HTTP_PORT", "SENTIMENT_X"]), value, max_size=1)
    )
    flags = data.draw(st.dictionaries(names, value, max_size=2))
    try:
        settings = read_settings(flags, environment)
    except StartupError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert isinstance(settings, Settings)


@given(listed=st.none() | st.text(max_size=60), content=st.none() | st.binary(max_size=80))
def test_any_api_keys(listed: str | None, content: bytes | None) -> None:
    """Any list and file of keys give keys, none, or an error that shows no key."""
    with tempfile.TemporaryDirectory() as folder:
        file = None if content is None else Path(folder) / "keys"
        if file is not None and content is not None:
            file.write_bytes(content)
        try:
            keys = ApiKeys(None if listed is None else SecretStr(listed), file)
        except StartupError as error:
            assert str(error)
        else:
            assert not keys.caller({b"authorization": b"Bearer"})


_CELL = st.text(string.ascii_letters + ' ,";\t\0é\u2028', max_size=12)
_CSV = st.lists(st.lists(_CELL, min_size=1, max_size=3).map(",".join), max_size=6).map("\n".join)
_JSONL = st.lists(JSON.map(json.dumps) | spoilt({"text": "good", "id": 7}).map(json.dumps) | _CELL, max_size=5).map(
    "\n".join
)


@given(
    suffix=st.sampled_from([".csv", ".json", ".jsonl", ".txt", ".tsv"]),
    content=st.one_of(
        _CSV.map(str.encode),
        _CSV.map(lambda rows: f"text,id\n{rows}".encode()),
        _JSONL.map(str.encode),
        st.binary(max_size=120),
        st.binary(max_size=60).map(lambda rest: b"text\n" + rest),
    ),
)
def test_any_file_to_score(classifier: Classifier, suffix: str, content: bytes) -> None:
    """Any CSV, JSON or text file gives an output with as many rows, or an error and no output."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / f"in{suffix}", Path(folder) / "out.jsonl"
        source.write_bytes(content)
        try:
            rows = score_file(source, out, classifier)
        except DataError as error:
            assert str(error)
            assert not out.exists()
        else:
            assert len(out.read_bytes().splitlines()) == rows
