"""The wheel and the source distribution are complete and reproducible, or the build fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from readme_renderer import markdown

from sentiment_conv1d.service.version import package_version
from tests.native.libraries import compiler
from tests.package.environments import PACKAGE, Installed, build, closure, link, make_environment, metadata, pip
from tests.processes import PATIENCE, PROJECT
from tests.programs import needed

#: The folders beside the package that the wheel contains in it.
FOLDERS = ("export", "model", "model_repository", "server", "service")

#: The native code, which a build adds if there is a compiler.
LIBRARY = f"{PACKAGE}/native/library.so"

#: What a build reads besides them.
FILES = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "NOTICE", ".gitignore")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Copy the project without Git, as from a ZIP archive, below a folder that .gitignore names."""
    archive = tmp_path / "build" / "sentiment-conv1d-main"
    archive.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(PROJECT / name, archive / name)  # with another time and mode
    for name in (PACKAGE, *FOLDERS):
        ignored = shutil.ignore_patterns("__pycache__", "*.pyi")
        shutil.copytree(PROJECT / name, archive / name, ignore=ignored, copy_function=shutil.copyfile)
    return archive


def names_in(wheel: Path) -> set[str]:
    """Return the names of the files in a wheel."""
    with ZipFile(wheel) as opened:
        return set(opened.namelist())


def tracked() -> set[str]:
    """Return the files that the wheel has to contain: those that Git tracks, or all in an archive."""
    if not (PROJECT / ".git").exists():
        pytest.skip("this is not a checkout of Git")
    command = ["git", "ls-files", *FOLDERS, PACKAGE]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    return {name for name in listed if (PROJECT / name).exists()}


def test_contents(wheel: Path) -> None:
    """The wheel contains one package with every file of its folders that Git tracks, except the .proto files.

    A wheel for this platform also contains the native code.
    """
    expected = {name if name.startswith(f"{PACKAGE}/") else f"{PACKAGE}/{name}" for name in tracked()}
    names = names_in(wheel)
    assert {name.split("/")[0] for name in names} == {PACKAGE, f"{PACKAGE}-{package_version()}.dist-info"}
    assert (LIBRARY in names) != wheel.name.endswith("-py3-none-any.whl")
    assert {name for name in names if name.startswith(f"{PACKAGE}/")} - {LIBRARY} == {
        name for name in expected if not name.endswith(".proto")
    }


def test_terms(wheel: Path) -> None:
    """The wheel contains the licence and the terms of the training texts of the shipped models."""
    folder = f"{PACKAGE}-{package_version()}.dist-info/licenses"
    with ZipFile(wheel) as opened:
        for name in ("LICENSE", "NOTICE"):
            assert opened.read(f"{folder}/{name}") == (PROJECT / name).read_bytes()


