"""`python -m export`: export a run folder, or any Keras text model, as the next version of an artifact."""

from __future__ import annotations

if __name__ == "__main__":
    from sentiment_conv1d.commands.startup import begin

    begin()

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from sentiment_conv1d.artifact.artifact import ArtifactError, versions
from sentiment_conv1d.artifact.configuration import is_name
from sentiment_conv1d.artifact.errors import SentimentError, about_files
from sentiment_conv1d.artifact.limits import MAX_MODELS
from sentiment_conv1d.artifact.manifest import MAX_NOTES, NOT_COMPARED, TEXT_GRAPH_FILE, UNVERIFIED, License, Sample
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer
from sentiment_conv1d.commands.default_repository import FOLDER
from sentiment_conv1d.commands.imports import import_tensorflow
from sentiment_conv1d.commands.installation import training_packages
from sentiment_conv1d.commands.output import counted, table_lines
from sentiment_conv1d.commands.parser import Parser, local_path, next_command
from sentiment_conv1d.commands.running import run_command
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.foreign_flags import add_foreign_flags, as_id, decision, stated, statements
from sentiment_conv1d.model.data import BadDataError, DataError
from sentiment_conv1d.model.data.flags import (
    SOURCES,
    add_reading_flags,
    add_sources,
    locate,
    print_left_out,
    reading_of,
)
from sentiment_conv1d.model.evaluation.terminal import score_text
from sentiment_conv1d.model.run import Inherited, RunError, read_run
from sentiment_conv1d.tables import READABLE
from sentiment_conv1d.tables.format import read_format

if TYPE_CHECKING:
    from sentiment_conv1d.artifact.manifest import Manifest
    from sentiment_conv1d.export.checks.accuracy import LabelledInputs
    from sentiment_conv1d.export.checks.assumptions import Assumptions
    from sentiment_conv1d.export.checks.parity import Inputs
    from sentiment_conv1d.export.exporter import Exported
    from sentiment_conv1d.export.sources.expected import Expected
    from sentiment_conv1d.export.sources.trained import Trained

#: The largest number of characters of a published sample.
MAX_SAMPLE = 1000


def parser(prog: str = "python -m export") -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = Parser(
        prog=prog,
        description="Export a trained model as the next version of an ONNX artifact, after checking that both return "
        "the same probabilities.",
    )
    top.add_argument(
        "source", type=local_path, metavar="RUN", help="a run folder, a .keras or .h5 file, or a SavedModel"
    )
    top.add_argument("--name", metavar="NAME", help="name of the model (default: that of the run's configuration)")
    top.add_argument(
        "--repository",
        "--model-repository",
        type=local_path,
        default=FOLDER,
        metavar="FOLDER",
        help="the model repository to write to (default: model_repository in the working directory)",
    )
    top.add_argument(
        "--quantize",
        action=argparse.BooleanOptionalAction,
        help="publish the 8-bit form of a Conv1D model, which is about twice as fast; --data measures its accuracy "
        "(default: the form of the artifact that the training started with)",
    )
    top.add_argument(
        "--text-input",
        action="store_true",
        help="also write text.onnx, one file from text to label for any ONNX Runtime (docs/text-onnx.md)",
    )
    add_sources(top, "--data", f"labelled texts, to check parity and measure accuracy: {SOURCES}", default=[])
    add_reading_flags(top)
    top.add_argument(
        "--expected",
        type=local_path,
        metavar="FILE",
        help="texts and the probabilities that the original model returns for them, which the artifact must return too",
    )
    top.add_argument(
        "--allow-poor-accuracy",
        action="store_true",
        help="publish a model although --data shows that it is no better than the most frequent label, or than with "
        "other labels or another tokenizer",
    )
    top.add_argument(
        "--labels",
        metavar="A,B",
        help="labels in the order of the model's outputs, separated by commas (default: those of the run folder; a "
        "model from elsewhere needs them)",
    )
    top.add_argument(
        "--samples",
        type=as_id,
        default=0,
        metavar="N",
        help="publish N texts of --data for each label, for people to try on the page (default: 0)",
    )
    top.add_argument(
        "--license",
        type=_license,
        metavar="ID",
        help="the licence of the model for its card, as an identifier of Hugging Face, for example apache-2.0",
    )
    top.add_argument(
        "--notes",
        type=local_path,
        metavar="FILE",
        help="Markdown about the model for its manifest and its card: purpose, sources of the texts, limits",
    )
    add_foreign_flags(top.add_argument_group("for a model from elsewhere (docs/own-models.md)"))
    return top


