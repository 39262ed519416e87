"""The command `sentiment-conv1d` of an installed wheel."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import keras
import pytest

from sentiment_conv1d.__main__ import COMMANDS, TRAINING
from sentiment_conv1d.service.version import package_version
from tests.package.environments import PACKAGE, START, Installed
from tests.processes import PATIENCE, PROJECT, ServerProcess, environment, run
from tests.rounding import rounded
from tests.test_readme import REQUESTS, ask


def test_one_program(wheel: Path) -> None:
    """The wheel installs one program."""
    with ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/entry_points.txt")]
        text = archive.read(name).decode()
    assert text.split("\n\n")[0].split() == ["[console_scripts]", "sentiment-conv1d", "=", f"{PACKAGE}.__main__:main"]
    assert text.count("=") == 1


def test_serve(installed: Installed) -> None:
    """`sentiment-conv1d serve`, as in docs/releasing.md, answers the README's first request from any folder."""
    assert f"{installed.program.name} serve" == START
    command, answer = REQUESTS[0]
    elsewhere, program = f"env --chdir={installed.folder}", str(installed.program)
    with ServerProcess("--workers", "1", repository=None, prefix=elsewhere, program=program) as server:
        assert rounded(ask(server.client, command), 4) == rounded(json.loads(answer), 4)
        assert "<html" in server.client.get("/").text
        assert server.client.get("/openapi.json").json()["info"]["version"] == package_version()


def test_check(installed: Installed) -> None:
    """`sentiment-conv1d check` verifies the model inside the package."""
    shipped = installed.packages / PACKAGE / "model_repository/imdb-cnn/1"
    finished = installed.run("check", str(shipped))
    assert finished.returncode == 0, finished.stderr
    assert "ok  golden answer on CPUExecutionProvider" in finished.stdout
    native = (installed.packages / PACKAGE / "native/library.so").exists()
    assert finished.stdout.splitlines()[-1] == (
        "  ok  native operator"
        if native
        else "  --  native operator: not used, because this installation does not contain it"
    )


def test_check_by_name(installed: Installed) -> None:
    """`check` finds a shipped model by its name and version."""
    finished = installed.run("check", "imdb-cnn/1")
    assert finished.returncode == 0, finished.stderr


def test_export_and_serve(installed_for_training: Installed, tmp_path: Path) -> None:
    """The command that `export` prints serves the exported model, from an installed package and any folder."""
    before = sorted(installed_for_training.packages.rglob("model_repository/*/*"))
    check_export_and_serve([str(installed_for_training.program)], tmp_path, (), {})
    assert sorted(installed_for_training.packages.rglob("model_repository/*/*")) == before


def test_export_and_serve_in_a_checkout(tmp_path: Path) -> None:
    """In a checkout, the printed command is one of the same Python, with the repository that `export` was told."""
    program = [sys.executable, "-m", PACKAGE]
    check_export_and_serve(program, tmp_path, ("--repository", "my models"), {"PYTHONPATH": str(PROJECT)})


