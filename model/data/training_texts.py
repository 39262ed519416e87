"""Digests of the texts that a model depends on, so that its accuracy is not measured on them by accident.

They are the texts that it was trained on, and the validation texts, which chose the epoch, the temperature and the
threshold.

The file is a NumPy array (`.npy`, version 1.0 of the format) of uint64: the first eight bytes of the BLAKE2b digest of
every text in UTF-8, sorted. It takes 200 kB for 25,000 texts. Digests identify a text in any file and any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.model.data.examples import Examples, LabelledTexts
from sentiment_conv1d.tables import DataError


@dataclass(frozen=True, eq=False)
class TrainingTexts:
    """Digests of the texts that a model was trained on, and of its validation texts: uint64, sorted."""

    digests: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, texts: Iterable[str]) -> TrainingTexts:
        """Return the digests of texts."""
        return cls(np.unique(digests_of(texts)))

    @classmethod
    def read(cls, path: Path) -> TrainingTexts:
        """Read a file that `write` wrote. Raises `DataError`, which names the file."""
        try:
            digests = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from error
        if not isinstance(digests, np.ndarray) or digests.dtype != np.uint64 or digests.ndim != 1:
            raise DataError(f"{path}: not a list of digests")
        return cls(digests)

    def __or__(self, other: TrainingTexts) -> TrainingTexts:
        return TrainingTexts(np.union1d(self.digests, other.digests))

    def write(self, path: Path) -> None:
        """Write the digests to a `.npy` file."""
        np.save(path, self.digests, allow_pickle=False)

    def held_out(self, examples: Examples) -> Examples:
        """Return the examples whose text is none of these."""
        return examples.take(np.flatnonzero(~self.contains(examples)))

    def contains(self, examples: Examples) -> npt.NDArray[np.bool_]:
        """Return whether the text of each example is one of these: bool [examples]."""
        return np.isin(digests_of(examples.texts), self.digests)


def measurable(loaded: LabelledTexts, trained_on: TrainingTexts | None) -> tuple[Examples, str]:
    """Return the examples to measure a model on, and a description of them.

    Training and validation texts are left out, unless there are no others. If `trained_on` is None, they are unknown
    and nothing is left out. The description says which of these cases applies.
    """
    examples = loaded.examples
    everything = f"{counted(len(examples), 'text')} of {loaded.source}"
    if trained_on is None:
        return examples, f"{everything}, which may include training texts"
    held_out = trained_on.held_out(examples)
    if len(held_out) == len(examples):
        return examples, everything
    if not len(held_out):
        return examples, f"{everything}, all of them training or validation texts"
    return held_out, f"{len(held_out):,} of {everything}; the others are training or validation texts"


def digests_of(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return the digest of each text: uint64 [texts]."""
    digests = (blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
