"""A trained network: load and evaluate it."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.decision import THRESHOLD
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.run import Run, RunError
from sentiment_conv1d.model.tokenizer import Tokenizer


def load(run: Run) -> keras.Model:
    """Load the trained network of a run. Raises `RunError`."""
    try:
        return keras.models.load_model(run.keras_file, compile=False)
    except Exception as error:
        # For a broken file, zipfile, h5py and the constructors of layers raise errors of many classes.
        raise RunError(f"{run.keras_file}: not a Keras model that can be loaded ({error})") from error


def encode(tokenizer: Tokenizer, texts: list[str]) -> npt.NDArray[np.int32]:
    """Encode texts as input of the network: int32 [texts, max_tokens]."""
    return InputShape.of(tokenizer).pad([encoding.ids for encoding in tokenizer.encode_batch(texts)])


def evaluate(
    model: keras.Model,
    tokenizer: Tokenizer,
    label_names: tuple[str, ...],
    examples: Examples,
    progress: bool,
    threshold: float = THRESHOLD,
) -> Evaluation:
    """Run the network on labelled texts, 512 at a time, and evaluate its answers."""
    tokens = encode(tokenizer, examples.texts)
    blocks = [
        model.predict_on_batch(tokens[start : start + 512])
        for start in tqdm(range(0, len(tokens), 512), desc="evaluating", unit="batch", disable=not progress)
    ]
    return Evaluation(label_names, examples.labels, np.concatenate(blocks), threshold)
