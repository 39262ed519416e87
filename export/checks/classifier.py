"""Check that a Keras model is a classifier: it takes the tokenizer's ids and returns probabilities of the labels.

A model that gives the same answer to everything is none.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import keras
import numpy as np

from sentiment_conv1d.export.checks.parity import Inputs, every_nth, in_blocks, tolerance
from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.recognition.connections import last_layer, layers
from sentiment_conv1d.export.sources.trained import Trained
from sentiment_conv1d.model.evaluation.batches import Outputs
from sentiment_conv1d.model.evaluation.evaluation import label_probabilities

AnyInputs = TypeVar("AnyInputs", bound=Inputs)

#: How far float32 rounding may move a probability out of [0, 1], or the sum of a row away from 1.
_TOLERANCE = 1e-4

#: Activations whose values are probabilities. Those of others may be in [0, 1] on the generated ids by chance.
_BOUNDED = ("hard_sigmoid", "sigmoid", "softmax", "sparse_sigmoid", "sparsemax")

#: By how much weights are multiplied to see whether the outputs of an unknown layer are bounded.
_SCALE = 100

#: The number of generated texts that the model answers alone too.
_ALONE = 8

#: The lowest probability with which a model is sure of its answer, and the most texts of one word that are tried.
_SURE, _WORDS = 0.9, 4096


def check_classifier(trained: Trained, inputs: Inputs) -> Literal["sigmoid", "softmax"]:
    """Run the model on generated ids, and return the activation that its outputs are those of. Raises `ExportError`.

    Several outputs with a sigmoid each belong to a model that gives a text several labels.
    """
    _check_input(trained)
    _check_calls(trained)
    _check_weights(trained)
    _check_units(trained)
    answers = _outputs(trained, inputs)
    if np.isnan(answers).any() and needs_words(trained):
        inputs = with_words(inputs, trained)
        answers = _outputs(trained, inputs)
    labels = len(trained.labels)
    columns = 1 if labels == 2 and answers.ndim == 2 and answers.shape[1] == 1 else labels
    if answers.ndim != 2 or answers.shape[1] != columns:
        raise ExportError(
            f"the model's outputs have shape {answers.shape}, which does not match {labels} labels",
            "--labels needs one label for each unit of the last layer, or two labels for a single unit",
        )
    activation = _check_probabilities(answers, trained, inputs)
    _check_differences(answers, trained, multilabel=columns > 1 and activation == "sigmoid")
    return activation


def needs_words(trained: Trained) -> bool:
    """Return whether the model returns NaN for a text without words, and numbers for texts that repeat one word.

    It masks all ids of a text without words, and averages over none.
    """
    without_words = trained.input_shape.pad([trained.tokenizer.encode("").ids])
    if not np.isnan(trained.predict(without_words)).any():
        return False
    return not np.isnan(_answers_to_words(trained)).any()


def with_words(inputs: AnyInputs, trained: Trained) -> AnyInputs:
    """Return the inputs without those of texts that have no word."""
    return inputs.where([not trained.tokenizer.is_blank(row) for row in inputs.rows])


def _answers_to_words(trained: Trained) -> Outputs:
    """Return the answers to texts that repeat one word."""
    words = np.array(every_nth(range(trained.tokenizer.vocabulary_size), _WORDS), np.int32)
    rows = np.repeat(words[:, np.newaxis], trained.tokenizer.max_tokens, axis=1)
    return in_blocks(trained.predict, np.array([row for row in rows if not trained.tokenizer.is_blank(row)]))


def _check_input(trained: Trained) -> None:
    # A subclass of `keras.Model` and a `Sequential` model that was never built have no inputs and outputs.
    inputs: list[Any] = getattr(trained.model, "inputs", [])
    outputs: list[Any] = getattr(trained.model, "outputs", [])
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(
            f"Keras knows {len(inputs)} inputs and {len(outputs)} outputs of the model; it must have one of each",
            "build it with keras.Input and one output",
        )
    max_tokens, shape = trained.tokenizer.max_tokens, inputs[0].shape
    if len(shape) != 2 or shape[1] not in (None, max_tokens):
        raise ExportError(
            f"the model must take the tokenizer's ids [batch, {max_tokens}], but its input has shape {shape}",
            "use the tokenizer that the model was trained with",
        )


def _check_calls(trained: Trained) -> None:
    for layer in layers(trained.model):
        if getattr(layer, "stateful", False):
            raise ExportError(
                f"layer {layer.name} is stateful: the answer to a text depends on the texts before it",
                "build the model with stateful=False, and load its weights",
            )
        if any(node.arguments.kwargs.get("training") for node in layer._inbound_nodes):
            raise ExportError(
                f"layer {layer.name} is called with training=True, which only some functions of Keras follow",
                "build the model without training=True, and load its weights",
            )


def _check_weights(trained: Trained) -> None:
    # Generated ids may miss the word whose row is not finite, and ONNX Runtime may return the maximum of the others.
    spoilt = [each.path for each in trained.model.weights if not np.isfinite(np.asarray(each)).all()]
    if spoilt:
        raise ExportError(
            f"the weight {spoilt[0]} contains NaN or infinity",
            "train the model again, with a smaller learning rate, or load weights from before",
        )


def _check_units(trained: Trained) -> None:
    if trained.model.outputs[0].shape[-1] == 1 and last_activation(trained) == "softmax":
        raise ExportError(
            "the model gives every text the same answer: a softmax of one unit is always 1",
            "end it in one unit with a sigmoid, or in a softmax with a unit for each label, and train it again",
        )


def _outputs(trained: Trained, inputs: Inputs) -> Outputs:
    tokens = trained.input_shape.pad(inputs.rows)
    try:
        answers = in_blocks(trained.predict, tokens)
        alone = np.concatenate([trained.predict(tokens[row : row + 1]) for row in range(_ALONE)])
    except Exception as error:
        raise ExportError(
            f"the model does not take all {trained.tokenizer.vocabulary_size} ids of the tokenizer: {quoted(error)}",
            "use the vocabulary that the model was trained with, or --num-words to leave out rare words",
        ) from error
    accepted = tolerance(trained.tokenizer.max_tokens)
    if not np.allclose(alone, answers[:_ALONE], rtol=0, atol=accepted, equal_nan=True):
        raise ExportError(
            "the answer of the model to a text depends on the texts before it or beside it, or on chance",
            "build it so that it reads each text by itself, and load its weights",
        )
    return answers


def _check_probabilities(answers: Outputs, trained: Trained, inputs: Inputs) -> Literal["sigmoid", "softmax"]:
    if np.isnan(answers).any():
        raise ExportError("the model returns NaN", "train it again, with a smaller learning rate")
    layer, activation = last_layer(trained.model), last_activation(trained)
    bounded = activation in _BOUNDED or (activation is None and _is_bounded(_with_large_weights(trained, inputs)))
    if not bounded or not _is_bounded(answers):
        raise ExportError(
            f"layer {layer.name} does not return probabilities: the model returns logits, or is a regression",
            "pass --from-logits if it was trained with from_logits=True; a regression cannot be served, because it "
            "returns a number, and the service answers with labels",
        )
    if answers.shape[1] == 1 or (activation or "").endswith("sigmoid"):
        return "sigmoid"
    return "softmax" if np.allclose(answers.sum(axis=1), 1, atol=_TOLERANCE) else "sigmoid"


def _check_differences(answers: Outputs, trained: Trained, *, multilabel: bool) -> None:
    """Raise `ExportError` if the model gives all texts the same answer, or is sure of the same label for all.

    If a text can have several labels, all texts may have the same one.
    """
    differ = np.ptp(answers, axis=0).max() > tolerance(trained.tokenizer.max_tokens)
    if differ and (multilabel or not _is_always_sure(answers, trained)):
        return
    raise ExportError(
        "the model gives every text the same answer: probably all texts that it was trained on have the same label, or "
        "its loss did not fall",
        "train it again with texts of every label, or with a smaller learning rate",
    )


def _is_always_sure(answers: Outputs, trained: Trained) -> bool:
    """Return whether the model is sure of one label for all generated texts, and for texts that repeat one word."""
    label = int(label_probabilities(answers)[0].argmax())

    def is_sure(outputs: Outputs) -> bool:
        return bool((label_probabilities(outputs)[:, label] >= _SURE).all())

    if not is_sure(answers):
        return False
    return is_sure(_answers_to_words(trained))


def last_activation(trained: Trained) -> str | None:
    """Return the name of the activation of the last layer; None if it has none."""
    layer = last_layer(trained.model)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", None)


def _is_bounded(answers: Outputs) -> bool:
    """Return whether all answers are in [0, 1]; NaN counts as if it were."""
    return not np.any((answers < -_TOLERANCE) | (answers > 1 + _TOLERANCE))


def _with_large_weights(trained: Trained, inputs: Inputs) -> Outputs:
    """Return the answers of the model with larger weights: probabilities stay between 0 and 1, logits do not."""
    weights = trained.model.get_weights()
    trained.model.set_weights([_SCALE * weight for weight in weights])
    try:
        return in_blocks(trained.predict, trained.input_shape.pad(inputs.rows))
    finally:
        trained.model.set_weights(weights)
