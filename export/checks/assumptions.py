"""The assumptions of an import, tested on labelled texts: the order of the labels, and how texts become ids.

No file of a model states all of them. If one is wrong, the accuracy is usually higher under another assumption.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sentiment_conv1d.artifact.decision import THRESHOLD, decide_all
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer, Rule, Tokenizer, TokenizerError, WordLevelTokenizer
from sentiment_conv1d.export.checks.accuracy import LabelledInputs
from sentiment_conv1d.export.checks.parity import in_blocks
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.model.evaluation.batches import Ids, Predict

#: A difference in accuracy is significant from this number of standard deviations of the texts that differ (McNemar's
#: test). About ten alternatives are tried, so one of them may exceed two deviations by chance.
_DEVIATIONS = 3

#: No vocabulary reserves more ids before its words.
_RESERVED = 3

_SIDES = {False: "left", True: "right"}


@dataclass(frozen=True)
class Alternative:
    """Another assumption, the flags that state it, and the accuracy under it."""

    assumption: str
    flags: str
    accuracy: float
    better: bool  # significantly


@dataclass(frozen=True)
class Assumptions:
    """The accuracy as stated, and under every other assumption that was tried."""

    accuracy: float
    texts: int
    alternatives: tuple[Alternative, ...]

    def check(self) -> None:
        """Raise `ExportError` if an alternative is significantly better."""
        better = [each for each in self.alternatives if each.better]
        if better:
            best = max(better, key=lambda each: each.accuracy)
            raise ExportError(
                f"on {self.texts:,} texts, the accuracy is {self.accuracy:.3f} as stated, and {best.accuracy:.3f} if "
                f"{best.assumption}",
                f"state {best.flags}, or publish it as it is with --allow-poor-accuracy",
            )


def measure_assumptions(
    predict: Predict,
    inputs: LabelledInputs,
    labels: Sequence[str],
    tokenizer: Tokenizer,
    *,
    ids_are_proven: bool,
    threshold: float = THRESHOLD,
) -> Assumptions:
    """Measure the accuracy of a graph under other assumptions.

    `predict` takes ids int32 [batch, max_tokens]. If `ids_are_proven`, only the order of the labels is in question.
    """
    found = _decided(predict, inputs.rows, InputShape.of(tokenizer), threshold)
    right = found == inputs.labels
    alternatives = [_exchange(found, inputs.labels, labels)]
    if not ids_are_proven:
        for assumption, flags, rows, shape in _other_ids(tokenizer, inputs):
            other = _decided(predict, rows, shape, threshold) == inputs.labels
            alternatives.append(_alternative(assumption, flags, right, other))
    known = tuple(each for each in alternatives if each is not None)
    return Assumptions(float(right.mean()), len(right), known)


def _decided(predict: Predict, rows: list[Ids], shape: InputShape, threshold: float) -> npt.NDArray[np.int64]:
    return decide_all(in_blocks(predict, shape.pad(rows, shape.max_tokens)), threshold)


def _alternative(
    assumption: str, flags: str, right: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]
) -> Alternative:
    gained, lost = int(np.sum(other & ~right)), int(np.sum(right & ~other))
    return Alternative(assumption, flags, float(other.mean()), gained - lost > _DEVIATIONS * np.sqrt(gained + lost))


def _exchange(found: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], labels: Sequence[str]) -> Alternative | None:
    """Return the order of the labels with the highest accuracy, unless it is the stated one."""
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (found, truth), 1)
    meant = linear_sum_assignment(confusion, maximize=True)[1]  # the label that each output means
    exchanged = [label for number, label in enumerate(labels) if meant[number] != number]
    if confusion[np.arange(len(labels)), meant].sum() == confusion.trace():
        return None
    order = ",".join(labels[number] for number in meant)
    assumption = f"the labels {' and '.join(map(repr, exchanged))} are exchanged"
    return _alternative(assumption, f"--labels {order!r}", found == truth, meant[found] == truth)


def _other_ids(tokenizer: Tokenizer, inputs: LabelledInputs) -> Iterator[tuple[str, str, list[Ids], InputShape]]:
    """Yield other ways from the texts to ids: the assumption, its flags, the ids, and how they are padded."""
    shape = InputShape.of(tokenizer)
    for step, direction in ((1, "higher"), (-1, "lower")):
        rows = [_shifted(row, step, shape.vocabulary_size) for row in inputs.rows]
        yield f"all word ids are one {direction}", "another --index-from or --first-id", rows, shape
    for assumption, flags, other in other_tokenizers(tokenizer):
        rows = [encoding.ids for encoding in other.encode_batch(inputs.texts)]
        yield assumption, flags, rows, InputShape.of(other)


def other_tokenizers(tokenizer: Tokenizer) -> Iterator[tuple[str, str, Tokenizer]]:
    """Yield tokenizers with the same words and other rules: the assumption, its flags, and the tokenizer."""
    if isinstance(tokenizer, LibraryTokenizer):
        for pads_behind, keeps_first in _other_sides(tokenizer):
            with suppress(TokenizerError):  # a start id goes with one side only
                yield *_described(pads_behind, keeps_first), tokenizer.with_sides(pads_behind, keeps_first)
    if isinstance(tokenizer, WordLevelTokenizer):
        for assumption, flags, other in _other_rules(tokenizer.rule):
            yield assumption, flags, WordLevelTokenizer(tokenizer.ids, other)


def _other_rules(rule: Rule) -> Iterator[tuple[str, str, Rule]]:
    for pads_behind, keeps_first in _other_sides(rule):
        other = replace(rule, pads_behind=pads_behind, keeps_first=keeps_first)
        yield *_described(pads_behind, keeps_first), other
    if rule.lowercase == "none":
        yield "texts are lower-cased", "--lowercase unicode", replace(rule, lowercase="unicode")
    else:
        yield "case is kept", "--lowercase none", replace(rule, lowercase="none")
    marks = set(string.punctuation) & {*rule.removed, *rule.separators}
    if marks:
        spaces = "".join(each for each in rule.separators if each not in marks)
        kept = replace(rule, removed="", separators=spaces)
        yield "punctuation is kept", "--removed '' --separators ''", kept


def _other_sides(rule: Rule | Tokenizer) -> Iterator[tuple[bool, bool]]:
    """Yield other values of `pads_behind` and `keeps_first`."""
    for sides in ((False, False), (False, True), (True, False), (True, True)):
        if sides != (rule.pads_behind, rule.keeps_first):
            yield sides


def _described(pads_behind: bool, keeps_first: bool) -> tuple[str, str]:
    """Return the assumption about the sides, and its flags."""
    padding, truncation = _SIDES[pads_behind], _SIDES[keeps_first]
    return (
        f"texts are padded on the {padding} and truncated on the {truncation}",
        f"--padding-side {padding} --truncation-side {truncation}",
    )


def _shifted(row: Ids, step: int, size: int) -> Ids:
    return np.where(row >= _RESERVED, np.clip(row + step, _RESERVED, size - 1), row).astype(np.int32)
