"""Plots of a training and of an evaluation. They need no display, and no figure stays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.evaluation.multilabel import Measured

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
_CHANCE: dict[str, Any] = {"color": _MUTED, "linestyle": (0, (2, 3)), "linewidth": 1.2}
_VALIDATION: dict[str, Any] = {"color": VERMILION, "linestyle": "", "marker": "D", "markersize": 5.5, "zorder": 3}

_LONGEST_NAME = 28
_MOST_EPOCH_MARKS = 10
_FEW_POINTS = 25  # a line with at most this number of points shows them
_LEGEND_ROWS = 18
_MOST_VALUES = 20  # labels whose confusion matrix has legible numbers


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


def roc(evaluation: Measured) -> Figure:
    """Plot the ROC curve of label 1 if there are two labels, and otherwise of each label against all others.

    The legend contains the areas. A label without a curve is left out.
    """
    figure, axes = _one_against_the_rest(evaluation)
    for number, curve in enumerate(evaluation.roc_curves):
        RocCurveDisplay(fpr=curve.x, tpr=curve.y, roc_auc=curve.area, name=_quoted(curve.label)).plot(
            axes,
            curve_kwargs=_style(number),
            plot_chance_level=number == len(evaluation.roc_curves) - 1,
            chance_level_kw=_CHANCE,
        )
    _finish(axes, evaluation, "ROC", "False positive rate", "True positive rate")
    return figure


def precision_recall(evaluation: Measured) -> Figure:
    """Plot precision against recall of label 1 if there are two labels, and otherwise of each label against all others.

    The legend contains the average precisions. A label without a curve is left out.
    """
    figure, axes = _one_against_the_rest(evaluation)
    # Chance depends on the share of the label, so there is one line for it only with two labels.
    share = float(np.mean(evaluation.labels == 1)) if _is_binary(evaluation) else None
    for number, curve in enumerate(evaluation.precision_recall_curves):
        PrecisionRecallDisplay(
            precision=curve.y,
            recall=curve.x,
            average_precision=curve.area,
            name=_quoted(curve.label),
            prevalence_pos_label=share,
        ).plot(axes, curve_kwargs=_style(number), plot_chance_level=share is not None, chance_level_kw=_CHANCE)
    _finish(axes, evaluation, "Precision and recall", "Recall", "Precision")
    return figure


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

    CalibrationDisplay(
        bins.accuracy[filled],
        bins.confidence[filled],
        evaluation.confidence,
        estimator_name=f"Measured, error {evaluation.expected_calibration_error:.4f}",
    ).plot(ax=above, color=BLUE)
    _dress(above, "Calibration", "", "Share of right answers")
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
    """Plot the share of each answer (columns) among the examples with each true label (rows)."""
    counts = evaluation.confusion
    labels = len(counts)
    size = max(0.25, min(1.2, 12 / labels)) * labels  # in inches
    figure = _figure(size + 2.6, size + 1.9)
    axes = figure.add_subplot()
    ConfusionMatrixDisplay(
        counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
        display_labels=[_short(name) for name in evaluation.label_names],
    ).plot(
        ax=axes,
        cmap="Blues",
        im_kw={"vmin": 0, "vmax": 1},
        include_values=labels <= _MOST_VALUES,
        values_format=".1%" if labels <= _MOST_VALUES // 2 else ".0%",
        xticks_rotation="horizontal" if labels == 2 else "vertical",
        colorbar=False,
    )
    _dress(axes, "Confusion matrix", "Predicted label", "True label")
    axes.grid(False)
    return figure


def write(folder: Path, evaluation: Measured | None, history: dict[str, Any] | None) -> dict[str, bytes]:
    """Write the plots that there is data for. Returns the PNG files by name."""
    folder.mkdir()
    figures = {} if history is None else {"learning_curves": learning_curves(history)}
    if evaluation is not None:
        figures |= {"roc": roc(evaluation), "precision_recall": precision_recall(evaluation)}
    if isinstance(evaluation, Evaluation):
        figures |= {"calibration": calibration(evaluation), "confusion": confusion(evaluation)}
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


def _one_against_the_rest(evaluation: Measured) -> tuple[Figure, Axes]:
    """Return a figure for the curves of `evaluation`, with space for a legend beside the axes if there are many."""
    figure = _figure(5.4 if _is_binary(evaluation) else 5.4 + 2.8 * _legend_columns(evaluation), 5.4)
    return figure, figure.add_subplot()


def _finish(axes: Axes, evaluation: Measured, title: str, x: str, y: str) -> None:
    binary = _is_binary(evaluation)
    if not binary and axes.get_legend() is not None:
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), ncols=_legend_columns(evaluation), frameon=False)
    subject = f"of {_quoted(evaluation.label_names[1])}" if binary else "of each label against the rest"
    _dress(axes, f"{title} {subject}", x, y)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")


def _is_binary(evaluation: Measured) -> bool:
    """Return whether there are two labels, of which a text has one."""
    return isinstance(evaluation, Evaluation) and len(evaluation.label_names) == 2


def _legend_columns(evaluation: Measured) -> int:
    return 1 + len(evaluation.label_names) // _LEGEND_ROWS


def _style(number: int) -> dict[str, Any]:
    """Return the style of the curve with this number."""
    style = _LINE_STYLES[number // len(_COLOURS) % len(_LINE_STYLES)]
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": style}


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


def _quoted(name: str) -> str:
    """Return the name of a label in quotation marks: a legend ignores a label that starts with an underscore."""
    return f"“{_short(name)}”"


def _short(name: str) -> str:
    """Return the name of a label: truncated, and escaped, so that it is not a formula."""
    line = " ".join(name.split())
    if len(line) > _LONGEST_NAME:
        line = line[: _LONGEST_NAME - 1].rstrip() + "…"
    return line.replace("$", r"\$")