def main(arguments: Sequence[str] | None = None, prog: str = "python -m export") -> int:
    """Run the export and return its exit status, as `run_command` does."""
    with training_packages(prog):
        return run_command(parser(prog), arguments, _with_hints)


def _with_hints(options: argparse.Namespace) -> int:
    """Export, and add a hint to errors that have none."""
    try:
        with about_files():
            return _export(options)
    except (BadDataError, ExportError):
        raise
    except SentimentError as error:
        raise ExportError(str(error), _hint(error)) from error


def _hint(error: SentimentError) -> str:
    """Return advice about an error. Errors of reading and writing files do not know the options of this command."""
    hints: dict[type[SentimentError], str] = {
        RunError: "pass a folder that `python -m model train` wrote, a .keras or .h5 file, or a SavedModel",
        DataError: "check --data, --text-column and --label-column; docs/training.md lists the formats",
        ArtifactError: "choose another folder with --repository",
    }
    default = "`python -m export --help` lists the options"
    return next((hint for kind, hint in hints.items() if isinstance(error, kind)), default)


def _export(options: argparse.Namespace) -> int:
    if options.samples and not options.data:
        raise ExportError("--samples takes texts from --data, which is missing", "pass the data with --data")
    notes = "" if options.notes is None else _notes(options.notes)
    trained = _trained(options)
    inherited = trained.inherited
    if inherited is not None:
        notes = "\n\n".join(filter(None, (notes, inherited.card())))

    from sentiment_conv1d.export.exporter import export
    from sentiment_conv1d.export.sources.trained import renamed

    name = options.name or (trained.configuration.name if trained.configuration else "")
    if not is_name(name):
        raise ExportError(
            f"--name: {name!r} is not a valid model name",
            "use lower-case letters, digits, '.', '_' and '-', at most 64 characters",
        )
    labelled, inputs = _labelled(options, trained) if options.data else (None, [])
    if options.labels is not None and trained.configuration is not None:
        trained = renamed(trained, _names(options.labels))  # after reading the data, which has the labels of the run
    exported = export(
        trained,
        name,
        options.repository,
        inputs,
        quantize=_is_8_bit(inherited) if options.quantize is None else options.quantize,
        labelled=labelled,
        expected=None if options.expected is None else _expected(options, trained),
        allow_poor_accuracy=options.allow_poor_accuracy,
        samples=() if labelled is None else tuple(_samples(labelled, trained.labels, options.samples)),
        licence=options.license or (None if inherited is None else inherited.license),
        notes=notes,
        text_input=options.text_input,
        must_be_verified=not options.unverified,
        choose_thresholds=options.thresholds == [],
    )
    for note in trained.notes:
        print(f"note: {note}")
    _print_result(exported)
    for note in exported.notes:
        print(f"note: {note}")
    _print_accuracy(exported, trained, measured=labelled is not None)
    print(f"wrote {exported.artifact.path}")
    models = _models(options.repository)
    if len(models) > MAX_MODELS:
        print(
            f"warning: {options.repository} has {len(models)} models, and a service serves at most {MAX_MODELS} "
            "versions: it refuses the others, which can be this one; remove a model, or write to another repository"
        )
    print(f"serve it with: {_serving(options.repository, name)}")
    return 0


def _models(repository: Path) -> list[str]:
    """Return the names of the models in a repository. By default, a service serves the newest version of each."""
    return [each.name for each in repository.iterdir() if is_name(each.name) and versions(repository, each.name)]


def _serving(repository: Path, name: str) -> str:
    """Return the command that serves a model, with its repository if that is not the default one of the command."""
    is_default = repository.absolute() == FOLDER.absolute() and not os.environ.get("SENTIMENT_MODEL_REPOSITORY")
    return next_command(
        "serve", *([] if is_default else ["--model-repository", str(repository)]), "--default-model", name
    )


