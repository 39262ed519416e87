"""The engine of a cluster: Ray Data maps the parts over actors, with one session of one thread each.

The parts travel, their rows do not: an actor reads its part where it lies and writes it where the output goes. Every
machine has to reach both, in a folder that all of them mount or in an object store, and has the artifact at the same
path. Imports Ray, so it is imported only if this engine is chosen.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator
from typing import Any

from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.scoring.part import Job, Result, score_part
from sentiment_conv1d.scoring.plan import Part

# Ray reads it when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

try:
    import ray
    import ray.data as ray_data
except ImportError as error:
    raise DataError(
        "the engine `ray` needs Ray, install the `ray` extra (`pip install --require-hashes -r requirements/ray.txt`)"
    ) from error

#: Blocks of a data set at most; a block of a larger run has several parts.
_MOST_BLOCKS = 10_000


def score_on_ray(job: Job, parts: Iterator[Part], workers: int = 0) -> Iterator[Result]:
    """Score parts on the cluster of `RAY_ADDRESS`, or on a local one that is started and stopped; in any order.

    `workers` actors of one processor each, or as many as the cluster has processors. Ray repeats the parts of an actor
    or machine that dies. Raises as `score_part` does.
    """
    rows = [{"work": pickle.dumps((job, part))} for part in parts]
    if not rows:
        return
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    try:
        size = workers or int(ray.cluster_resources()["CPU"])
        context = ray_data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        data = ray_data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS))
        scored = data.map(
            _Actor,
            num_cpus=1,
            compute=ray_data.ActorPoolStrategy(size=min(size, len(rows))),
        )
        for row in scored.iter_rows():
            if row["error"]:
                raise DataError(row["error"])
            yield Result(**row["result"])
    finally:
        if started:
            ray.shutdown()


class _Actor:
    """Scores parts in a process of Ray. Errors are rows, since Ray would wrap and repeat exceptions."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            result = score_part(*pickle.loads(row["work"]))  # noqa: S301 - pickled by `score_on_ray`
        except DataError as error:
            return {"result": None, "error": str(error)}
        return {"result": result._asdict(), "error": ""}
