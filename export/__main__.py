"""`python -m export`: a run folder, or any Keras model over ids, becomes the next version of an artifact."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment_conv1d.model.configuration import NAME_PATTERN
from sentiment_conv1d.model.errors import SentimentError, one_line
from sentiment_conv1d.model.quiet import quiet_tensorflow

if TYPE_CHECKING:
    from sentiment_conv1d.export.exporter import Exported, Trained
    from sentiment_conv1d.export.parity import Ids, Reviews
    from sentiment_conv1d.export.quantization_error import LabelledReviews
    from sentiment_conv1d.model.artifact import Manifest

#: Real reviews that parity is proven on; more would only repeat it.
MAX_REVIEWS = 1000


def parser(prog: str = "python -m export") -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog=prog,
        description="Write a trained model as the next version of an ONNX artifact, after proving that both answer "
        "the same.",
    )
    top.add_argument("source", type=Path, metavar="RUN", help="a run folder, or a .keras file")
    top.add_argument("--name", help="name of the model (default: that of the run's configuration)")
    top.add_argument(
        "--repository", type=Path, default=Path("model_repository"), help="where to (default: model_repository)"
    )
    top.add_argument(
        "--quantize",
        action="store_true",
        help="publish the 8-bit form of a Conv1D model: faster on a CPU with VNNI, its accuracy measured on --data",
    )
    top.add_argument("--data", type=Path, help="real reviews to prove parity on, a file or folder as for training")
    top.add_argument("--text-column", default="text", help="column of the texts in a file (default: text)")
    top.add_argument("--label-column", default="label", help="column of the labels in a file (default: label)")
    foreign = top.add_argument_group("for a .keras file")
    foreign.add_argument("--tokenizer", type=Path, help="tokenizer.json whose ids the model reads")
    foreign.add_argument("--labels", help="labels in the order of the model's outputs, separated by commas")
    return top


def main(arguments: Sequence[str] | None = None, prog: str = "python -m export") -> int:
    """Run the export; returns its exit status: 0, 2 for what the caller can mend, 130 when interrupted."""
    options = parser(prog).parse_args(arguments)
    quiet_tensorflow()
    try:
        return _export(options)
    except SentimentError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130


def _export(options: argparse.Namespace) -> int:
    if options.data is not None and not options.data.exists():
        raise SentimentError(f"{options.data}: there is no such file or folder")
    trained = _trained(options)

    from sentiment_conv1d.export.exporter import export

    name = options.name or (trained.configuration.name if trained.configuration else "")
    if not re.fullmatch(NAME_PATTERN, name):
        raise SentimentError(
            f"--name: {name!r} is no name of a model: lower-case letters, digits, '.', '_' and '-', 64 at most"
        )
    labelled = None if options.data is None else _labelled(options, trained)
    reviews = [] if labelled is None else [_thinned(labelled, options.data.name)]
    _print_result(export(trained, name, options.repository, reviews, quantize=options.quantize, labelled=labelled))
    return 0


def _trained(options: argparse.Namespace) -> Trained:
    if options.source.suffix == ".keras":
        if options.tokenizer is None or options.labels is None:
            raise SentimentError("a .keras file needs --tokenizer and --labels as well")
        from sentiment_conv1d.export.exporter import from_keras_file

        labels = tuple(label.strip() for label in options.labels.split(","))
        return from_keras_file(options.source, options.tokenizer, labels)
    if options.tokenizer is not None or options.labels is not None:
        raise SentimentError("--tokenizer and --labels are for a .keras file: a run folder has its own")
    from sentiment_conv1d.export.exporter import from_run

    return from_run(options.source)


def _labelled(options: argparse.Namespace, trained: Trained) -> LabelledReviews:
    from sentiment_conv1d.export.quantization_error import LabelledReviews
    from sentiment_conv1d.model.data import load_examples

    examples = load_examples(
        options.data, trained.labels, text_column=options.text_column, label_column=options.label_column
    )
    rows = [trained.tokenizer.encode(text).ids for text in examples.texts]
    return LabelledReviews(_source(rows, options.data.name), rows, examples.labels)


def _thinned(reviews: Reviews, name: str) -> Reviews:
    from sentiment_conv1d.export.parity import Reviews

    rows = reviews.rows[:: max(1, -(-len(reviews.rows) // MAX_REVIEWS))]
    return Reviews(_source(rows, name), rows)


def _source(rows: list[Ids], name: str) -> str:
    return f"{len(rows):,} reviews of {name}"


def _print_result(exported: Exported) -> None:
    artifact, manifest = exported.artifact, exported.artifact.manifest
    width = max(len(check.inputs) for check in manifest.parity)
    print(f"{'inputs':{width}}  {'against':19}  {'number':>6}  largest difference")
    for check in manifest.parity:
        print(f"{check.inputs:{width}}  {check.against:19}  {check.examples:6}  {check.largest_difference:.1e}")
    print("no label changed" if manifest.precision == "float32" else "no label changed except by quantization")
    if exported.unfolded:
        print(f"served as Keras wrote it, every review padded to {manifest.max_tokens} ids: {exported.unfolded}")
    elif manifest.precision == "float32":
        print(f"folded: convolutions of width {', '.join(map(str, manifest.convolution_widths))} are table look-ups")
    else:
        _print_quantization_error(manifest)
    for name, file in manifest.files.items():
        print(f"{name}: {file.bytes:,} bytes")
    print(f"wrote {artifact.path}")


def _print_quantization_error(manifest: Manifest) -> None:
    print(f"int8: convolutions of width {', '.join(map(str, manifest.convolution_widths))} are of 8-bit integers")
    width = max(len(each.inputs) for each in manifest.rounding)
    print(f"{'inputs':{width}}  {'number':>6}  largest  mean     labels changed  accuracy  in float32")
    for each in manifest.rounding:
        accuracies = (each.accuracy, each.float32_accuracy)
        shown = "".join(f"  {'-' if accuracy is None else f'{accuracy:.4f}':8}" for accuracy in accuracies).rstrip()
        print(
            f"{each.inputs:{width}}  {each.examples:6}  {each.largest_difference:.5f}  {each.mean_difference:.5f}  "
            f"{each.changed_labels:14}{shown}"
        )
    if manifest.metrics is None:
        print("the accuracy of the int8 graph was not measured: --data measures it")


if __name__ == "__main__":
    sys.exit(main())
