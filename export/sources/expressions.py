"""Regular expressions of RE2, which TensorFlow uses, as parts of a tokenizer's rule."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import tensorflow

from sentiment_conv1d.artifact.tokenizer import Rule

#: A regular expression that matches one character of a set, or a run of such characters.
_SET = re.compile(
    r"(?:\[\^?(?:\[:\w+:\]|\\.|[^\]\\])+\]|\\[pP](?:\w|\{\w+\})|\\(?:[dDsSwWtnvfr]|\W)|[^\\.^$*+?()\[\]{}|])(\+?)"
)

#: A regular expression that matches one of some strings.
_STRINGS = re.compile(r"(?:\\[^\w]|[^\\.^$*+?()\[\]{}])+")

#: The most characters beyond ASCII that a rule lists, and the number of characters of ASCII.
_MOST, _ASCII = 10_000, 128


def with_expression(rule: Rule, pattern: str, rewrite: str) -> Rule | None:
    """Return a rule that also replaces everything that an expression matches, as `tf.strings.regex_replace` does.

    Returns None if no rule does the same, or the expression is invalid.
    """
    return _with_set(rule, pattern, rewrite) or _with_strings(rule, pattern, rewrite)


def _with_set(rule: Rule, pattern: str, rewrite: str) -> Rule | None:
    """Return a rule that also replaces the characters of a set by nothing or a space."""
    found = _SET.fullmatch(pattern)
    if found is None or rewrite not in ("", " "):
        return None
    if rule.splits_characters and rewrite == " " and found[1]:  # several characters become a single one
        return None
    try:
        matched, others = _matched(pattern)
    except tensorflow.errors.InvalidArgumentError:
        return None
    if rewrite == "" and " " in matched:
        return None
    if len(matched) > _MOST + _ASCII:
        differs = rule.kept is not None and rule.removes_others != (rewrite == "")
        if len(others) > _MOST or differs:
            return None
        kept = "".join(each for each in others if not each.isascii() and (rule.kept is None or each in rule.kept))
        rule = replace(rule, kept=kept, removes_others=rewrite == "")
        matched = "".join(filter(str.isascii, matched))
    new = "".join(each for each in matched if each != " " and rule.becomes(each) == each)
    if rewrite == "":
        return replace(rule, removed=rule.removed + new)
    return replace(rule, separators=rule.separators + new)


def _with_strings(rule: Rule, pattern: str, rewrite: str) -> Rule | None:
    """Return a rule that also replaces some strings by a space."""
    strings = _strings(pattern)
    later = rule.removed or rule.separators or rule.kept is not None  # a rule replaces strings before characters
    if rule.splits_characters or rewrite != " " or later or not _are_apart(rule.replaced, strings):
        return None
    found = (each for each in strings if rule.lowered(each) == each)
    return replace(rule, replaced=(*rule.replaced, *found))


def _strings(pattern: str) -> list[str]:
    """Return the strings of which a regular expression matches any; none if it is of another kind."""
    strings = re.findall(r"(?:\\.|[^\\|])+", pattern) if _STRINGS.fullmatch(pattern) else []
    return [re.sub(r"\\(.)", r"\1", each) for each in strings] if "|".join(strings) == pattern else []


def _are_apart(first: Sequence[str], then: Sequence[str]) -> bool:
    """Return whether replacing strings one after the other by spaces does the same as replacing all at once.

    There are strings to replace, and no string overlaps with another or appears when another is replaced.
    """
    return bool(then) and not any(
        " " in later or later in earlier or earlier in later or _overlap(earlier, later) or _overlap(later, earlier)
        for earlier in first
        for later in then
    )


def _overlap(start: str, end: str) -> bool:
    """Return whether a string ends with the beginning of another."""
    return any(start.endswith(end[:length]) for length in range(1, min(len(start), len(end))))


@cache
def _matched(pattern: str) -> tuple[str, str]:
    """Return the characters that an expression matches according to TensorFlow itself, and all others."""
    every = _every_character()
    is_matched = tensorflow.strings.regex_replace(every, pattern, "").numpy() == b""
    characters = every.numpy()
    matched, others = (
        b"".join(characters[some].tolist()).decode() for some in (is_matched, np.logical_not(is_matched))
    )
    return matched, others


@cache
def _every_character() -> Any:
    codes = range(sys.maxunicode + 1)
    return tensorflow.constant([chr(code) for code in codes if not 0xD800 <= code <= 0xDFFF])
