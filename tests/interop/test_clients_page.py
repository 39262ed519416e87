"""docs/clients.md: the Go, Java and Node programs build as described and print what their comments say."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import programs
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, ServerProcess
from tests.programs import find
from tests.test_clients_page import PAGE, here, rounded


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Serve the shipped models as `make serve` does, because the page shows the answers of the default model."""
    with ServerProcess(repository=MODEL_REPOSITORY, default_model=None) as process:
        yield process


def example(name: str, folder: Path, server: ServerProcess) -> tuple[Path, str]:
    """Write a program of the page into a folder, with the address of a server, and return what it should print."""
    program = (PROJECT / "docs" / "clients" / name).read_text()
    [printed] = re.findall(r" // (.*)$", program, re.MULTILINE)
    (folder / name).write_text(here(program, server))
    return folder / name, printed


def generate(plugin: str, folder: Path) -> None:
    """Run the page's command that generates stubs for a language."""
    find("protoc")
    [command] = re.findall(rf"^protoc [^`]*{plugin}[^`]*", PAGE, re.MULTILINE)
    folder.mkdir(exist_ok=True)
    (folder / "sentiment_conv1d").symlink_to(PROJECT / "sentiment_conv1d")
    subprocess.run(command, shell=True, cwd=folder, check=True)


def printed_by(command: programs.Command) -> str:
    """Run a program in the project's folder and return its output."""
    environment = programs.environment(NODE_PATH=str(programs.NODE_MODULES))
    return subprocess.run(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True
    ).stdout


def test_go(server: ServerProcess, tmp_path: Path) -> None:
    """The Go program works."""
    find("go")
    generate("--go_out", tmp_path / "src")
    source, printed = example("predict.go", tmp_path, server)
    assert rounded(printed_by(programs.go(source, tmp_path, tmp_path))) == rounded(printed)


def test_java(server: ServerProcess, tmp_path: Path) -> None:
    """The Java program works."""
    find("grpc_java_plugin")
    generate("--java_out", tmp_path)
    source, printed = example("Predict.java", tmp_path, server)
    stubs = (tmp_path / "sentiment").rglob("*.java")
    assert rounded(printed_by(programs.java([source, *stubs], tmp_path))) == rounded(printed)


def test_node(server: ServerProcess, tmp_path: Path) -> None:
    """The Node program works."""
    source, printed = example("predict.js", tmp_path, server)
    assert rounded(printed_by(programs.node(source))) == rounded(printed)
