"""The training report: what was trained, and how good it is, in a single HTML file."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.explaining.reading import Word
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.commands.page import Cell, page, table
from sentiment_conv1d.model.data import Profile, Use, profile
from sentiment_conv1d.model.evaluation.baseline import Baseline
from sentiment_conv1d.model.evaluation.calibration import at_temperature
from sentiment_conv1d.model.evaluation.confidence import confidence_rows
from sentiment_conv1d.model.evaluation.evaluation import Evaluation, ThresholdScores
from sentiment_conv1d.model.evaluation.multilabel import MultilabelEvaluation
from sentiment_conv1d.model.evaluation.share import Share, shown
from sentiment_conv1d.model.training.recipes import Trained
from sentiment_conv1d.model.training.results import Results
from sentiment_conv1d.model.training.task import Task

#: The number of worst errors in the report, the characters of their texts, and the number of their words.
_ERRORS, _ERROR_CHARACTERS, _ERROR_WORDS = 20, 300, 8

#: The number of pairs of labels that the report shows as confused: all of them for up to three labels.
_CONFUSED = 6

_MISSING = "\N{EN DASH}"

# Plots are shown in their original size: an inch has 96 pixels in CSS and 150 dots in the plots.
_CSS_PIXELS_PER_DOT = 96 / 150

#: How to read each plot, by its name.
_CAPTIONS = {
    "learning_curves": (
        "Learning curves",
        "Loss should fall and accuracy rise until both level off. If validation gets worse while training gets better, "
        "the model is overfitting: train for fewer epochs.",
    ),
    "roc": (
        "ROC",
        "Each point of a curve is one threshold. It shows which share of the label's examples is found (up), and which "
        "share of all others is mistaken for them (right). The closer a curve is to the upper left corner, the better. "
        "The dotted line is a random guess.",
    ),
    "precision_recall": (
        "Precision and recall",
        "Each point of a curve is one threshold. It shows which share of the label's examples is found (right), and "
        "which share of the texts with this answer has the label (up). The dotted line is a random guess: the share of "
        "the label.",
    ),
    "calibration": (
        "Calibration",
        "Of the answers with 80% confidence, 80% should be right. If points are below the dotted line, the model is "
        "overconfident. If they are above it, the model is underconfident. The lower plot shows the number of answers "
        "of each point.",
    ),
    "confusion": (
        "Confusion matrix",
        "A row contains the examples with one true label, and its cells show the shares of the predicted labels. "
        "Correct answers are on the diagonal. A dark cell elsewhere is a pair of labels that the model confuses.",
    ),
}

#: The columns of the history, in the order of the page, and the formats of their values.
_EPOCH_COLUMNS = {
    "loss": ("Loss", "{:.4f}"),
    "accuracy": ("Accuracy", "{:.2%}"),
    "validation_loss": ("Validation loss", "{:.4f}"),
    "validation_accuracy": ("Validation accuracy", "{:.2%}"),
    "seconds": ("Seconds", "{:,.1f}"),
}

#: The words of a text with their shares of the logit of a unit of the last layer.
Explain = Callable[[str, int], Sequence[Word]]


def report_html(
    task: Task,
    trained: Trained,
    results: Results,
    *,
    explain: Explain,
    plots: Mapping[str, bytes],
    libraries: Mapping[str, str],
    seconds: float,
) -> str:
    """Return the report of one training, an HTML document that needs no other file and runs no script.

    `explain` returns the strongest words of the worst errors, `plots` are PNG files by name, `libraries` are versions
    by name, and `seconds` is the duration of the training.
    """
    asked = None if trained.start is None or trained.rejected is not None else trained.start.tokenizer
    body = _TEMPLATE.render(
        work=task.work,
        trained=trained,
        configuration=trained.configuration,
        decision=trained.decision,
        evaluation=results.network if isinstance(results.network, Evaluation) else None,
        several=results.network if isinstance(results.network, MultilabelEvaluation) else None,
        baseline=results.baseline,
        verdict=results.verdict,
        compared=list(results.compared_lines()),
        segments=results.segments,
        profile=profile(trained.use, trained.tokenizer, asked),
        parameters=trained.model.count_params(),
        explain=explain,
        figures=[_figure(name, png) for name, png in plots.items()],
        libraries=libraries,
        duration=_duration(seconds),
    )
    return page(f"{trained.configuration.name}: training report", body)


def _headline(evaluation: Evaluation, profile: Profile) -> list[tuple[str, str, str]]:
    """Return the large numbers: name, value and meaning."""
    majority, share = profile.majority
    area = evaluation.roc_auc
    over_labels = "" if len(evaluation.label_names) == 2 else "mean over the labels; "
    return [
        (
            "Accuracy",
            f"{evaluation.accuracy:.2%}",
            f"share of right answers (95 % interval {_interval(evaluation)}); always answering {majority} is right in "
            f"{share:.2%}",
        ),
        (
            "ROC AUC",
            _score(area),
            "undefined: the test texts lack a label" if area is None else f"{over_labels}0.5 is a guess, 1 is perfect",
        ),
        ("Log loss", f"{evaluation.log_loss:.4f}", "of the true label; 0 is perfect"),
        (
            "Calibration error",
            f"{evaluation.expected_calibration_error:.4f}",
            "mean distance of confidence from accuracy",
        ),
    ]


def _interval(evaluation: Evaluation) -> str:
    """Return the 95% interval of the accuracy."""
    low, high = Share(int(evaluation.right.sum()), len(evaluation.labels)).interval
    return f"{low:.2%} to {high:.2%}"


def _headline_of_several(evaluation: MultilabelEvaluation) -> list[tuple[str, str, str]]:
    """Return the large numbers of labels of which a text can have several: name, value and meaning."""
    return [
        ("Micro F1", _score(evaluation.micro_f1), "of all pairs of a text and a label; 1 is perfect"),
        ("Macro F1", _score(evaluation.macro_f1), "mean of F1 over the labels; 1 is perfect"),
        ("Average precision", _score(evaluation.average_precision), "mean over the labels and all thresholds"),
        ("Exact labels", f"{evaluation.accuracy:.2%}", "share of the texts that get all of their labels and no other"),
    ]


def _several_labels(evaluation: MultilabelEvaluation) -> list[list[str]]:
    """Return the row of each label, of which a text can have several."""
    rows = []
    for scores, limit, each in zip(evaluation.per_label(), evaluation.limits, evaluation.each, strict=True):
        area = next((curve.area for curve in each.precision_recall_curves), None)
        numbers = (scores.precision, scores.recall, scores.f1, area, each.roc_auc)
        rows.append([scores.label, f"{limit:.4g}", *map(_score, numbers), f"{scores.support:,}"])
    return rows


def _against(network: Evaluation, baseline: Baseline) -> list[tuple[str, str, str, str]]:
    """Return the rows of the network and its baseline: name, accuracy, its interval and log loss."""
    rows = (("This network", network), baseline)
    return [(name, f"{each.accuracy:.2%}", _interval(each), f"{each.log_loss:.4f}") for name, each in rows]


def _confusion(evaluation: Evaluation) -> list[tuple[str, str, str, str]]:
    """Return the most frequent mistakes: the true label, the answer, the number of texts, and their share."""
    counts, names = evaluation.confusion, evaluation.label_names
    pairs = [(truth, answer) for truth, answer in np.argwhere(counts).tolist() if truth != answer]
    pairs.sort(key=lambda pair: -counts[pair])
    return [
        (
            names[truth],
            names[answer],
            f"{counts[truth, answer]:,}",
            f"{counts[truth, answer] / counts[truth].sum():.2%}",
        )
        for truth, answer in pairs[:_CONFUSED]
    ]


def _layers(model: Any) -> Iterator[tuple[Cell, str, str]]:
    """Yield the kind and name, the shape of the weights and the shape of the output of each layer of a Keras model."""
    for layer in model.layers:
        weights = "" if not layer.weights else _shape(layer.weights[0].shape)
        yield (type(layer).__name__, layer.name), weights, _shape(layer.output.shape[1:])


def _shape(sizes: Sequence[int]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(f"{size:,}" for size in sizes)


def _epochs(epochs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the history as a table with a header, without columns that no epoch has."""
    present = {name: column for name, column in _EPOCH_COLUMNS.items() if any(name in epoch for epoch in epochs)}
    rows = [
        [str(epoch["epoch"])]
        + [form.format(epoch[name]) if name in epoch else _MISSING for name, (_, form) in present.items()]
        for epoch in epochs
    ]
    return [["Epoch", *(title for title, _ in present.values())], *rows]


