"""The engine for a cluster: Ray Data maps the parts over actors, each with a session of one thread.

Only the descriptions of parts go through Ray: an actor reads the rows from the input and writes them to the output. All
machines therefore need access to both, in a shared folder or an object store, and the artifact at the same path. This
module imports Ray, so other modules import it only if this engine is chosen.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sentiment_conv1d.model.commands.installation import install_hint
from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.scoring.part import Job, Result, score_part
from sentiment_conv1d.scoring.plan import Part

# Ray reads this variable when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

try:
    import ray
    import ray.data as ray_data
except ImportError as error:
    raise DataError(f"the engine `ray` needs Ray, {install_hint('ray')}") from error

logger = logging.getLogger(__name__)

#: The most blocks of a data set. In larger runs a block has several parts.
_MOST_BLOCKS = 10_000


def score_on_ray(job: Job, parts: Iterator[Part], workers: int = 0) -> Iterator[Result]:
    """Score parts on the cluster of `RAY_ADDRESS`, or on one that it starts and stops. Yields results in any order.

    `workers` is the number of actors with one processor each, by default the number of processors of the cluster. Ray
    repeats the parts of actors and machines that die. Raises as `score_part` does, and `DataError` if it cannot
    connect to the cluster.
    """
    rows = [{"work": pickle.dumps((job, part))} for part in parts]
    if not rows:
        return
    started = not ray.is_initialized()
    if started:
        _connect()
    try:
        size = workers or int(ray.cluster_resources().get("CPU", 1))
        if ray.available_resources().get("CPU", 0) < 1:
            logger.warning("no processor of the cluster is free; waiting for one")
        context = ray_data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        data = ray_data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS))
        scored = data.map(
            _Actor,
            fn_constructor_args=(str(Path.cwd()),),
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


def _connect() -> None:
    """Connect to the cluster of `RAY_ADDRESS`, or start one."""
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise DataError(f"cannot connect to Ray: {error}") from error


class _Actor:
    """Scores parts in a process of Ray. It returns errors as rows, because Ray wraps exceptions and repeats tasks."""

    def __init__(self, folder: str) -> None:
        # Relative paths are relative to the folder of the command. A node may not have it if all paths are URLs.
        with suppress(FileNotFoundError):
            os.chdir(folder)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            result = score_part(*pickle.loads(row["work"]))  # noqa: S301 - pickled by `score_on_ray`
        except DataError as error:
            return {"result": None, "error": str(error)}
        return {"result": result._asdict(), "error": ""}
