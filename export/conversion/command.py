"""`sentiment-conv1d convert`: writes an artifact in a form that other programs read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.commands.default_repository import find_artifact
from sentiment_conv1d.commands.installation import NAME
from sentiment_conv1d.commands.parser import Parser, local_path
from sentiment_conv1d.commands.running import run_command
from sentiment_conv1d.export.conversion.mlflow_model import write_mlflow
from sentiment_conv1d.export.conversion.text_onnx import write_text_onnx
from sentiment_conv1d.export.conversion.triton import write_triton


class Conversion(NamedTuple):
    """A form: its line in the help, the default name of the file or folder, and the function that writes it.

    The function writes to a path that does not exist, completely or not at all, and returns lines for the user.
    """

    help: str
    out: str
    write: Callable[[Artifact, Path], list[str]]


CONVERSIONS = {
    "text-onnx": Conversion("one ONNX file from text to label, for any ONNX Runtime", "text.onnx", write_text_onnx),
    "mlflow": Conversion("an MLflow model that contains the code which runs it", "mlflow_model", write_mlflow),
    "triton": Conversion("a model repository from text to label for Triton", "triton_repository", write_triton),
}


def parser(prog: str = f"{NAME} convert") -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = Parser(
        prog=prog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write an artifact in a form that other programs read:\n\n"
        + "\n".join(f"    {name:12}{conversion.help}" for name, conversion in CONVERSIONS.items()),
    )
    top.add_argument(
        "artifact",
        type=local_path,
        metavar="ARTIFACT",
        help="a folder REPOSITORY/NAME/VERSION, or NAME/VERSION in model_repository or of the package",
    )
    top.add_argument("--to", choices=list(CONVERSIONS), required=True, help="the form")
    top.add_argument(
        "--out",
        type=local_path,
        metavar="PATH",
        help="the file or folder to write, which must not exist (default: "
        + ", ".join(f"{conversion.out} for {name}" for name, conversion in CONVERSIONS.items())
        + ")",
    )
    return top


def main(arguments: Sequence[str]) -> int:
    """Convert an artifact, and return the exit status as `run_command` does."""
    return run_command(parser(), arguments, _convert)


def _convert(options: argparse.Namespace) -> int:
    conversion = CONVERSIONS[options.to]
    out = Path(conversion.out) if options.out is None else options.out
    if out.exists():
        raise SentimentError(f"{out} exists; pass another path with --out")
    print(*conversion.write(read_artifact(find_artifact(options.artifact)), out), sep="\n")
    return 0
