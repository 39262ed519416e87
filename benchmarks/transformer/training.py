"""Fine-tuning on labelled reviews."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops
from tqdm import trange

from benchmarks.transformer.network import Classifier
from benchmarks.transformer.pieces import pad, shorten

#: The batches of each epoch, and the word pieces of their reviews.
EPOCHS = ((703, 128), (703, 256))
#: The blocks next to the embeddings that keep their pretrained weights, as the embeddings do.
FROZEN_BLOCKS = 2
_BATCH = 32
_LEARNING_RATE = 1e-4
_WARMING_UP = 140  # batches
_BETWEEN_CHECKPOINTS = 50

Batch = tuple[int, npt.NDArray[np.int64]]


def plan(rows: Sequence[Sequence[int]]) -> list[Batch]:
    """Return the length and the rows of every batch: rows of similar length, in random order."""
    batches: list[Batch] = []
    for epoch, (count, length) in enumerate(EPOCHS):
        random = np.random.default_rng(epoch)
        lengths = np.minimum([len(row) for row in rows], length)
        order = random.permutation(len(rows))
        groups = np.split(order, range(64 * _BATCH, len(order), 64 * _BATCH))
        order = np.concatenate([group[np.argsort(lengths[group], kind="stable")] for group in groups])
        starts = random.permutation(range(0, len(order), _BATCH))[:count]
        batches += [(length, order[start : start + _BATCH]) for start in starts]
    return batches


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rises linearly at first, and falls linearly to 0 during the last epoch."""

    def __call__(self, step: Any) -> Any:
        """Return the rate of a batch."""
        step = ops.cast(step, "float32")
        steps, last = sum(count for count, _ in EPOCHS), EPOCHS[-1][0]
        return _LEARNING_RATE * ops.minimum(1, ops.minimum((step + 1) / _WARMING_UP, (steps - step) / last))


def fit(model: Classifier, rows: Sequence[list[int]], labels: npt.NDArray[np.float32], folder: Path) -> None:
    """Fine-tune a model. An interrupted training continues from the last checkpoint in `folder`."""
    frozen: list[Any] = [model.embedding, *model.blocks[:FROZEN_BLOCKS]]
    for part in frozen:
        part.trainable = False
    optimizer = keras.optimizers.AdamW(LearningRate(), weight_decay=0.01, global_clipnorm=1.0)
    optimizer.build(model.trainable_variables)
    # XLA takes twice the processor time on a CPU.
    model.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step)
    checkpoints = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1)
    checkpoints.restore_or_initialize()
    batches = plan(rows)
    for number in (progress := trange(int(step.numpy()), len(batches), mininterval=10)):
        length, chosen = batches[number]
        ids = pad([shorten(rows[row], length) for row in chosen], multiple=16)
        loss = model.train_on_batch(ids, labels[chosen, None])
        progress.set_postfix(loss=f"{float(loss):.3f}", refresh=False)
        step.assign_add(1)
        if (number + 1) % _BETWEEN_CHECKPOINTS == 0:
            checkpoints.save()
            model.reset_metrics()
