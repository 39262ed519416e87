"""`python -m benchmarks.transformer`: what a small transformer costs, compared with the shipped models.

`train` downloads the pretrained MiniLM-L6, fine-tunes it on labelled reviews and writes it as ONNX graphs. It takes an
hour with two cores. `measure` measures these graphs and the shipped models together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np

from benchmarks.markdown import circumstances
from benchmarks.transformer import measurement, training, weights
from benchmarks.transformer.network import Classifier, Size
from benchmarks.transformer.pieces import WordPieces
from benchmarks.transformer.session import MODEL, QUANTIZED, Session, export
from sentiment_conv1d.model.data.loading import load

#: The training reviews that the model does not learn from.
_HELD_OUT = 2500
#: The word pieces of a review that the model reads.
LENGTH = training.EPOCHS[-1][1]


def train(data: Path, out: Path) -> None:
    """Fine-tune the model, and measure its accuracy on training reviews that were held out."""
    out.mkdir(parents=True, exist_ok=True)
    tensors, tokenizer = weights.read(weights.download(out))
    examples = load(data).train
    order = np.random.default_rng(0).permutation(len(examples))
    held_out, learned = examples.take(order[:_HELD_OUT]), examples.take(order[_HELD_OUT:])

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = Classifier(Size())
    weights.assign(model, tensors)
    rows = WordPieces(tokenizer, LENGTH).encode(learned.texts)
    training.fit(model, rows, learned.labels.astype(np.float32), out / "checkpoints")

    keras.config.set_dtype_policy("float32")
    exact = Classifier(Size())
    exact.set_weights(model.get_weights())
    export(exact, tokenizer, out)
    print(f"held out: {measurement.accuracy(Session(out / MODEL, LENGTH).predict, held_out):.4f}")


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


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transformer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("train", "measure"))
    parser.add_argument("folder", type=Path, help="folder of the trained model; an interrupted training continues")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and test.parquet")
    parser.add_argument("--count", type=int, default=256, help="reviews to measure the costs with (default: 256)")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if options.command == "train":
        train(options.data, options.folder)
    else:
        measure(options.data, options.folder, options.count, options.rounds)


if __name__ == "__main__":
    main()