def _labels(evaluation: Evaluation) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for each, mistake in zip(evaluation.per_label(), evaluation.most_frequent_mistakes(), strict=True):
        note = "" if mistake is None else f"most often mistaken for {mistake[0]} ({mistake[1]:,})"
        scores = map(_score, (each.precision, each.recall, each.f1))
        rows.append([(each.label, note) if note else each.label, *scores, f"{each.support:,}"])
    return rows


def _thresholds(evaluation: Evaluation) -> list[tuple[str, list[list[str]]]]:
    """Return the rows of thresholds of each label."""
    chosen = (None, evaluation.threshold) if evaluation.outputs.shape[1] == 1 else (None,) * len(evaluation.label_names)
    return [
        (name, _at_thresholds(scores, own))
        for name, scores, own in zip(evaluation.label_names, evaluation.thresholds(), chosen, strict=True)
    ]


def _thresholds_of_several(evaluation: MultilabelEvaluation) -> list[tuple[str, list[list[str]]]]:
    """Return the rows of thresholds of each label, of which a text can have several."""
    return [
        (name, _at_thresholds(each.thresholds()[1], each.threshold))
        for name, each in zip(evaluation.label_names, evaluation.each, strict=True)
    ]


def _at_thresholds(table: Sequence[ThresholdScores], chosen: float | None) -> list[list[str]]:
    return [
        [
            f"{scores.threshold:.4g}{' (chosen)' if scores.threshold == chosen else ''}",
            *map(_score, (scores.precision, scores.recall, scores.f1)),
            f"{scores.accuracy:.2%}",
        ]
        for scores in table
    ]


