"""What the commands say about words that they do not know, and what they print to run next."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from loadtest.__main__ import parser as loadtest_parser
from sentiment_conv1d.__main__ import GROUPS, main, parser
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.commands.parser import next_command, suggestion
from sentiment_conv1d.export.__main__ import main as export_main
from sentiment_conv1d.export.__main__ import parser as export_parser
from sentiment_conv1d.export.conversion.command import parser as convert_parser
from sentiment_conv1d.model.__main__ import main as training_main
from sentiment_conv1d.model.command_line import parser as training_parser
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.service.__main__ import main as service_main
from sentiment_conv1d.service.__main__ import parser as service_parser
from tests.processes import run

#: The functions of `python -m NAME`.
PROGRAMS: dict[str, Callable[[Sequence[str]], int]] = {
    "sentiment_conv1d": main,
    "service": service_main,
    "model": training_main,
    "export": export_main,
}

COMMANDS = {
    "train": "--data {} --out run",
    "train --data x.csv": "--out {}",
    "check-data": "{}",
    "evaluate": "{} --data x.csv",
    "compare": "run {} --data x.csv",
    "export": "run --repository {}",
    "convert imdb-cnn/1 --to text-onnx": "--out {}",
    "push": "{} s3://models",
    "drift": "{} --artifact imdb-cnn/1",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_url_in_place_of_a_path(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands refuse a URL as a path, instead of reading or writing a folder `s3:` in the working directory."""
    words = f"{command} {COMMANDS[command].format('s3://there')}".split()
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capsys.readouterr().err.endswith("'s3://there' is a URL; a path on this machine is needed\n")


def test_all_paths() -> None:
    """No flag takes a path without looking whether it is a URL."""
    commands = [training_parser(), export_parser(), convert_parser(), service_parser(), loadtest_parser()]
    for command in commands:
        for action in command._actions:
            subcommands = action.choices.values() if isinstance(action, argparse._SubParsersAction) else ()
            commands.extend(subcommands)
            assert action.type is not Path, action
    assert len(commands) > 10


@pytest.mark.parametrize(
    ("arguments", "usage", "hint"),
    [
        ("sentiment_conv1d sreve", "sentiment-conv1d", "did you mean serve?"),
        ("sentiment_conv1d serve --prot 9000", "sentiment-conv1d serve", "--prot 9000; did you mean --port?"),
        ("service serve --prot=9000", "python -m service serve", "--prot=9000; did you mean --port?"),
        ("service serve --colour", "python -m service serve", "arguments: --colour"),
        (
            "sentiment_conv1d serve --model accurate",
            "sentiment-conv1d serve",
            "did you mean --default-model, --model-cache or --model-repository?",
        ),
        ("model check-data x.csv --epoch 3", "python -m model check-data", "did you mean --epochs?"),
        ("export run --quantise", "python -m export", "did you mean --quantize?"),
        ("service explain great film", "python -m service explain", "arguments: film; quote the text"),
    ],
)
def test_unknown_words(arguments: str, usage: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command or flag gets the usage of its own command and a suggestion. Flags cannot be abbreviated."""
    program, *words = arguments.split()
    with pytest.raises(SystemExit, match="2"):
        PROGRAMS[program](words)
    printed = capsys.readouterr()
    first, *_, last = printed.err.splitlines()
    assert printed.out == "" and first.startswith(f"usage: {usage} [-h]")
    assert last.endswith(hint)


def test_unknown_variable() -> None:
    """An unknown variable gets a suggestion."""
    finished = run("-m", "service", "serve", SENTIMENT_PROT="9000")
    assert finished.stderr == (
        "error: SENTIMENT_PROT is not a setting; did you mean SENTIMENT_PORT? (serve --help lists the settings)\n"
    )


def test_suggestion() -> None:
    """The words that contain the unknown one are suggested before those that are spelled alike."""
    assert suggestion("--sample", ["--samples", "--ample"]) == "; did you mean --samples?"
    assert suggestion("quite-different", ["serve"]) == ""


def test_groups_of_commands() -> None:
    """The help lists the commands by what users do."""
    blocks = parser().format_help().split("\n\n")
    listed = {block.partition(":")[0]: [line.split()[0] for line in block.splitlines()[1:]] for block in blocks}
    assert {title: listed[title] for title in GROUPS} == {title: list(group) for title, group in GROUPS.items()}


def test_defaults_of_a_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`train --help` states the value of every number in the default preset, and in the presets where it differs."""
    monkeypatch.setenv("COLUMNS", "10000")
    with pytest.raises(SystemExit):
        training_parser().parse_args(["train", "--help"])
    printed = capsys.readouterr().out
    assert "over the training texts. (default: 40; imdb-cnn: 2; text-cnn: 50; kim-cnn: 2)" in printed
    assert "3:100,4:100,5:100; WIDTH:FILTERS:mean averages over the text (default: 1:256,2:256; imdb-cnn:" in printed
    assert printed.count("(default: ") >= len(Configuration.model_fields) - 1
    assert "VALUE" not in printed


@pytest.mark.parametrize(
    ("command", "content", "message"),
    [
        (
            "service predict --workers 1",
            "id,Review Text,review\n1,a,b\n",
            "if it has another name, use --text-column review",
        ),
        ("service predict --workers 1", "id,Texts\n1,a\n", "if it has another name, use --text-column Texts"),
        (
            "service predict --workers 1",
            "a,b\n1,a\n",
            "columns: 'a', 'b'; if it has another name, use --text-column COLUMN",
        ),
        ("model check-data", "review,label\na,b\n", "if it has another name, use --text-column review"),
        ("model check-data", "text,class\na,b\n", "if it has another name, use --label-column class"),
    ],
)
def test_missing_column(
    tmp_path: Path, command: str, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a file has no column of the name, the error lists the columns and suggests the flag with the likeliest one."""
    (tmp_path / "in.csv").write_text(content)
    program, *words = command.split()
    assert PROGRAMS[program]([*words, str(tmp_path / "in.csv")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(message)


@pytest.mark.parametrize("text", ["A lovely film", "A lovely film. " * 300], ids=["short", "longer than a name"])
def test_text_instead_of_a_file(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`predict` with a text instead of a file prints the command that classifies a text."""
    assert main(["predict", text]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: there is no file of this name; predict takes files. To classify one text, ")
    command = shlex.split(printed.partition("run: ")[2])
    assert command[1:4] == ["-m", "sentiment_conv1d", "explain"] and command[4].startswith("A lovely film")
    assert len(command[4]) <= 60


def test_counted() -> None:
    """A single thing has no plural."""
    assert [counted(number, "row") for number in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]


def test_one_review(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`predict` reports a single review in the singular."""
    (tmp_path / "in.txt").write_text("good\n")
    assert main(["predict", str(tmp_path / "in.txt"), "--workers", "1"]) == 0
    assert capsys.readouterr().out.startswith("1 text scored into ")


def test_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command is quoted for the shell, and names the program by its path unless the shell finds it."""
    program = tmp_path / "a folder" / "sentiment-conv1d"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import sys; print(sys.argv[1:])' \"$@\"\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    command = next_command("serve", "--model-repository", "it's")
    assert command.startswith(f"'{program}' serve ")
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    assert next_command("serve", "it's") == """sentiment-conv1d serve 'it'"'"'s'"""
    for each in (command, next_command("serve", "--model-repository", "it's")):
        printed = subprocess.run(["sh", "-c", each], capture_output=True, text=True, check=True).stdout
        assert printed == """['serve', '--model-repository', "it's"]\n"""
