"""Export a trained model: write the graphs, compare them, and publish the artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow

from sentiment_conv1d.artifact.artifact import Artifact, draft, publish
from sentiment_conv1d.artifact.decision import MIN_PRECISION, THRESHOLD, DecisionRule
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.layers import Family
from sentiment_conv1d.artifact.manifest import (
    EXPECTED_ANSWERS,
    NO_ANSWER,
    Golden,
    ParityCheck,
    Sample,
    TextGraph,
    describe,
)
from sentiment_conv1d.artifact.text_statistics import TextStatistics
from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer, Tokenizer, VocabularyTokenizer
from sentiment_conv1d.export.checks.accuracy import LabelledInputs, check_accuracy, measure
from sentiment_conv1d.export.checks.assumptions import Assumptions, measure_assumptions
from sentiment_conv1d.export.checks.classifier import check_classifier, needs_words, with_words
from sentiment_conv1d.export.checks.odd_texts import generated_texts
from sentiment_conv1d.export.checks.parity import (
    MAX_TEXTS,
    Inputs,
    compare,
    compare_forms,
    every_nth,
    generated,
    in_blocks,
    session,
)
from sentiment_conv1d.export.checks.quantization_error import measure_accuracy, measure_difference
from sentiment_conv1d.export.checks.served import Served
from sentiment_conv1d.export.checks.text_graph import odd_texts, prove
from sentiment_conv1d.export.checks.text_parity import compare_with_expected, compare_with_original
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from sentiment_conv1d.export.graphs.quantized import quantized_graph
from sentiment_conv1d.export.graphs.reference import reference_graph
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.export.sources.expected import Expected
from sentiment_conv1d.export.sources.trained import Trained
from sentiment_conv1d.model.evaluation.batches import Predict
from sentiment_conv1d.model.evaluation.confidence import confident_values, with_limits
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.evaluation.multilabel import Measured, best_thresholds

#: The text whose probabilities the manifest states. A loader runs it and serves nothing unless it gets the same ones.
GOLDEN_TEXT = (
    "A quiet, beautifully acted film. The first hour takes its time, but the ending is one of the best I've seen, "
    "and I'd gladly watch it again!"
)

#: The number of words of the text that takes its place if the tokenizer drops all of its words.
_GOLDEN_WORDS = 20


@dataclass(frozen=True)
class Exported:
    """A published artifact; `unfolded` says why its graph is not folded, and is empty if it is."""

    artifact: Artifact
    unfolded: str
    notes: tuple[str, ...] = ()  # on what the comparisons do not prove
    assumptions: Assumptions | None = None


@dataclass(frozen=True)
class _Checked:
    """A graph that passed its checks, and what the manifest says about it."""

    graph: bytes
    served: Served
    parity: tuple[ParityCheck, ...]
    golden: Golden
    evaluation: Measured | None  # None without labelled inputs
    statistics: TextStatistics | None
    fields: dict[str, Any]  # of the manifest, for one form of graph only


def export(
    trained: Trained,
    name: str,
    repository: Path,
    inputs: Sequence[Inputs] = (),
    *,
    quantize: bool = False,
    labelled: LabelledInputs | None = None,
    expected: Expected | None = None,
    allow_poor_accuracy: bool = False,
    samples: tuple[Sample, ...] = (),
    notes: str = "",
    licence: str | None = None,
    text_input: bool = False,
    must_be_verified: bool = False,
    choose_thresholds: bool = False,
) -> Exported:
    """Write the graphs, check that they return what Keras returns, and publish the next version of the artifact.

    With `quantize`, the 8-bit form of the graph is published if it is close enough to the float32 form: see
    `export.checks.quantization_error`. If the original model reads texts, or the answers to some texts are `expected`,
    the tokenizer and the float32 form must return the same answers: see `export.checks.text_parity`. The accuracy of
    the published graph, and statistics for detecting drift, are measured on `labelled`, and so are the limits of
    confidence if the training held out no texts. `samples` are texts that anyone may see, `licence` is that of the
    model, and `notes` are Markdown about it. With `text_input`, the artifact contains `text.onnx` too. With
    `choose_thresholds`, those of a model that gives a text several labels are chosen on `labelled`.

    A model is verified if something shows that texts get the ids that it was trained with: this project trained it, the
    original reads texts, or there are `expected` answers or `labelled` inputs. The manifest says if it is not.

    Raises `ExportError` if the model is not a classifier over the tokenizer's ids, is not verified although it
    `must_be_verified`, has no 8-bit form, or is no better on `labelled` than the most frequent label or than under
    another assumption, unless `allow_poor_accuracy`;
    `ParityError` if an answer differs; `QuantizationError` if the 8-bit graph is not close enough; `TextGraphError` if
    `text.onnx` cannot express the tokenizer; and `ArtifactError` if the repository cannot be written to. After an
    error, nothing is left behind.
    """
    inputs = [*inputs, generated(trained.input_shape)]
    activation = check_classifier(trained, inputs[-1])
    trained = replace(trained, decision=_rule(trained, activation))
    _check_labels(trained, labelled)
    if masks_all := needs_words(trained):
        inputs = [with_words(each, trained) for each in inputs]
        labelled = None if labelled is None else with_words(labelled, trained)
    if choose_thresholds:
        trained = replace(trained, decision=_best_rule(trained, labelled))
    family, unfolded = recognize(trained.model, trained.tokenizer.max_tokens, trained.tokenizer.padding_id)
    if quantize and family is None:
        raise ExportError(
            f"only a model of the Conv1D family has an 8-bit form: {unfolded}", "export it without --quantize"
        )
    is_own = trained.configuration is not None or trained.original is not None
    is_verified = is_own or labelled is not None or expected is not None
    if must_be_verified and not is_verified:
        raise ExportError(
            "nothing shows that texts get the ids that the model was trained with: for example, no file states on "
            "which side short texts were padded",
            "pass --expected, answers of the model to some texts; --data, labelled texts; or the TextVectorization "
            "layer as --vocabulary; or publish it with --unverified",
        )
    checked = _float32(trained, family, inputs, None if quantize else labelled)
    on_texts, remarks = _compare_texts(trained, checked, [] if labelled is None else labelled.texts, expected)
    if masks_all:
        remarks.append(f"a text without words has no answer: {NO_ANSWER} (docs/own-models.md)")
    if quantize:
        assert family is not None
        texts = () if expected is None else expected.texts
        checked = _quantized(trained, family, checked, inputs, labelled, texts)
    assumptions = None
    if labelled is not None:
        assumptions = _check_on_labelled(trained, checked, labelled, on_texts, allow_poor_accuracy)
    metrics, decision = None if quantize else trained.metrics, trained.decision
    if labelled is not None:
        assert checked.evaluation is not None
        if isinstance(checked.evaluation, Evaluation):
            metrics = checked.evaluation.metrics(labelled.source, confident_values(checked.evaluation, decision))
            decision = _with_limits(trained, checked.evaluation, labelled.source)
        else:
            metrics = checked.evaluation.metrics(labelled.source)
    manifest = {
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": trained.labels,
        "activation": activation,
        "max_tokens": checked.served.shape.max_tokens,
        "vocabulary_size": checked.served.shape.vocabulary_size,
        "convolution_widths": () if family is None else tuple(dict.fromkeys(bank.width for bank in family.banks)),
        "leading_padding": checked.served.shape.leading_padding,
        "configuration": trained.configuration and trained.configuration.model_dump(mode="json"),
        "training_data": trained.data,
        "license": licence,
        "decision": decision,
        "samples": samples,
        "unverified": not is_verified,
        "needs_words": masks_all,
        "notes": notes,
        "statistics": checked.statistics,
        "libraries": _libraries(trained.tokenizer),
        "special_tokens": trained.special_tokens,
        "metrics": metrics,
        "parity": (*checked.parity, *on_texts),
        "golden": checked.golden,
        **checked.fields,
    }
    text_file = None
    if text_input:
        text_file, manifest["text_graph"] = _text_graph(
            draft(manifest, checked.graph, trained.tokenizer), [] if labelled is None else labelled.texts
        )
    artifact = publish(repository, manifest, checked.graph, trained.tokenizer, text_file)
    return Exported(artifact, unfolded, tuple(remarks), assumptions)


def _rule(trained: Trained, activation: str) -> DecisionRule:
    """Return the decision rule that fits the outputs of the model. Raises `ExportError` if a flag does not fit them."""
    rule, outputs = trained.decision, trained.model.outputs[0].shape[-1]
    if activation == "sigmoid" and outputs > 1:
        if rule.threshold != THRESHOLD:
            raise ExportError("--threshold: the model has a sigmoid for each label", "state --thresholds, one for each")
        return rule if rule.thresholds else DecisionRule(thresholds=dict.fromkeys(trained.labels, THRESHOLD))
    if rule.thresholds:
        end = "a single sigmoid" if outputs == 1 else "a softmax"
        raise ExportError(
            f"--thresholds: the model ends in {end}, so a text has one label",
            "state --threshold" if outputs == 1 else "leave the flag out",
        )
    if activation == "softmax" and rule.threshold != THRESHOLD:
        raise ExportError(
            "--threshold: the model ends in a softmax, which decides for the most probable label", "leave the flag out"
        )
    return rule


def _check_labels(trained: Trained, labelled: LabelledInputs | None) -> None:
    """Raise `ExportError` unless labelled inputs have as many labels as the model gives: one, or several."""
    several = bool(trained.decision.thresholds)
    if labelled is None or (labelled.labels.ndim == 2) == several:
        return
    if several:
        raise ExportError(
            "--data: the model gives a text several labels",
            "say how the data has them: --several-labels or --label-columns",
        )
    raise ExportError("--data: the model gives a text one label", "leave --several-labels and --label-columns out")


def _best_rule(trained: Trained, labelled: LabelledInputs | None) -> DecisionRule:
    """Return the rule with the best threshold of each label on labelled inputs. Raises `ExportError` without them."""
    if labelled is None or not trained.decision.thresholds:
        raise ExportError(
            "--thresholds: f1 needs --data, and a model that gives a text several labels", "state numbers"
        )
    outputs = in_blocks(trained.predict, trained.input_shape.pad(labelled.rows))
    thresholds = best_thresholds(trained.labels, labelled.labels, outputs)
    return DecisionRule(thresholds=thresholds, chosen_on=labelled.source)


def _float32(
    trained: Trained, family: Family | None, inputs: Sequence[Inputs], labelled: LabelledInputs | None
) -> _Checked:
    """The folded graph, or the one that Keras writes if the model cannot be folded."""
    reference = reference_graph(trained.model, trained.input_shape.max_tokens).SerializeToString()
    graph = reference if family is None else folded_graph(family).SerializeToString()
    shape = replace(trained.input_shape, leading_padding=family.leading_padding if family else None)
    rule = trained.decision
    served = Served(session(graph), shape, rule.threshold, rule.each_threshold(trained.labels))
    return _Checked(
        graph,
        served,
        tuple(compare(trained.predict, session(reference), served, inputs)),
        _golden(trained, trained.predict, trained.input_shape),
        None if labelled is None else measure(served, labelled, trained.labels),
        trained.statistics if labelled is None else _statistics(trained, served, labelled),
        {},
    )


def _compare_texts(
    trained: Trained, float32: _Checked, labelled: Sequence[str], expected: Expected | None
) -> tuple[list[ParityCheck], list[str]]:
    """Compare answers to texts with those of the original model, and with those that its owner expects."""
    compared = []
    if trained.original is not None:
        assert isinstance(trained.tokenizer, VocabularyTokenizer)  # that of a layer or a graph
        count = trained.original.texts
        texts = [*generated_texts(trained.tokenizer, count=count), *every_nth(labelled, MAX_TEXTS)]
        compared.append(compare_with_original(trained.original, float32.served, trained.tokenizer, texts))
    if expected is not None:
        compared.append(compare_with_expected(expected, float32.served, trained.tokenizer, is_half=trained.was_half))
    return [check for check, _ in compared], [note for _, notes in compared for note in notes]


def _quantized(
    trained: Trained,
    family: Family,
    float32: _Checked,
    inputs: Sequence[Inputs],
    labelled: LabelledInputs | None,
    expected: Sequence[str],
) -> _Checked:
    """The 8-bit form of a float32 graph. The last of `inputs` are the generated ids, `expected` texts with answers."""
    graph = quantized_graph(family, trained.kept).SerializeToString()
    quantized = replace(float32.served, predict=session(graph))
    forms = compare_forms(quantized, inputs)
    errors = [measure_difference(float32.served, quantized, inputs[-1])]
    if expected:
        rows = [encoding.ids for encoding in trained.tokenizer.encode_batch(expected)]
        errors.append(measure_difference(float32.served, quantized, Inputs(EXPECTED_ANSWERS, rows)))
    evaluation = None
    if labelled is not None:
        error, evaluation = measure_accuracy(float32.served, quantized, labelled, trained.labels)
        errors.append(error)
    return _Checked(
        graph,
        quantized,
        (*float32.parity, *forms),
        _golden(trained, quantized.predict, quantized.shape),
        evaluation,
        None if labelled is None else _statistics(trained, quantized, labelled),
        {"precision": "uint8", "rounding": tuple(errors)},
    )


def _text_graph(artifact: Artifact, labelled: Sequence[str]) -> tuple[bytes, TextGraph]:
    """Write `text.onnx`, and compare it with the artifact on labelled and on odd texts."""
    content = text_graph(artifact)
    proof = prove(artifact, content, [*every_nth(labelled, MAX_TEXTS), *odd_texts(artifact)])
    return content, TextGraph(file=describe(content), proof=proof)


def _statistics(trained: Trained, served: Served, labelled: LabelledInputs) -> TextStatistics | None:
    """The statistics of texts, to detect drift; None if only their ids are known."""
    if not labelled.texts:
        return None
    outputs = served.predict_rows(labelled.rows)
    encodings = [trained.tokenizer.encode(text) for text in labelled.texts]
    return TextStatistics.measured(labelled.source, trained.labels, outputs, trained.decision, encodings)


def _golden(trained: Trained, predict: Predict, shape: InputShape) -> Golden:
    text, tokenizer = GOLDEN_TEXT, trained.tokenizer
    if isinstance(tokenizer, VocabularyTokenizer) and tokenizer.is_blank(tokenizer.encode(text).ids):
        text = " ".join(tokenizer.words[:_GOLDEN_WORDS])  # of a vocabulary in another language
    answers = predict(shape.pad([tokenizer.encode(text).ids]))
    return Golden(text=text, probabilities=tuple(answers[0].tolist()))


def _check_on_labelled(
    trained: Trained,
    checked: _Checked,
    labelled: LabelledInputs,
    on_texts: Sequence[ParityCheck],
    allow_poor_accuracy: bool,
) -> Assumptions | None:
    """Check the measured accuracy, and the assumptions of a model from elsewhere. Raises `ExportError`."""
    assert checked.evaluation is not None
    measured = None
    if trained.configuration is None and not trained.decision.thresholds:
        measured = measure_assumptions(
            checked.served.predict,
            labelled,
            trained.labels,
            trained.tokenizer,
            ids_are_proven=bool(on_texts),
            threshold=trained.decision.threshold,
        )
        if not allow_poor_accuracy:
            measured.check()
    if not allow_poor_accuracy:
        check_accuracy(checked.evaluation, labelled)
    return measured


def _with_limits(trained: Trained, measured: Evaluation, source: str) -> DecisionRule:
    """Return the decision rule with limits of confidence from `source`, unless the training chose it on other texts."""
    if trained.decision.chosen_on is not None:
        return trained.decision
    precision = MIN_PRECISION if trained.configuration is None else trained.configuration.min_precision
    rule = with_limits(trained.decision, measured, precision)
    return rule.model_copy(update={"chosen_on": source}) if rule.confident_from else rule


def _libraries(tokenizer: Tokenizer) -> dict[str, str]:
    reading = {"tokenizers": version("tokenizers")} if isinstance(tokenizer, LibraryTokenizer) else {}
    return reading | {
        "tensorflow": tensorflow.__version__,
        "keras": keras.__version__,
        "tf2onnx": version("tf2onnx"),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
