"""Triton's load generator perf_analyzer runs unmodified against the service without a failure."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.processes import PATIENCE, ServerProcess, environment

Analyze = Callable[..., str]

TEXTS = ["A gripping, beautifully acted film.", "Dull, très long, and a waste of time.", "", "word " * 600]


@pytest.fixture(scope="module")
def binary() -> Path:
    """Return the path of the program. The package's own command loses its exit status."""
    package = importlib.util.find_spec("perf_analyzer")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "bin" / "perf_analyzer"
        if path.is_file():
            return path
    here = (sys.platform, platform.machine())
    assert os.environ.get("CI") != "true" or here != ("linux", "x86_64"), "perf-analyzer is not installed"
    pytest.skip(f"perf-analyzer has no program for {' '.join(here)}")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a file of texts."""
    path = tmp_path_factory.mktemp("data") / "texts.json"
    path.write_text(json.dumps({"data": [{"text": [text]} for text in TEXTS]}))
    return path


@pytest.fixture
def analyze(binary: Path, server: ServerProcess, tmp_path: Path) -> Analyze:
    """Run it, check its status, its table and its report, and return the report."""

    def run(protocol: str, *flags: str, concurrency: Sequence[int] = (1, 32)) -> str:
        port = server.port if protocol == "http" else server.grpc_port
        table = tmp_path / "table.csv"
        step = concurrency[1] - concurrency[0]
        result = subprocess.run(
            [
                *(str(binary), "-m", "imdb-cnn", "-i", protocol, "-u", f"127.0.0.1:{port}", "-f", str(table)),
                *("--concurrency-range", f"{concurrency[0]}:{concurrency[-1]}:{step}"),
                # A level needs three of 50 windows of 200 ms with requests, which may differ as much as they like.
                *("--measurement-interval", "200", "-r", "50", "-s", "1000", *flags),
            ],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        report = result.stdout
        assert result.returncode == 0, report
        assert not re.search(r"fail|error|not valid|unable", report, re.IGNORECASE), report
        with table.open() as lines:
            rows = {int(row["Concurrency"]): float(row["Inferences/Second"]) for row in csv.DictReader(lines)}
        assert sorted(rows) == list(concurrency) and min(rows.values()) > 0, report
        levels = report.split("Request concurrency: ")[1:]
        assert len(levels) == len(concurrency)
        for level in levels:
            [server_side] = re.findall(r"Server: \n(?: {4}.*\n)+", level)
            counts = {name: int(count) for name, count in re.findall(r"(\w+(?: request)?) count: (\d+)", server_side)}
            assert min(counts["Inference"], counts["Execution"], counts["Successful request"]) > 0, report
        return report

    return run


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_one_text(analyze: Analyze, protocol: str) -> None:
    """One text is sent by 8 to 32 concurrent callers."""
    analyze(protocol, "--string-data", TEXTS[0], concurrency=range(8, 33, 8))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_file_in_batches(analyze: Analyze, data: Path, protocol: str) -> None:
    """Texts of a file are sent in batches of eight."""
    report = analyze(protocol, "--input-data", str(data), "-b", "8")
    assert "Batch size: 8" in report
    for rows, runs in re.findall(r"Inference count: (\d+)\n *Execution count: (\d+)", report):
        assert int(rows) % 8 == 0
        assert 0 < int(runs) < int(rows)


def test_random_texts(analyze: Analyze) -> None:
    """Random strings and random ids, the default data, are answered."""
    analyze("http", "--string-length", "200")


def test_json(analyze: Analyze) -> None:
    """JSON instead of binary tensors works."""
    analyze("http", "--string-data", TEXTS[1], "--input-tensor-format", "json", "--output-tensor-format", "json")


def test_asynchronous_callers(analyze: Analyze) -> None:
    """One thread can have many concurrent requests."""
    analyze("http", "--string-data", TEXTS[1], "--async")


def test_stream(analyze: Analyze) -> None:
    """gRPC streams work."""
    analyze("grpc", "--string-data", TEXTS[1], "--streaming")


def test_compression(analyze: Analyze) -> None:
    """Compressed messages work."""
    analyze("grpc", "--string-data", TEXTS[1], "--grpc-compression-algorithm", "gzip")


def test_an_unknown_model_is_noticed(binary: Path, server: ServerProcess) -> None:
    """A failure has a status other than 0 and shows the service's reason, so the other tests would notice it."""
    command = [str(binary), "-m", "other", "-u", f"127.0.0.1:{server.port}", "--string-data", "x"]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode != 0
    assert "there is no model 'other'" in result.stdout + result.stderr
