"""The plots show the numbers of an evaluation, and their files are reproducible."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib import legend, pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sentiment_conv1d.model.evaluation import plots
from sentiment_conv1d.model.evaluation.evaluation import Evaluation

ODD_NAMES = ("_hidden & $5 or $6", "two\nlines\tand a tab", "a name that is far too long to stand beside an axis")


def binary() -> Evaluation:
    """Return an evaluation of forty reviews, most of which a sigmoid classifies correctly."""
    truth = np.arange(40) % 2
    positive = np.clip(0.15 + 0.6 * truth + 0.02 * (np.arange(40) % 13), 0, 1)
    return Evaluation(("negative", "positive"), truth, np.array(positive[:, None]))


def softmax(names: tuple[str, ...] = ODD_NAMES, examples: int = 60) -> Evaluation:
    """Return an evaluation of several labels in which every third prediction is uncertain."""
    labels = len(names)
    truth = np.arange(examples) % labels
    scores = np.eye(labels)[truth] * np.where(np.arange(examples) % 3, 3.0, 0.5)[:, None]
    scores[np.arange(examples), np.arange(examples) * 7 % labels] += 1.5
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return Evaluation(names, truth, probabilities)


def history(epochs: int, points: int, validation: bool) -> dict[str, Any]:
    """Return a training history with `points` running means per epoch."""
    measured = {"validation_loss": 0.4, "validation_accuracy": 0.8} if validation else {}
    return {
        "steps": [
            {"step": 50 * number, "loss": 1 / number, "accuracy": 1 - 1 / (number + 1)}
            for number in range(1, epochs * points + 1)
        ],
        "epochs": [
            {"epoch": number, "loss": 0.5, "accuracy": 0.7, "seconds": 1.0, **measured}
            for number in range(1, epochs + 1)
        ],
    }


FIGURES: dict[str, Callable[[], Figure]] = {
    "learning curves": lambda: plots.learning_curves(history(2, 8, True)),
    "learning curves without validation": lambda: plots.learning_curves(history(2, 8, False)),
    "learning curves of one point": lambda: plots.learning_curves(history(1, 1, True)),
    "learning curves of many epochs": lambda: plots.learning_curves(history(35, 4, True)),
    "roc": lambda: plots.roc(binary()),
    "roc of three labels": lambda: plots.roc(softmax()),
    "precision and recall": lambda: plots.precision_recall(binary()),
    "precision and recall of three labels": lambda: plots.precision_recall(softmax()),
    "calibration": lambda: plots.calibration(binary()),
    "calibration of three labels": lambda: plots.calibration(softmax()),
    "confusion": lambda: plots.confusion(binary()),
    "confusion of three labels": lambda: plots.confusion(softmax()),
    "confusion of seven labels": lambda: plots.confusion(softmax(tuple(f"topic {n}" for n in range(7)))),
    "confusion of fifty labels": lambda: plots.confusion(softmax(tuple(f"topic {n}" for n in range(50)))),
}


def line(axes: Axes, label: str) -> list[tuple[float, float]]:
    """Return the points of the line whose legend entry contains `label`."""
    found = next(drawn for drawn in axes.lines if label in str(drawn.get_label()))
    return [(float(x), float(y)) for x, y in np.asarray(found.get_xydata())]


def legend_texts(axes: Axes) -> list[str]:
    """Return the entries of the legend."""
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def png_size(content: bytes) -> tuple[int, int]:
    """Return the width and the height of a PNG file. Asserts that its chunks are complete."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    position, kinds, pixels = 8, [], b""
    while position < len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        data = content[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", content[position + 8 + length : position + 12 + length])
        assert checksum == zlib.crc32(kind + data)
        kinds.append(kind)
        pixels += data if kind == b"IDAT" else b""
        position += 12 + length
    width, height = struct.unpack(">II", content[16:24])
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    assert len(zlib.decompress(pixels)) == height * (1 + 4 * width)
    return width, height


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_reproducible_files(draw: Callable[[], Figure], tmp_path: Path) -> None:
    """A figure that is drawn twice gives the same complete PNG file, byte for byte."""
    plots.save(draw(), tmp_path / "first.png")
    plots.save(draw(), tmp_path / "second.png")
    first = (tmp_path / "first.png").read_bytes()
    assert first == (tmp_path / "second.png").read_bytes()
    width, height = png_size(first)
    assert 500 < width < 3000
    assert 500 < height < 3000


def test_metadata_of_files(tmp_path: Path) -> None:
    """A file does not contain the name and version of matplotlib, so another release does not change it."""
    plots.save(plots.roc(binary()), tmp_path / "roc.png")
    assert b"matplotlib" not in (tmp_path / "roc.png").read_bytes().lower()


def test_memory(tmp_path: Path) -> None:
    """No figure stays in pyplot, which would keep it in memory."""
    plots.write(tmp_path / "plots", binary(), history(1, 1, True))
    assert pyplot.get_fignums() == []


def test_learning_curves() -> None:
    """The loss is on the left and the accuracy on the right, over the training steps."""
    given = history(2, 8, True)
    loss, accuracy = plots.learning_curves(given).axes
    assert line(loss, "training") == [(point["step"], point["loss"]) for point in given["steps"]]
    assert line(accuracy, "training") == [(point["step"], point["accuracy"]) for point in given["steps"]]


def test_validation_points() -> None:
    """Validation points are at the ends of the epochs."""
    loss, accuracy = plots.learning_curves(history(2, 8, True)).axes
    assert line(loss, "validation") == [(400, 0.4), (800, 0.4)]
    assert line(accuracy, "validation") == [(400, 0.8), (800, 0.8)]


def test_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing warns about a legend that took long to place."""
    clock = count(0, 10)
    monkeypatch.setattr(legend, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    plots.learning_curves(history(2, 8, True)).savefig(BytesIO())


def test_learning_curves_without_validation() -> None:
    """Without validation there is one line, no legend, and the marks of the epochs."""
    for axes in plots.learning_curves(history(2, 8, False)).axes:
        assert axes.get_legend() is None
        assert len(axes.lines) == 1 + 2


@pytest.mark.parametrize(("epochs", "marks"), [(1, ["1"]), (3, ["1", "2", "3"]), (35, ["4", "8", "12"])])
def test_marks_of_epochs(epochs: int, marks: list[str]) -> None:
    """A mark is at the end of every epoch, or of every few epochs if there are many."""
    axes = plots.learning_curves(history(epochs, 4, False)).axes[0]
    (top,) = axes.child_axes
    assert [text.get_text() for text in top.get_xticklabels()][:3] == marks
    boundaries = [float(drawn.get_xdata()[0]) for drawn in axes.lines[1:]]  # type: ignore[index, arg-type]
    assert boundaries[:3] == [200.0 * int(mark) for mark in marks]


def test_roc() -> None:
    """The ROC plot shows the curve of the evaluation from corner to corner, and its area in the legend."""
    evaluation = binary()
    (curve,) = evaluation.roc_curves
    (axes,) = plots.roc(evaluation).axes
    drawn = line(axes, "“positive”")
    assert drawn == list(zip(curve.x, curve.y, strict=True))
    assert (drawn[0], drawn[-1]) == ((0, 0), (1, 1))
    assert line(axes, "Chance level") == [(0, 0), (1, 1)]
    assert legend_texts(axes) == [f"“positive” (AUC = {curve.area:.2f})", "Chance level (AUC = 0.5)"]


def test_roc_of_several_labels() -> None:
    """Each label has a curve, and the legend contains all names, even one with a leading underscore."""
    (axes,) = plots.roc(softmax()).axes
    names = [text.split(" (AUC")[0] for text in legend_texts(axes)]
    assert names == [
        r"“_hidden & \$5 or \$6”",
        "“two lines and a tab”",
        "“a name that is far too long…”",
        "Chance level",
    ]
    assert len({drawn.get_color() for drawn in axes.lines}) == 4


def test_undefined_roc(tmp_path: Path) -> None:
    """If all examples have the same label, the plot has no curve."""
    evaluation = Evaluation(("negative", "positive"), np.ones(3, np.int64), np.array([[0.2], [0.7], [0.9]]))
    figure = plots.roc(evaluation)
    assert list(figure.axes[0].lines) == []
    plots.save(figure, tmp_path / "roc.png")


def test_precision_and_recall() -> None:
    """The points are those counted by hand for every output, and chance is the share of the label."""
    outputs = np.array([[0.9], [0.7], [0.6], [0.2]])
    evaluation = Evaluation(("negative", "positive"), np.array([1, 0, 1, 0]), outputs)
    (axes,) = plots.precision_recall(evaluation).axes
    assert line(axes, "“positive”") == [(1, 0.5), (1, 2 / 3), (0.5, 0.5), (0.5, 1), (0, 1)]
    assert line(axes, "Chance level") == [(0, 0.5), (1, 0.5)]
    assert legend_texts(axes) == ["“positive” (AP = 0.83)", "Chance level (AP = 0.50)"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Recall", "Precision")


def test_precision_and_recall_of_several_labels() -> None:
    """Each label has a curve against all others, unless no example has it."""
    evaluation = Evaluation(("a", "b", "c"), np.array([0, 1, 1]), np.eye(3)[[0, 1, 0]])
    (axes,) = plots.precision_recall(evaluation).axes
    assert line(axes, "“b”") == [(1, 2 / 3), (0.5, 1), (0, 1)]
    assert [text[:3] for text in legend_texts(axes)] == ["“a”", "“b”"]


def test_calibration() -> None:
    """The plot shows the accuracy and the number of predictions of each bin that is not empty."""
    evaluation = binary()
    above, below = plots.calibration(evaluation).axes
    bins = evaluation.calibration
    filled = bins.counts > 0
    assert [bar.get_height() for bar in below.patches] == bins.counts[filled].tolist()  # type: ignore[attr-defined]
    measured = line(above, f"error {evaluation.expected_calibration_error:.4f}")
    assert measured == list(zip(bins.confidence[filled], bins.accuracy[filled], strict=True))


@pytest.mark.parametrize("labels", [2, 3, 5, 7, 15])
def test_limits_of_the_calibration_plot(labels: int) -> None:
    """The least confident possible prediction is within the axes."""
    uniform = np.full((1, labels), 1 / labels)
    evaluation = Evaluation(tuple(map(str, range(labels))), np.array([0]), uniform)
    _, below = plots.calibration(evaluation).axes
    (bar,) = below.patches
    assert below.get_xlim()[0] <= bar.get_x()  # type: ignore[attr-defined]


def test_confusion() -> None:
    """A cell shows the share of its predictions in the row, which determines its colour."""
    evaluation = Evaluation(("a", "b"), np.array([0, 0, 0, 0, 1]), np.eye(2)[[0, 0, 0, 1, 1]])
    (axes,) = plots.confusion(evaluation).axes
    assert [text.get_text() for text in axes.texts] == ["75.0%", "25.0%", "0.0%", "100.0%"]
    (image,) = axes.images
    assert np.asarray(image.get_array()).tolist() == [[0.75, 0.25], [0, 1]]
    assert image.get_clim() == (0, 1)


def test_confusion_of_a_label_without_examples() -> None:
    """The shares of a row without examples are zero."""
    evaluation = Evaluation(("a", "b"), np.array([1]), np.eye(2)[[1]])
    (axes,) = plots.confusion(evaluation).axes
    assert [text.get_text() for text in axes.texts] == ["0.0%", "0.0%", "0.0%", "100.0%"]


def test_confusion_of_many_labels() -> None:
    """Small cells show no decimals, and very small cells show nothing."""
    (twenty,) = plots.confusion(softmax(tuple(map(str, range(20))))).axes
    (fifty,) = plots.confusion(softmax(tuple(map(str, range(50))))).axes
    assert len(twenty.texts) == 400
    assert all("." not in text.get_text() for text in twenty.texts)
    assert len(fifty.texts) == 0
