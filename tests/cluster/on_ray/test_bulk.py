"""Ray Data scores tables with `BatchScorer`: the same scores as on one machine, even if a worker is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: make test-ray")

import pyarrow
import ray.data
from pyarrow import parquet

from sentiment_conv1d.scoring import BatchScorer
from tests.processes import MODEL_REPOSITORY
from tests.service.reviews import reviews

TEXTS: list[Any] = [*reviews(1000, seed=9) * 2, None, " "]


class KilledOnce:
    """Scores batches, and kills the process that scores the first row unless that has happened already."""

    def __init__(self, scorer: BatchScorer, killed: Path) -> None:
        self._scorer = scorer
        self._killed = killed

    def __call__(self, batch: Any) -> Any:
        if batch["id"][0].as_py() == 0 and not self._killed.exists():
            self._killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._scorer(batch)


def test_a_worker_is_killed(nodes: Any, tmp_path: Path) -> None:
    """If a worker dies, another one scores its batch, and the output has each row exactly once."""
    table = pyarrow.table({"id": list(range(len(TEXTS))), "text": TEXTS})
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=700)
    scorer = BatchScorer(MODEL_REPOSITORY / "imdb-cnn" / "1", on_bad_rows="null")
    rows = ray.data.read_parquet(str(tmp_path / "in.parquet"))
    scored = rows.map_batches(KilledOnce(scorer, tmp_path / "killed"), batch_format="pyarrow", batch_size=50)
    scored.write_parquet(str(tmp_path / "out"))
    assert (tmp_path / "killed").exists()
    assert parquet.read_table(tmp_path / "out").sort_by("id").to_pylist() == scorer(table).to_pylist()
