"""The parser of all command lines. It says what the user can have meant by an unknown flag or command."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, and whose commands report their own unknown flags, with their own usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Parse all arguments. `argparse` lets the parser of a command return what it does not know."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = [word.partition("=")[0] for word in unknown if word.startswith("--")]
            hint = suggestion(flags[0], self._option_string_actions) if flags else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return options, []

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += suggestion(str(value), map(str, action.choices or ()))
            raise


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a question that names the words that are most like an unknown one, or an empty text.

    A word that contains the unknown one, such as `--model-cache` for `--model`, is like it.
    """
    words = sorted(known)
    part = word.lstrip("-")
    alike = [each for each in words if len(part) > 2 and part in each] or get_close_matches(word, words, 1)
    *others, last = alike[:4] or [""]
    return f"; did you mean {', '.join(others)}{' or ' * bool(others)}{last}?" if last else ""
