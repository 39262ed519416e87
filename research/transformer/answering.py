"""The answers of the trained model to many texts, stored as a file that a mixture learns from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from research.mixture.sentences import sentences
from research.transformer.network import Classifier
from research.transformer.pieces import pad

#: The word pieces of a batch, with the padding.
_PIECES = 6144

#: Sentences of a text that are answered.
_SENTENCES = 2


def some_sentences(texts: Sequence[str], generator: np.random.Generator) -> list[str]:
    """Return up to two random sentences of each text, each once."""
    found = map(sentences, texts)
    drawn = [each[index] for each in found for index in generator.permutation(len(each))[:_SENTENCES]]
    return list(dict.fromkeys(drawn))


def answer(model: Classifier, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
    """Return the log-odds of `positive`, float32 [rows]. Rows of similar length are answered together."""
    logits = tf.function(model.call, input_signature=[tf.TensorSpec((None, None), tf.int32)])
    found = np.empty(len(rows), np.float32)
    left = np.argsort([len(row) for row in rows], kind="stable")
    with tqdm(total=len(rows), mininterval=10) as progress:
        while len(left):
            longest = len(rows[left[: _PIECES // 16][-1]])
            batch, left = np.split(left, [max(1, _PIECES // longest)])
            found[batch] = logits(pad([rows[index] for index in batch], multiple=8)).numpy()[:, 0]
            progress.update(len(batch))
    return found
