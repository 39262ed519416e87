"""`python -m research.transformer`: what a small transformer costs, compared with the shipped models.

`train` downloads the pretrained MiniLM-L6, fine-tunes it on labelled reviews and writes it as ONNX graphs. Several
folders are a mixture, of which it reads what `reviews` reads in an epoch. It takes half an hour or an hour
with two cores. `answer` writes the answers to all texts of a mixture, which `reviews` can learn from. `measure`
measures the graphs and the shipped models together on the reviews of one folder, and `domains` measures the graphs on
those of `imdb` and `reviews` as `python -m benchmarks.accuracy.domains` does.
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

from benchmarks import markdown
from benchmarks.accuracy import domains as kinds
from benchmarks.markdown import circumstances
from research.__main__ import VALIDATION_FRACTION
from research.mixture.domains import MixturePlan, mixture_plan
from research.mixture.plan import DEFAULT_PLAN, Mixture
from research.mixture.stored_answers import StoredAnswers
from research.transformer import answering, measurement, training, weights
from research.transformer.network import Classifier, Size
from research.transformer.pieces import WordPieces
from research.transformer.session import MODEL, QUANTIZED, TOKENIZER, Session, export
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.data.loading import load

#: The training reviews that the model does not learn from.
_HELD_OUT = 2500
#: The word pieces of a review that the model reads.
LENGTH = training.EPOCHS[-1][1]
_WEIGHTS = "model.weights.h5"


class Lessons(NamedTuple):
    """What a training learns from, and the texts that it is measured on."""

    rows: list[list[int]]  # word pieces
    labels: npt.NDArray[np.int64]
    course: training.Course
    held_out: Examples


def reviews(folder: Path, tokenizer: bytes) -> Lessons:
    """Return the lessons of reviews of one kind."""
    examples = load(folder).train
    order = np.random.default_rng(0).permutation(len(examples))
    held_out, learned = examples.take(order[:_HELD_OUT]), examples.take(order[_HELD_OUT:])
    rows = WordPieces(tokenizer, LENGTH).encode(learned.texts)
    return Lessons(rows, learned.labels, training.course(rows), held_out)


def mixture(folders: Sequence[Path], tokenizer: bytes) -> Lessons:
    """Return the lessons of a mixture: what `reviews` reads in an epoch."""
    plan = _plan(folders)
    assert plan.validation is not None
    rows = WordPieces(tokenizer, training.MIXTURE_LENGTH).encode(plan.train.texts)
    generator = np.random.default_rng(0)
    course = training.mixture_course(rows, plan.sampling.labelled(generator), generator)
    return Lessons(rows, plan.train.labels, course, plan.validation)


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
    model = Classifier(Size())
    weights.assign(model, tensors)
    training.fit(model, lessons.rows, lessons.labels.astype(np.float32), lessons.course, out / "checkpoints")
    model.save_weights(out / _WEIGHTS)

    keras.config.set_dtype_policy("float32")
    exact = Classifier(Size())
    exact.set_weights(model.get_weights())
    export(exact, tokenizer, out)
    print(f"held out: {measurement.accuracy(Session(out / MODEL, LENGTH).predict, lessons.held_out):.4f}")


def answer(folders: Sequence[Path], folder: Path, out: Path) -> None:
    """Write the answers of the trained model to all texts of a mixture, and to sentences of those of an epoch.

    It reads no test splits.
    """
    plan = _plan(folders)
    generator = np.random.default_rng(5)
    drawn = np.unique(np.concatenate([plan.sampling.labelled(generator), plan.sampling.unlabelled(generator)]))
    known = [*plan.train.texts, *plan.unlabelled]
    texts = [*plan.used_texts, *answering.some_sentences([known[index] for index in drawn], generator)]
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = Classifier(Size())
    model.load_weights(folder / _WEIGHTS)
    pieces = WordPieces((folder / TOKENIZER).read_bytes(), training.MIXTURE_LENGTH)
    StoredAnswers.of(texts, answering.answer(model, pieces.encode(texts))).write(out)


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
    parts = dict(zip((kinds.IMDB, ""), folders, strict=True))
    trained, test = set(kinds.read(parts, "train").domains), kinds.read(parts, "test")
    rows = []
    for name, graph in (("MiniLM, 8 bits", QUANTIZED), ("MiniLM, float32", MODEL)):
        session = Session(folder / graph, training.MIXTURE_LENGTH)
        rows.append([name, *kinds.measure(partial(_are_positive, session), trained, test)])
    print(circumstances(), "", markdown.table(kinds.HEAD, rows), sep="\n")


def _are_positive(session: Session, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    return measurement.probabilities(session.predict, texts) > 0.5


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
    parser.add_argument("--out", type=Path, default=Path("answers.npz"), help="file of the answers")
    parser.add_argument("--count", type=int, default=256, help="reviews to measure the costs with (default: 256)")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if options.command == "train":
        train(options.data, options.folder)
    elif options.command == "answer":
        answer(options.data, options.folder, options.out)
    elif options.command == "domains":
        domains(options.data, options.folder)
    else:
        measure(options.data[0], options.folder, options.count, options.rounds)


if __name__ == "__main__":
    main()
