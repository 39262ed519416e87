"""A test that passes only when it is repeated fails a strict run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE, PROJECT
from tests.reruns import excused

FLAKY = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("name", ["a"])
def test_flaky(name, pytestconfig):
    ran = pytestconfig.rootpath / "ran"
    ran.write_text(ran.read_text() + "x" if ran.exists() else "x")
    assert ran.read_text() == "xx"
"""


@pytest.mark.parametrize("processes", [[], ["-n", "1"]], ids=["one process", "parallel"])
@pytest.mark.parametrize(
    ("strict", "listed", "status"),
    [("1", "", 1), ("0", "", 0), ("1", "test_flaky.py::test_flaky a reason\n", 0), ("1", "test_other a reason\n", 1)],
)
def test_strict(tmp_path: Path, processes: list[str], strict: str, listed: str, status: int) -> None:
    """A strict run fails if a test was repeated that is not listed, and names it."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "reruns.txt").write_text(f"# A comment.\n\n{listed}")
    (tmp_path / "test_flaky.py").write_text(FLAKY)
    flags = ["--reruns", "1", "-p", "tests.reruns", "-p", "no:locust", "-p", "no:cacheprovider", *processes]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", ".", *flags],
        cwd=tmp_path,
        env=os.environ | {"STRICT": strict, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == status, finished.stdout + finished.stderr
    assert "1 passed, 1 rerun" in finished.stdout
    assert ("STRICT: test_flaky.py::test_flaky[a] was repeated" in finished.stdout) == bool(status)


def test_reasons(tmp_path: Path) -> None:
    """A listed test needs a reason, and those of the project have one and exist."""
    (tmp_path / "reruns.txt").write_text("test_flaky.py::test_flaky\n")
    with pytest.raises(ValueError, match="not enough values"):
        excused(tmp_path / "reruns.txt")
    paths = {test.partition("::")[0] for test in excused(PROJECT / "tests" / "reruns.txt")}
    assert [path for path in paths if not (PROJECT / path).is_file()] == []
