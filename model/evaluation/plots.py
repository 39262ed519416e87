"""Plots of a training and of an evaluation. They need no display, and no figure stays in memory."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sentiment_conv1d.model.evaluation.evaluation import Curve, Evaluation

# The colours of Okabe and Ito, which colour-blind people can distinguish, without yellow, which is faint on white.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
_LINE_STYLES = ("-", "--", ":", "-.")  # when the colours repeat, the style changes
_FAINT = "#D9D9D9"
_MUTED = "#595959"
_IDEAL: dict[str, Any] = {"color": _MUTED, "linestyle": (0, (2, 3)), "linewidth": 1.2}
_VALIDATION: dict[str, Any] = {"color": VERMILION, "linestyle": "", "marker": "D", "markersize": 5.5, "zorder": 3}
_SHARES = LinearSegmentedColormap.from_list("shares", ["#FFFFFF", "#004D79"])

_DARK = 0.7  # from this share on, white text is easier to read than black text

_LONGEST_NAME = 28
_MOST_EPOCH_MARKS = 10
_FEW_POINTS = 25  # a line with at most this number of points shows them
_LEGEND_ROWS = 18


class _CellStyle(NamedTuple):
    """The style of the cells of a confusion matrix, up to a number of labels."""

    most_labels: float
    inches: float
    font_size: float  # 0: no text
    has_share: bool
    name_line: int  # characters of a label's name on one line


_CELLS = (
    _CellStyle(3, 1.6, 11, has_share=True, name_line=15),
    _CellStyle(12, 0.95, 9, has_share=True, name_line=_LONGEST_NAME),
    _CellStyle(40, 0.55, 7, has_share=False, name_line=_LONGEST_NAME),
    _CellStyle(math.inf, 0.22, 0, has_share=False, name_line=_LONGEST_NAME),
)


def learning_curves(history: Mapping[str, Any]) -> Figure:
    """Plot loss and accuracy over the training steps, and those of the validation at the end of each epoch.

    `history` has "steps", each with "step", "loss" and "accuracy", and "epochs", each with "epoch" and, if validation
    texts were held out, "validation_loss" and "validation_accuracy". All epochs have the same number of steps.
    """
    figure = _figure(10, 4.2)
    loss, accuracy = figure.subplots(1, 2)
    _learning_curve(loss, history, "loss", "Loss")
    _learning_curve(accuracy, history, "accuracy", "Accuracy")
    accuracy.yaxis.set_major_formatter(_percent)
    return figure


def roc(evaluation: Evaluation) -> Figure:
    """Plot the ROC curve of label 1 if there are two labels, and otherwise of each label against all others.

    The legend contains the areas. A label without a curve is listed as undefined.
    """
    return _one_against_the_rest(
        evaluation,
        evaluation.roc_curves,
        title="ROC",
        legend="Area under the curve",
        x="False positive rate",
        y="True positive rate",
        mean=evaluation.roc_auc,
        chance=Curve("chance", np.array([0, 1]), np.array([0, 1]), 0.5),
    )


def precision_recall(evaluation: Evaluation) -> Figure:
    """Plot precision against recall of label 1 if there are two labels, and otherwise of each label against all others.

    The legend contains the average precisions. A label without a curve is listed as undefined.
    """
    # The line for chance depends on the share of the label, so there is one only for two labels.
    share = float(np.mean(evaluation.labels == 1))
    chance = Curve("chance", np.array([0, 1]), np.array([share, share]), share)
    return _one_against_the_rest(
        evaluation,
        evaluation.precision_recall_curves,
        title="Precision and recall",
        legend="Average precision",
        x="Recall",
        y="Precision",
        chance=chance if len(evaluation.label_names) == 2 else None,
    )


def calibration(evaluation: Evaluation) -> Figure:
    """Plot the accuracy of the answers at each confidence, and below it the number of these answers."""
    bins = evaluation.calibration
    width = bins.edges[1]
    filled = bins.counts > 0
    lefts = bins.edges[:-1][filled]
    # The predicted label has at least the probability 1 / labels, so lower bins are empty and are not shown.
    least = bins.edges[np.searchsorted(bins.edges, 1 / len(evaluation.label_names), side="right") - 1]
    figure = _figure(5.4, 6.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))

    above.bar(lefts, bins.accuracy[filled], width, align="edge", color=SKY, edgecolor="white", linewidth=1)
    above.plot([0, 1], [0, 1], label="perfectly calibrated", **_IDEAL)
    above.plot(
        bins.confidence[filled],
        bins.accuracy[filled],
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.6,
        label=f"measured, error {evaluation.expected_calibration_error:.4f}",
    )
    _dress(above, "Calibration", "", "Share of right answers")
    # The legend is below the axes, because bars can cover every corner.
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    above.set(ylim=(0, 1.03))
    above.yaxis.set_major_formatter(_percent)

    below.bar(lefts, bins.counts[filled], width, align="edge", color=SKY, edgecolor="white", linewidth=1)
    _dress(below, "", "Confidence: probability of the predicted label", "Answers")
    below.set(xlim=(min(least, lefts[0]), 1))
    below.xaxis.set_major_formatter(_percent)
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    below.yaxis.set_major_formatter(_thousands)
    figure.align_ylabels()
    return figure


def confusion(evaluation: Evaluation) -> Figure:
    """Plot the number of answers (columns) for each true label (rows). The colour shows the share of the row."""
    counts = evaluation.confusion
    support = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(support, 1)
    labels = len(counts)
    style = next(style for style in _CELLS if labels <= style.most_labels)
    figure = _figure(style.inches * labels + 2.6, style.inches * labels + 1.9)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap=_SHARES, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if style.font_size:
            share = f"\n{shares[row, column]:.1%}" if style.has_share and support[row, 0] else ""
            colour = "white" if shares[row, column] > _DARK else BLACK
            axes.text(
                column,
                row,
                f"{count:,}{share}",
                ha="center",
                va="center",
                fontsize=style.font_size,
                linespacing=1.4,
                color=colour,
            )
    _dress(axes, "Confusion matrix", "Predicted label", "True label")
    names = [_short(name, style.name_line) for name in evaluation.label_names]
    if style.name_line < _LONGEST_NAME:
        axes.set_xticks(range(labels), names)
    else:
        axes.set_xticks(range(labels), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(labels), names)
    axes.tick_params(length=0)
    axes.grid(False)
    gaps = np.arange(1, labels) - 0.5
    axes.hlines(gaps, -0.5, labels - 0.5, color="white", linewidth=2)
    axes.vlines(gaps, -0.5, labels - 0.5, color="white", linewidth=2)
    axes.spines[:].set(visible=True, color=_FAINT)
    return figure


def write(folder: Path, evaluation: Evaluation | None, history: dict[str, Any] | None) -> dict[str, bytes]:
    """Write the plots that there is data for. Returns the PNG files by name."""
    folder.mkdir()
    figures = {} if history is None else {"learning_curves": learning_curves(history)}
    if evaluation is not None:
        figures |= {
            "roc": roc(evaluation),
            "precision_recall": precision_recall(evaluation),
            "calibration": calibration(evaluation),
            "confusion": confusion(evaluation),
        }
    images = {}
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        save(figure, path)
        images[name] = path.read_bytes()
    return images


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG with 150 dots per inch, cropped to its content. The same figure gives the same bytes."""
    figure.savefig(
        path,
        format="png",
        dpi=150,
        bbox_inches="tight",
        pad_inches=0.15,
        facecolor="white",
        # Otherwise the file contains the version of matplotlib.
        metadata={"Software": None},
    )


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _dress(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=13, fontweight="bold", loc="left", pad=10)
    axes.set_xlabel(x, fontsize=10.5)
    axes.set_ylabel(y, fontsize=10.5)
    axes.grid(True, color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(color=_FAINT, labelsize=9.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)


def _one_against_the_rest(
    evaluation: Evaluation,
    curves: Sequence[Curve],
    *,
    title: str,
    legend: str,
    x: str,
    y: str,
    mean: float | None = None,
    chance: Curve | None = None,
) -> Figure:
    """Plot a line for label 1 if there are two labels, and otherwise for each label, in a square from 0 to 1."""
    binary = len(evaluation.label_names) == 2
    names = evaluation.label_names[1:] if binary else evaluation.label_names
    columns = 1 + len(names) // _LEGEND_ROWS
    figure = _figure(5.4 if binary else 5.4 + 2.6 * columns, 5.4)
    axes = figure.add_subplot()
    by_label = {curve.label: curve for curve in curves}
    for index, name in enumerate(names):
        curve = by_label.get(name)
        axes.plot(
            curve.x if curve else [],
            curve.y if curve else [],
            color=_COLOURS[index % len(_COLOURS)],
            linestyle=_LINE_STYLES[index // len(_COLOURS) % len(_LINE_STYLES)],
            # The number comes first, because a legend ignores labels that start with an underscore.
            label=f"{f'{curve.area:.4f}' if curve else 'undefined'}  {_short(name)}",
        )
    if chance is not None:
        axes.plot(chance.x, chance.y, label=f"{chance.area:.4f}  {chance.label}", **_IDEAL)
    shown_mean = "" if binary or mean is None else f", mean {mean:.4f}"
    place: dict[str, Any] = (
        {"loc": "lower right"} if binary else {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "borderaxespad": 0}
    )
    axes.legend(**place, ncols=columns, title=f"{legend}{shown_mean}", frameon=False, alignment="left")
    subject = f"of “{_short(names[0])}”" if binary else "of each label against the rest"
    _dress(axes, f"{title} {subject}", x, y)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return figure


def _learning_curve(axes: Axes, history: Mapping[str, Any], measure: str, title: str) -> None:
    steps = [point["step"] for point in history["steps"]]
    values = [point[measure] for point in history["steps"]]
    epochs = history["epochs"]
    ends = [steps[-1] * (index + 1) / len(epochs) for index in range(len(epochs))]
    marker = "." if len(steps) <= _FEW_POINTS else ""
    axes.plot(steps, values, color=BLUE, linewidth=1.6, marker=marker, label="training")
    measured = [
        (end, epoch[f"validation_{measure}"])
        for end, epoch in zip(ends, epochs, strict=True)
        if f"validation_{measure}" in epoch
    ]
    if measured:
        axes.plot(*zip(*measured, strict=True), label="validation", **_VALIDATION)
        axes.legend(loc="best", frameon=False)  # the default too, but then a busy machine gets a warning
    _dress(axes, title, "Training step", title)
    axes.set(xlim=(0, steps[-1] * 1.03))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(_thousands)
    _mark_epochs(axes, ends)


def _mark_epochs(axes: Axes, ends: list[float]) -> None:
    every = -(-len(ends) // _MOST_EPOCH_MARKS)
    marks = ends[every - 1 :: every]
    for end in marks:
        axes.axvline(end, color=_MUTED, linestyle=(0, (1, 3)), linewidth=1.2, zorder=1)
    top = axes.secondary_xaxis("top")
    top.set_xticks(marks, [str((index + 1) * every) for index in range(len(marks))])
    top.set_xlabel("End of epoch", fontsize=9.5, color=_MUTED)
    top.tick_params(length=0, labelsize=9.5, labelcolor=_MUTED)
    top.spines["top"].set_visible(False)


def _percent(share: float, _: float) -> str:
    return f"{100 * share:.4g}%"


def _thousands(number: float, _: float) -> str:
    return f"{number:,.0f}"


def _short(name: str, line_length: int = _LONGEST_NAME) -> str:
    """Return the name of a label: truncated, wrapped at `line_length`, and escaped, so that it is not a formula."""
    line = " ".join(name.split())
    if len(line) > _LONGEST_NAME:
        line = line[: _LONGEST_NAME - 1].rstrip() + "…"
    return textwrap.fill(line, line_length).replace("$", r"\$")
