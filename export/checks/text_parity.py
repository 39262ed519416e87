"""Parity on texts: the tokenizer and the graph together return what the original model returns.

Parity on ids cannot detect a tokenizer that returns other ids than the preprocessing that the model was trained with,
or padding that the model never saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.manifest import EXPECTED_ANSWERS, ORIGINAL_MODEL, ParityCheck
from sentiment_conv1d.artifact.tokenizer import Tokenizer, VocabularyTokenizer
from sentiment_conv1d.export.checks.assumptions import other_tokenizers
from sentiment_conv1d.export.checks.odd_texts import spelled_texts, vocabulary_texts
from sentiment_conv1d.export.checks.parity import ParityError, tolerance
from sentiment_conv1d.export.checks.served import Served
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.expected import Expected
from sentiment_conv1d.export.sources.original import Original
from sentiment_conv1d.model.evaluation.batches import Ids, Outputs

#: The largest accepted difference from expected answers, which their owner may have rounded to four digits, and from
#: those of a model in half precision, which rounds every value that it computes.
EXPECTED_TOLERANCE, HALF_TOLERANCE = 1e-4, 5e-3

#: The most characters of a text in a message.
_SHOWN = 40

_PREPROCESSING = "state the preprocessing that the model was trained with; export --help lists the flags"
_ROUNDED = f"{_PREPROCESSING}; leave out texts whose label changes only because half precision rounds their answer"

_CONTRADICTION = "leave out flags that contradict the model's own layer, or report a bug in the export with the model"


def compare_with_original(
    original: Original, served: Served, tokenizer: VocabularyTokenizer, texts: Sequence[str]
) -> tuple[ParityCheck, list[str]]:
    """Compare answers to texts with those of the original model. Returns the check, and notes for the user.

    Texts that the original model cannot answer are left out. So are texts that it does not truncate, but the tokenizer
    does. The ids of all texts and of all words are compared too, because an answer can be the same for other ids.
    Raises `ParityError` if ids or an answer differ, or the original model answers no text.
    """
    words = vocabulary_texts(original.words, tokenizer.max_tokens)
    _check_ids(original, tokenizer, [*texts, *words, *spelled_texts(tokenizer)])
    compared: list[tuple[str, Outputs]] = []
    longer: list[tuple[str, Outputs]] = []
    failed = 0
    for text, answer in zip(texts, original.predict(texts), strict=True):
        if answer is None or not np.isfinite(answer).all():
            failed += not np.isnan(served.read([text], tokenizer)).any()
        elif original.limit is None and tokenizer.encode(text).tokens > tokenizer.max_tokens:
            longer.append((text, answer))
        else:
            compared.append((text, answer))
    notes = [f"the original model fails on {failed} of {len(texts)} texts; the service does not"] if failed else []
    if longer:
        notes.append(_truncation(served, tokenizer, longer))
    if not compared:
        raise ExportError("the original model answers none of the texts that it is compared on", "check the model")
    truth = np.stack([answer for _, answer in compared])
    accepted = tolerance(tokenizer.max_tokens)
    answered = [text for text, _ in compared]
    return _check(ORIGINAL_MODEL, answered, truth, served, tokenizer, accepted, _hint(original)), notes


def compare_with_expected(
    expected: Expected, served: Served, tokenizer: Tokenizer, *, is_half: bool = False
) -> tuple[ParityCheck, list[str]]:
    """Compare answers to texts with those that the owner of the model states. Returns the check, and notes.

    The answers of a model in half precision (`is_half`) may differ by more, but no label may change. Raises
    `ParityError` if an answer differs.
    """
    accepted = HALF_TOLERANCE if is_half else EXPECTED_TOLERANCE
    check = _check(
        EXPECTED_ANSWERS,
        expected.texts,
        expected.answers,
        served,
        tokenizer,
        accepted,
        _ROUNDED if is_half else _PREPROCESSING,
        keeps_labels=is_half,
    )
    return check, list(_unproven(expected, tokenizer, accepted))


def _check_ids(original: Original, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Raise `ParityError` unless the tokenizer reads the same ids as the original model."""
    wrong: list[tuple[str, Ids, Ids]] = []
    for text, truth, encoding in zip(texts, original.ids(texts), tokenizer.encode_batch(texts), strict=True):
        right, found = tokenizer.truncate(truth), encoding.ids[: encoding.tokens]
        if not np.array_equal(right, found):
            wrong.append((text, right, found))
    if wrong:
        text, right, found = min(wrong, key=lambda each: len(each[0]))
        raise ParityError(
            f"{len(wrong)} of {len(texts)} texts get other ids than from {original.reader}: {_shown(text)} "
            f"gets {_listed(found)} instead of {_listed(right)}",
            _CONTRADICTION,
        )


