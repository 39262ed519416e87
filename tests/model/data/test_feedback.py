"""Feedback that a real service has logged tells how often its versions were right, and a model learns from it."""

from __future__ import annotations

import csv
import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.data.feedback import labelled, read_feedback
from sentiment_conv1d.model.data.flags import feedback_parts
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.model.tables.logs import Version
from tests.processes import ServerProcess
from tests.service.artifacts import publish_strength
from tests.tiny import write_reviews


class Logs(NamedTuple):
    """The folders of the logs of a service."""

    feedback: Path
    requests: Path


def flags(logs: Logs, *more: str) -> tuple[str, ...]:
    """Return the flags of a server that writes these logs."""
    everything = ("--request-log-sample", "1", "--request-log", str(logs.requests))
    return ("--workers", "2", "--feedback-log", str(logs.feedback), "--feedback-rate", "1e6", *everything, *more)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """Log the right labels of 60 new reviews, in two batches, and one text without feedback."""
    folder = tmp_path_factory.mktemp("logs")
    logs = Logs(folder / "feedback", folder / "requests")
    with write_reviews(folder / "plain.csv").open(encoding="utf-8") as file:
        rows = [(f"popcorn {row['text']}", row["label"]) for row in csv.DictReader(file)]
    with ServerProcess(*flags(logs, "--request-log-texts")) as server:
        for batch in (rows[:30], rows[30:]):
            answer = server.client.post("/v1/predict_batch", json={"texts": [text for text, _ in batch]})
            for index, (_, label) in enumerate(batch):
                body = {"request_id": answer.headers["x-feedback-id"], "label": label, "index": index}
                server.client.post("/v1/feedback", json=body).raise_for_status()
        server.client.post("/v1/predict", json={"text": "no feedback"}).raise_for_status()
    return logs


def test_texts(logs: Logs, tmp_path: Path) -> None:
    """Every text with feedback gets its right label, and no other text is among them."""
    with write_reviews(tmp_path / "plain.csv").open(encoding="utf-8") as file:
        expected = [(f"popcorn {row['text']}", row["label"]) for row in csv.DictReader(file)]
    part = labelled(read_feedback([logs.feedback]), [logs.requests])
    assert sorted((row.text, row.label) for row in part.rows) == sorted(expected)


