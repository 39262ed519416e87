"""`python -m service`: serve models over REST and gRPC, score files, explain a text, check artifacts, detect drift."""

from __future__ import annotations

if __name__ == "__main__":
    from sentiment_conv1d.commands.startup import begin

    begin()

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.commands.default_repository import FOLDER, find_artifact
from sentiment_conv1d.commands.imports import uncollected
from sentiment_conv1d.commands.parser import Parser, at_least, local_path
from sentiment_conv1d.commands.running import run_command
from sentiment_conv1d.inference.errors import UnknownName
from sentiment_conv1d.inference.options import ProviderChoice
from sentiment_conv1d.server.errors import ServerError
from sentiment_conv1d.service.flags import add_flags
from sentiment_conv1d.service.process.startup_signals import end_at_once
from sentiment_conv1d.service.settings import read_settings
from sentiment_conv1d.service.telemetry import logs
from sentiment_conv1d.tables import READABLE, extension
from sentiment_conv1d.tables.format import add_format_flags

#: The help for the default model repository.
RULE = (
    "Models come from the folder model_repository in the working directory if it exists, and otherwise from the "
    "package, which contains the shipped models. --model-repository names another folder or a URL."
)

#: The help for URLs.
_STORES = (
    "URLs are s3://bucket/models, gs://bucket/models, hf://organization/repository, file:///folder, "
    "and those of other file systems of fsspec; pull also reads https://host/models. Credentials come "
    "from the environment, such as HF_TOKEN and AWS_SECRET_ACCESS_KEY."
)

_ARTIFACT = "a folder REPOSITORY/NAME/VERSION, or NAME/VERSION in model_repository or of the package"

#: Settings of the commands that start no server.
_OFFLINE_SETTINGS = (
    *("model_repository", "model_cache", "store_timeout", "max_bytes"),
    *("default_model", "execution_provider", "device", "threads"),
)
_SCORING_SETTINGS = (*_OFFLINE_SETTINGS, "max_text_characters")

#: What people call the only model of a command.
_MODEL_FLAG = {"default_model": "--model"}


def parser(prog: str = "python -m service") -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = Parser(prog=prog, description="Serve the Conv1D text classifier.", epilog=RULE)
    commands = top.add_subparsers(dest="command", required=True)

    serve = commands.add_parser(
        "serve",
        help="serve the models over REST and gRPC",
        usage=f"{prog} serve [-h] [FLAG ...]",
        description="Serve the models over REST and gRPC. The variable in brackets sets the same as the flag.",
        epilog=RULE,
    )
    add_flags(serve)
    serve.set_defaults(run=_serve)

    _add_predict(commands.add_parser("predict", help="score files offline", epilog=RULE))

    explain = commands.add_parser("explain", help="show what every word of one text adds to the decision", epilog=RULE)
    explain.surplus_hint = "; quote the text"
    explain.add_argument("text", help="the text; - reads it from standard input")
    explain.add_argument("--label", metavar="LABEL", help="label to explain (default: the predicted one)")
    explain.add_argument("--sentences", action="store_true", help="show what every sentence adds, and its own label")
    explain.add_argument(
        "--colour",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: in a terminal, unless NO_COLOR is set (default: auto)",
    )
    add_flags(explain, _OFFLINE_SETTINGS, _MODEL_FLAG)
    explain.set_defaults(run=_explain)

    check = commands.add_parser("check", help="verify an artifact: digests, shapes, golden answer")
    check.add_argument("artifact", type=local_path, metavar="ARTIFACT", help=_ARTIFACT)
    check.add_argument(
        "--execution-provider",
        choices=get_args(ProviderChoice),
        default="cpu",
        help="what computes the golden answer (default: cpu)",
    )
    check.set_defaults(run=_check)

    copy = commands.add_parser("copy", help="copy an artifact to another name or version")
    copy.add_argument("artifact", type=local_path, metavar="ARTIFACT", help=_ARTIFACT)
    copy.add_argument(
        "target", type=local_path, metavar="NEW_ARTIFACT", help="a folder REPOSITORY/NAME/VERSION that does not exist"
    )
    copy.set_defaults(run=_copy)

    push = commands.add_parser("push", help="upload an artifact to a store or hub", epilog=_STORES)
    push.add_argument("artifact", type=local_path, metavar="ARTIFACT", help=_ARTIFACT)
    push.add_argument("url", metavar="URL", help="the model repository; the artifact becomes URL/NAME/VERSION")
    push.set_defaults(run=_push)

    pull = commands.add_parser("pull", help="download an artifact from a store or hub", epilog=_STORES)
    pull.add_argument("url", metavar="URL/NAME[/VERSION]", help="the artifact; without VERSION the newest one")
    pull.add_argument(
        "--to",
        type=local_path,
        default=FOLDER,
        metavar="REPOSITORY",
        help=f"model repository to write to (default: {FOLDER})",
    )
    pull.add_argument(
        "--max-bytes",
        type=at_least(1),
        default=1 << 30,
        metavar="N",
        help="refuse an artifact with more bytes (default: 1 GiB)",
    )
    pull.set_defaults(run=_pull)

    _add_drift(commands.add_parser("drift", help="compare a request log with the training, or with another log"))
    return top


