"""The environments of the other servers: pinned with hashes, made on demand, named if they are missing."""

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
    """The requirements of a file, each with what belongs to it."""
    return path.read_text().replace("\\\n", " ").splitlines()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Environments in a folder of the test's own, with a server `nothing` that requires nothing."""
    monkeypatch.setattr(environments, "_ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(environments, "_REQUIREMENTS", tmp_path)
    (tmp_path / "nothing.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_requirements_are_pinned_with_hashes(name: str) -> None:
    """Nothing is installed but what was there when the file was made."""
    lines = pins(environments.requirements(name))
    assert lines
    for line in lines:
        assert re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers"])
@pytest.mark.parametrize("name", NAMES)
def test_the_model_runs_in_the_same_libraries(name: str, package: str) -> None:
    """The server is what differs, not the ONNX Runtime under it."""
    ours = re.search(rf"^{package}==(\S+)", (PROJECT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert ours is not None
    assert environments.version(name, package) == ours[1]


def test_every_server_has_its_ranges_and_its_application() -> None:
    """Each server has a group in pyproject.toml, a file of pins and a module, and no others exist."""
    groups = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]
    others = {"audit", "classifier", "cuda", "helm", "sbom", "test-ray", "test-remote", "tfserving-client"}
    assert set(groups) - others == set(NAMES)
    assert {path.stem for path in (PROJECT / "requirements" / "other_servers").iterdir()} == set(NAMES)
    modules = {path.stem for path in (PROJECT / "benchmarks" / "other_servers" / "applications").glob("*.py")}
    assert modules - {"__init__", "classifier"} == set(NAMES)


def test_an_environment_is_good_for_its_requirements_only(elsewhere: Path) -> None:
    """It is found once it is made, and no longer when the requirements are others."""
    with pytest.raises(NotInstalled, match="not installed"):
        environments.interpreter("nothing")
    environments.install("nothing", sys.executable)
    python = environments.interpreter("nothing")
    prefix = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert Path(prefix.stdout.strip()) == elsewhere / "nothing"
    (elsewhere / "nothing.txt").write_text("# another\n")
    with pytest.raises(NotInstalled, match="not installed"):
        environments.interpreter("nothing")


def test_the_reason_of_a_failure_is_passed_on(elsewhere: Path) -> None:
    """A Python that makes no environments says why, and nothing counts as installed."""
    python = elsewhere / "python"
    python.write_text("#!/bin/sh\necho no venv here >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(NotInstalled, match="no venv here"):
        environments.install("nothing", str(python))
    with pytest.raises(NotInstalled, match="not installed"):
        environments.interpreter("nothing")
