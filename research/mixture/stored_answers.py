"""The answers of other models to many texts, in a file. A mixture learns from models that are too slow to run.

The file is an archive of NumPy arrays (`.npz`): `digests`, uint64 [texts], sorted, as in `model.data.training_texts`,
and `log_odds`, float16 [texts, 2], for the text with this digest: of `neutral`, NaN if it is unknown, and of `positive`
against `negative`. So a model with two labels and one with three can answer different texts.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from research.mixture.labels import NEGATIVE, NEUTRAL, POSITIVE
from sentiment_conv1d.model.data.training_texts import digests_of
from sentiment_conv1d.tables import DataError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StoredAnswers:
    """Log-odds, float16 [texts, 2], by the digest of the text, uint64 [texts], sorted."""

    digests: npt.NDArray[np.uint64]
    log_odds: npt.NDArray[np.float16]

    @classmethod
    def none(cls) -> Self:
        """Return answers to no texts."""
        return cls(np.empty(0, np.uint64), np.empty((0, 2), np.float16))

    @classmethod
    def of(cls, texts: Sequence[str], logits: Floats) -> Self:
        """Return the answers to texts, as logits, float32 [texts, labels]."""
        digests, first = np.unique(digests_of(texts), return_index=True)
        logits = log_softmax(logits[first], axis=1)
        opinion = logits[:, POSITIVE] - logits[:, NEGATIVE]
        neutral = logits[:, NEUTRAL] - np.logaddexp(logits[:, NEGATIVE], logits[:, POSITIVE])
        return cls(digests, np.stack([neutral, opinion], axis=1).astype(np.float16))

    def joined(self, others: StoredAnswers) -> StoredAnswers:
        """Return these answers and those of another model, which decides alone whether a text is neutral.

        The log-odds of the opinion stay.
        """
        digests = np.union1d(self.digests, others.digests)
        log_odds = np.full((len(digests), 2), np.nan, np.float16)
        log_odds[np.searchsorted(digests, others.digests)] = others.log_odds
        log_odds[np.searchsorted(digests, self.digests), 1] = self.log_odds[:, 1]
        return StoredAnswers(digests, log_odds)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote. Raises `DataError`, which names the file."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                found = cls(arrays["digests"], arrays["log_odds"])
        except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: cannot be read as stored answers ({error})") from error
        if found.digests.dtype != np.uint64 or found.log_odds.dtype != np.float16 or found.digests.ndim != 1:
            raise DataError(f"{path}: not a list of stored answers")
        if found.log_odds.shape != (len(found.digests), 2):
            raise DataError(f"{path}: not a list of stored answers")
        return found

    def write(self, path: Path) -> None:
        """Write the answers to a `.npz` file."""
        np.savez(path, digests=self.digests, log_odds=self.log_odds)

    def to(self, texts: Sequence[str]) -> Floats:
        """Return the log-odds of texts, float32 [texts, 2]; NaN for a text without an answer."""
        wanted = digests_of(texts)
        log_odds = np.full((len(wanted), 2), np.nan, np.float32)
        found = np.isin(wanted, self.digests)
        log_odds[found] = self.log_odds[np.searchsorted(self.digests, wanted[found])]
        return log_odds