def test_without_compiler(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler, the build writes a wheel for every platform, also beside a library from another build."""
    monkeypatch.setenv("CXX", "")
    (archive / LIBRARY).write_bytes(b"for another processor")
    built = build(archive, tmp_path / "wheel")
    assert built.name == f"{PACKAGE}-{package_version()}-py3-none-any.whl"
    assert LIBRARY not in names_in(built)


def test_dist(archive: Path, tmp_path: Path) -> None:
    """`make dist` writes the source distribution, a wheel for every platform and one with the native code for Linux.

    Package indexes accept its name, and a second build writes the same bytes.
    """
    needed(Path(sys.prefix, "tools", ".installed"))
    compiler()
    (archive / "requirements").mkdir()
    for name in ("Makefile", "requirements/tools.txt"):
        shutil.copy2(PROJECT / name, archive / name)
    builds = []
    for _ in range(2):
        command = ["make", "dist", f"VENV={sys.prefix}", f"BUILD={tmp_path / 'again'}"]
        subprocess.run(command, cwd=archive, check=True, capture_output=True, timeout=PATIENCE)
        builds.append({path.name: path.read_bytes() for path in (archive / "dist").iterdir()})
        shutil.rmtree(archive / "dist")
    assert builds[0] == builds[1]
    source, *wheels = sorted(builds[0], key=lambda name: (name.endswith(".whl"), name))
    assert source == f"{PACKAGE}-{package_version()}.tar.gz"
    for name in wheels:
        (tmp_path / name).write_bytes(builds[0][name])
    assert [("manylinux_2_28" in name, LIBRARY in names_in(tmp_path / name)) for name in wheels] == [
        (False, False),
        (True, True),
    ]


def test_no_other_names(installed: Installed) -> None:
    """The wheel adds no other importable name."""
    assert (installed.packages / PACKAGE).is_dir()
    others = {*FOLDERS, "loadtest", "benchmarks", "research", "tests"}
    assert not others & {path.name for path in installed.packages.iterdir()}


def test_same_bytes(wheel: Path, archive: Path, tmp_path: Path) -> None:
    """An archive without Git builds the same wheel, byte for byte, also beside files that Git would ignore."""
    (archive / PACKAGE / "protos" / "sentiment_pb2.pyi").write_text("x: int")
    (archive / "model_repository" / "mine" / "1").mkdir(parents=True)
    (archive / "model_repository" / "mine" / "1" / "model.onnx").write_bytes(b"x")
    assert build(archive, tmp_path / "wheel").read_bytes() == wheel.read_bytes()


def test_source_distribution(wheel: Path, archive: Path, tmp_path: Path) -> None:
    """The source distribution is the same from a checkout and an archive, and builds the same wheel."""
    source = build(PROJECT, tmp_path / "sdist", "sdist")
    assert build(archive, tmp_path / "again", "sdist").read_bytes() == source.read_bytes()
    with tarfile.open(source) as opened:
        opened.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.glob("sentiment_conv1d-*/")
    assert build(unpacked, tmp_path / "wheel").read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize("folder", [PACKAGE, "model_repository/accurate", "server", "service"])
@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_incomplete(archive: Path, tmp_path: Path, folder: str, target: str) -> None:
    """A build without one of the folders fails and names it, instead of leaving it out."""
    shutil.rmtree(archive / folder)
    with pytest.raises(OSError, match=f"{folder}: missing or empty, so the build would be incomplete"):
        build(archive, tmp_path / "out", target)


def test_links_as_files(archive: Path, tmp_path: Path) -> None:
    """A build fails if a folder is a file, as symbolic links are in a ZIP archive and on Windows."""
    shutil.rmtree(archive / "service")
    (archive / "service").write_text("../service")
    with pytest.raises(OSError, match="service: missing or empty"):
        build(archive, tmp_path / "out")


def test_readme() -> None:
    """Package indexes can render the README, which is the description of the package."""
    rendered = markdown.render((PROJECT / "README.md").read_text("utf-8"))
    assert rendered is not None
    assert ">Limits<" in rendered and "<table>" in rendered and "```" not in rendered


def test_editable_installation(wheel: Path, tmp_path: Path) -> None:
    """`pip install --editable .` installs the command and lets programs anywhere import the checkout."""
    root = tmp_path / "environment"
    python = make_environment(root)
    link(root, closure(metadata(wheel)))
    link(root, closure([Requirement("hatchling")]))
    flags = ("--no-build-isolation", "--no-deps", "--no-index")
    pip("--python", str(python), "install", *flags, "--editable", str(PROJECT))
    program = f"import {PACKAGE}.service.settings as module, {PACKAGE} as top; print(module.__file__, top.__version__)"
    printed = subprocess.run(
        [str(python), "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True
    ).stdout
    assert printed == f"{PROJECT / 'service' / 'settings.py'} {package_version()}\n"
    finished = subprocess.run([root / "bin" / "sentiment-conv1d", "--version"], cwd=tmp_path, check=False)
    assert finished.returncode == 0


def test_other_checkouts(archive: Path) -> None:
    """Two checkouts can share an environment: each runs its own code."""
    for name in ("service", "model"):
        program = f"import {PACKAGE}.{name} as module; print(module.__file__)"
        printed = subprocess.run(
            [sys.executable, "-c", program],
            cwd=archive,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout
        assert printed == f"{archive / name / '__init__.py'}\n"
