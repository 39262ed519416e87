"""The environments of the other servers are pinned with hashes and created on demand."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks.other_servers import environments
from benchmarks.other_servers.environments import NotInstalled
from benchmarks.other_servers.targets import OTHER_SERVERS
from tests.processes import PROJECT

NAMES = [other.name for other in OTHER_SERVERS]


def pins(path: Path) -> list[str]:
    """Return the requirements of a file, each with its options."""
    return path.read_text().replace("\\\n", " ").splitlines()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a temporary folder for environments, with a server `nothing` that has no requirements."""
    monkeypatch.setattr(environments, "_ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(environments, "_REQUIREMENTS", tmp_path)
    (tmp_path / "nothing.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_pinned_requirements(name: str) -> None:
    """Every requirement has a version and hashes."""
    lines = pins(environments.requirements(name))
    assert lines
    for line in lines:
        assert re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers"])
@pytest.mark.parametrize("name", NAMES)
def test_same_libraries(name: str, package: str) -> None:
    """All servers use the same versions of ONNX Runtime and tokenizers as this project."""
    ours = re.search(rf"^{package}==(\S+)", (PROJECT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert ours is not None
    assert environments.version(name, package) == ours[1]


def test_files_of_servers() -> None:
    """Each server has a dependency group, a file of pins and a module, and there are no others."""
    groups = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]
    others = {
        "audit",
        "classifier",
        "cuda",
        "helm",
        "mutants",
        "release",
        "sbom",
        "test-frames",
        "test-ray",
        "test-remote",
        "tfserving-client",
        "workflows",
    }
    assert set(groups) - others == set(NAMES)
    assert {path.stem for path in (PROJECT / "requirements" / "other_servers").iterdir()} == set(NAMES)
    modules = {path.stem for path in (PROJECT / "benchmarks" / "other_servers" / "applications").glob("*.py")}
    assert modules - {"__init__", "classifier"} == set(NAMES)


def test_changed_requirements(elsewhere: Path) -> None:
    """An environment is found after its installation, until its requirements change."""
    with pytest.raises(NotInstalled, match="not installed"):
        environments.interpreter("nothing")
    environments.install("nothing", sys.executable)
    python = environments.interpreter("nothing")
    prefix = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert Path(prefix.stdout.strip()) == elsewhere / "nothing"
    (elsewhere / "nothing.txt").write_text("# another\n")
    with pytest.raises(NotInstalled, match="not installed"):
        environments.interpreter("nothing")


def test_failed_installation(elsewhere: Path) -> None:
    """A failed installation raises an error with the reason, and the server does not count as installed."""
    python = elsewhere / "python"
    python.write_text("#!/bin/sh\necho no venv here >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(NotInstalled, match="no venv here"):
        environments.install("nothing", str(python))
    with pytest.raises(NotInstalled, match="not installed"):
        environments.interpreter("nothing")