def _calibration(evaluation: Evaluation, decision: DecisionRule) -> list[list[str]]:
    """Return the measures of the test texts before and after the temperature."""
    before = replace(evaluation, outputs=at_temperature(evaluation.outputs, 1 / decision.temperature))
    rows = (("before", before), ("after", evaluation))
    return [
        [name, f"{each.expected_calibration_error:.4f}", f"{each.log_loss:.4f}", f"{each.brier:.4f}"]
        for name, each in rows
    ]


def _confidence(evaluation: Evaluation, decision: DecisionRule) -> list[list[str]]:
    """Return the shares of confident predictions and of right ones on the test texts."""
    return [
        [
            title.capitalize(),
            f"{share.value:.2%}",
            shown(share.interval),
            f"{share.part:,} of {share.whole:,}",
        ]
        for title, share in confidence_rows(evaluation, decision)
    ]


def _limits(evaluation: Evaluation, decision: DecisionRule) -> list[list[str]]:
    """Return the limit of each label."""
    words = {None: "not measured", math.inf: "never"}
    limits = zip(evaluation.label_names, decision.limits(evaluation.label_names), strict=True)
    return [[label, words.get(limit) or f"{limit:.4f}"] for label, limit in limits]


def _errors(evaluation: Evaluation, texts: Sequence[str], explain: Explain) -> list[list[Cell]]:
    """Return the worst errors: the text with its true label and the answer, its words, and the true probability."""
    rows: list[list[Cell]] = []
    for index in evaluation.worst_errors(_ERRORS):
        truth, answer = evaluation.labels[index], evaluation.predicted[index]
        names = [evaluation.label_names[label] for label in (truth, answer)]
        # A sigmoid has one logit, that of the second label.
        unit, label = (0, 1) if evaluation.outputs.shape[1] == 1 else (answer, answer)
        rows.append(
            [
                (_shortened(texts[index]), f"is {names[0]}, answered {names[1]}"),
                (_strongest(explain(texts[index], int(unit))), f"of {evaluation.label_names[label]}"),
                f"{evaluation.probabilities[index, truth]:.4f}",
            ]
        )
    return rows


def _strongest(words: Sequence[Word]) -> str:
    """Return the words with the largest shares, in the order of the text."""
    largest = sorted(range(len(words)), key=lambda place: -abs(words[place].share))[:_ERROR_WORDS]
    # A no-break space keeps a number on the line of its word.
    return ", ".join(f"{words[place].text}\N{NO-BREAK SPACE}{_signed(words[place].share)}" for place in sorted(largest))


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    if len(words) <= _ERROR_CHARACTERS:
        return words
    # The model reads the end of a long text.
    return f"\N{HORIZONTAL ELLIPSIS}{words[-_ERROR_CHARACTERS:]}"


def _label_counts(use: Use) -> list[list[str]]:
    return [[label, *(f"{count:,}" for count in counts)] for label, *counts in use.counts()]


def _lengths(profile: Profile) -> list[str]:
    return [f"{length:,}" for length in profile.lengths]


def _score(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.4f}"


def _figure(name: str, png: bytes) -> dict[str, str | int]:
    title, caption = _CAPTIONS[name]
    # A PNG file states its size in pixels right after its signature and the head of its first chunk.
    width, height = (round(pixels * _CSS_PIXELS_PER_DOT) for pixels in struct.unpack(">II", png[16:24]))
    content = base64.b64encode(png).decode()
    return {"title": title, "caption": caption, "width": width, "height": height, "content": content}


def _settings(configuration: BaseConfiguration) -> list[tuple[Cell, str]]:
    """Return the name with its description, and the value of every field."""
    fields = type(configuration).model_fields
    return [((name, field.description or ""), _setting(configuration, name)) for name, field in fields.items()]


def _setting(configuration: BaseConfiguration, name: str) -> str:
    if name == "convolutions":
        means = {"max": "", "mean": ", averaged"}
        return "; ".join(
            f"{bank.filters:,} of width {bank.width}{means[bank.pooling]}" for bank in configuration.convolutions
        )
    value = getattr(configuration, name)
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


_ENVIRONMENT = Environment(
    loader=PackageLoader("sentiment_conv1d.model.training", ""), autoescape=True, undefined=StrictUndefined
)
_ENVIRONMENT.globals |= {
    "table": lambda *arguments: Markup(table(*arguments)),  # noqa: S704 - it escapes the cells
    "counted": counted,
    "headline": _headline,
    "headline_of_several": _headline_of_several,
    "several_labels": _several_labels,
    "thresholds_of_several": _thresholds_of_several,
    "against": _against,
    "confusion": _confusion,
    "label_counts": _label_counts,
    "lengths": _lengths,
    "layers": _layers,
    "epochs": _epochs,
    "labels": _labels,
    "thresholds": _thresholds,
    "calibration": _calibration,
    "confidence": _confidence,
    "limits": _limits,
    "errors": _errors,
    "settings": _settings,
}
_TEMPLATE = _ENVIRONMENT.get_template("report.html.jinja")
