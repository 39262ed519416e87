"""Hints to install an extra name the place that the package came from, never its name on an index."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sentiment_conv1d.commands import installation
from sentiment_conv1d.commands.installation import install_hint, tensorflow_hint
from tests.processes import MODEL_REPOSITORY, PROJECT, patch, run

TICKETS = str(PROJECT / "docs" / "tickets.csv")


def hint_of(document: object, path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the hint of a package that is installed in a folder with this direct_url.json."""
    information = path / "sentiment_conv1d-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: sentiment-conv1d\nVersion: 1\n")
    if document is not None:
        (information / "direct_url.json").write_text(json.dumps(document))
    monkeypatch.syspath_prepend(str(path))
    monkeypatch.setattr(installation, "_CHECKOUT", path)
    return install_hint("train")


def test_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout is installed from its folder."""
    monkeypatch.chdir(PROJECT)
    assert install_hint("train") == "install the `train` extra: pip install '.[train]'"
    monkeypatch.chdir(tmp_path)
    assert install_hint("train") == f"install the `train` extra: pip install '{PROJECT}[train]'"


@pytest.mark.parametrize(
    ("document", "requirement"),
    [
        ({"url": "file://{path}/a%20b.whl", "archive_info": {}}, "{path}/a b.whl[train]"),
        (
            {"url": "https://host.example/x.whl", "archive_info": {}},
            "sentiment-conv1d[train] @ https://host.example/x.whl",
        ),
        (
            {"url": "https://host.example/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "sentiment-conv1d[train] @ git+https://host.example/x.git@abc",
        ),
    ],
    ids=["file", "URL", "repository"],
)
def test_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: dict[str, str], requirement: str) -> None:
    """An installed package is installed again from the same place."""
    (tmp_path / "a b.whl").touch()
    document = document | {"url": document["url"].format(path=tmp_path)}
    hint = hint_of(document, tmp_path, monkeypatch)
    assert hint == f"install the `train` extra: pip install '{requirement.format(path=tmp_path)}'"


@pytest.mark.parametrize("path", [None, "no/such/folder", "refused" * 50], ids=["index", "gone", "refused"])
def test_unknown_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None) -> None:
    """If the origin is not known, no longer exists, or the system refuses its path, the hint does not invent one."""
    hint = hint_of(path and {"url": f"file:///{path}", "dir_info": {}}, tmp_path, monkeypatch)
    assert hint.startswith("install the `train` extra from the checkout or wheel of sentiment-conv1d, as in")
    assert hint.endswith("'WHEEL[train]'")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("model", ("train", "--data", TICKETS, "--out", "{folder}/run")),
        ("model", ("evaluate", str(MODEL_REPOSITORY / "imdb-cnn" / "1"), "--data", TICKETS)),
        ("export", ("model.keras", "--labels", "bad,good")),
    ],
    ids=["train", "evaluate", "export"],
)
def test_modules_without_the_extra(tmp_path: Path, module: str, arguments: tuple[str, ...]) -> None:
    """`python -m model` and `python -m export` say in one line that they need TensorFlow."""
    hidden = patch(tmp_path / "hidden", "import sys; sys.modules.update(keras=None, scipy=None)")
    finished = run("-m", module, *(each.format(folder=tmp_path) for each in arguments), PYTHONPATH=hidden)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1] == (
        f"python -m {module}: training and export need TensorFlow: {tensorflow_hint()}"
    )
    assert "Traceback" not in finished.stderr


def test_python_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Python 3.14, the hint names the versions that TensorFlow has wheels for."""
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    assert tensorflow_hint() == "it has no wheels for Python 3.14, so use Python 3.11, 3.12 or 3.13"


def test_no_hint_by_name_alone() -> None:
    """Nothing asks pip for the package by its name alone, except the page on releases, for after the first one."""
    names = ("README.md", "CONTRIBUTING.md", "Makefile", "Dockerfile")
    folders = ("docs", "deploy", "model", "export", "sentiment_conv1d", "service", "loadtest")
    paths = [PROJECT / name for name in names]
    paths += [
        path for folder in folders for path in (PROJECT / folder).rglob("*") if path.suffix in {".py", ".md", ".txt"}
    ]
    for path in set(paths) - {PROJECT / "docs" / "releasing.md"}:
        assert "install sentiment-conv1d" not in path.read_text(), path
        assert 'install "sentiment-conv1d' not in path.read_text(), path
