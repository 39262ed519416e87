"""A trained network: load and evaluate it."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sentiment_conv1d.artifact.explaining.forward import forward
from sentiment_conv1d.artifact.explaining.network import Network, from_keras
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import Tokenizer
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.evaluation import Floats, probabilities
from sentiment_conv1d.model.evaluation.multilabel import Measured, evaluated
from sentiment_conv1d.model.run import Run, RunError

#: The number of texts that Keras answers too, and the largest difference, which is that of an export.
_COMPARED, _TOLERANCE = 32, 1e-5


def load(run: Run) -> keras.Model:
    """Load the trained network of a run. Raises `RunError`."""
    try:
        return keras.models.load_model(run.weights_file, compile=False)
    except Exception as error:
        # For a broken file, zipfile, h5py and the constructors of layers raise errors of many classes.
        raise RunError(f"{run.weights_file}: not a Keras model that can be loaded ({error})") from error


def encode(tokenizer: Tokenizer, texts: list[str]) -> npt.NDArray[np.int32]:
    """Encode texts as input of the network: int32 [texts, max_tokens]."""
    return InputShape.of(tokenizer).pad([encoding.ids for encoding in tokenizer.encode_batch(texts)])


def predict(model: keras.Model, tokenizer: Tokenizer, texts: list[str], progress: bool = False) -> Floats:
    """Run the network on texts, 512 at a time: float32 [texts, outputs]."""
    tokens = encode(tokenizer, texts)
    starts = tqdm(range(0, len(tokens), 512), desc="evaluating", unit="batch", disable=not progress)
    return np.concatenate([model.predict_on_batch(tokens[start : start + 512]) for start in starts])


def evaluate_run(run: Run, examples: Examples, progress: bool) -> Measured:
    """Evaluate a run on labelled texts. Raises `RunError`.

    Look-up tables answer, as they do when the network is served, if they answer some of the texts as Keras does. The
    network of the recipe `ensemble` multiplies most numbers of an embedding by zero. The tables skip them, and the
    padding of short texts.
    """
    model, tokenizer = load(run), run.tokenizer
    try:
        read = from_keras(model, run.configuration)
    except ValueError:  # another program changed the layers
        read = None
    if read is None or not agrees(read, model, tokenizer, examples.texts):
        outputs = predict(model, tokenizer, examples.texts, progress)
    else:
        outputs = predict_with_tables(read, tokenizer, examples.texts, progress)
    return evaluated(run.configuration.labels, examples.labels, outputs, run.decision)


def predict_with_tables(read: Network, tokenizer: Tokenizer, texts: Sequence[str], progress: bool = False) -> Floats:
    """Return the probabilities for texts: float32 [texts, outputs]."""
    shape = InputShape.of(tokenizer, max(bank.span for bank in read.banks))
    rows = [shape.pad([encoding.ids])[0] for encoding in tokenizer.encode_batch(texts)]
    bar = tqdm(rows, desc="evaluating", unit="text", disable=not progress)
    logits = np.array([forward(read, row).logits for row in bar], np.float32)
    return probabilities(logits, sigmoids=read.final == "Sigmoid")


def agrees(read: Network, model: keras.Model, tokenizer: Tokenizer, texts: Sequence[str]) -> bool:
    """Return whether Keras gives the same answers to some of the texts, the shortest and the longest among them."""
    ordered = sorted(texts, key=len)
    chosen = [*ordered[:: max(1, -(-len(ordered) // _COMPARED))], ordered[-1]]
    expected = np.asarray(model.predict_on_batch(encode(tokenizer, chosen)))
    found = predict_with_tables(read, tokenizer, chosen)
    return found.shape == expected.shape and float(np.abs(found - expected).max()) <= _TOLERANCE
