"""`python -m research.transformer`: what a small transformer costs, compared with the shipped models.

`train` downloads the pretrained MiniLM-L6, fine-tunes it on labelled reviews and writes it as ONNX graphs. Several
folders are a mixture with three labels, of which it reads short texts that `reviews` reads in an epoch. It takes half
an hour or an hour with two cores. `answer` writes the answers to sentences of a mixture and to short texts without a
label, which `reviews` learns from, or adds them to a file of answers. `measure` measures the graphs and the shipped
models together on the reviews of one folder, and `domains` measures the graphs of a mixture on `imdb` and `reviews` as
`python -m benchmarks.accuracy.neutral` does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from benchmarks.accuracy import neutral
from benchmarks.markdown import circumstances
from research.__main__ import VALIDATION_FRACTION
from research.mixture.domains import MixturePlan, mixture_plan
from research.mixture.plan import DEFAULT_PLAN, Mixture
from research.mixture.sentences import is_short, sentences
from research.mixture.stored_answers import StoredAnswers
from research.transformer import measurement, training, weights
from research.transformer.network import Classifier, Size
from research.transformer.pieces import WordPieces
from research.transformer.session import MODEL, QUANTIZED, Session, export
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.data.labels import SENTIMENTS
from sentiment_conv1d.model.data.loading import load

#: The training reviews that the model does not learn from.
_HELD_OUT = 2500
#: The most texts of a mixture that the model reads.
_MIXTURE_TEXTS = 50_000
#: The word pieces of a review that the model reads.
LENGTH = training.EPOCHS[-1][1]
_WEIGHTS = "model.weights.h5"


class Lessons(NamedTuple):
    """What a training learns from, and the texts that it is measured on."""

    rows: list[list[int]]  # word pieces
    labels: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    course: training.Course
    held_out: Examples


def reviews(folder: Path, tokenizer: bytes) -> Lessons:
    """Return the lessons of reviews of one kind."""
    examples = load(folder).train
    order = np.random.default_rng(0).permutation(len(examples))
    held_out, learned = examples.take(order[:_HELD_OUT]), examples.take(order[_HELD_OUT:])
    rows = WordPieces(tokenizer, LENGTH).encode(learned.texts)
    return Lessons(rows, learned.labels, SENTIMENTS, training.course(rows), held_out)


def mixture(folders: Sequence[Path], tokenizer: bytes) -> Lessons:
    """Return the lessons of a mixture: short labelled texts that `reviews` reads in an epoch."""
    plan = _plan(folders)
    assert plan.validation is not None
    generator = np.random.default_rng(0)
    pieces = WordPieces(tokenizer, training.MIXTURE_LENGTH + 1)
    drawn = plan.train.take(plan.sampling.labelled(generator))
    rows = pieces.encode(drawn.texts)
    short = [index for index, row in enumerate(rows) if len(row) <= training.MIXTURE_LENGTH][:_MIXTURE_TEXTS]
    rows = [rows[index] for index in short]
    course = training.mixture_course(rows, generator)
    held_out = plan.validation.take(np.flatnonzero([is_short(text) for text in plan.validation.texts]))
    return Lessons(rows, drawn.labels[short], plan.label_names, course, held_out)


def _plan(folders: Sequence[Path]) -> MixturePlan:
    """Read a mixture as `make train-reviews` does."""
    return mixture_plan(Mixture.read(DEFAULT_PLAN), folders, VALIDATION_FRACTION, seed=0)


def train(folders: Sequence[Path], out: Path) -> None:
    """Fine-tune the model, and measure its accuracy on training reviews that were held out."""
    out.mkdir(parents=True, exist_ok=True)
    tensors, tokenizer = weights.read(weights.download(out))
    lessons = reviews(folders[0], tokenizer) if len(folders) == 1 else mixture(folders, tokenizer)

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    labels = len(lessons.label_names)
    model = Classifier(Size(), labels)
    weights.assign(model, tensors)
    targets = np.eye(labels, dtype=np.float32)[lessons.labels]
    training.fit(model, lessons.rows, targets, lessons.course, out / "checkpoints")
    model.save_weights(out / _WEIGHTS)

    keras.config.set_dtype_policy("float32")
    exact = Classifier(Size(), labels)
    exact.set_weights(model.get_weights())
    export(exact, tokenizer, out)
    print(f"held out: {measurement.accuracy(Session(out / QUANTIZED, LENGTH).predict, lessons.held_out):.4f}")


def answer(folders: Sequence[Path], folder: Path, out: Path, most: int) -> None:
    """Write the answers of the trained model to sentences of a mixture, and to its short texts without a label.

    It reads no test splits and no texts that are held out. The opinions of answers that `out` has already stay.
    """
    plan = _plan(folders)
    generator = np.random.default_rng(5)
    stored = StoredAnswers.read(out) if out.exists() else StoredAnswers.none()
    texts = to_answer(plan.train.texts, plan.unlabelled, stored, generator)[:most]
    session = Session(folder / QUANTIZED, training.MIXTURE_LENGTH, threads=0)
    found = measurement.probabilities(session.predict, texts)
    stored.joined(StoredAnswers.of(texts, np.log(found))).write(out)


def to_answer(
    labelled: Sequence[str], unlabelled: Sequence[str], stored: StoredAnswers, generator: np.random.Generator
) -> list[str]:
    """Return the sentences of texts, and short texts without a label, of which it is unknown whether they are neutral.

    Each is there once. They are in random order, but those come first whose opinion is known.
    """
    short = filter(is_short, unlabelled)
    cut = (sentence for text in (*labelled, *unlabelled) for sentence in sentences(text))
    found = list(dict.fromkeys((*short, *cut)))
    found = [found[index] for index in generator.permutation(len(found))]
    neutral, opinion = np.isnan(stored.to(found)).T
    return [found[index] for index in np.argsort(opinion, kind="stable") if neutral[index]]


def measure(data: Path, folder: Path, count: int, rounds: int) -> None:
    """Measure the trained model and the shipped ones on the test reviews, and print a table."""
    test = load(data).test
    assert test is not None
    graphs = {"MiniLM, float32": folder / MODEL, "MiniLM, 8 bits": folder / QUANTIZED}
    candidates = measurement.shipped() | {
        name: measurement.Candidate(Session(graph, LENGTH).predict, graph) for name, graph in graphs.items()
    }
    print(circumstances())
    print(f"Medians of {rounds} alternating rounds of {count} reviews, processor time of one thread.\n")
    print(measurement.table(candidates, test, count, rounds))


def domains(folders: Sequence[Path], folder: Path) -> None:
    """Measure the trained model on two folders, reviews of IMDB and of many kinds, and print a table."""
    graphs = {"MiniLM, 8 bits": folder / QUANTIZED, "MiniLM, float32": folder / MODEL}
    models: dict[str, neutral.Answer] = {
        name: partial(_answers, Session(graph, training.MIXTURE_LENGTH).predict) for name, graph in graphs.items()
    }
    print(circumstances(), "", neutral.report(models, neutral.read(*folders)), sep="\n")


def _answers(predict: measurement.Predict, texts: Sequence[str]) -> neutral.Answers:
    return neutral.Answers(measurement.probabilities(predict, texts))


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(
        prog="python -m research.transformer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("train", "answer", "measure", "domains"))
    parser.add_argument("folder", type=Path, help="folder of the trained model; an interrupted training continues")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders with train.parquet and test.parquet"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("answers.npz"), help="file of the answers, or that of another model"
    )
    parser.add_argument(
        "--most", type=int, default=100_000, help="most texts and sentences to answer (default: 100000)"
    )
    parser.add_argument("--count", type=int, default=256, help="reviews to measure the costs with (default: 256)")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if options.command == "train":
        train(options.data, options.folder)
    elif options.command == "answer":
        answer(options.data, options.folder, options.out, options.most)
    elif options.command == "domains":
        domains(options.data, options.folder)
    else:
        measure(options.data[0], options.folder, options.count, options.rounds)


if __name__ == "__main__":
    main()
