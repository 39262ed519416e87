"""The commands `evaluate` and `compare`."""

from __future__ import annotations

import argparse
from functools import reduce
from operator import or_
from pathlib import Path

import numpy as np

from sentiment_conv1d.artifact.errors import SentimentError, writing
from sentiment_conv1d.artifact.manifest import Metrics
from sentiment_conv1d.model import data
from sentiment_conv1d.model.data import Examples, LabelledTexts
from sentiment_conv1d.model.data.flags import locate, print_left_out, reading_of
from sentiment_conv1d.model.evaluation.candidate import Candidate, open_candidate
from sentiment_conv1d.model.evaluation.comparison import Comparison
from sentiment_conv1d.model.evaluation.confidence import confidence_lines, confident_values
from sentiment_conv1d.model.evaluation.multilabel import Measured, MultilabelEvaluation, of_one_label
from sentiment_conv1d.model.evaluation.segments import Segments, by_segment
from sentiment_conv1d.model.evaluation.terminal import label_lines, several_label_lines, value_lines
from sentiment_conv1d.model.run import (
    BAD_ROWS_FILE,
    EVALUATION_CONTENTS,
    EVALUATION_FOLDER,
    METRICS_FILE,
    PLOTS_FOLDER,
    ensure_free,
    staging,
    write_json,
)


def evaluate(options: argparse.Namespace) -> int:
    """Measure a model, print the measures, and write them to a folder."""
    candidate = open_candidate(options.run)
    if options.by and candidate.decision.thresholds:
        raise SentimentError("--by: the segments of texts with several labels are not measured")
    out: Path | None = options.out or (None if candidate.is_artifact else options.run / EVALUATION_FOLDER)
    if out is not None:
        ensure_free(out, True, EVALUATION_CONTENTS)
    loaded = _load(options, candidate, options.by)
    examples, measured_on = data.measurable(loaded, candidate.trained_on)
    evaluation = candidate.evaluate(examples, True)
    faults = loaded.faults if options.on_bad_rows == "report" else ()
    if isinstance(evaluation, MultilabelEvaluation):
        print(f"measured on {measured_on}:", *value_lines(evaluation.values()), sep="\n")
        print(*several_label_lines(evaluation), sep="\n")
        if out is not None:
            _write(out, evaluation, evaluation.metrics(measured_on), None, faults)
            print(f"wrote {out}")
        return 0
    segments = options.by and by_segment(evaluation, options.by, [row.segment for row in examples.rows])
    print(f"measured on {measured_on}:", *value_lines(evaluation.values()), *label_lines(evaluation), sep="\n")
    print(*confidence_lines(evaluation, candidate.decision), sep="\n")
    if segments:
        print(*segments.lines(), sep="\n")
    if out is not None:
        metrics = evaluation.metrics(measured_on, confident_values(evaluation, candidate.decision))
        _write(out, evaluation, metrics, segments, faults)
        if faults:
            print(f"{out / BAD_ROWS_FILE} lists the rows that were left out")
        print(f"wrote {out}")
    return 0


def _write(
    out: Path, evaluation: Measured, metrics: Metrics, segments: Segments | None, faults: tuple[data.Fault, ...]
) -> None:
    from sentiment_conv1d.model.evaluation import plots

    with staging(out, True, EVALUATION_CONTENTS) as folder:
        document = metrics.model_dump()
        if segments is not None:
            document["segments"] = segments.document()
        write_json(folder / METRICS_FILE, document)
        plots.write(folder / PLOTS_FOLDER, evaluation, None)
        if faults:
            data.write_faults(folder / BAD_ROWS_FILE, faults)


def compare(options: argparse.Namespace) -> int:
    """Measure two models on the same texts, and print the differences."""
    first, second = map(open_candidate, options.models)
    if set(first.labels) != set(second.labels):
        raise SentimentError(
            f"the models have different labels: {', '.join(first.labels)} ({first.path}), and "
            f"{', '.join(second.labels)} ({second.path})"
        )
    if first.decision.thresholds or second.decision.thresholds:
        raise SentimentError("models that give a text several labels cannot be compared; evaluate measures each")
    examples, measured_on = _measurable(_load(options, first, options.by), (first, second))
    evaluations = [
        of_one_label(each.evaluate(_numbered(examples, first.labels, each.labels), True)) for each in (first, second)
    ]
    comparison = Comparison((str(first.path), str(second.path)), *evaluations)
    print(f"measured on {measured_on}:", *comparison.lines(), sep="\n")
    if options.by:
        print(*comparison.segment_lines(options.by, [row.segment for row in examples.rows]), sep="\n")
    if options.differences is not None:
        with writing(options.differences):
            comparison.write_differences(options.differences, examples)
        print(f"wrote {options.differences}")
    return 0


def _load(options: argparse.Namespace, candidate: Candidate, segment: str | None) -> LabelledTexts:
    reading = reading_of(options, segment)
    if reading.columns.several and not candidate.decision.thresholds:
        raise SentimentError(f"--several-labels, --label-columns: {candidate.path} gives a text one label")
    columns = reading.columns._replace(several=bool(candidate.decision.thresholds))
    loaded = data.load_examples(locate(options.data), candidate.labels, reading=reading._replace(columns=columns))
    print_left_out(loaded.faults)
    return loaded


def _measurable(loaded: LabelledTexts, candidates: tuple[Candidate, Candidate]) -> tuple[Examples, str]:
    """Return the examples that no model was trained on, as far as the models say so, and a description of them."""
    known = [each.trained_on for each in candidates if each.trained_on is not None]
    unknown = [str(each.path) for each in candidates if each.trained_on is None]
    if not known:
        return data.measurable(loaded, None)
    examples, measured_on = data.measurable(loaded, reduce(or_, known))
    return examples, f"{measured_on}; they may include training texts of {unknown[0]}" if unknown else measured_on


def _numbered(examples: Examples, old: tuple[str, ...], new: tuple[str, ...]) -> Examples:
    """Return the examples with labels that are indices into `new`, which has the labels of `old` in any order."""
    numbers = np.array([new.index(label) for label in old])
    return Examples(examples.texts, numbers[examples.labels], examples.rows)
