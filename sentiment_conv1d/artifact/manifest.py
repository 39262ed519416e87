"""The manifest of an artifact: what the model is, what was measured, and the digest of every file and of itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from sentiment_conv1d.artifact.configuration import Label, Name
from sentiment_conv1d.artifact.decision import THRESHOLD, DecisionRule
from sentiment_conv1d.artifact.limits import (
    MAX_GRAPH_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_TOKENIZER_BYTES,
    Configured,
    Description,
    Items,
    Key,
    Map,
)
from sentiment_conv1d.artifact.text_statistics import TextStatistics

FORMAT_VERSION: Literal[1] = 1
FILES = GRAPH_FILE, TOKENIZER_FILE, MANIFEST_FILE = "model.onnx", "tokenizer.json", "manifest.json"

#: The graph that reads texts. The service does not need it, and an artifact is valid without the file.
TEXT_GRAPH_FILE = "text.onnx"

#: The most bytes of each file.
MOST_BYTES = {
    GRAPH_FILE: MAX_GRAPH_BYTES,
    TOKENIZER_FILE: MAX_TOKENIZER_BYTES,
    MANIFEST_FILE: MAX_MANIFEST_BYTES,
    TEXT_GRAPH_FILE: MAX_GRAPH_BYTES,
}

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
License = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
_NO_DIGEST = "0" * 64

#: The labels that are compared with each other, in explanations and measures, if `_NEUTRAL` is a label too.
_OPPOSITES = ("positive", "negative")
_NEUTRAL = "neutral"

#: The largest number of characters of `Manifest.notes`.
MAX_NOTES = 50_000
_SELF_DIGEST = re.compile(rb'"manifest_sha256": "([0-9a-f]{64})"')


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(_Record):
    """One file of the artifact."""

    bytes: int = Field(ge=0)
    sha256: Digest


class Golden(_Record):
    """A text and its probabilities, which a loader must get before it serves the model.

    They are those of Keras or, for an 8-bit graph, of the graph itself.
    """

    text: Description
    probabilities: Items[float] = Field(min_length=1, description="One for a single sigmoid, else one per label.")


class LabelMetrics(_Record):
    """The metrics of one label. A score is null if it would divide by zero."""

    label: Key
    precision: float | None = Field(description="Share of correct predictions among those of this label.")
    recall: float | None = Field(description="Share of correct predictions among the examples with this label.")
    f1: float | None = Field(description="Harmonic mean of precision and recall.")
    support: int = Field(ge=0, description="Number of examples with this label.")
    predicted: Map[int] = Field(
        description="Number of these examples by their predicted label: the row of the confusion matrix, without zeros."
    )


class Metrics(_Record):
    """Metrics, and the data that they were measured on."""

    measured_on: Description
    examples: int = Field(ge=1)
    values: Map[float]
    per_label: Items[LabelMetrics] = Field(
        (),
        exclude_if=lambda value: not value,
        description="In the order of the labels; empty if an older version measured them.",
    )

    def renamed(self, names: Mapping[str, str]) -> Metrics:
        """Return the same metrics with other names for the labels."""
        return self.model_copy(
            update={
                "per_label": tuple(
                    each.model_copy(
                        update={
                            "label": names[each.label],
                            "predicted": {names[label]: number for label, number in each.predicted.items()},
                        }
                    )
                    for each in self.per_label
                )
            }
        )


class TrainingData(_Record):
    """What a model was trained on, in words and numbers. It contains no text."""

    source: Description
    labels: Map[int] = Field(description="The number of texts by their label.")
    started_from: Description | None = Field(
        None, description="The run, or the model and version, whose weights the training started with."
    )

    def renamed(self, names: Mapping[str, str]) -> TrainingData:
        """Return the same description with other names for the labels."""
        return self.model_copy(update={"labels": {names[label]: number for label, number in self.labels.items()}})


class Sample(_Record):
    """A text for users to try, with its true label."""

    label: Key
    text: str = Field(max_length=2000)


#: `ParityCheck.against` of comparisons that begin with texts, and `Manifest.text_parity` without such a comparison.
ORIGINAL_MODEL, EXPECTED_ANSWERS = "original model", "expected answers"
NOT_COMPARED = "not compared with the original on texts"
UNVERIFIED = f"unverified, because {NOT_COMPARED}"


#: Why a model that `needs_words` has no answer to a text.
NO_ANSWER = "the model averages over the tokens that it does not mask, and the text has none"


class ParityCheck(_Record):
    """One comparison, made before the artifact was written."""

    against: Description
    inputs: Description
    examples: int = Field(ge=1)
    largest_difference: float = Field(ge=0)
    tolerance: float | None = Field(
        None,
        ge=0,
        exclude_if=lambda value: value is None,
        description="The largest difference that was accepted; null if the export did not record it.",
    )
    truncated: int | None = Field(
        None,
        ge=0,
        exclude_if=lambda value: value is None,
        description="The number of texts with more tokens than the model reads; null if the export did not count them.",
    )


class TextGraph(_Record):
    """`text.onnx`, and the comparison of its answers with those of the artifact."""

    file: File
    proof: ParityCheck


class QuantizationCheck(_Record):
    """The differences between an 8-bit graph and the float32 graph that it was quantized from."""

    inputs: Description
    examples: int = Field(ge=1)
    largest_difference: float = Field(ge=0)
    mean_difference: float = Field(ge=0)
    changed_labels: int = Field(ge=0)
    accuracy: float | None = Field(description="Of the 8-bit graph; null if the labels are unknown.")
    float32_accuracy: float | None


class Manifest(_Record):
    """`manifest.json`. Fields that were added to format version 1 later are omitted if they have their default."""

    format_version: Literal[1] = 1
    name: Name
    version: int = Field(ge=1)
    created: Key = Field(description="UTC, ISO 8601.")
    labels: Items[Label] = Field(min_length=2)
    activation: Literal["sigmoid", "softmax"]
    max_tokens: int = Field(ge=1)
    vocabulary_size: int = Field(ge=1, description="The number of ids. The highest id is one below it.")
    convolution_widths: Items[int] = Field(description="Empty if the graph is not of the Conv1D family.")
    leading_padding: int | None = Field(
        ge=0,
        description="The number of pad ids that is equivalent to padding up to max_tokens; null: pad to max_tokens.",
    )
    configuration: Configured | None = Field(
        description="Of the training, as its recipe recorded it; null for a model trained elsewhere."
    )
    precision: Literal["float32", "uint8", "int8"] = Field(
        "float32",
        exclude_if=lambda value: value == "float32",
        description="The data type of the convolutions. Exports no longer write int8.",
    )
    training_data: TrainingData | None = Field(
        None, exclude_if=lambda value: value is None, description="Null for a model trained elsewhere."
    )
    license: License | None = Field(
        None, exclude_if=lambda value: value is None, description="Of the model, as an identifier of Hugging Face."
    )
    notes: str = Field(
        "",
        max_length=MAX_NOTES,
        exclude_if=lambda value: not value,
        description="What its publisher says about the model, in Markdown: purpose, sources of the texts, limits.",
    )
    metrics: Metrics | None = Field(description="Of the served graph; null if it was not measured.")
    parity: Items[ParityCheck] = Field(description="Comparisons that were made before it was published.")
    rounding: Items[QuantizationCheck] = Field(
        (), exclude_if=lambda value: not value, description="The quantization error of an 8-bit graph."
    )
    decision: DecisionRule = Field(
        DecisionRule(),
        exclude_if=lambda value: value == DecisionRule(),
        description="How the label follows from the probabilities. The graph applies the temperature.",
    )
    samples: Items[Sample] = Field(
        (), exclude_if=lambda value: not value, description="Held-out texts that people may see."
    )
    statistics: TextStatistics | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Of held-out texts and the predictions for them, to detect drift.",
    )
    special_tokens: Items[Description] = Field(
        (),
        exclude_if=lambda value: not value,
        description="Words of a text that the original tokenizer reads as special tokens, and this one as words.",
    )
    text_graph: TextGraph | None = Field(
        None, exclude_if=lambda value: value is None, description="Null if the export did not write text.onnx."
    )
    unverified: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="Whether nothing shows that texts get the ids that the model was trained with.",
    )
    needs_words: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="Whether a text without a word that the model reads has no answer, because the model averages over "
        "the tokens that it does not mask.",
    )
    golden: Golden
    libraries: Map[Key]
    files: Map[File]
    manifest_sha256: Digest = Field(
        _NO_DIGEST, description="SHA-256 of this file with these 64 digits replaced by zeros."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if set(self.files) != {GRAPH_FILE, TOKENIZER_FILE}:
            raise ValueError(f"files must be {GRAPH_FILE} and {TOKENIZER_FILE}, not {sorted(self.files)}")
        if self.multilabel and (self.activation != "sigmoid" or {*self.decision.thresholds} != {*self.labels}):
            raise ValueError("thresholds are for sigmoids: one for each label")
        if self.multilabel and (self.decision.threshold != THRESHOLD or self.decision.confident_from):
            raise ValueError("a model with thresholds has no single threshold and no limits of confidence")
        if self.activation == "sigmoid" and not self.multilabel and len(self.labels) != 2:
            raise ValueError("a sigmoid has two labels")
        if len(self.golden.probabilities) != self.outputs:
            raise ValueError(f"the golden answer must have {self.outputs} probabilities")
        if self.activation == "softmax" and self.decision.threshold != THRESHOLD:
            raise ValueError("a threshold is for a sigmoid")
        if (self.precision != "float32") != bool(self.rounding):
            raise ValueError("an 8-bit graph, and no other, states its quantization error")
        return self

    @property
    def outputs(self) -> int:
        """The number of columns of `probabilities`: one for a single sigmoid, otherwise one per label."""
        return 1 if self.activation == "sigmoid" and not self.multilabel else len(self.labels)

    @property
    def multilabel(self) -> bool:
        """Whether a text can have several labels, or none: each has a sigmoid and a threshold of its own."""
        return bool(self.decision.thresholds)

    @property
    def opposites(self) -> tuple[str, str] | None:
        """The labels of `opposites_of` if a text has one label."""
        return None if self.multilabel else opposites_of(self.labels)

    @property
    def text_parity(self) -> str:
        """What shows that a text gets the ids that the model was trained with, in one phrase."""
        if self.configuration is not None:
            return "trained with its tokenizer"
        compared = [check for check in self.parity if check.against in (ORIGINAL_MODEL, EXPECTED_ANSWERS)]
        made = [f"compared with the {check.against} on {check.examples:,} texts" for check in compared]
        limits = [f"; {limit}" for limit in (self.truncation_limit, self.text_limit) if limit]
        return f"{' and '.join(made) or (UNVERIFIED if self.unverified else NOT_COMPARED)}{''.join(limits)}"

    @property
    def truncation_limit(self) -> str:
        """Why comparisons with texts do not show how long texts are truncated; empty if they do, or there are none."""
        counts = {check.against: check.truncated for check in self.parity}
        if self.configuration is not None or counts.get(EXPECTED_ANSWERS) != 0 or counts.get(ORIGINAL_MODEL):
            return ""
        return f"truncation was not compared: no expected text exceeds {self.max_tokens:,} tokens"

    @property
    def text_limit(self) -> str:
        """Which texts get other ids than from the original tokenizer, in one phrase; empty if none are known."""
        if not self.special_tokens:
            return ""
        shown = ", ".join(self.special_tokens[:3])
        return f"special tokens in a text, such as {shown}, are read as words, so its answer can differ"

    def to_bytes(self) -> bytes:
        """Return the content of the file, including its own digest."""
        unsigned = self.model_copy(update={"manifest_sha256": _NO_DIGEST})
        content = (json.dumps(unsigned.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n").encode()
        return _with_digest(content, hashlib.sha256(content).hexdigest())


def opposites_of(labels: Collection[str]) -> tuple[str, str] | None:
    """Return `positive` and `negative` if these are labels and `neutral` is another one; otherwise None."""
    return _OPPOSITES if {*_OPPOSITES, _NEUTRAL} <= {*labels} else None


def describe(content: bytes) -> File:
    """Describe a file by its content."""
    return File(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def states_own_digest(content: bytes) -> bool:
    """Return whether the content of a manifest has the SHA-256 that it states."""
    digests = _SELF_DIGEST.findall(content)
    unsigned = _with_digest(content, _NO_DIGEST)
    return len(digests) == 1 and hashlib.sha256(unsigned).hexdigest() == digests[0].decode()


def _with_digest(content: bytes, digest: str) -> bytes:
    return _SELF_DIGEST.sub(f'"manifest_sha256": "{digest}"'.encode(), content)
