"""What the figures show, and that their files are the same each time."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sentiment_conv1d.model.evaluation import plots
from sentiment_conv1d.model.evaluation.evaluation import Evaluation

ODD_NAMES = ("_hidden & $5 or $6", "two\nlines\tand a tab", "a name that is far too long to stand beside an axis")


def binary() -> Evaluation:
    """Forty reviews and a sigmoid that is mostly right."""
    truth = np.arange(40) % 2
    positive = np.clip(0.15 + 0.6 * truth + 0.02 * (np.arange(40) % 13), 0, 1)
    return Evaluation(("negative", "positive"), truth, np.array(positive[:, None]))


def softmax(names: tuple[str, ...] = ODD_NAMES, examples: int = 60) -> Evaluation:
    """Answers over several labels, every third of them unsure."""
    labels = len(names)
    truth = np.arange(examples) % labels
    scores = np.eye(labels)[truth] * np.where(np.arange(examples) % 3, 3.0, 0.5)[:, None]
    scores[np.arange(examples), np.arange(examples) * 7 % labels] += 1.5
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return Evaluation(names, truth, probabilities)


def history(epochs: int, points: int, validation: bool) -> dict[str, Any]:
    """What training writes: `points` running means an epoch."""
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
    """The points of the line whose legend entry ends with `label`."""
    found = next(drawn for drawn in axes.lines if str(drawn.get_label()).endswith(label))
    return [(float(x), float(y)) for x, y in np.asarray(found.get_xydata())]


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG file, whose chunks must be whole."""
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
def test_the_same_input_gives_the_same_file(draw: Callable[[], Figure], tmp_path: Path) -> None:
    """Drawn twice, a figure is a whole PNG, byte for byte the same."""
    plots.save(draw(), tmp_path / "first.png")
    plots.save(draw(), tmp_path / "second.png")
    first = (tmp_path / "first.png").read_bytes()
    assert first == (tmp_path / "second.png").read_bytes()
    width, height = png_size(first)
    assert 500 < width < 3000
    assert 500 < height < 3000


def test_a_file_names_no_program(tmp_path: Path) -> None:
    """The release of matplotlib does not change the file by its name."""
    plots.save(plots.roc(binary()), tmp_path / "roc.png")
    assert b"matplotlib" not in (tmp_path / "roc.png").read_bytes().lower()


def test_no_window_is_ever_asked_for() -> None:
    """Importing the plots leaves pyplot, which picks a screen and keeps figures, alone."""
    program = "import sys, sentiment_conv1d.model.evaluation.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_learning_curves_hold_the_steps() -> None:
    """Loss is on the left, accuracy on the right, each over the training steps."""
    given = history(2, 8, True)
    loss, accuracy = plots.learning_curves(given).axes
    assert line(loss, "training") == [(point["step"], point["loss"]) for point in given["steps"]]
    assert line(accuracy, "training") == [(point["step"], point["accuracy"]) for point in given["steps"]]


def test_validation_stands_at_the_ends_of_the_epochs() -> None:
    """Two epochs of 400 steps: the points are at 400 and 800."""
    loss, accuracy = plots.learning_curves(history(2, 8, True)).axes
    assert line(loss, "validation") == [(400, 0.4), (800, 0.4)]
    assert line(accuracy, "validation") == [(400, 0.8), (800, 0.8)]


def test_a_run_without_validation_has_no_legend() -> None:
    """One line needs no legend, and nothing else is drawn but the marks of the epochs."""
    for axes in plots.learning_curves(history(2, 8, False)).axes:
        assert axes.get_legend() is None
        assert len(axes.lines) == 1 + 2


@pytest.mark.parametrize(("epochs", "marks"), [(1, ["1"]), (3, ["1", "2", "3"]), (35, ["4", "8", "12"])])
def test_epochs_are_marked(epochs: int, marks: list[str]) -> None:
    """Every epoch has a mark at its end, or every few where they would crowd."""
    axes = plots.learning_curves(history(epochs, 4, False)).axes[0]
    (top,) = axes.child_axes
    assert [text.get_text() for text in top.get_xticklabels()][:3] == marks
    boundaries = [float(drawn.get_xdata()[0]) for drawn in axes.lines[1:]]  # type: ignore[index, arg-type]
    assert boundaries[:3] == [200.0 * int(mark) for mark in marks]


def test_roc_holds_the_curve() -> None:
    """The curve is the evaluation's, from corner to corner, its area in the legend."""
    evaluation = binary()
    (curve,) = evaluation.roc_curves
    (axes,) = plots.roc(evaluation).axes
    drawn = line(axes, "positive")
    assert drawn == list(zip(curve.false_positive_rate, curve.true_positive_rate, strict=True))
    assert (drawn[0], drawn[-1]) == ((0, 0), (1, 1))
    assert line(axes, "chance") == [(0, 0), (1, 1)]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [f"{curve.area:.4f}  positive", "0.5000  chance"]


