"""The environments of the other servers and libraries have stated versions and are created on demand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import environments
from benchmarks.environments import NotInstalled
from benchmarks.other_servers.servers import OTHER_SERVERS
from tests.processes import PROJECT

SERVERS = {other.name: other.package for other in OTHER_SERVERS}
NAMES = {**SERVERS, "transformers": "transformers"}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a temporary folder for environments, and a server `nothing` without packages."""
    monkeypatch.setattr(environments, "_ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(environments, "_VERSIONS", tmp_path / "versions.toml")
    monkeypatch.setattr(environments, "_APPLICATION", ())
    (tmp_path / "versions.toml").write_text("[nothing]\npackages = []\n")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_versions(name: str) -> None:
    """Every package has a version, and the comparison reports that of the server."""
    packages = environments.packages(name)
    assert all(re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+", each) for each in packages)
    assert environments.version(name, NAMES[name]) in " ".join(packages)


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers"])
@pytest.mark.parametrize("name", NAMES)
def test_same_libraries(name: str, package: str) -> None:
    """All servers use the same versions of ONNX Runtime and tokenizers as this project."""
    ours = re.search(rf"^{package}==(\S+)", (PROJECT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert ours is not None
    assert environments.version(name, package) == ours[1]


def test_modules_of_servers() -> None:
    """Each server has a module, and there are no others."""
    modules = {path.stem for path in (PROJECT / "benchmarks" / "other_servers" / "applications").glob("*.py")}
    assert modules - {"__init__"} == set(SERVERS)


def test_changed_versions(elsewhere: Path) -> None:
    """An environment is found after its installation, until its packages change."""
    with pytest.raises(NotInstalled, match="not installed"):
        environments.interpreter("nothing")
    environments.install("nothing", sys.executable)
    python = environments.interpreter("nothing")
    prefix = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert Path(prefix.stdout.strip()) == elsewhere / "nothing"
    (elsewhere / "versions.toml").write_text('[nothing]\npackages = ["another==1.0"]\n')
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
