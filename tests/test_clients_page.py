"""docs/clients.md: every example runs and gets the answer below it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sentiment_conv1d.service.settings import read_settings
from tests.deploy.kubernetes import IMAGE
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, ServerProcess
from tests.programs import find

PAGE = (PROJECT / "docs" / "clients.md").read_text()

#: Shell commands with the line below each, which is empty if the page only describes the answer.
COMMANDS: list[tuple[str, str]] = [
    pair
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for pair in re.findall(r"^\$ (.*)\n(.*)", block, re.MULTILINE)
]

#: Programs with what they print.
PROGRAMS: list[tuple[str, str]] = re.findall(
    r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
)

CONTAINERS: list[str] = re.findall(r"^docker run (.*)$", PAGE.replace("\\\n", ""), re.MULTILINE)


def variables(container: str) -> dict[str, Any]:
    """The environment that a `docker run` gives its container: strings."""
    words = shlex.split(container)
    return dict(words[number + 1].split("=", 1) for number, word in enumerate(words) if word == "-e")


@pytest.fixture(scope="module")
def page_server() -> Iterator[ServerProcess]:
    """Serve the shipped model at the routes of the page's containers, on free ports."""
    routes = {name: value for each in CONTAINERS for name, value in variables(each).items() if name.endswith("_ROUTE")}
    with ServerProcess(repository=MODEL_REPOSITORY, default_model=None, **routes) as server:
        yield server


def here(example: str, server: ServerProcess) -> str:
    """An example with the ports of a server."""
    for port in ("8000", "8080"):
        example = example.replace(f"localhost:{port}", f"127.0.0.1:{server.port}")
    return example.replace("localhost:8001", f"127.0.0.1:{server.grpc_port}")


def rounded(text: str) -> str:
    """Round the numbers of a text to five decimals, since processors differ in the last digits and NumPy in spaces."""
    numbers = re.sub(r"\d+\.\d+(e-?\d+)?", lambda match: f"{float(match[0]):.5f}", text.strip())
    return re.sub(r"[ \t]+", " ", numbers)


def test_all_examples_are_run() -> None:
    """The tests below run every example of the page."""
    assert len(re.findall(r"^\$ ", PAGE, re.MULTILINE)) == len(COMMANDS) > 7
    assert PAGE.count("```python") == len(PROGRAMS) > 5
    assert PAGE.count("docker run ") == len(CONTAINERS) == 2


@pytest.mark.parametrize(("command", "answer"), COMMANDS, ids=[command[:60] for command, _ in COMMANDS])
def test_commands(page_server: ServerProcess, command: str, answer: str) -> None:
    """A shell command gets the line below it."""
    program, *arguments = shlex.split(here(command, page_server))
    result = subprocess.run([find(program), *arguments], capture_output=True, text=True, timeout=PATIENCE, check=True)
    if answer:
        assert rounded(result.stdout) == rounded(answer)
    else:
        assert re.search(r"Throughput: [1-9]", result.stdout), result.stdout + result.stderr


@pytest.mark.parametrize(("program", "printed"), PROGRAMS, ids=lambda text: text.splitlines()[0][:40])
def test_programs(page_server: ServerProcess, program: str, printed: str) -> None:
    """A program prints the text below it, in a separate process."""
    result = subprocess.run(
        [sys.executable, "-c", here(program, page_server)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert rounded(result.stdout) == rounded(printed)


@pytest.mark.parametrize("container", CONTAINERS)
def test_ports_of_containers(container: str) -> None:
    """A container listens on the port that is published."""
    published = re.findall(r"-p (\d+):(\d+)", container)
    settings = read_settings({}, IMAGE | variables(container))
    assert settings.host == "0.0.0.0"
    assert [str(settings.port)] == [inside for _, inside in published]
    assert container.endswith(("sentiment-conv1d", "sentiment-conv1d serve"))


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_start(container: str) -> None:
    """The service starts with a container's variables and nothing else, and answers the first request below it."""
    settings = variables(container)
    _, _, below = PAGE.replace("\\\n", "").partition(f"docker run {container}")
    first = re.search(r"^\$ (.*)\n(.*)", below, re.MULTILINE)
    assert first is not None
    with ServerProcess(repository=MODEL_REPOSITORY, default_model=None, **settings) as server:
        test_commands(server, *first.groups())
