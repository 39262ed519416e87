"""The README: its examples run and its links exist."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import keras
import pytest

from loadtest.__main__ import complete
from loadtest.__main__ import parser as loadtest_commands
from sentiment_conv1d.__main__ import GROUPS
from sentiment_conv1d.__main__ import parser as package_commands
from sentiment_conv1d.export.__main__ import parser as export_command
from sentiment_conv1d.export.conversion.command import parser as convert_command
from sentiment_conv1d.model.command_line import parser as training_commands
from sentiment_conv1d.service.__main__ import parser as service_commands
from tests.processes import MODEL_REPOSITORY, PROJECT, ServerProcess, run
from tests.rounding import rounded

README = (PROJECT / "README.md").read_text()
DOCS = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
PAGES = [*DOCS, PROJECT / "CONTRIBUTING.md", PROJECT / "SECURITY.md", PROJECT / "CHANGELOG.md"]

REQUESTS = re.findall(r"^\$ (curl .*)\n(.*)$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def readme_server() -> Iterator[httpx.Client]:
    """Serve the shipped model."""
    with ServerProcess(repository=MODEL_REPOSITORY, default_model=None) as server:
        yield server.client


def test_there_are_requests() -> None:
    """The README shows a prediction, a batch and a refusal."""
    assert len(REQUESTS) >= 3


def ask(client: httpx.Client, command: str) -> Any:
    """Send a request that the README shows and return the answer."""
    words = shlex.split(command)
    address = next(word for word in words if word.startswith("localhost:8000"))
    headers = dict(word.split(": ", 1) for word, before in zip(words[1:], words, strict=False) if before == "-H")
    body = words[words.index("-d") + 1]
    return client.post(address.removeprefix("localhost:8000"), headers=headers, content=body).json()


@pytest.mark.parametrize(("command", "answer"), REQUESTS)
def test_requests_get_the_answers_shown(readme_server: httpx.Client, command: str, answer: str) -> None:
    """Every request of the README gets the answer below it, to the four decimals that the README promises."""
    assert "Digits after the fourth decimal depend on the processor." in README
    assert rounded(ask(readme_server, command), 4) == rounded(json.loads(answer), 4)


def test_limits(readme_server: httpx.Client) -> None:
    """The service still misreads the ratings and emojis of the README's limits, and is not confident about them."""
    [limit] = re.findall(r"^- \*\*Ratings and emojis\.\*\* (.*) Neither", README, re.MULTILINE)
    misread = re.findall(r"`([^`]*)`[^`]*`([^`]*)`", limit)
    assert len(misread) == 2
    for text, label in misread:
        answer = readme_server.post("/v1/predict", json={"text": text}).json()
        assert (answer["label"], answer["confident"]) == (label, False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    """The programs accept every command of a page, and every make target exists."""
    parsers = {
        "model": training_commands(),
        "export": export_command(),
        "service": service_commands(),
        "loadtest": loadtest_commands(),
    }
    content = re.sub(r"\\\n *", "", page.read_text())
    for line in re.findall(r"^(?:\.venv/bin/)?python -m (.*)$", content, re.MULTILINE):
        program, *arguments = shlex.split(line, comments=True)
        if program == "loadtest":
            arguments = complete(arguments)
        if program in parsers:
            parsers[program].parse_args(arguments)
    for line in re.findall(r"^sentiment-conv1d (.*)$", content, re.MULTILINE):
        arguments = shlex.split(line, comments=True)
        command = package_commands().parse_args(arguments[:1]).command
        if command in ("export", "convert"):
            {"export": export_command, "convert": convert_command}[command]().parse_args(arguments[1:])
        else:
            (training_commands() if command in GROUPS["make a model"] else service_commands()).parse_args(arguments)
    for target in re.findall(r"^make (\w+)", content, re.MULTILINE):
        assert (
            subprocess.run(["make", "--dry-run", target], cwd=PROJECT, capture_output=True, check=False).returncode == 0
        )


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the project leads to an existing file, and to a heading in it."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def test_python() -> None:
    """The Python example prints what its comment says."""
    [(program, printed)] = re.findall(r"^```python\n(.*?  # (.*?)\n)```", README, re.MULTILINE | re.DOTALL)
    label, score = run("-c", program).stdout.split()
    assert [label, round(float(score), 4)] == [printed.split()[0], round(float(printed.split()[1]), 4)]


def test_check_command_passes() -> None:
    """The README's artifact check succeeds and reports what it checked."""
    [command] = re.findall(r"^\$ \.venv/bin/python (-m service check .*)$", README, re.MULTILINE)
    finished = run(*command.split())
    assert finished.returncode == 0
    assert "golden answer" in finished.stdout


def test_own_keras_model_is_served(tmp_path: Path) -> None:
    """The three commands from a Keras file and a word index to an answer work, and the answer is that of Keras."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Embedding(30, 8, embeddings_initializer=keras.initializers.RandomUniform(-1, 1)),
            keras.layers.Conv1D(16, 3, activation="relu"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.save(tmp_path / "model.keras")
    # The size of the index of `keras.datasets.imdb`, by which the export recognizes it.
    ranks = {"the": 1, "film": 2, "lovely": 3, "a": 4} | {f"word{rank}": rank for rank in range(5, 88_585)}
    (tmp_path / "imdb_word_index.json").write_text(json.dumps(ranks))
    ids = [[1, 4 + 3, 3 + 3, 2 + 3]]  # a start id, then "a lovely film"
    expected = float(model.predict(keras.utils.pad_sequences(ids, 20), verbose=0)[0, 0])
    (tmp_path / "expected.csv").write_text(f"text,probability\nA lovely film.,{expected}\n")

    commands = README.split("## Serve your own Keras model")[1].split("```sh\n")[1].split("```")[0].splitlines()
    export, serve, request = map(shlex.split, commands)
    assert export[0] == ".venv/bin/python" and serve[:2] == ["make", "serve"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, *export[1:]], cwd=tmp_path, env=environment, check=True, capture_output=True)
    flags = shlex.split(serve[2].removeprefix("ARGS="))
    with ServerProcess(*flags, repository=tmp_path / "model_repository") as server:
        answer = ask(server.client, shlex.join(request))
    assert answer["model"] == {"name": "mine", "version": "1"}
    assert answer["probabilities"]["positive"] == pytest.approx(expected, abs=1e-5)


def test_layout_is_complete() -> None:
    """Every folder of the layout in docs/architecture.md exists."""
    layout = (PROJECT / "docs" / "architecture.md").read_text().split("## Layout")[1].split("```")[1]
    for folder in re.findall(r"^(\w+)/", layout, re.MULTILINE):
        assert (PROJECT / folder).is_dir(), folder
