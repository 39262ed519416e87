"""The table of all models."""

from pathlib import Path

import numpy as np

from research.transformer import measurement
from research.transformer.measurement import Candidate
from sentiment_conv1d.model.data.examples import Examples

_EXAMPLES = Examples(["good film", "a bad film", "good, and long enough to be the last", "bad"], np.array([1, 0, 1, 1]))


def test_table(tmp_path: Path) -> None:
    """A model has its accuracy with an interval, two costs and the size of its graph."""
    graph = tmp_path / "model.onnx"
    graph.write_bytes(bytes(1_250_000))
    candidate = Candidate(lambda texts: [["good" not in text, "good" in text] for text in texts], graph)
    head, _, row = measurement.table({"words": candidate}, _EXAMPLES, 2, 1).splitlines()
    assert head == "| model | accuracy (95 % interval) | µs a whole review | µs a review of 20 words | MB |"
    assert row.startswith("| words | 0.7500 (±0.4244) | ") and row.endswith(" | 1.2 |")


def test_shipped_models() -> None:
    """The shipped models are measured as the service runs them."""
    candidates = measurement.shipped()
    assert list(candidates) == ["imdb-cnn", "imdb-cnn-8bit", "accurate"]
    for candidate in candidates.values():
        good, bad = np.asarray(candidate.predict(["A wonderful, moving film.", "The worst film ever. Awful."]))[:, 1]
        assert good > 0.5 > bad and candidate.graph.is_file()
