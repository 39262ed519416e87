"""A trained network: load and evaluate it."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import Tokenizer
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.evaluation import Floats
from sentiment_conv1d.model.evaluation.multilabel import Measured, evaluated
from sentiment_conv1d.model.run import Run, RunError

#: The number of texts that Keras reads at once.
_BATCH = 64


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
    """Run the network on texts: float32 [texts, outputs]."""
    tokens = encode(tokenizer, texts)
    starts = tqdm(range(0, len(tokens), _BATCH), desc="evaluating", unit="batch", disable=None if progress else True)
    return np.concatenate([model.predict_on_batch(tokens[start : start + _BATCH]) for start in starts])


def evaluate_run(run: Run, examples: Examples, progress: bool) -> Measured:
    """Evaluate a run on labelled texts. Raises `RunError`."""
    outputs = predict(load(run), run.tokenizer, examples.texts, progress)
    return evaluated(run.configuration.labels, examples.labels, outputs, run.decision)
