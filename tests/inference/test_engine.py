"""The engine runs graphs of the artifact's contract and refuses others with a reason."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import numpy.typing as npt
import pytest

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.inference.engine import Engine, GraphError, report
from sentiment_conv1d.inference.errors import ProviderError
from sentiment_conv1d.inference.provider import CPU
from tests.ids import shape
from tests.service.artifacts import WEIGHTS, WORDS, probabilities, table_graph

SHAPE = shape(8)


def tokens(*rows: list[int]) -> npt.NDArray[np.int32]:
    return np.array(rows, np.int32)


def test_run() -> None:
    """Rows of ids give one row of float32 probabilities each."""
    answers = Engine(table_graph(), SHAPE).run(tokens([1, 3, 3], [1, 4, 0]), 3)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers[0], probabilities(["praise", "praise"]), atol=1e-6)
    np.testing.assert_allclose(answers[1], probabilities(["question"]), atol=1e-6)


def test_time() -> None:
    """`sequence_length` is the number of columns if the graph fixes it, and None otherwise."""
    assert Engine(table_graph(), SHAPE).sequence_length is None
    assert Engine(table_graph(shape=("batch", 7)), SHAPE).sequence_length == 7


def test_run_from_several_threads(artifact: Artifact) -> None:
    """Concurrent runs do not affect each other."""
    engine = Engine(artifact.graph, artifact.input_shape)
    batches = [np.full((4, 20), number, np.int32) for number in range(3, 43)]
    alone = [engine.run(batch, 20) for batch in batches]
    together = threading.Barrier(4)

    def run(number: int) -> bool:
        if number < 4:
            together.wait()
        return np.array_equal(engine.run(batches[number], 20), alone[number])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(len(batches))))


def test_a_shape_again() -> None:
    """A run is not affected by an earlier run of its shape that had longer rows, more rows, or failed."""
    engine = Engine(table_graph(), SHAPE)
    texts: list[list[list[int]]] = [[[1, 3, 3, 4], [3, 4]], [[3]], [[4, 4, 4], [len(WEIGHTS)]], [[5], [1, 3]], []]
    for given in texts * 2:
        row_ids = [np.array(row, np.int32) for row in given]
        if len(WEIGHTS) in chain(*given):
            with pytest.raises(GraphError):
                engine.run(row_ids, 4, 2)
            continue
        words = [[WORDS[number - 3] for number in row if number >= 3] for row in given]
        answers = engine.run(row_ids, 4, 2)
        assert answers.shape == (2, 3)
        for answer, each in zip(answers, [*words, [], []], strict=False):
            np.testing.assert_allclose(answer, probabilities(each), atol=1e-6)


def test_answers_stay() -> None:
    """The result of a run does not change during the next run of its shape."""
    engine = Engine(table_graph(), SHAPE)
    first = engine.run(tokens([1, 3]), 2)
    kept = first.copy()
    engine.run(tokens([1, 4]), 2)
    np.testing.assert_array_equal(first, kept)


def test_more_shapes_than_it_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of shapes with preallocated memory is limited, and all shapes are answered."""
    monkeypatch.setattr("sentiment_conv1d.inference.engine._MOST_SHAPES", 3)
    engine = Engine(table_graph(), SHAPE)
    for time in [*range(1, 9)] * 2:
        answers = engine.run(tokens([3]), time)
        np.testing.assert_allclose(answers[0], probabilities(["praise"]), atol=1e-6)
        assert len(engine._slots) <= 3


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (b"", "cannot open"),
        (b"no graph at all", "not an ONNX model"),
        (table_graph(names=("ids", "probabilities")), "must map tokens to probabilities"),
        (table_graph(names=("tokens", "scores")), "must map tokens to probabilities"),
        (table_graph(shape=("batch",)), "int32 [batch, sequence_length]"),
        (table_graph(activation="Transpose"), "return float32 [batch, outputs]"),
        (table_graph(shape=("batch", "time", 1)), "int32 [batch, sequence_length]"),
    ],
)
def test_foreign_graph(graph: bytes, reason: str) -> None:
    """A graph that does not open, or has other inputs or outputs, is refused with a reason."""
    with pytest.raises(GraphError) as refusal:
        Engine(graph, SHAPE)
    assert reason in str(refusal.value)


def test_failing_run() -> None:
    """A run that fails raises a GraphError for any exception of ONNX Runtime."""
    engine = Engine(table_graph(), SHAPE)
    with pytest.raises(GraphError, match="cannot run"):
        engine.run(tokens([len(WEIGHTS)]), 1)


def test_cuda_asked_for() -> None:
    """Requesting CUDA without a working CUDA is an error that says why."""
    with pytest.raises(ProviderError, match=r"CUDA .* does not work here: .+"):
        Engine(table_graph(), SHAPE, provider="cuda", device=63)


def test_automatic_provider(caplog: pytest.LogCaptureFixture) -> None:
    """`auto` uses the CPU if CUDA does not work, and logs one line for all models that says why."""
    report.cache_clear()
    with caplog.at_level(logging.INFO):
        engine, _ = (Engine(table_graph(), SHAPE, provider="auto", device=63) for _ in range(2))
    assert engine.provider == CPU
    assert engine.run(tokens([1]), 1).shape == (1, 3)
    assert [record.getMessage()[:19] for record in caplog.records] == ["running on the CPU:"]
