"""Regular expressions that match one character of a set, as parts of a tokenizer's rule."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import tensorflow

from sentiment_conv1d.artifact.tokenizer import Rule

#: A regular expression that matches one character of a set, or a run of such characters.
_SET = re.compile(
    r"(?:\[\^?(?:\[:\w+:\]|\\.|[^\]\\])+\]|\\[pP](?:\w|\{\w+\})|\\(?:[dDsSwWtnvfr]|\W)|[^\\.^$*+?()\[\]{}|])\+?"
)

#: The most characters beyond ASCII that a rule lists, and the number of characters of ASCII.
_MOST, _ASCII = 10_000, 128


def with_set(rule: Rule, pattern: str, rewrite: str) -> Rule | None:
    """Return a rule that also replaces the characters that an expression matches by nothing or a space.

    The expression is one of RE2, which TensorFlow uses. Returns None if no rule does the same.
    """
    if not _SET.fullmatch(pattern) or rewrite not in ("", " "):
        return None
    matched, others = _matched(pattern)
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
