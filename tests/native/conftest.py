"""Opens graphs with and without the operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.inference.engine import Engine
from tests.native.libraries import compiled

#: Limits the operator to a form of the processor: any, AVX2 at most, and vectors of 16 bytes.
FORMS = {"widest": (), "avx2": ("-DFORM=1",), "plain": ("-DFORM=0",)}

#: Opens two engines of a graph: with the operator, and without it.
Engines = Callable[[bytes, InputShape], tuple[Engine, Engine]]


@pytest.fixture(scope="session", params=FORMS)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the operator for one form of the processor."""
    return compiled(tmp_path_factory.mktemp("operator"), *FORMS[request.param])


@pytest.fixture
def engines(library: Path) -> Engines:
    """Return a function that opens a graph twice."""

    def open_twice(graph: bytes, shape: InputShape) -> tuple[Engine, Engine]:
        missing = library.with_name("missing")
        return Engine(graph, shape, threads=2, library=library), Engine(graph, shape, library=missing)

    return open_twice
