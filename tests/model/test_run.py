"""The run folder exists only if it is complete, and never replaces anything else."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.errors import exit_status
from sentiment_conv1d.model import run
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.run import EVALUATION_CONTENTS, RunError, ensure_free, ensure_writable, read_run, staging


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Create a folder that looks like a finished run."""
    path = tmp_path / "run"
    path.mkdir()
    (path / run.CONFIGURATION_FILE).write_text("old")
    return path


@pytest.fixture
def copy(run_path: Path, tmp_path: Path) -> Path:
    """Copy a real run, so that a test can change it."""
    return Path(shutil.copytree(run_path, tmp_path / "copy"))


def test_read_run(run_path: Path) -> None:
    """Reading a run returns the configuration, tokenizer and metrics of its training."""
    found = read_run(run_path)
    assert found.configuration.name == "tiny"
    assert found.configuration.labels == ("negative", "positive")
    assert found.tokenizer.max_tokens == found.configuration.max_tokens == 12
    assert found.tokenizer.vocabulary_size <= found.configuration.vocabulary_size == 40
    assert found.metrics is not None
    assert (found.metrics.examples, found.metrics.measured_on) == (12, "12 held out of 60 texts of reviews.csv")
    assert found.statistics is not None
    assert (found.statistics.texts, found.statistics.source) == (12, found.metrics.measured_on)
    assert found.trained_on is not None
    assert len(found.trained_on.digests) == 48  # 10 of them decided when to stop
    assert found.data is not None
    assert (found.data.source, found.data.labels) == (
        "38 of 60 texts of reviews.csv",
        {"negative": 19, "positive": 19},
    )
    assert found.weights_file == run_path / "model.keras"


def test_missing_run(tmp_path: Path) -> None:
    """The error names a run folder that does not exist."""
    with pytest.raises(RunError, match="nowhere: there is no such run folder"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [run.KERAS_FILE, run.TOKENIZER_FILE, run.CONFIGURATION_FILE, run.METRICS_FILE])
def test_missing_file(copy: Path, name: str) -> None:
    """The error names a missing file that the export needs."""
    (copy / name).unlink()
    with pytest.raises(RunError, match=f"{name}: the file is missing"):
        read_run(copy)


@pytest.mark.parametrize(
    "name",
    [run.TOKENIZER_FILE, run.CONFIGURATION_FILE, run.METRICS_FILE, run.STATISTICS_FILE, run.TRAINING_TEXTS_FILE],
)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"epochs": 0}', b"\xff", b"[" * 100_000],
    ids=["empty", "cut", "list", "wrong", "binary", "deep"],
)
def test_damaged_file(copy: Path, name: str, content: bytes) -> None:
    """For a damaged file, the error is one line that starts with its name."""
    (copy / name).write_bytes(content)
    with pytest.raises(RunError) as caught:
        read_run(copy)
    assert str(caught.value).startswith(str(copy / name))
    assert len(str(caught.value).splitlines()) == 1


def test_staged_folder(tmp_path: Path) -> None:
    """A staged folder gets its name when it is complete, and is hidden until then. Its parents are created."""
    out = tmp_path / "deep" / "run"
    with staging(out) as folder:
        (folder / "file").write_text("new")
        [hidden] = names(out.parent)
        assert hidden.startswith(".") and folder.is_relative_to(out.parent / hidden)
    assert names(out.parent) == ["run"]
    assert names(out) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure(tmp_path: Path, error: type[BaseException]) -> None:
    """If the block fails, nothing is left behind."""
    with pytest.raises(error), staging(tmp_path / "run") as folder:
        (folder / "file").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_failure_while_replacing_a_run(old: Path) -> None:
    """If the block fails, the old run stays."""
    with pytest.raises(KeyboardInterrupt), staging(old, overwrite=True):
        raise KeyboardInterrupt
    assert names(old.parent) == ["run"]
    assert (old / run.CONFIGURATION_FILE).read_text() == "old"


def test_failure_of_the_last_rename(old: Path) -> None:
    """If the second rename fails, the old run is restored."""
    with pytest.raises(RunError, match="cannot be written to"), staging(old, overwrite=True) as folder:
        shutil.rmtree(folder)
    assert names(old.parent) == ["run"]
    assert (old / run.CONFIGURATION_FILE).read_text() == "old"


def test_overwriting(old: Path) -> None:
    """The new run contains nothing of the old one."""
    with staging(old, overwrite=True) as folder:
        (folder / "new").write_text("")
    assert names(old.parent) == ["run"]
    assert names(old) == ["new"]


def test_existing_run(old: Path) -> None:
    """An existing run is not overwritten, and the error names the flag that does so."""
    with pytest.raises(RunError, match="exists: choose another folder or pass --overwrite"):
        ensure_free(old, overwrite=False)


def test_concurrent_trainings(tmp_path: Path) -> None:
    """If two trainings write one folder, the second is refused and the first stays."""
    out = tmp_path / "run"
    with pytest.raises(RunError, match="exists"), staging(out), staging(out) as first:
        (first / "first").write_text("")
    assert names(tmp_path) == ["run"]
    assert names(out) == ["first"]


def test_other_folders_are_not_overwritten(tmp_path: Path, old: Path) -> None:
    """A folder that is not a run is not replaced, for example after a typo in a path."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(old)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, message in {
        "file": f"contains no {run.CONFIGURATION_FILE}",
        "folder": f"contains no {run.CONFIGURATION_FILE}",
        "link": "is a link",
        "dangling": "is a link",
    }.items():
        with pytest.raises(RunError, match=message):
            ensure_free(tmp_path / name, overwrite=True)
    (old / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"contains notes\.txt, which would be lost"):
        ensure_free(old, overwrite=True)


def test_evaluation_does_not_replace_a_run(run_path: Path) -> None:
    """An evaluation does not replace a run, although both contain a metrics.json."""
    with pytest.raises(RunError, match="which would be lost"):
        ensure_free(run_path, True, EVALUATION_CONTENTS)


def test_path_in_an_error(tmp_path: Path) -> None:
    """An error names the run folder, and not the temporary folder that becomes it."""
    path = tmp_path / "run"
    with pytest.raises(RunError) as caught, staging(path) as folder:
        raise OSError(errno.ENOSPC, f"Can't write data (name = '{folder}/model.h5')")
    assert str(caught.value) == f"{path}: cannot be written to (Can't write data (name = '{path}/model.h5'))"
    assert exit_status(caught.value) == os.EX_TEMPFAIL


def test_place_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that cannot be written, or whose disk has too little space, is refused, and nothing stays there."""
    path = tmp_path / "runs" / "mine"
    ensure_writable(path, Configuration())
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="mine: cannot be written to"):
        ensure_writable(tmp_path / "file" / "mine", Configuration())
    free = shutil.disk_usage(tmp_path)._replace(free=4_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(RunError, match="4 MB of the disk are free, and the training writes about 5 MB") as full:
        ensure_writable(path, Configuration())
    assert exit_status(full.value) == os.EX_TEMPFAIL
    ensure_writable(path, Configuration(vocabulary_size=1000))
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_invalid_path(tmp_path: Path) -> None:
    """The error names a path that is below a file or too long."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(RunError, match="cannot be"), staging(path):
            pass
    assert names(tmp_path) == ["file"]