def _unproven(expected: Expected, tokenizer: Tokenizer, accepted: float) -> Iterator[str]:
    """Yield notes on what the expected answers do not compare."""
    ids = _padded(tokenizer, expected.texts)
    others = other_tokenizers(tokenizer)
    same = [assumption for assumption, _, other in others if np.array_equal(_padded(other, expected.texts), ids)]
    if same:
        yield f"no expected answer is for a text that gets other ids if {', or if '.join(same)}"
    counts = tokenizer.count_words if isinstance(tokenizer, VocabularyTokenizer) else None
    if counts is not None and not any(counts(text)[0] for text in expected.texts):
        yield "no expected answer is for a text with an unknown word"
    if np.ptp(expected.answers, axis=0).max() <= accepted:
        yield "all expected answers are the same, so comparing them proves little"


def _padded(tokenizer: Tokenizer, texts: Sequence[str]) -> Ids:
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    return InputShape.of(tokenizer).pad(rows, tokenizer.max_tokens)


def _truncation(served: Served, tokenizer: Tokenizer, longer: Sequence[tuple[str, Outputs]]) -> str:
    answers = served.read([text for text, _ in longer], tokenizer)
    difference = np.abs(answers - np.stack([answer for _, answer in longer])).max()
    return (
        f"the original model reads texts of any length, and the service the {tokenizer.max_tokens} ids of "
        f"--max-tokens: its answers to {len(longer)} longer texts differ by up to {difference:.2f}, and say truncated"
    )


def _check(
    against: str,
    texts: Sequence[str],
    truth: Outputs,
    served: Served,
    tokenizer: Tokenizer,
    tolerance: float,
    hint: str,
    *,
    keeps_labels: bool = False,
) -> ParityCheck:
    answers = served.read(texts, tokenizer)
    if answers.shape != truth.shape:
        raise ParityError(f"texts: {answers.shape} answers instead of {truth.shape}", hint)
    have_none = np.isnan(truth) & np.isnan(answers)
    difference = np.where(have_none, 0, np.abs(truth - answers)).max(axis=1)
    labels = served.changed(truth, answers)
    # Negated, so that NaN fails. Unless it `keeps_labels`, a label may differ at the threshold itself.
    wrong = ~(difference <= tolerance) | (keeps_labels & labels)
    if wrong.any():
        shortest = min(np.flatnonzero(wrong).tolist(), key=lambda number: len(texts[number]))
        raise ParityError(
            f"{wrong.sum()} of {len(texts)} answers to texts differ from those of the {against}, by up to "
            f"{difference.max():.2g}, and {(labels & wrong).sum()} labels change: {_shown(texts[shortest])} gets "
            f"{_numbers(answers[shortest])} instead of {_numbers(truth[shortest])}",
            hint,
        )
    return ParityCheck(
        against=against,
        inputs="texts",
        examples=len(texts),
        largest_difference=float(difference.max()),
        tolerance=tolerance,
        truncated=sum(each.tokens > tokenizer.max_tokens for each in tokenizer.encode_batch(texts)),
    )


def _hint(original: Original) -> str:
    if original.limit is None:
        return (
            f"{original.reader} has no output_sequence_length, so Keras pads a text only to the longest of "
            "its batch, and the answer depends on the padding: set output_sequence_length and save the model again"
        )
    return _CONTRADICTION


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _listed(ids: Ids) -> str:
    return f"[{', '.join(map(str, ids[:5]))}{', …' if len(ids) > 5 else ''}]"


def _numbers(answer: Outputs) -> str:
    return ", ".join(f"{value:.4f}" for value in answer[:3]) + (", …" if len(answer) > 3 else "")