def check_export_and_serve(
    program: Sequence[str], folder: Path, repository: tuple[str, ...], variables: dict[str, str]
) -> None:
    """Export a Keras model in a folder, and check that the printed command serves it."""
    model = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Embedding(30, 8),
            keras.layers.Conv1D(16, 3, activation="relu"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.save(folder / "model.keras")
    (folder / "words.json").write_text(json.dumps({"the": 1, "film": 2, "lovely": 3, "a": 4}))
    statements = ["--vocabulary", "words.json", "--index-from", "3", "--labels", "negative,positive"]
    arguments = [*statements, "--name", "tickets", "--unverified", *repository]
    finished = subprocess.run(
        [*program, "export", "model.keras", *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    command = re.findall(r"^serve it with: (.*)$", finished.stdout, re.MULTILINE)[0]
    start, _, flags = command.partition(" serve ")
    elsewhere = f"env --chdir={folder}"
    with ServerProcess(*shlex.split(flags), repository=None, prefix=elsewhere, program=start, **variables) as server:
        answer = server.client.post("/v1/predict", json={"text": "A lovely film."}).json()
    assert answer["model"] == {"name": "tickets", "version": "1"}


def test_check_data_without_tensorflow(installed: Installed, tmp_path: Path) -> None:
    """`check-data` needs none of the training tools."""
    rows = [
        f"{word} film number {number},{label}" for number in range(10) for word, label in (("a good", 1), ("a bad", 0))
    ]
    (tmp_path / "films.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    finished = installed.run("check-data", str(tmp_path / "films.csv"))
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("20 texts of films.csv:\n")


def test_explain(installed: Installed) -> None:
    """Commands that read the model repository find the shipped one by default."""
    finished = installed.run("explain", "A gripping, beautifully acted film.", "--execution-provider", "cpu")
    assert finished.returncode == 0, finished.stderr
    assert "gripping" in finished.stdout


@pytest.mark.parametrize(
    "arguments",
    [("train", "--data", "x.csv", "--out", "run"), ("evaluate", "run", "--data", "x.csv"), ("export", "run")],
    ids=lambda arguments: arguments[0],
)
def test_training_is_an_extra(installed: Installed, arguments: tuple[str, ...]) -> None:
    """Without TensorFlow, commands that need it say in one line how to install it."""
    finished = installed.run(*arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == (
        "sentiment-conv1d: training and export need TensorFlow: install the `train` extra from the checkout or wheel "
        "of sentiment-conv1d, as in pip install 'WHEEL[train]'\n"
    )


def test_help(installed: Installed) -> None:
    """The help lists every command, and every command has help, including those that need the extra."""
    listed = installed.run("--help").stdout
    for command, line in COMMANDS.items():
        assert f"    {command}" in map(str.rstrip, listed.replace(line, "").splitlines()) and line in listed
        own = installed.run(command, "--help")
        assert (own.returncode, own.stderr) == (0, "")
        assert own.stdout.startswith(f"usage: sentiment-conv1d {command} [-h]")


def test_version(installed: Installed) -> None:
    """`--version` prints the project's version."""
    assert installed.run("--version").stdout == f"sentiment-conv1d {package_version()}\n"


@pytest.mark.parametrize(("arguments", "what"), [((), "required: COMMAND"), (("sreve",), "invalid choice: 'sreve'")])
def test_usage_errors(arguments: tuple[str, ...], what: str) -> None:
    """No command, or one that does not exist, is a usage error."""
    finished = run("-m", PACKAGE, *arguments)
    assert finished.returncode == 2
    assert what in finished.stderr


@pytest.mark.parametrize("command", sorted({*TRAINING, "check-data"}))
def test_training_commands(command: str) -> None:
    """With TensorFlow, the commands are those of `python -m model` and `python -m export`."""
    program, arguments = ("export", ["export"]) if command == "export" else ("model", [command])
    flags = ["no-such-run", *(["--data", "no-such.csv"] if command == "evaluate" else [])]
    if command == "compare":
        flags = ["no-such-run", "no-such-run", "--data", "no-such.csv"]
    if command == "train":
        flags = ["--data", "no-such.csv", "--out", "no-such-run"]
    ours = run("-m", PACKAGE, *arguments, *flags)
    plain = run("-m", program, *(flags if command == "export" else [command, *flags]))
    assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert ours.returncode == 2 and ours.stderr.startswith("error: no-such")


def test_light_help() -> None:
    """Listing the commands and printing their flags loads neither TensorFlow nor ONNX Runtime."""
    program = f"""
import contextlib, sys
from {PACKAGE}.__main__ import main
for arguments in (["--help"], ["--version"], ["serve", "--help"], ["train", "--help"], ["export", "--help"]):
    with contextlib.suppress(SystemExit):
        main(arguments)
print("loaded:", *({{"tensorflow", "keras", "onnxruntime", "uvicorn"}} & set(sys.modules)))
"""
    helped = run("-c", program)
    assert helped.returncode == 0, helped.stderr
    assert helped.stdout.endswith("loaded:\n")
