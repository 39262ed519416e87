"""Builds the wheel and installs it in other environments."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.processes import PATIENCE, PROJECT, environment

PACKAGE = "sentiment_conv1d"

#: What `pip install` gets, and the command that starts the service, in the lines of docs/releasing.md for the README.
[(DISTRIBUTION, START)] = re.findall(
    r"^pip install (\S+)\n(\S.* serve)$", (PROJECT / "docs" / "releasing.md").read_text(), re.MULTILINE
)


@dataclass
class Installed:
    """The environment that the wheel is installed in."""

    program: Path
    packages: Path
    folder: Path  # an empty folder elsewhere

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `sentiment-conv1d ARGUMENTS` outside the project's folder."""
        return subprocess.run(
            [str(self.program), *arguments],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def pip(*arguments: str) -> None:
    """Run pip without a network."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, timeout=PATIENCE)


def build(source: Path, out: Path, target: str = "wheel") -> Path:
    """Build the wheel, or the `sdist`, of a folder, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)]
    finished = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if finished.returncode:
        raise OSError(finished.stderr)
    [built] = out.iterdir()
    return built


def metadata(wheel: Path) -> list[Requirement]:
    """What a wheel requires."""
    with ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        document = message_from_bytes(archive.read(name))
    return [Requirement(line) for line in document.get_all("Requires-Dist", [])]


def applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    """Whether a requirement applies on this machine with these extras."""
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": each}) for each in ("", *extras))


def closure(requirements: Iterable[Requirement], extras: Sequence[str] = ()) -> set[str]:
    """Return the names of all other distributions that an installation with extras installs."""
    requirements = list(requirements)
    inner = [each for each in requirements if applies(each, extras) and each.name == "sentiment-conv1d"]
    extras = [*extras, *(extra for each in inner for extra in each.extras)]
    found: dict[str, set[str]] = {}
    left = [each for each in requirements if applies(each, extras) and each.name != "sentiment-conv1d"]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if name in found and requirement.extras <= found[name]:
            continue
        wanted = found.setdefault(name, set())
        wanted |= requirement.extras
        own = map(Requirement, distribution(name).requires or ())
        left += [each for each in own if applies(each, wanted)]
    return set(found)


def make_environment(root: Path, python: str = sys.executable) -> Path:
    """Create an environment without packages, and return the path of its Python."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(root)], check=True, timeout=PATIENCE)
    return root / "bin" / "python"


def link(root: Path, distributions: Iterable[str]) -> Path:
    """Link installed distributions into an environment, and return the folder of its packages."""
    [packages] = root.glob("lib/python*/site-packages")
    for each in map(distribution, distributions):
        for name in {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
            place = packages / name
            if not place.is_symlink():
                place.symlink_to(Path(str(each.locate_file(name))))
    return packages


def install(wheel: Path, tmp_path_factory: pytest.TempPathFactory, *extras: str) -> Installed:
    """Install the wheel by the name of its distribution, as from an index.

    Its dependencies are links to those of this environment.
    """
    root = tmp_path_factory.mktemp("environment")
    python = make_environment(root)
    packages = link(root, closure(metadata(wheel), extras))
    name = f"{DISTRIBUTION}[{','.join(extras)}]"
    pip("--python", str(python), "install", "--no-index", "--find-links", str(wheel.parent), name)
    return Installed(root / "bin/sentiment-conv1d", packages, tmp_path_factory.mktemp("elsewhere"))


def find_python(version: str) -> str:
    """Return the path of a Python of this version, such as 3.12. If there is none, skip the test."""
    found = shutil.which(f"python{version}")
    for candidate in (found, *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")):
        command = [str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if candidate is not None:
            finished = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
            if finished.stdout.strip() == version:
                return command[0]
    pytest.skip(f"this machine has no Python {version}")