def _add_predict(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help=".txt (one review per line), .csv, .tsv, .jsonl or .parquet, also compressed (.gz): paths, folders, "
        "patterns such as 'reviews/*.parquet', or - for standard input",
    )
    predict.add_argument(
        "--out",
        metavar="FILE_OR_FOLDER",
        help="a .jsonl, .csv or .parquet file, an existing folder, or - for standard output (default: FILE.predictions "
        "beside each FILE, or standard output for standard input)",
    )
    predict.add_argument(
        "--text-column", metavar="COLUMN", default="text", help="column that contains the texts (default: text)"
    )
    add_format_flags(predict)
    predict.add_argument("--columns", metavar="A,B", help="columns of the input to pass through (default: all)")
    predict.add_argument(
        "--explain", type=at_least(0), nargs="?", const=5, default=0, metavar="N", help="add the N strongest words (5)"
    )
    predict.add_argument(
        "--on-bad-rows",
        choices=("error", "skip", "report"),
        default="report",
        help="what happens to rows without a text and rows that cannot be read: error ends the run, skip leaves them "
        "out, report also lists them in an error file and ends with status 3, or 1 if every row of a file is bad "
        "(default: report)",
    )
    predict.add_argument(
        "--format",
        choices=("txt", "csv", "tsv", "jsonl"),
        default="txt",
        help="format of stdin (default: txt)",
    )
    predict.add_argument(
        "--workers", type=at_least(0), default=0, metavar="N", help="processes; 0: one per processor (default: 0)"
    )
    existing = predict.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    existing.add_argument(
        "--resume",
        action="store_true",
        help="skip files whose output is newer than they are, and replace other outputs",
    )
    add_flags(predict, _SCORING_SETTINGS, _MODEL_FLAG)
    predict.set_defaults(run=_predict)


def _add_drift(drift: argparse.ArgumentParser) -> None:
    drift.add_argument(
        "logs", nargs="+", type=local_path, metavar="LOG", help="files of --request-log, or folders that contain them"
    )
    reference = drift.add_mutually_exclusive_group(required=True)
    reference.add_argument(
        "--artifact", type=local_path, metavar="ARTIFACT", help=f"compare with the statistics of {_ARTIFACT}"
    )
    reference.add_argument("--against", nargs="+", type=local_path, metavar="LOG", help="compare with an earlier log")
    drift.add_argument("--model", metavar="NAME", help="with --against: the model, if the logs contain several")
    drift.add_argument("--out", type=local_path, metavar="FILE", help="write a report as an HTML page")
    drift.add_argument(
        "--fail-above",
        type=at_least(0.0),
        default=math.inf,
        metavar="PSI",
        help="exit with status 1 if a population stability index is above this value, and not by chance",
    )
    drift.set_defaults(run=_drift)


def main(arguments: Sequence[str] | None = None, prog: str = "python -m service") -> int:
    """Run a command and return its exit status, as `run_command` does.

    `drift` can also end with 1, see `--fail-above`, and `predict` with 1 or 3, see `--on-bad-rows`.
    """
    return run_command(parser(prog), arguments, _run, lambda options: "no unfinished file remains")


def _run(options: argparse.Namespace) -> int:
    try:
        status: int = options.run(options)
    except (ServerError, UnknownName) as error:
        raise SentimentError(str(error)) from error
    return status


