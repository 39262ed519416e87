"""A scan of a model repository: its models and versions, and changes of their files."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.artifact import ArtifactError
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.version_policy import VersionPolicy
from tests.service.artifacts import publish_table


def at(path: Path) -> Repository:
    return Repository(path, VersionPolicy("all"))


def test_models_and_versions(tmp_path: Path) -> None:
    """Every version has a fingerprint, and a folder without versions is not a model."""
    for name in ("tickets", "tickets", "calls"):
        publish_table(tmp_path, name=name)
    (tmp_path / "empty").mkdir()
    scan = at(tmp_path).scan()
    assert {name: sorted(versions) for name, versions in scan.items()} == {"calls": [1], "tickets": [1, 2]}
    assert len({fingerprint for versions in scan.values() for fingerprint in versions.values()}) == 3
    assert scan == at(tmp_path).scan()


def test_ignored_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Folders with invalid names are logged once, and hidden folders and files are not."""
    publish_table(tmp_path)
    strange = (
        "lost+found",
        "Tickets",
        "tickets/latest",
        "tickets/02",
        "tickets/0",
        "tickets/-1",
        "tickets/" + "9" * 19,
    )
    for name in (*strange, ".git/1", "..data/1", "tickets/.publishing-x", "tickets/.1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "README.md").write_text("Models.")
    (tmp_path / "tickets" / "3").write_text("A file is no version.")
    (tmp_path / "tickets" / "4").symlink_to("nowhere")
    (tmp_path / "tickets" / "5").symlink_to("5")
    repository = at(tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert {name: list(versions) for name, versions in repository.scan().items()} == {"tickets": [1]}
    assert sorted(caplog.messages) == sorted(
        f"{tmp_path / each} is ignored: its name is no "
        + ("version, which is a positive integer" if "/" in each else "name of a model")
        for each in strange
    )


def test_fingerprints(tmp_path: Path) -> None:
    """Every change of a file changes the fingerprint, even with the same size and time."""
    path = publish_table(tmp_path).path
    repository = at(tmp_path)
    fingerprints = [repository.fingerprint("tickets", 1)]
    assert repository.fingerprint("tickets", 1) == fingerprints[0]
    (path / "notes.txt").write_text("Not of the artifact.")
    assert repository.fingerprint("tickets", 1) == fingerprints[0]
    for file in ("model.onnx", "tokenizer.json", "manifest.json"):
        old = (path / file).stat()
        with (path / file).open("r+b") as stream:
            stream.write(b"x")
        os.utime(path / file, ns=(old.st_atime_ns, old.st_mtime_ns))
        fingerprints.append(repository.fingerprint("tickets", 1))
        shutil.copy2(path / file, path / "copy")
        (path / "copy").rename(path / file)
        fingerprints.append(repository.fingerprint("tickets", 1))
        (path / file).unlink()
        fingerprints.append(repository.fingerprint("tickets", 1))
    shutil.rmtree(path)
    assert repository.fingerprint("tickets", 1) == fingerprints[-1], "no files, no folder"
    assert len(set(fingerprints)) == len(fingerprints)


def test_links(tmp_path: Path) -> None:
    """Links inside the repository, and a link to it, are followed, and a link that leads out of it is refused."""
    outside = publish_table(tmp_path / "elsewhere").path
    home = tmp_path / "home"
    publish_table(home / "..2026", name="tickets")
    (home / "..data").symlink_to("..2026")
    (home / "tickets").symlink_to("..data/tickets")
    (tmp_path / "link").symlink_to("home")
    for path in (home, tmp_path / "link"):
        repository = at(path)
        assert list(repository.scan()) == ["tickets"]
        assert set(repository.read("tickets", 1).contents) == {"model.onnx", "tokenizer.json", "manifest.json"}
    (home / "away").symlink_to(outside.parent)
    (home / "..2026" / "tickets" / "2").mkdir()
    for file in outside.iterdir():
        (home / "..2026" / "tickets" / "2" / file.name).symlink_to(file)
    repository = at(home)
    assert {name: sorted(versions) for name, versions in repository.scan().items()} == {"away": [1], "tickets": [1, 2]}
    for name, version in (("away", 1), ("tickets", 2)):
        with pytest.raises(ArtifactError, match="a link that leads out of the repository"):
            repository.read(name, version)


def test_named_pipe(tmp_path: Path) -> None:
    """A named pipe instead of a file is refused without waiting."""
    path = publish_table(tmp_path).path / "tokenizer.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: cannot be read \(not a file\)") as error:
        at(tmp_path).read("tickets", 1)
    assert error.value.fault == "unreadable"


def test_missing_repository(tmp_path: Path) -> None:
    """A repository that cannot be listed is an error, and not an empty repository."""
    with pytest.raises(FileNotFoundError):
        at(tmp_path / "nowhere").scan()
