"""The commands that manage artifacts."""

import errno
import shutil
import ssl
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.errors import TransientError, exit_status
from sentiment_conv1d.service.__main__ import main
from sentiment_conv1d.service.errors import StartupError
from tests.processes import PROJECT, ServerProcess, run
from tests.service.artifacts import publish_table, shipped_copy


def test_a_moved_artifact_can_be_copied(tmp_path: Path) -> None:
    """`check` refuses a folder of another version and names the command that changes the version of an artifact."""
    moved = shipped_copy(tmp_path / "moved").rename(tmp_path / "moved" / "imdb-cnn" / "2")
    refusal = run("-m", "service", "check", str(moved))
    assert refusal.returncode == 2
    assert refusal.stderr == (
        f"error: {moved}: the manifest belongs to imdb-cnn 1; to give an artifact another name or version, use "
        "`python -m sentiment_conv1d copy ARTIFACT NEW_ARTIFACT`\n"
    )
    target = tmp_path / "repository" / "films" / "2"
    copied = run("-m", "service", "copy", str(moved), str(target))
    assert (copied.returncode, copied.stdout) == (0, f"{target}: films, version 2\n")
    checked = run("-m", "service", "check", str(target))
    assert checked.returncode == 0 and "ok  golden answer" in checked.stdout


def test_a_shipped_model_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`copy` adds a shipped model to the folder `model_repository` with other models, as the settings' page says."""
    publish_table(tmp_path / "model_repository")
    monkeypatch.chdir(tmp_path)
    assert main(["copy", "imdb-cnn/1", "model_repository/imdb-cnn/1"]) == 0


def test_a_copy_is_served(tmp_path: Path) -> None:
    """A running service loads a version that `copy` creates."""
    first = publish_table(tmp_path).path
    with ServerProcess("--workers", "1", "--watch-interval", "0.1", repository=tmp_path) as process:
        copied = run("-m", "service", "copy", str(first), str(first.with_name("2")))
        assert copied.returncode == 0, copied.stderr
        process.wait_for_log("serving tickets version=2")
        answer = process.client.post("/v1/predict", json={"text": "praise"}).json()
        assert answer["model"] == {"name": "tickets", "version": "2"}


@pytest.mark.parametrize("command", ["copy", "pull"])
def test_url_in_place_of_a_folder(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`copy` and `pull` refuse to write to a URL, instead of to a folder `s3:` in the working directory."""
    monkeypatch.chdir(tmp_path)
    source = publish_table(tmp_path / "source").path
    words = {"copy": [str(source), "s3://models/tickets/2"], "pull": [source.as_uri(), "--to", "s3://models"]}
    with pytest.raises(SystemExit, match="2"):
        main([command, *words[command]])
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith(f"{words[command][-1]!r} is a URL; a path on this machine is needed")
    assert [each.name for each in tmp_path.iterdir()] == ["source"]


def test_copy_needs_no_training(tmp_path: Path) -> None:
    """`copy` does not load TensorFlow."""
    shutil.copytree(shipped_copy(tmp_path), tmp_path / "x" / "imdb-cnn" / "1")
    program = f"""
import sys
from sentiment_conv1d.service.__main__ import main
assert main(["copy", "{tmp_path}/x/imdb-cnn/1", "{tmp_path}/x/imdb-cnn/2"]) == 0
assert not {{"tensorflow", "keras", "onnx"}} & sys.modules.keys()
"""
    result = run("-c", program)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use"), 75),
        (OSError(errno.EMFILE, "Too many open files"), 75),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), 75),
        (MemoryError(), 75),
        (TransientError("the store does not answer"), 75),
        (OSError(errno.EACCES, "Permission denied"), 2),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), 2),
        (ssl.SSLError(errno.EMFILE, "a number of OpenSSL"), 2),
        (None, 2),
    ],
)
def test_exit_status(cause: BaseException | None, status: int) -> None:
    """The status tells whether the cause of an error can pass by itself, however often the error was wrapped."""
    error = StartupError("the service cannot start")
    error.__cause__ = ValueError("wrapped")
    error.__cause__.__cause__ = cause
    assert exit_status(error) == status


@pytest.mark.parametrize("command", ["check", "copy", "push"])
@pytest.mark.parametrize(
    ("path", "what"), [("docs/tickets.csv", "a table, which check-data reads"), ("README.md", "a file")]
)
def test_file_instead_of_an_artifact(command: str, path: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that needs an artifact says what the file is, and what it needs."""
    assert main([command, str(PROJECT / path), *([] if command == "check" else ["elsewhere"])]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {PROJECT / path} is {what}; this command needs an artifact: a folder REPOSITORY/")


@pytest.mark.parametrize("command", [["check"], ["push"], ["predict"], ["explain", "good", "--model-repository"]])
def test_refused_by_the_system(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the system refuses a path, such as one in a folder without permission, the error names it in one line."""
    path = str(tmp_path / ("long" * 100))
    more = [] if command != ["push"] else [tmp_path.as_uri()]
    assert main([*command, path, *more]) == 2
    reasons = ("File name too long", "cannot be read (File name too long)")
    assert capsys.readouterr().err in {f"error: {path}: {each}\n" for each in reasons}


def test_folder_that_is_not_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` says that a folder is not a model if it contains no file of one."""
    assert main(["check", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: not a model: it contains none of model.onnx, ")


def test_help_is_quick() -> None:
    """`--help` loads neither ONNX Runtime nor NumPy."""
    program = """
import contextlib, sys
from sentiment_conv1d.service.__main__ import main
for arguments in (["--help"], ["serve", "--help"], ["check", "--help"]):
    with contextlib.suppress(SystemExit):
        main(arguments)
print("loaded:", *({"onnxruntime", "numpy", "uvicorn"} & set(sys.modules)))
"""
    helped = run("-c", program)
    assert helped.returncode == 0, helped.stderr
    assert "--execution-provider" in helped.stdout
    assert helped.stdout.endswith("loaded:\n")
