"""The parser of all command lines, which says what an unknown flag or command can mean, and the next command to run."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from sentiment_conv1d.commands.installation import NAME

Number = TypeVar("Number", int, float)


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, and whose commands report their own unknown flags, with their own usage."""

    #: What to do about words that belong to no argument, for the end of a message.
    surplus_hint = ""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Parse all arguments. `argparse` lets the parser of a command return what it does not know."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = [word.partition("=")[0] for word in unknown if word.startswith("--")]
            hint = suggestion(flags[0], self._option_string_actions) if flags else self.surplus_hint
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return options, []

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += suggestion(str(value), map(str, action.choices or ()))
            raise


def local_path(text: str) -> Path:
    """Return a path on this machine. A URL is refused, because `Path` makes a relative path of it."""
    return Path(local(text))


def local(text: str) -> str:
    """Return what names something on this machine. Refuse a URL, and nothing, which `Path` takes for `.`."""
    if not text:
        raise argparse.ArgumentTypeError("a path on this machine is needed")
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is a URL; a path on this machine is needed")
    return text


def number(kind: Callable[[str], Number], meaning: str, accepts: Callable[[Number], bool]) -> Callable[[str], Number]:
    """Return the type of an argument that is a number with this meaning, such as "a number from 1"."""

    def parse(text: str) -> Number:
        with suppress(ValueError):
            if accepts(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {meaning}")

    return parse


def at_least(least: Number) -> Callable[[str], Number]:
    """Return the type of an argument that is a number from `least`, of whose type the number is."""
    return number(type(least), f"a number from {least:g}", lambda value: value >= least)


def between(least: Number, most: Number) -> Callable[[str], Number]:
    """Return the type of an argument that is a number from `least`, of whose type the number is, to `most`."""
    return number(type(least), f"a number from {least:,} to {most:,}", lambda value: least <= value <= most)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a question that names the words that are most like an unknown one, or an empty text.

    A word that contains the unknown one, such as `--model-cache` for `--model`, is like it.
    """
    words = sorted(known)
    part = word.lstrip("-")
    alike = [each for each in words if len(part) > 2 and part in each] or get_close_matches(word, words, 1)
    *others, last = alike[:4] or [""]
    return f"; did you mean {', '.join(others)}{' or ' * bool(others)}{last}?" if last else ""


def next_command(*arguments: str) -> str:
    """Return a command of this project for the shell that started this process, from the same folder."""
    program, python = Path(sys.argv[0]), Path(sys.executable)
    if program.name == NAME:
        found = shutil.which(NAME)
        on_path = found is not None and program.exists() and Path(found).samefile(program)
        return shlex.join([NAME if on_path else str(program), *arguments])
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return shlex.join([str(python), "-m", "sentiment_conv1d", *arguments])
