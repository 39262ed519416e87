"""The answers of another model to many texts, in a file. A mixture learns from a model that is too slow to run.

The file is an archive of NumPy arrays (`.npz`): `digests`, uint64 [texts], sorted, as in `model.data.training_texts`,
and `log_odds`, float16 [texts], the log-odds of label 1 of the text with this digest.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.data.training_texts import digests_of
from sentiment_conv1d.tables import DataError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StoredAnswers:
    """Log-odds of label 1, float16, by the digest of the text, uint64, sorted."""

    digests: npt.NDArray[np.uint64]
    log_odds: npt.NDArray[np.float16]

    @classmethod
    def none(cls) -> Self:
        """Return answers to no texts."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.float16))

    @classmethod
    def of(cls, texts: Sequence[str], log_odds: Floats) -> Self:
        """Return the answers to texts, as log-odds, float32 [texts]."""
        digests, first = np.unique(digests_of(texts), return_index=True)
        return cls(digests, log_odds[first].astype(np.float16))

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
        if found.digests.shape != found.log_odds.shape:
            raise DataError(f"{path}: not a list of stored answers")
        return found

    def write(self, path: Path) -> None:
        """Write the answers to a `.npz` file."""
        np.savez(path, digests=self.digests, log_odds=self.log_odds)

    def to(self, texts: Sequence[str]) -> Floats:
        """Return the log-odds of label 1, float32 [texts]; NaN for a text without an answer."""
        wanted = digests_of(texts)
        log_odds = np.full(len(wanted), np.nan, np.float32)
        found = np.isin(wanted, self.digests)
        log_odds[found] = self.log_odds[np.searchsorted(self.digests, wanted[found])]
        return log_odds
