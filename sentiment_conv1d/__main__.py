"""The command `sentiment-conv1d`, which is `python -m sentiment_conv1d` as well: every command of the project."""

from __future__ import annotations

from sentiment_conv1d.commands.startup import begin

if __name__ == "__main__":
    begin()

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

from sentiment_conv1d.commands.installation import NAME, end_without_tensorflow, tensorflow_hint, training_packages
from sentiment_conv1d.commands.parser import Parser
from sentiment_conv1d.commands.running import run_command

PROG = NAME

#: Every command and its line in the help, by what users do.
GROUPS = {
    "use a model": {
        "serve": "answer REST and gRPC requests",
        "predict": "score files offline",
        "explain": "show what every word of one text adds to the decision",
    },
    "make a model": {
        "train": "train on labelled texts and write a run folder",
        "check-data": "say what is in labelled texts and what is wrong with them",
        "evaluate": "measure a run or an artifact on labelled texts",
        "compare": "measure two runs or artifacts on the same labelled texts",
        "export": "write a run as the next version of an artifact",
    },
    "operate": {
        "check": "verify an artifact: digests, shapes, golden answer",
        "copy": "write an artifact under another name or version",
        "convert": "write an artifact in a form that other programs read",
        "push": "upload an artifact to a store or hub",
        "pull": "download an artifact from a store or hub",
        "drift": "compare a request log with the training, or with another log",
    },
}

COMMANDS = {command: line for group in GROUPS.values() for command, line in group.items()}

#: The commands that need TensorFlow, except `evaluate` without a run, and those of `model` that do not.
TRAINING = {"train", "evaluate", "compare", "export"}
_DATA = {"check-data"}


class _Version(argparse.Action):
    """Prints the version, which is looked up only if somebody asks for it."""

    def __call__(self, parser: argparse.ArgumentParser, *others: Any) -> NoReturn:
        from sentiment_conv1d.service.version import package_version

        print(PROG, package_version())
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The command line up to the name of the command; what follows is the command's own."""
    listed = [
        f"{title}:\n" + "\n".join(f"    {each:12}{line}" for each, line in group.items())
        for title, group in GROUPS.items()
    ]
    top = Parser(
        prog=PROG,
        usage="%(prog)s [-h] [--version] COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train, export and serve the Conv1D text classifier.\n\n" + "\n\n".join(listed),
        epilog=f"`{PROG} COMMAND --help` lists the flags of a command.\n{', '.join(sorted(TRAINING))} need TensorFlow: "
        f"{tensorflow_hint()}",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    for name in COMMANDS:
        commands.add_parser(name, add_help=False)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status, as `run_command` does."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if status := run_command(parser(), words[:1], lambda options: 0):
        return status
    if arguments is None:  # the imports of the command follow
        begin()
    return _run(words[0], words)


def _run(command: str, words: list[str]) -> int:
    if command not in TRAINING | _DATA | {"convert"}:
        from sentiment_conv1d.service.__main__ import main as service

        return service(words, PROG)

    package = "export" if command in {"export", "convert"} else "model"
    if find_spec(f"sentiment_conv1d.{package}") is None:  # the image of the service
        print(f"{PROG}: this image does not contain `{command}`: run it in a checkout", file=sys.stderr)
        return 2
    needs_tensorflow = command in TRAINING - {"evaluate"} and not {"-h", "--help"} & set(words)
    if needs_tensorflow and find_spec("tensorflow") is None:
        end_without_tensorflow(PROG)
    with training_packages(PROG):
        if command == "convert":
            from sentiment_conv1d.export.conversion.command import main as convert

            return convert(words[1:])
        if command == "export":
            from sentiment_conv1d.export.__main__ import main as export

            return export(words[1:], f"{PROG} export")
        from sentiment_conv1d.model.__main__ import main as model

        return model(words, PROG)


if __name__ == "__main__":
    sys.exit(main())
