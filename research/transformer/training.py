"""Fine-tuning on labelled reviews."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops
from tqdm import trange

from research.transformer.network import Classifier
from research.transformer.pieces import pad, shorten

#: The batches of each epoch on reviews of films, and the word pieces of a review.
EPOCHS = ((703, 128), (703, 256))
#: The word pieces of the longest text of a mixture that is read, in one epoch.
MIXTURE_LENGTH = 64
#: The blocks next to the embeddings that keep their pretrained weights, as the embeddings do.
FROZEN_BLOCKS = 2
_BATCH = 32
_LEARNING_RATE = 1e-4
_WARMING_UP = 140  # batches
_MIXTURE_WARMING_UP = 200
_BETWEEN_CHECKPOINTS = 50

Indices = npt.NDArray[np.int64]


class Course(NamedTuple):
    """What a training reads, and how many of its first and last batches have a lower learning rate."""

    batches: list[tuple[int, Indices]]  # the word pieces of a text, and the texts
    rising: int
    falling: int


def course(rows: Sequence[Sequence[int]]) -> Course:
    """Return a course of all rows: batches of similar length, in random order."""
    batches: list[tuple[int, Indices]] = []
    for epoch, (count, length) in enumerate(EPOCHS):
        random = np.random.default_rng(epoch)
        lengths = np.minimum([len(row) for row in rows], length)
        order = random.permutation(len(rows))
        groups = np.split(order, range(64 * _BATCH, len(order), 64 * _BATCH))
        order = np.concatenate([group[np.argsort(lengths[group], kind="stable")] for group in groups])
        starts = random.permutation(range(0, len(order), _BATCH))[:count]
        batches += [(length, order[start : start + _BATCH]) for start in starts]
    return Course(batches, _WARMING_UP, EPOCHS[-1][0])


def mixture_course(rows: Sequence[Sequence[int]], generator: np.random.Generator) -> Course:
    """Return a course of all rows, which are short: large batches of similar length, in random order."""
    lengths = np.array([len(row) for row in rows])
    batches = []
    for group in np.split(np.arange(len(rows)), range(256 * _BATCH, len(rows), 256 * _BATCH)):
        ordered = group[np.argsort(lengths[group], kind="stable")]
        for start in range(0, len(ordered), 2 * _BATCH):
            batches.append((MIXTURE_LENGTH, ordered[start : start + 2 * _BATCH]))
    shuffled = [batches[index] for index in generator.permutation(len(batches))]
    return Course(shuffled, _MIXTURE_WARMING_UP, int(0.8 * len(shuffled)))


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rises linearly at first, and falls linearly to 0 at the end."""

    def __init__(self, steps: int, rising: int, falling: int) -> None:
        self._steps, self._rising, self._falling = steps, rising, falling

    def __call__(self, step: Any) -> Any:
        """Return the rate of a batch."""
        step = ops.cast(step, "float32")
        return _LEARNING_RATE * ops.minimum(
            1, ops.minimum((step + 1) / self._rising, (self._steps - step) / self._falling)
        )


def fit(
    model: Classifier, rows: Sequence[list[int]], targets: npt.NDArray[np.float32], course: Course, folder: Path
) -> None:
    """Fine-tune a model to the probabilities `targets`, float32 [rows, labels].

    An interrupted training continues from the last checkpoint in `folder`.
    """
    frozen: list[Any] = [model.embedding, *model.blocks[:FROZEN_BLOCKS]]
    for part in frozen:
        part.trainable = False
    optimizer = keras.optimizers.AdamW(
        LearningRate(len(course.batches), course.rising, course.falling), weight_decay=0.01, global_clipnorm=1.0
    )
    optimizer.build(model.trainable_variables)
    # XLA takes twice the processor time on a CPU.
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step)
    checkpoints = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1)
    checkpoints.restore_or_initialize()
    for number in (progress := trange(int(step.numpy()), len(course.batches), mininterval=10, disable=None)):
        length, chosen = course.batches[number]
        ids = pad([shorten(rows[row], length) for row in chosen], multiple=16)
        loss = model.train_on_batch(ids, targets[chosen])
        progress.set_postfix(loss=f"{float(loss):.3f}", refresh=False)
        step.assign_add(1)
        if (number + 1) % _BETWEEN_CHECKPOINTS == 0:
            checkpoints.save()
            model.reset_metrics()
