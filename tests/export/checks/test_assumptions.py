"""Labelled texts show which assumption of an import is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer, Rule, Tokenizer, WordLevelTokenizer, WordTokenizer
from sentiment_conv1d.artifact.tokenizer.library import completed
from sentiment_conv1d.artifact.tokenizer.words import KERAS_RULE
from sentiment_conv1d.export.checks.accuracy import LabelledInputs
from sentiment_conv1d.export.checks.assumptions import Assumptions, measure_assumptions
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.model.evaluation.batches import Ids, Outputs

WORDS = ["Good", "good", "bad", "bad!", "fine", "film", "story", "the"]
LENGTH = 6
RULE = Rule(LENGTH, "none", "", "\t\n", 0, None, 1, keeps_first=True, pads_behind=True)
TOKENIZER = WordLevelTokenizer({word: number for number, word in enumerate(WORDS, start=3)}, RULE)


def truth(texts: list[str], tokenizer: Tokenizer, weights: np.ndarray) -> tuple[Outputs, list[Ids]]:
    """Return the outputs of a model that weighs ids by their place, and the ids."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    return weigh(padded(rows, tokenizer), weights), rows


def padded(rows: list[Ids], tokenizer: Tokenizer) -> Ids:
    """Pad on the side of the tokenizer."""
    matrix = np.zeros((len(rows), LENGTH), np.int32)
    for line, row in zip(matrix, rows, strict=True):
        line[slice(0, len(row)) if tokenizer.pads_behind else slice(LENGTH - len(row), None)] = row
    return matrix


def weigh(tokens: Ids, weights: np.ndarray) -> Outputs:
    """Return probabilities float32 [batch, labels] of a linear model over the ids at each place."""
    logits = np.stack([weights[:, place, tokens[:, place]] for place in range(LENGTH)]).sum(axis=0).T
    return np.asarray(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), np.float32)


def measured(stated: Tokenizer, right: Tokenizer, labels: int = 3, order: list[int] | None = None) -> Assumptions:
    """Measure a model that is always right with one tokenizer, with another one, on random texts."""
    random = np.random.default_rng(1)
    weights = random.normal(size=(labels, LENGTH, 20)) * 5
    texts = [" ".join(random.choice([*WORDS, "unheard"], random.integers(1, 12))) for _ in range(300)]
    outputs, _ = truth(texts, right, weights)
    names = np.array(order or range(labels))
    reviews = LabelledInputs("texts", [each.ids for each in stated.encode_batch(texts)], names[outputs.argmax(axis=1)])
    reviews = replace(reviews, texts=texts)
    names_of_labels = ("praise", "Billing issue", "question", "other")[:labels]
    return measure_assumptions(
        lambda tokens: weigh(tokens, weights), reviews, names_of_labels, stated, ids_are_proven=False
    )


def test_right_assumptions() -> None:
    """Nothing is better than the truth."""
    found = measured(TOKENIZER, TOKENIZER)
    assert found.accuracy == 1
    assert not any(each.better for each in found.alternatives)
    found.check()


def test_sides_of_a_tokenizer_of_the_library() -> None:
    """The other sides of padding and truncation are tried for a tokenizer that the library runs too."""
    ids = {word: number for number, word in enumerate(WORDS, start=3)} | {"[PAD]": 0, "[UNK]": 1}
    document: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "[UNK]"},
    }
    whole = completed(document, max_tokens=LENGTH, padding_id=0, keeps_first=True, pads_behind=True)
    stated = LibraryTokenizer(whole)
    right = stated.with_sides(pads_behind=False, keeps_first=True)
    assert right.encode("good film").ids.tolist() == TOKENIZER.encode("good film").ids.tolist()
    best = max(measured(stated, right).alternatives, key=lambda each: each.accuracy)
    assert (best.accuracy, best.flags) == (1, "--padding-side left --truncation-side right")


def test_exchanged_labels() -> None:
    """Two exchanged labels of four are named, with the order that is right."""
    found = measured(TOKENIZER, TOKENIZER, labels=4, order=[0, 2, 1, 3])
    best = max(found.alternatives, key=lambda each: each.accuracy)
    assert (best.accuracy, best.flags) == (1, "--labels 'praise,question,Billing issue,other'")
    with pytest.raises(ExportError, match=r"1\.000 if the labels 'Billing issue' and 'question' are exchanged"):
        found.check()


@pytest.mark.parametrize(
    ("changes", "assumption"),
    [
        ({"pads_behind": False}, "texts are padded on the left and truncated on the right"),
        ({"keeps_first": False}, "texts are padded on the right and truncated on the left"),
        ({"keeps_first": False, "pads_behind": False}, "texts are padded on the left and truncated on the left"),
        ({"lowercase": "unicode"}, "texts are lower-cased"),
    ],
)
def test_other_rules(changes: dict[str, object], assumption: str) -> None:
    """The rule that the model was trained with has the highest accuracy, which is significantly better."""
    right = WordLevelTokenizer(TOKENIZER.ids, replace(RULE, **changes))  # type: ignore[arg-type]
    found = measured(TOKENIZER, right)
    best = max(found.alternatives, key=lambda each: each.accuracy)
    assert (best.assumption, best.accuracy, best.better) == (assumption, 1, True)


@pytest.mark.parametrize("kept", ["case", "punctuation"])
def test_kept_characters(kept: str) -> None:
    """A tokenizer of the IMDB data that removes too much is compared with one that keeps case or punctuation."""
    stated = WordTokenizer(["good", "bad", "fine", "film", "story", "the"], LENGTH)
    ids = {"good": 3, "bad": 4, "fine": 5, "film": 6, "story": 7, "the": 8}
    rule = Rule(LENGTH, "unicode", "", KERAS_RULE.separators, 0, 1, 2, keeps_first=False, pads_behind=False)
    changes = {"lowercase": "none"} if kept == "case" else {"separators": "\t\n"}
    found = measured(stated, WordLevelTokenizer(ids, replace(rule, **changes)))  # type: ignore[arg-type]
    best = max(found.alternatives, key=lambda each: each.accuracy)
    assert (best.assumption, best.accuracy, best.better) == (f"{kept} is kept", 1, True)


@pytest.mark.parametrize("step", [1, -1])
def test_shifted_ids(step: int) -> None:
    """Word ids that are one too high or too low are named."""
    ids = {word: number + step for word, number in TOKENIZER.ids.items() if number + step >= 3}
    stated = WordLevelTokenizer(ids, RULE)
    right = WordLevelTokenizer({word: TOKENIZER.ids[word] for word in ids}, RULE)
    found = measured(stated, right)
    best = max(found.alternatives, key=lambda each: each.accuracy)
    assert best.assumption == f"all word ids are one {'lower' if step > 0 else 'higher'}"
    assert best.better


def test_proven_ids() -> None:
    """If the ids are proven, only the order of the labels is in question."""
    reviews = LabelledInputs("texts", [np.array([3], np.int32)] * 40, np.array([0, 1] * 20))
    predict = lambda tokens: np.full((len(tokens), 2), 0.5, np.float32)  # noqa: E731
    assert measure_assumptions(predict, reviews, ("no", "yes"), TOKENIZER, ids_are_proven=True).alternatives == ()