def test_training(run_path: Path, logs: Logs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`train --init-from RUN --feedback` learns from these texts, and `evaluate RUN --feedback` measures on them."""
    given = ["--feedback", str(logs.feedback), "--request-log", str(logs.requests)]
    out = str(tmp_path / "run")
    training = ["train", "--init-from", str(run_path), *given, "--out", out, "--validation-fraction", "0"]
    assert main([*training, "--test-fraction", "0.5"]) == 0
    run = read_run(tmp_path / "run")
    assert run.metrics is not None and run.metrics.measured_on == "30 held out of 60 reviews of the feedback"
    capsys.readouterr()
    assert main(["evaluate", str(run_path), *given, "--out", str(tmp_path / "evaluation")]) == 0
    assert "measured on 60 reviews of the feedback:" in capsys.readouterr().out


def test_training_with_other_data(
    run_path: Path, reviews: Path, logs: Logs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Feedback adds to other data."""
    given = ["--feedback", str(logs.feedback), "--request-log", str(logs.requests), "--data", str(reviews)]
    assert main(["evaluate", str(run_path), *given, "--out", str(tmp_path / "evaluation")]) == 0
    assert "of 120 reviews of reviews.csv and the feedback" in capsys.readouterr().out
    assert main(["train", "--init-from", str(run_path), *given, "--out", str(tmp_path / "run")]) == 0
    assert "training on" in (printed := capsys.readouterr().out) and "of reviews.csv and the feedback" in printed


def test_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluate --feedback` prints the accuracy of each version of a split, with Wilson's interval."""
    for strength in (2, -2):  # the second version confuses the labels
        publish_strength(tmp_path / "repository", strength)
    logs = Logs(tmp_path / "feedback", tmp_path / "requests")
    split = ("--versions", "all", "--split", "tickets=1:50,2:50")
    with ServerProcess(*flags(logs, *split), repository=tmp_path / "repository") as server:
        for number in range(40):
            answer = server.client.post("/v1/predict", json={"text": "praise"}, headers={"x-routing-key": str(number)})
            body = {"request_id": answer.headers["x-feedback-id"], "label": "thanks"}
            server.client.post("/v1/feedback", json=body).raise_for_status()
    counts = {version: (texts, right) for version, texts, right in read_feedback([logs.feedback]).by_version()}
    first, second = (counts[Version("tickets", number)] for number in (1, 2))
    assert first[0] + second[0] == 40 and first[0] == first[1] and second[1] == 0 < second[0]
    assert main(["evaluate", "--feedback", str(logs.feedback)]) == 0
    title, header, *rows = capsys.readouterr().out.splitlines()
    assert title == "feedback on 40 texts:" and header.split("  ")[-1] == "95% interval"
    assert [row.split()[:5] for row in rows] == [
        ["tickets", "1", str(first[0]), "1.0000", f"{first[0] / (first[0] + 1.959964**2):.4f}"],
        ["tickets", "2", str(second[0]), "0.0000", "0.0000"],
    ]


RECORD = {
    "time": "2026-11-02T09:31:12.480+00:00",
    "request_id": "one",
    "index": 0,
    "predicted_at": "2026-11-02T09:30:00.125+00:00",
    "model": "a",
    "version": 1,
    "predicted": "positive",
    "label": "negative",
}
REQUEST = {
    "time": "2026-11-02T09:30:00.125+00:00",
    "request_id": "one",
    "model": "a",
    "version": 1,
    "predictions": [{"label": "positive", "text": "so good"}],
}


def write(path: Path, *records: Mapping[str, Any] | str) -> Path:
    """Write a log. A string is a line that is not a record."""
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_repeated_feedback(tmp_path: Path) -> None:
    """The last feedback on a text counts, in whatever order the files have it. Other texts count separately."""
    later = RECORD | {"time": "2026-11-02T09:31:12.481+00:00", "label": "positive"}
    others = [RECORD | change for change in ({"index": 1}, {"request_id": "two"}, {"predicted_at": "2026"})]
    for records in ((RECORD, later), (later, RECORD)):
        log = read_feedback([write(tmp_path / "log", *records, *others)])
        assert list(log.by_version()) == [(Version("a", 1), 4, 1)]


def test_lines_that_are_no_feedback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Incomplete lines are left out, and the user learns how many there are. A log without feedback is an error."""
    bad = ('{"time": "2026', "5", "{}", json.dumps(RECORD | {"version": "x"}))
    log = write(tmp_path / "log", *bad, RECORD)
    assert main(["evaluate", "--feedback", str(log)]) == 0
    assert "warning: left out: 4 lines of the feedback log" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"^.*/log: no feedback in 4 lines$"):
        read_feedback([write(tmp_path / "log", *bad)])


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "two"},
        {"time": "2026-11-02T09:30:00.126+00:00"},  # another request with the same id
        {"version": 2},
        {"predictions": [{"label": "positive"}]},
        {"predictions": [{"label": "positive", "text": " "}]},
        {"predictions": ["positive"]},
    ],
)
def test_missing_texts(tmp_path: Path, change: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Feedback whose text is not in the request log is left out, and the user learns how many texts there are.

    If no text is there, the error says how to log it.
    """
    log = write(tmp_path / "log", RECORD, RECORD | {"request_id": "three"})
    requests = write(tmp_path / "requests", "{", REQUEST | change, REQUEST | {"request_id": "three"})
    [part] = feedback_parts(Namespace(feedback=[log], request_log=[requests]))
    assert [(row.text, row.label) for row in part.rows] == [("so good", "negative")]
    assert capsys.readouterr().out == "warning: left out: 1 text with feedback, not in the request log\n"
    write(tmp_path / "requests", REQUEST | change)
    with pytest.raises(
        DataError, match="log requests with --request-log-texts on, and all of them with --request-log-s"
    ):
        labelled(read_feedback([log]), [requests])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "name a RUN to measure, or --feedback"),
        (["evaluate", "--feedback", "log", "--data", "a.csv"], "--data needs a RUN to measure"),
        (["evaluate", "--feedback", "log", "--request-log", "b"], "--request-log needs a RUN to measure"),
        (["evaluate", "--feedback", "missing"], "missing: cannot be read (No such file or directory)"),
        (["train", "--out", "run"], "--data or --feedback is needed"),
        (["train", "--out", "run", "--feedback", "log"], "--feedback needs --request-log, which contains the texts"),
        (["train", "--out", "run", "--data", "a.csv", "--request-log", "b"], "--request-log needs --feedback"),
        (
            ["train", "--out", "run", "--preset", "reviews", "--feedback", "log"],
            "--feedback: a training with the preset reviews needs --data, and learns from no feedback",
        ),
    ],
)
def test_flags_that_do_not_fit(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Flags that do not fit together are an error that says what is missing."""
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