def _serve(options: argparse.Namespace) -> int:
    settings = read_settings(vars(options))
    logs.configure(settings.log_format, settings.log_level)
    end_at_once()

    with uncollected():
        from sentiment_conv1d.service.process.server import serve
    serve(settings)
    return 0


def _predict(options: argparse.Namespace) -> int:
    from sentiment_conv1d.scoring.command import predict

    # `--workers` of this command is not the setting of the same name.
    return predict(options, read_settings({name: getattr(options, name) for name in _SCORING_SETTINGS}))


def _explain(options: argparse.Namespace) -> int:
    from sentiment_conv1d.inference.explaining.terminal import render
    from sentiment_conv1d.service.models.startup import default_artifact, opener

    text = sys.stdin.buffer.read().decode("utf-8", "replace") if options.text == "-" else options.text
    settings = read_settings(vars(options))
    classifier = opener(settings)(default_artifact(settings))
    explained = classifier.explain(text, options.label, sentences=options.sentences)
    colour = sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    colour = {"auto": colour, "always": True, "never": False}[options.colour]
    print(*render(text, classifier, *explained, colour=colour), sep="\n")
    return 0


def _check(options: argparse.Namespace) -> int:
    from sentiment_conv1d.artifact.artifact import check_place, read_artifact, read_text_graph
    from sentiment_conv1d.artifact.manifest import NOT_COMPARED, TEXT_GRAPH_FILE
    from sentiment_conv1d.inference.classifier import Classifier
    from sentiment_conv1d.inference.engine import NATIVE

    artifact = read_artifact(_folder(options.artifact).absolute())
    check_place(artifact)
    manifest = artifact.manifest
    print(f"{options.artifact}: {manifest.name}, version {manifest.version}, labels {', '.join(manifest.labels)}")
    for name, file in manifest.files.items():
        print(f"  ok  {name}: {file.bytes:,} bytes, SHA-256 {file.sha256}")
    if manifest.text_graph is not None:
        if (text_graph := read_text_graph(artifact)) is None:
            print(f"  --  {TEXT_GRAPH_FILE}: not in the folder; `convert` writes it")
        else:
            print(f"  ok  {TEXT_GRAPH_FILE}: {len(text_graph):,} bytes, SHA-256 {manifest.text_graph.file.sha256}")
    print(f"  ok  tokenizer: {manifest.vocabulary_size:,} ids, at most {manifest.max_tokens} per review")
    print(f"  {'--' if NOT_COMPARED in manifest.text_parity else 'ok'}  text to ids: {manifest.text_parity}")
    classifier = Classifier(artifact, provider=options.execution_provider)
    answer = classifier.predict((manifest.golden.text,))[0]
    print(f"  ok  golden answer on {classifier.engine.provider}: {answer.label}, {answer.score}")
    native = classifier.engine.operator == NATIVE
    print(
        "  ok  native operator" if native else f"  --  native operator: not used, because {classifier.engine.operator}"
    )
    return 0


def _folder(path: Path) -> Path:
    """Return the folder of an artifact. Raises `SentimentError` if the path is one of a file."""
    if path.is_file():
        what = "a table, which check-data reads" if extension(path) in READABLE else "a file"
        raise SentimentError(f"{path} is {what}; this command needs an artifact: {_ARTIFACT}")
    return find_artifact(path)


def _copy(options: argparse.Namespace) -> int:
    from sentiment_conv1d.artifact.artifact import copy

    manifest = copy(_folder(options.artifact), options.target).manifest
    print(f"{options.target}: {manifest.name}, version {manifest.version}")
    return 0


def _push(options: argparse.Namespace) -> int:
    from sentiment_conv1d.sharing.push import push

    url, written = push(_folder(options.artifact), options.url)
    print(f"{url}: {'wrote ' + ', '.join(written) if written else 'is already there'}; all files are verified")
    return 0


def _pull(options: argparse.Namespace) -> int:
    from sentiment_conv1d.sharing.pull import pull

    artifact = pull(options.url, options.to, options.max_bytes)
    print(f"{artifact.path}: {artifact.manifest.name}, version {artifact.manifest.version}; all files are verified")
    return 0


def _drift(options: argparse.Namespace) -> int:
    from sentiment_conv1d.drift.command import drift

    return drift(options)


if __name__ == "__main__":
    sys.exit(main())