def test_roc_has_a_curve_for_each_of_several_labels() -> None:
    """All names are in the legend, the one with an underscore in front too, and the mean is in its title."""
    evaluation = softmax()
    (axes,) = plots.roc(evaluation).axes
    legend = axes.get_legend()
    assert legend is not None
    names = [text.get_text().split("  ")[1] for text in legend.get_texts()]
    assert names == [r"_hidden & \$5 or \$6", "two lines and a tab", "a name that is far too long…", "chance"]
    assert f"mean {evaluation.roc_auc:.4f}" in legend.get_title().get_text()
    assert len({drawn.get_color() for drawn in axes.lines}) == 4


def test_roc_says_what_is_undefined(tmp_path: Path) -> None:
    """Where all examples have one label there is no curve, and the legend says so."""
    evaluation = Evaluation(("negative", "positive"), np.ones(3, np.int64), np.array([[0.2], [0.7], [0.9]]))
    figure = plots.roc(evaluation)
    assert line(figure.axes[0], "undefined  positive") == []
    plots.save(figure, tmp_path / "roc.png")


def test_precision_and_recall_hold_the_curve() -> None:
    """The points are those of counting by hand at every output, and chance is the share of the label."""
    outputs = np.array([[0.9], [0.7], [0.6], [0.2]])
    evaluation = Evaluation(("negative", "positive"), np.array([1, 0, 1, 0]), outputs)
    (axes,) = plots.precision_recall(evaluation).axes
    assert line(axes, "positive") == [(1, 0.5), (1, 2 / 3), (0.5, 0.5), (0.5, 1), (0, 1)]
    assert line(axes, "chance") == [(0, 0.5), (1, 0.5)]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [f"{5 / 6:.4f}  positive", "0.5000  chance"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Recall", "Precision")


def test_precision_and_recall_of_several_labels() -> None:
    """Each label has a curve against the rest, or stands there as undefined."""
    evaluation = Evaluation(("a", "b", "c"), np.array([0, 1, 1]), np.eye(3)[[0, 1, 0]])
    (axes,) = plots.precision_recall(evaluation).axes
    assert line(axes, "undefined  c") == []
    assert line(axes, "  b") == [(1, 2 / 3), (0.5, 1), (0, 1)]
    assert len(axes.lines) == 3


def test_calibration_holds_the_bins() -> None:
    """The bars are the accuracy and the number of the answers in each bin that is not empty."""
    evaluation = binary()
    above, below = plots.calibration(evaluation).axes
    bins = evaluation.calibration
    filled = bins.counts > 0
    assert [bar.get_height() for bar in above.patches] == bins.accuracy[filled].tolist()  # type: ignore[attr-defined]
    assert [bar.get_height() for bar in below.patches] == bins.counts[filled].tolist()  # type: ignore[attr-defined]
    measured = line(above, f"error {evaluation.expected_calibration_error:.4f}")
    assert measured == list(zip(bins.confidence[filled], bins.accuracy[filled], strict=True))


@pytest.mark.parametrize("labels", [2, 3, 5, 7, 15])
def test_calibration_cuts_nothing_off(labels: int) -> None:
    """The least confident answer there can be is within the axes."""
    uniform = np.full((1, labels), 1 / labels)
    evaluation = Evaluation(tuple(map(str, range(labels))), np.array([0]), uniform)
    above, _ = plots.calibration(evaluation).axes
    (bar,) = above.patches
    assert above.get_xlim()[0] <= bar.get_x()  # type: ignore[attr-defined]


def test_confusion_holds_numbers_and_shares() -> None:
    """A cell has the number of its answers and their share of the row, which is also its colour."""
    evaluation = Evaluation(("a", "b"), np.array([0, 0, 0, 0, 1]), np.eye(2)[[0, 0, 0, 1, 1]])
    (axes,) = plots.confusion(evaluation).axes
    assert [text.get_text() for text in axes.texts] == ["3\n75.0%", "1\n25.0%", "0\n0.0%", "1\n100.0%"]
    assert [text.get_color() for text in axes.texts] == ["white", plots.BLACK, plots.BLACK, "white"]
    (image,) = axes.images
    assert np.asarray(image.get_array()).tolist() == [[0.75, 0.25], [0, 1]]


def test_confusion_of_a_label_that_does_not_occur() -> None:
    """A row without examples has numbers and no shares."""
    evaluation = Evaluation(("a", "b"), np.array([1]), np.eye(2)[[1]])
    (axes,) = plots.confusion(evaluation).axes
    assert [text.get_text() for text in axes.texts] == ["0", "0", "0\n0.0%", "1\n100.0%"]


def test_confusion_has_a_large_table_without_shares() -> None:
    """Where cells are small they hold the number alone; where they are tiny, nothing."""
    (twenty,) = plots.confusion(softmax(tuple(map(str, range(20))))).axes
    (fifty,) = plots.confusion(softmax(tuple(map(str, range(50))))).axes
    assert len(twenty.texts) == 400
    assert all("\n" not in text.get_text() for text in twenty.texts)
    assert len(fifty.texts) == 0
