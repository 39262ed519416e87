"""Fuzzes the native code: ids, shapes, graphs and words, also under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.inference.engine import NATIVE, Engine, GraphError
from sentiment_conv1d.inference.graph_file import GraphFileError, parse
from sentiment_conv1d.inference.rewriting import rewrite
from sentiment_conv1d.native.compilation import FOLDER
from tests.native.libraries import compiled, compiler
from tests.processes import PATIENCE

SANITIZERS = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def engines(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Engine]:
    """Open the shipped model with the operator, and without it."""
    library = compiled(tmp_path_factory.mktemp("operator"))
    native = Engine(artifact.graph, artifact.input_shape, library=library)
    assert native.operator == NATIVE
    return native, Engine(artifact.graph, artifact.input_shape, library=library.with_name("missing"))


@given(data=st.data())
def test_any_ids(artifact: Artifact, engines: tuple[Engine, Engine], data: st.DataObject) -> None:
    """Any batch of ids gives the answers of the general graph, or an error if an id is out of range or too few."""
    words = artifact.manifest.vocabulary_size
    shape = data.draw(st.tuples(st.integers(0, 40), st.integers(0, 500)))
    ids = (
        st.integers(0, words - 1)
        | st.sampled_from([0, words - 1])
        | st.just(data.draw(st.integers(-(2**31), 2**31 - 1)))
    )
    tokens = data.draw(arrays.arrays(np.int32, shape, elements=ids, fill=st.integers(0, words - 1)))
    native, general = engines
    if tokens.size and not (tokens.min() >= 0 and tokens.max() < words):
        with pytest.raises(GraphError, match="is not below"):
            native.run(tokens, shape[1])
    elif shape[1] < 3:
        with pytest.raises(GraphError, match="are fewer than"):
            native.run(tokens, shape[1])
    elif shape[0]:
        assert np.array_equal(native.run(tokens, shape[1]), general.run(tokens, shape[1]))
    else:
        assert native.run(tokens, shape[1]).shape == (0, 1)


@given(data=st.data())
def test_any_graph(artifact: Artifact, data: st.DataObject) -> None:
    """Putting the operator into a graph with changed, inserted or removed bytes succeeds or leaves it alone."""
    graph = bytearray(artifact.graph)
    edges = st.integers(0, 300) | st.integers(len(graph) - 3000, len(graph) - 1)
    for place, change in data.draw(st.lists(st.tuples(edges, st.binary(max_size=3)), min_size=1, max_size=4)):
        graph[place : place + data.draw(st.integers(0, 3))] = change
    with suppress(GraphFileError):
        model = parse(bytes(graph))
        before = model.SerializeToString()
        assert rewrite(model) or model.SerializeToString() == before


@pytest.mark.parametrize(
    ("harness", "form", "times"),
    [("operator", "0", 5), ("operator", "1", 5), ("operator", "2", 5), ("vocabulary", "0", 100)],
    ids=["plain", "avx2", "widest", "vocabulary"],
)
def test_memory(harness: str, form: str, times: int, tmp_path: Path) -> None:
    """The code reads and writes only its own memory: on random shapes, attributes and ids, also invalid, and words."""
    command = compiler()
    program = tmp_path / "harness"
    flags = ("-std=c++17", f"-DFORM={form}", *SANITIZERS, f"-I{FOLDER}")
    command += [*flags, "-o", str(program), str(Path(__file__).with_name(f"{harness}_harness.cpp"))]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if finished.returncode and "asan" in finished.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert finished.returncode == 0, finished.stderr
    count = times * settings().max_examples
    finished = subprocess.run([program, str(count)], capture_output=True, text=True, timeout=10 * PATIENCE, check=False)
    assert finished.returncode == 0, finished.stderr
