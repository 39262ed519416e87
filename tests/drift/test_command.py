"""The command `drift` with the log of a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from sentiment_conv1d.artifact.artifact import Artifact, publish
from sentiment_conv1d.artifact.text_statistics import TextStatistics
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.__main__ import main
from tests.drift.test_log import record
from tests.processes import ServerProcess, run
from tests.service.reviews import reviews

BEFORE = reviews(400, 1)
SHORT = [" ".join(text.split()[:20]) for text in reviews(400, 2)]


@pytest.fixture(scope="module")
def measured(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Copy the shipped model, with the statistics of `BEFORE`."""
    predictions = Classifier(artifact).predict(BEFORE)
    statistics = TextStatistics.of(
        "made-up reviews",
        labels=[each.label for each in predictions],
        scores=[each.score for each in predictions],
        tokens=[each.tokens for each in predictions],
        unknown_tokens=[each.unknown_tokens for each in predictions],
    )
    fields = artifact.manifest.model_dump(exclude={"version", "files", "manifest_sha256"}) | {"statistics": statistics}
    return publish(tmp_path_factory.mktemp("repository"), fields, artifact.graph, artifact.tokenizer)


@pytest.fixture(scope="module")
def logs(measured: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Write a log of the same texts, and a log of short texts."""
    folders = {}
    for name, texts in (("same", BEFORE), ("short", SHORT)):
        folders[name] = tmp_path_factory.mktemp(name)
        flags = ("--request-log", str(folders[name]), "--request-log-sample", "1", "--workers", "2")
        with ServerProcess(*flags, repository=measured.path.parents[1]) as server:
            for start in range(0, len(texts), 40):
                answer = server.client.post("/v1/predict_batch", json={"texts": texts[start : start + 40]})
                assert answer.status_code == 200
    yield folders


class Finished(NamedTuple):
    """The exit status of the command, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Drift = Callable[..., Finished]


@pytest.fixture
def drift(capsys: pytest.CaptureFixture[str]) -> Drift:
    """Run the command in this process."""

    def finish(*arguments: object) -> Finished:
        status = main(["drift", *map(str, arguments)])
        return Finished(status, *capsys.readouterr())

    return finish


def table(output: str) -> dict[str, Sequence[str]]:
    """Return the reading and the index of each property."""
    lines = output.split("\n\n")[1].splitlines()
    starts = [lines[0].index(name) for name in ("Reading", "PSI", "By chance")]
    return {
        line[: starts[0]].strip(): (line[starts[0] : starts[1]].strip(), line[starts[1] : starts[2]].strip())
        for line in lines[1:]
    }


def test_same_texts(logs: dict[str, Path], measured: Artifact) -> None:
    """A log of the texts that the manifest describes has no drift."""
    arguments = (str(logs["same"]), "--artifact", str(measured.path), "--fail-above", "0.0001")
    result = run("-m", "service", "drift", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "before: 400 texts of made-up reviews\n" in result.stdout
    assert set(table(result.stdout).values()) == {("little change", "0.0000")}
    assert list(table(result.stdout)) == ["score", "label", "tokens", "unknown words"]


def test_short_texts(drift: Drift, logs: dict[str, Path], measured: Artifact, tmp_path: Path) -> None:
    """A log of shorter texts has drift in its tokens. The exit status reports it, and the page shows the bins."""
    page = tmp_path / "report.html"
    result = drift(logs["short"], "--artifact", measured.path, "--out", page, "--fail-above", "0.25")
    assert result.returncode == 1
    assert table(result.stdout)["tokens"][0] == "significant change"
    document = page.read_text()
    assert document.startswith("<!DOCTYPE html>") and "<h1>Drift of imdb-cnn 1</h1>" in document
    assert document.count("<svg") == 4 and "<script" not in document
    assert "400 texts of made-up reviews" in document


def test_without_a_limit(drift: Drift, logs: dict[str, Path], measured: Artifact) -> None:
    """Without a limit, drift does not change the exit status."""
    assert drift(logs["short"], "--artifact", measured.path).returncode == 0


def test_limit_that_no_index_exceeds(
    logs: dict[str, Path], measured: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit that is no number, so that nothing would be above it, is refused."""
    with pytest.raises(SystemExit, match="2"):
        main(["drift", str(logs["short"]), "--artifact", str(measured.path), "--fail-above", "nan"])
    assert capsys.readouterr().err.endswith("argument --fail-above: 'nan' is not a number from 0\n")


def test_chance(drift: Drift, logs: dict[str, Path], measured: Artifact, tmp_path: Path) -> None:
    """A log that is too small for a conclusion does not exceed the limit."""
    record = json.loads(next(logs["same"].glob("*")).read_text().splitlines()[0])
    small = tmp_path / "small.jsonl"
    small.write_text(json.dumps(record | {"predictions": record["predictions"][:5]}))
    result = drift(small, "--artifact", measured.path, "--fail-above", "0.25")
    assert float(table(result.stdout)["tokens"][1]) > 0.25
    assert result.returncode == 0


def test_against_another_log(drift: Drift, logs: dict[str, Path]) -> None:
    """Two logs are compared without an artifact."""
    result = drift(logs["short"], "--against", logs["same"], "--fail-above", "0.25")
    assert result.returncode == 1
    assert table(result.stdout)["tokens"][0] == "significant change"
    assert drift(logs["same"], "--against", logs["same"], "--fail-above", "0").returncode == 0


def test_before_and_now(drift: Drift, tmp_path: Path) -> None:
    """The log after `--against` is the one before: its texts, means and shares come first."""
    before, now = tmp_path / "before.jsonl", tmp_path / "now.jsonl"
    before.write_text(record("2026-01-01T08:00:00", 10, 20))
    now.write_text(record("2026-02-01T09:30:59", 30) + record("2026-02-02T10:00:00", 40, 50, label="no") + "{")
    result = drift(now, "--against", before)
    about, properties, labels = (part.splitlines() for part in result.stdout.split("\n\n"))
    assert about == [
        "tiny",
        "  before: 2 texts of before.jsonl, 2026-01-01 08:00 to 2026-01-01 08:00 UTC",
        "  now: 3 texts of now.jsonl, 2026-02-01 09:30 to 2026-02-02 10:00 UTC, without 1 unreadable line",
    ]
    assert properties[0].split()[-4:] == ["Mean", "before", "Mean", "now"]
    assert [line.split()[-2:] for line in properties if line.split()[0] == "tokens"] == [["15.000", "40.000"]]
    assert [line.split() for line in labels] == [
        ["Label", "Before", "Now"],
        ["yes", "100.0%", "33.3%"],
        ["no", "0.0%", "66.7%"],
    ]


def test_errors(drift: Drift, logs: dict[str, Path], artifact: Artifact, tmp_path: Path) -> None:
    """An artifact without statistics, a log without the model, and other errors are reported."""
    result = drift(logs["same"], "--artifact", artifact.path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {artifact.path}: the manifest has no statistics; export the model with")
    result = drift(logs["same"], "--artifact", artifact.path, "--model", "other")
    assert result.returncode == 2
    assert result.stderr.startswith("error: --model goes with --against;")
    result = drift(logs["same"], "--against", logs["same"], "--model", "other")
    assert (result.returncode, result.stderr) == (2, "error: the log contains no texts of other, but of: imdb-cnn 1\n")
    (tmp_path / "empty").touch()
    result = drift(tmp_path / "empty", "--against", logs["same"])
    assert (result.returncode, result.stderr) == (
        2,
        "error: choose a model with --model; the log contains texts of: no model\n",
    )
    page = tmp_path / "missing" / "report.html"
    result = drift(logs["same"], "--against", logs["same"], "--out", page)
    assert (result.returncode, result.stderr) == (2, f"error: {page}: cannot be written (No such file or directory)\n")