def _trained(options: argparse.Namespace) -> Trained:
    source: Path = options.source
    if source.suffix.lower() in READABLE:
        raise ExportError(
            f"{source}: not a model, but a file of texts", "train a model on it first: `python -m model train --data`"
        )
    is_run = not (source / "saved_model.pb").is_file() if source.is_dir() else not (source.exists() or source.suffix)
    if is_run:
        for flag in stated(options):
            raise ExportError(
                f"{source}: --{flag.replace('_', '-')} is for models from elsewhere, and a folder without "
                "saved_model.pb is a run",
                "leave it out: a run contains its vocabulary, threshold and how it reads texts; or pass a model's file",
            )
        run = read_run(source)  # importing TensorFlow takes seconds, so errors in the folder come first

        import_tensorflow()
        from sentiment_conv1d.export.sources.trained import from_run

        return from_run(run)
    if options.labels is None:
        raise ExportError(f"{source}: the labels of the model are unknown", "pass them with --labels")
    import_tensorflow()
    from sentiment_conv1d.export.sources.trained import from_keras_file

    trained = from_keras_file(
        source,
        _names(options.labels),
        options.vocabulary,
        statements(options),
        from_logits=options.from_logits,
        several_labels=options.thresholds is not None,
    )
    return replace(trained, decision=decision(options, trained.labels))


def _is_8_bit(inherited: Inherited | None) -> bool:
    return inherited is not None and inherited.precision != "float32"


def _notes(file: Path) -> str:
    hint = f"pass a text file in UTF-8 of at most {MAX_NOTES:,} characters"
    try:
        notes = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ExportError(f"{file}: cannot be read ({error.strerror or error})", hint) from error
    except UnicodeDecodeError as error:
        raise ExportError(f"{file}: not UTF-8", hint) from error
    if len(notes) > MAX_NOTES:
        raise ExportError(f"{file}: {len(notes):,} characters are too many", hint)
    return notes


def _license(text: str) -> str:
    try:
        return TypeAdapter(License).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an identifier such as apache-2.0") from None


def _names(labels: str) -> tuple[str, ...]:
    return tuple(label.strip() for label in labels.split(","))


def _labelled(options: argparse.Namespace, trained: Trained) -> tuple[LabelledInputs, list[Inputs]]:
    """Return the labelled texts of `--data`, and some of them to compare graphs on."""
    from sentiment_conv1d.export.checks.accuracy import LabelledInputs
    from sentiment_conv1d.model.data import load_examples, measurable

    reading = reading_of(options)
    if trained.decision.thresholds:
        reading = reading._replace(columns=reading.columns._replace(several=True))
    loaded = load_examples(locate(options.data), trained.labels, reading=reading)
    print_left_out(loaded.faults, every=options.on_bad_rows == "report")
    examples, measured_on = measurable(loaded, trained.trained_on)
    rows = [trained.tokenizer.encode(text).ids for text in examples.texts]
    labelled = LabelledInputs(measured_on, rows, examples.labels, examples.texts)
    return labelled, [_thinned(labelled, loaded.source)]


def _expected(options: argparse.Namespace, trained: Trained) -> Expected:
    from sentiment_conv1d.export.checks.classifier import last_activation
    from sentiment_conv1d.export.sources.expected import read_expected

    outputs = trained.model.outputs[0].shape[-1]
    sums_to_one = outputs == 1 or last_activation(trained) == "softmax"
    try:
        return read_expected(
            options.expected,
            trained.labels,
            outputs,
            options.text_column,
            read_format(options),
            sums_to_one=sums_to_one,
        )
    except DataError as error:
        raise ExportError(
            str(error), "check --expected and --text-column; docs/own-models.md shows how to write the file"
        ) from error


def _samples(inputs: LabelledInputs, labels: Sequence[str], number: int) -> Iterator[Sample]:
    """Yield the first texts of each label that are short enough for the page."""
    for place, label in enumerate(labels):
        has_label = inputs.labels[:, place] == 1 if inputs.labels.ndim == 2 else inputs.labels == place
        texts = compress(inputs.texts, has_label)
        short = (text for text in texts if len(text) <= MAX_SAMPLE)
        yield from (Sample(label=label, text=text) for text in islice(short, number))


def _thinned(inputs: Inputs, name: str) -> Inputs:
    from sentiment_conv1d.export.checks.parity import MAX_TEXTS, Inputs, every_nth

    rows = list(every_nth(inputs.rows, MAX_TEXTS))
    return Inputs(f"{counted(len(rows), 'text')} of {name}", rows)


