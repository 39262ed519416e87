"""Every command that reads data counts, skips and lists bad rows as its flags say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentiment_conv1d.model.__main__ import main
from tests.tiny import FLAGS


@pytest.fixture
def messy(reviews: Path, tmp_path: Path) -> Path:
    """Write sixty good reviews and three bad rows: two without a text, and one with a wrong number of fields."""
    path = tmp_path / "messy.csv"
    path.write_text(reviews.read_text(encoding="utf-8") + ",positive\none,two,three\n,negative\n", encoding="utf-8")
    return path


def listed(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def bad_rows(path: Path) -> list[dict[str, Any]]:
    """Return the expected file of the bad rows of `messy`."""
    empty, fields = "the column 'text' is empty in this row", "3 fields, while the header has 2"
    return [
        {"source": str(path), "unit": "line", "number": number, "reason": reason}
        for number, reason in ((62, empty), (63, fields), (64, empty))
    ]


def summary(path: Path) -> list[str]:
    return [
        f"warning: left out: {path}: lines 62, 64 (2 rows): the column 'text' is empty in this row",
        f"warning: left out: {path}: line 63: 3 fields, while the header has 2",
    ]


def assert_listed(out: Path, messy: Path, mode: str, printed: list[str]) -> None:
    """Assert that only `report` writes a file of bad rows into a folder, and that the command says so."""
    file = out / "bad_rows.jsonl"
    if mode == "report":
        assert listed(file) == bad_rows(messy)
        assert f"{file} lists the rows that were left out" in printed
    else:
        assert not file.exists()


@pytest.mark.parametrize("mode", ["skip", "report"])
def test_training(mode: str, messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training with `skip` or `report` counts the skipped rows. `report` lists them in the run folder."""
    out = tmp_path / "run"
    arguments = ["train", "--data", str(messy), "--on-bad-rows", mode, "--out", str(out), *FLAGS, "--epochs", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if "left out: " in line] == summary(messy)
    assert_listed(out, messy, mode, printed)
    assert main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize("mode", ["skip", "report"])
def test_evaluation(mode: str, messy: Path, run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Evaluation with `skip` or `report` counts the skipped rows. `report` lists them beside the metrics."""
    out = tmp_path / "evaluation"
    arguments = ["evaluate", str(run_path), "--data", str(messy), "--on-bad-rows", mode, "--out", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == summary(messy)
    assert "measured on 12 of 60 texts of messy.csv; the others are training or validation texts:" in printed
    assert_listed(out, messy, mode, printed)
    assert main(arguments) == 0


def test_evaluation_without_a_flag(
    messy: Path, run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a flag, one message lists all bad rows, and nothing is written."""
    assert main(["evaluate", str(run_path), "--data", str(messy), "--out", str(tmp_path / "evaluation")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: the data has 2 problems:"
    assert [f"warning: left out: {line.strip()}" for line in lines[1:3]] == summary(messy)
    assert lines[3:] == ["hint: --on-bad-rows skip leaves these rows out"]
    assert not (tmp_path / "evaluation").exists()


def test_check_data(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check-data` writes no file, so `report` prints every row."""
    assert main(["check-data", str(messy), "--on-bad-rows", "report"]) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if "left out: " in line]
    assert printed == [
        f"warning: left out: {row['source']}: line {row['number']}: {row['reason']}" for row in bad_rows(messy)
    ]
