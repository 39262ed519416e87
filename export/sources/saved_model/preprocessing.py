"""The preprocessing in the graph of a SavedModel: its operators from a text to the ids of its words.

A `TextVectorization` layer becomes operators that lower-case a text, replace what regular expressions match, split at
white space and look the words up. Anything else is refused by the name of the operator.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow

from sentiment_conv1d.artifact.tokenizer import Rule
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.expressions import with_expression
from sentiment_conv1d.export.sources.saved_model.frozen import Frozen, operators, skip_idle
from sentiment_conv1d.export.sources.vectorization import ASCII_SPACES

#: The output of `StringSplitV2` with the words, and the first input of `RaggedTensorToTensor` with their texts.
_VALUES, _PARTITION = 1, 3

#: Operators between the ids of words and their padding that keep the ids, except those of empty words.
_NEUTRAL = ("Identity", "Cast", "SelectV2")

#: Operators between a text and its split that only change its shape.
_SHAPES = ("ExpandDims", "Squeeze")


@dataclass(frozen=True)
class Preprocessing:
    """What a graph does with a text."""

    ids: Any  # the tensor of the ids int64 [batch, rule.max_tokens]
    words: dict[str, int]
    rule: Rule


class _Unsupported(Exception):
    """The graph contains an operator that the service does not support; the message names it."""


def preprocessing(path: Any, graph: Frozen) -> Preprocessing:
    """Return what a graph does with its texts. Raises `ExportError`, which names an operator that is not supported."""
    try:
        return _preprocessing(graph)
    except _Unsupported as unsupported:
        raise ExportError(
            f"{path}: this SavedModel reads text, and {unsupported}",
            "train the model with a TextVectorization layer that returns the ids of words, with an "
            "output_sequence_length, or export the part that starts with the embedding, with --vocabulary",
        ) from unsupported


def _preprocessing(graph: Frozen) -> Preprocessing:
    found = list(operators(graph.output))
    look_up = _only(found, "LookupTableFindV2", "looks words up")
    split = _split(look_up, graph)
    padded = _padded(found, look_up, graph)
    steps = _steps(split.inputs[0], graph)
    _check_paths(graph, split, padded)
    rule = Rule(
        max_tokens=_length(padded, graph),
        lowercase="none",
        removed="",
        separators="",
        padding_id=_number(padded.inputs[2], graph),
        start_id=None,
        unknown_id=_number(look_up.inputs[2], graph),
        keeps_first=True,
        pads_behind=True,
    )
    rule = _standardization(rule, steps)
    words = {word: number for word, number in _vocabulary(look_up, graph).items() if number != rule.unknown_id}
    words.pop("", None)  # for padding; a text contains no empty word
    return Preprocessing(padded.outputs[0], words, rule)


def _only(found: Sequence[Any], kind: str, does: str) -> Any:
    of_kind = [op for op in found if op.type == kind]
    if len(of_kind) != 1:
        raise _Unsupported(f"{does} with {len(of_kind)} operators {kind} instead of one")
    return of_kind[0]


def _unsupported(op: Any) -> _Unsupported:
    return _Unsupported(f"the service does not support its operator {op.type}")


def _split(look_up: Any, graph: Frozen) -> Any:
    """Return the operator that splits texts at white space into the words that are looked up."""
    words = skip_idle(look_up.inputs[1])
    op = words.op
    if op.type != "StringSplitV2" or words.value_index != _VALUES:
        raise _unsupported(op)
    separator = graph.constant(op.inputs[1])
    if separator is None or separator.tolist() != b"" or op.get_attr("maxsplit") != -1:
        raise _Unsupported("its operator StringSplitV2 does not split at white space")
    return op


def _steps(text: Any, graph: Frozen) -> list[Any]:
    """Return the operators that change the characters of a text, in order."""
    found: list[Any] = []
    while (text := skip_idle(text)).name != graph.input.name:
        if text.op.type in ("StringLower", "StaticRegexReplace"):
            found.insert(0, text.op)
        elif text.op.type not in _SHAPES:
            raise _unsupported(text.op)
        text = text.op.inputs[0]
    return found


def _padded(found: Sequence[Any], look_up: Any, graph: Frozen) -> Any:
    """Return the operator that pads and truncates the ids of the words, the only one that reads them."""
    others = (op for op in found if op.type not in _NEUTRAL)
    reading = [op for op in others if any(_is_of(look_up, each, graph) for each in op.inputs)]
    for op in reading:
        if op.type != "RaggedTensorToTensor":
            raise _unsupported(op)
    return _only(reading, "RaggedTensorToTensor", "pads texts")


def _is_of(look_up: Any, tensor: Any, graph: Frozen) -> bool:
    """Return whether a tensor contains the ids that were looked up. Those of empty words may be replaced."""
    while tensor.op.type in _NEUTRAL:
        op = tensor.op
        if op.type == "SelectV2" and not _is_for_empty_words(skip_idle(op.inputs[0]).op, graph):
            return False
        tensor = op.inputs[-1 if op.type == "SelectV2" else 0]
    return bool(tensor.op.name == look_up.name)


def _is_for_empty_words(op: Any, graph: Frozen) -> bool:
    constants = (graph.constant(each) for each in op.inputs)
    return op.type == "Equal" and any(each is not None and each.tolist() == b"" for each in constants)


def _check_paths(graph: Frozen, split: Any, padded: Any) -> None:
    """Raise `_Unsupported` if anything but the ids depends on the text."""
    partition = (op for tensor in padded.inputs[_PARTITION:] for op in operators(tensor, (split,)))
    for op in (*operators(graph.output, (padded,)), *partition):
        if op.type != "Identity" and any(skip_idle(each).op.type == "Placeholder" for each in op.inputs):
            raise _Unsupported(f"its operator {op.type} reads the text beside the ids")


def _vocabulary(look_up: Any, graph: Frozen) -> dict[str, int]:
    """Return the ids of all words in the table."""
    handle = graph.tables.get(skip_idle(look_up.inputs[0]).name)
    kinds = {"Tkeys": tensorflow.as_dtype(look_up.get_attr("Tin")), "Tvalues": look_up.outputs[0].dtype}
    if handle is None or kinds["Tkeys"] != tensorflow.string:
        raise _unsupported(look_up)
    words, ids = tensorflow.raw_ops.LookupTableExportV2(table_handle=handle, **kinds)
    # A word that is not UTF-8 gets lone surrogates, so the tokenizer leaves it out: no request contains it.
    return {
        word.decode(errors="surrogateescape"): number
        for word, number in zip(words.numpy().tolist(), ids.numpy().tolist(), strict=True)
    }


def _length(padded: Any, graph: Frozen) -> int:
    shape = graph.constant(padded.inputs[0])
    if shape is None or shape.shape != (2,) or shape[1] < 1:
        raise _Unsupported("its layer TextVectorization has no output_sequence_length")
    return int(shape[1])


def _number(tensor: Any, graph: Frozen) -> int:
    number = graph.constant(tensor)
    if number is None or number.size != 1:
        raise _unsupported(tensor.op)
    return int(number.item())


def _standardization(rule: Rule, steps: Sequence[Any]) -> Rule:
    """Return a rule with what operators do to the characters of a text, in order, before it is split."""
    for op in steps:
        if op.type == "StringLower":
            if op.get_attr("encoding"):
                raise _Unsupported("its operator StringLower lower-cases letters of all scripts")
            if any(map(_has_case, (rule.removed, rule.separators))) or any(map(_letters, rule.replaced)):
                raise _Unsupported("its operator StringLower comes after one that replaces letters")
            rule = replace(rule, lowercase="ascii")
            continue
        pattern, rewrite = (op.get_attr(name).decode() for name in ("pattern", "rewrite"))
        shown = f"its operator StaticRegexReplace replaces {pattern!r} by {rewrite!r}"
        if not op.get_attr("replace_global"):
            raise _Unsupported(f"{shown} only once")
        found = with_expression(rule, pattern, rewrite)
        if found is None:
            raise _Unsupported(shown)
        rule = found
    marks = "".join(each for each in rule.separators if each not in ASCII_SPACES)
    return replace(rule, separators=ASCII_SPACES + marks)


def _letters(characters: str) -> set[str]:
    return set(characters) & set(string.ascii_letters)


def _has_case(characters: str) -> bool:
    """Return whether a set contains a letter of ASCII in one case only."""
    letters = _letters(characters)
    return {each.swapcase() for each in letters} != letters