def _print_result(exported: Exported) -> None:
    manifest = exported.artifact.manifest
    rows = [["inputs", "against", "number", "largest difference"]]
    rows += [
        [each.inputs, each.against, str(each.examples), f"{each.largest_difference:.1e}"] for each in manifest.parity
    ]
    print(*table_lines(rows, words=(0, 1)), sep="\n")
    print("no label changed" if manifest.precision == "float32" else "no label changed except by quantization")
    if exported.unfolded:
        print(f"not folded, so every text is padded to {manifest.max_tokens} ids: {exported.unfolded}")
    elif manifest.precision == "float32":
        print(f"folded: convolutions of width {', '.join(map(str, manifest.convolution_widths))} are table look-ups")
    else:
        _print_quantization_error(manifest)
    for name, file in manifest.files.items():
        print(f"{name}: {file.bytes:,} bytes")
    if manifest.text_graph is not None:
        from sentiment_conv1d.export.conversion.text_onnx import described

        print(f"{TEXT_GRAPH_FILE}: {manifest.text_graph.file.bytes:,} bytes, {described(manifest.text_graph.proof)}")


def _print_accuracy(exported: Exported, trained: Trained, *, measured: bool) -> None:
    manifest = exported.artifact.manifest
    if measured and manifest.metrics is not None:
        metrics = manifest.metrics
        names = ["accuracy", "opinion_accuracy"]
        if manifest.multilabel:
            names = ["micro_f1", "macro_f1", "average_precision"]
        measures = ", ".join(f"{name}: {metrics.values[name]:.4f}" for name in names if name in metrics.values)
        print(f"{measures} on {metrics.measured_on}")
    if manifest.multilabel:
        thresholds = ", ".join(f"{label} {limit:.4g}" for label, limit in manifest.decision.thresholds.items())
        print(f"a text has the labels whose probability is at least their threshold: {thresholds}")
    elif not manifest.decision.confident_from:
        print("`confident` is null in all answers: the model has no limits (docs/training.md#confident-predictions)")
    if manifest.text_limit:
        print(f"note: {manifest.text_limit}")
    if manifest.truncation_limit:
        print(f"warning: {manifest.truncation_limit}; add a longer one to --expected", file=sys.stderr)
    if NOT_COMPARED in manifest.text_parity:
        more = "" if measured else ", and --data measures accuracy"
        print(f"warning: {UNVERIFIED if manifest.unverified else NOT_COMPARED}; --expected compares{more}")
    tokenizer = trained.tokenizer
    if trained.configuration is None and not measured and isinstance(tokenizer, VocabularyTokenizer):
        unknown, words = tokenizer.count_words(manifest.golden.text)
        warning = "warning: " if 2 * unknown > words else ""
        print(f"{warning}{unknown} of {words} words of the golden text are not in the vocabulary")
    if exported.assumptions is not None:
        _print_assumptions(exported.assumptions)


def _print_assumptions(measured: Assumptions) -> None:
    print(f"accuracy  on {measured.texts:,} texts")
    print(f"{measured.accuracy:.4f}    as stated")
    for each in measured.alternatives:
        warning = f": warning: this is significantly better; check {each.flags}" if each.better else ""
        print(f"{each.accuracy:.4f}    if {each.assumption}{warning}")


def _print_quantization_error(manifest: Manifest) -> None:
    widths = ", ".join(map(str, manifest.convolution_widths))
    print(f"quantized: convolutions of width {widths} are look-ups in 8-bit tables")
    rows = [["inputs", "number", "largest", "mean", "labels changed", "accuracy", "in float32"]]
    for each in manifest.rounding:
        numbers = [str(each.examples), f"{each.largest_difference:.5f}", f"{each.mean_difference:.5f}"]
        accuracies = map(score_text, (each.accuracy, each.float32_accuracy))
        rows.append([each.inputs, *numbers, str(each.changed_labels), *accuracies])
    print(*table_lines(rows), sep="\n")
    if manifest.metrics is None:
        print("the accuracy of the 8-bit graph was not measured; --data measures it")


if __name__ == "__main__":
    sys.exit(main())
