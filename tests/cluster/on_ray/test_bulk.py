"""Scoring files with actors of a cluster gives the same output as on one machine, even if processes are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: make test-ray")

import pyarrow
import ray
from pyarrow import parquet

from sentiment_conv1d.scoring.local import LocalEngine
from sentiment_conv1d.scoring.part import PROGRESS, Job, Result, score_part
from sentiment_conv1d.scoring.plan import Part
from sentiment_conv1d.scoring.ray_data import score_on_ray
from sentiment_conv1d.scoring.run import ERRORS, MANIFEST, Engine, Output, Summary, score_sources
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.scoring.storage import find_sources
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, environment, eventually
from tests.service.reviews import reviews

ARTIFACT = MODEL_REPOSITORY / "imdb-cnn" / "1"
TEXTS: list[Any] = [*reviews(1000, seed=9) * 2, None, " "]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return 2,000 texts and two rows without a text."""
    table = pyarrow.table({"id": list(range(len(TEXTS))), "text": TEXTS})
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=700)
    return tmp_path / "in.parquet"


def score(source: Path, out: Path, engine: Engine) -> Summary:
    """Score a file into parts of 50 rows."""
    job = Job(Session(str(ARTIFACT)), "", ".parquet")
    output = Output(str(out), single=False, extension=".parquet")
    return score_sources(find_sources([str(source)]), output, job, engine, part_rows=50, progress=False)


def test_same_as_local(nodes: Any, source: Path, tmp_path: Path) -> None:
    """Two actors write the files that local processes write, with the same manifest and errors."""
    assert score(source, tmp_path / "ray", partial(score_on_ray, workers=2)) == (2000, 2, ERRORS)
    with LocalEngine(Session(str(ARTIFACT)), 2) as engine:
        assert score(source, tmp_path / "local", engine) == (2000, 2, ERRORS)
    names = {path.name for path in (tmp_path / "ray").iterdir()}
    assert names == {path.name for path in (tmp_path / "local").iterdir()}
    for name in names - {MANIFEST}:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    first, second = (json.loads((tmp_path / kind / MANIFEST).read_text()) for kind in ("ray", "local"))
    assert first | {"seconds": 0} == second | {"seconds": 0}


def test_a_node_is_killed(nodes: Any, source: Path, tmp_path: Path) -> None:
    """If a node dies, the other node scores its parts, and the output has each row exactly once."""
    cluster, _ = nodes
    third = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)

    def kill() -> None:
        eventually(lambda: len(list((tmp_path / "out").glob(f"{PROGRESS}*"))) > 3)
        cluster.remove_node(third, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    assert score(source, tmp_path / "out", partial(score_on_ray, workers=3)).rows == 2000
    killer.join(PATIENCE)
    assert parquet.read_table(tmp_path / "out")["id"].to_pylist() == list(range(2000))


def test_killed_and_resumed(nodes: Any, source: Path, tmp_path: Path) -> None:
    """If a run is killed before its end, the same command writes the missing parts, and no row twice.

    The paths are relative to the folder of the command, which is not that of the cluster.
    """
    cluster, _ = nodes
    out = tmp_path / "out"
    arguments = ("predict", source.name, "--engine", "ray", "--workers", "2", "--part-rows", "50", "--out", "out/")
    command = [sys.executable, "-m", "service", *arguments]
    variables = environment(RAY_ADDRESS=cluster.address, SENTIMENT_MODEL_REPOSITORY=str(MODEL_REPOSITORY))
    process = subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.DEVNULL)
    eventually(lambda: len(list(out.glob(f"{PROGRESS}*"))) > 3 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    finished = len(list(out.glob(f"{PROGRESS}*")))
    assert 3 < finished < 41
    result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("2,000 reviews scored into out/\n")
    assert f"2 rows cannot be scored; out/{ERRORS} says why" in result.stderr
    assert parquet.read_table(out)["id"].to_pylist() == list(range(2000))


def test_errors_are_those_of_parts(nodes: Any, source: Path, tmp_path: Path) -> None:
    """A part that cannot be read ends the run with the same message as on one machine, and finished parts stay."""

    def first_part(job: Job, parts: Iterator[Part]) -> Iterator[Result]:
        yield score_part(job, next(parts))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(source, tmp_path / "out", first_part)
    assert score(source, tmp_path / "out", partial(score_on_ray, workers=1)).rows == 2000


def test_no_cluster(source: Path, tmp_path: Path) -> None:
    """If the command cannot connect to the cluster, it prints the reason and ends with status 2."""
    command = [sys.executable, "-m", "service", "predict", str(source), "--engine", "ray", "--out", f"{tmp_path}/out/"]
    variables = environment(RAY_ADDRESS="no address")
    result = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.endswith("\nerror: cannot connect to Ray: Invalid address format: no address\n")


class Occupant:
    """An actor that occupies a processor."""


def test_busy_cluster(nodes: Any, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If no processor is free, a run says that it waits, and goes on when one is free."""
    occupants = [ray.remote(num_cpus=1)(Occupant).remote() for _ in range(2)]
    eventually(lambda: ray.available_resources().get("CPU", 0) == 0)
    with ThreadPoolExecutor() as threads:
        run = threads.submit(score, source, tmp_path / "out", partial(score_on_ray, workers=1))
        eventually(lambda: "no processor of the cluster is free" in caplog.text)
        for each in occupants:
            ray.kill(each)
        assert run.result(PATIENCE).rows == 2000
