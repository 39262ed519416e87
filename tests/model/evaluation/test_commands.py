"""The commands `evaluate` and `compare`, and segments (`--by`)."""

import json
import sys
from pathlib import Path

import pytest

from sentiment_conv1d.commands.output import table_lines
from sentiment_conv1d.model.__main__ import main
from tests.processes import MODEL_REPOSITORY
from tests.tiny import FLAGS, write_reviews

ARTIFACTS = [str(MODEL_REPOSITORY / name / "1") for name in ("imdb-cnn", "accurate")]


@pytest.fixture
def shops(tmp_path: Path) -> Path:
    """Write eighty reviews of two shops."""
    _, *lines = write_reviews(tmp_path / "plain.csv", count=80).read_text(encoding="utf-8").splitlines()
    rows = [f"{line},{'north' if number < 40 else 'south'}" for number, line in enumerate(lines)]
    path = tmp_path / "shops.csv"
    path.write_text("\n".join(["text,label,shop", *rows]) + "\n", encoding="utf-8")
    return path


def test_evaluation_by_a_column(
    run_path: Path, shops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`evaluate --by` prints each segment and the gap, and writes them to metrics.json."""
    out = tmp_path / "evaluation"
    assert main(["evaluate", str(run_path), "--data", str(shops), "--by", "shop", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "by shop:\n" in printed
    document = json.loads((out / "metrics.json").read_text())
    segments = document["segments"]["segments"]
    assert document["segments"]["column"] == "shop"
    assert sum(each["examples"] for each in segments) == document["examples"]
    right = sum(each["accuracy"] * each["examples"] for each in segments)
    assert right / document["examples"] == pytest.approx(document["values"]["accuracy"])
    assert all(f"  {each['name']}  " in printed for each in segments)


def test_missing_segments(run_path: Path, shops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A column that does not exist is an error that names the flag, and objects of JSON lines may lack the column."""
    assert main(["evaluate", str(run_path), "--data", str(shops), "--by", "store"]) == 2
    assert "there is no column 'store'; columns: 'text', 'label', 'shop'; if it has another name, use --by COLUMN" in (
        capsys.readouterr().err
    )
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a new one", "label": "positive", "shop": 5}\n{"text": "dull", "label": "negative"}\n')
    assert main(["evaluate", str(run_path), "--data", str(rows), "--by", "shop", "--out", str(tmp_path / "out")]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} >= {"5", "(empty)"}
    folder = tmp_path / "aclImdb" / "train"
    for kind in ("pos", "neg"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "0_1.txt").write_text("a film")
    assert main(["evaluate", str(run_path), "--data", str(tmp_path / "aclImdb"), "--by", "shop"]) == 2
    assert "every text is a file, so there is no column 'shop'" in capsys.readouterr().err


def test_evaluation_of_an_artifact(shops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluate` also measures an artifact, and writes nothing into it."""
    before = sorted(Path(ARTIFACTS[0]).iterdir())
    assert main(["evaluate", ARTIFACTS[0], "--data", str(shops)]) == 0
    printed = capsys.readouterr().out
    assert "measured on 80 texts of shops.csv, which may include training texts:\n  accuracy " in printed
    assert "wrote" not in printed
    assert sorted(Path(ARTIFACTS[0]).iterdir()) == before


def test_evaluation_of_a_shipped_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NAME/VERSION is an artifact of the default repository, as for other commands. Standard error can be closed."""
    (tmp_path / "reviews.csv").write_text("text,label\ngood,positive\nbad,negative\n")
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stderr", None)
        assert main(["evaluate", "imdb-cnn/1", "--data", str(tmp_path / "reviews.csv")]) == 0
        sys.stderr.close()
    assert capsys.readouterr().out.startswith("measured on 2 texts of reviews.csv")


def test_evaluation_of_a_model_without_its_version(shops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of a model, which contains versions, is not mistaken for a run."""
    assert main(["evaluate", "imdb-cnn", "--data", str(shops)]) == 2
    assert "imdb-cnn: is a model; name one of its versions, such as " in capsys.readouterr().err


def test_comparison_of_artifacts(shops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`compare` measures two artifacts on the same texts, and writes those with different predictions."""
    differences = tmp_path / "differences.jsonl"
    assert main(["compare", *ARTIFACTS, "--data", str(shops), "--differences", str(differences)]) == 0
    printed = capsys.readouterr().out
    assert f"A: {ARTIFACTS[0]}\nB: {ARTIFACTS[1]}\n" in printed
    rows = [json.loads(line) for line in differences.read_text().splitlines()]
    assert f"different predictions: {len(rows)} of 80 texts" in printed
    lines = shops.read_text().splitlines()
    for row in rows:
        assert row["predicted_a"] != row["predicted_b"]
        assert row["source"] == str(shops)
        assert lines[row["line"] - 1].startswith(f"{row['text']},{row['label']},")


def test_comparison_by_a_column(shops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`compare --by` lists the accuracies of both models in each segment, the largest loss of B first."""
    assert main(["compare", *ARTIFACTS, "--data", str(shops), "--by", "shop"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("by shop:")
    assert lines[start + 1].split() == ["shop", "texts", "A", "B", "B", "-", "A", "95%", "interval"]
    rows = [line.split() for line in lines[start + 2 : start + 4]]
    assert {row[0] for row in rows} == {"north", "south"}
    assert [row[1] for row in rows] == ["40", "40"]
    differences = [float(row[4]) for row in rows]
    assert differences == sorted(differences)
    for _, _, first, second, difference, low, _, high in rows:
        assert float(second) - float(first) == pytest.approx(float(difference), abs=1.5e-4)
        assert float(low) <= float(difference) <= float(high)
    [overall] = [line.split() for line in lines if line.startswith("  accuracy ")]
    assert sum(float(row[2]) for row in rows) / 2 == pytest.approx(float(overall[1]), abs=1e-4)


def test_training_by_a_column(shops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`train --by` measures the segments of the test texts, in the terminal and in the report."""
    out = tmp_path / "run"
    assert main(["train", "--data", str(shops), "--out", str(out), "--by", "shop", *FLAGS]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[lines.index("by shop:") + 2 :]][:2]
    assert {row[0] for row in rows} == {"north", "south"}
    assert sum(int(row[1]) for row in rows) == 16
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "<h2>Segments</h2>" in report
    assert "Fewer than two segments have at least 30 texts, so no gap is measured." in report
    for name, texts, accuracy, *_ in rows:
        assert f'>{name}</th><td class="number">{texts}</td><td class="number">{accuracy}</td>' in report
    assert main(["train", "--data", str(shops), "--out", str(tmp_path / "other"), "--by", "store", *FLAGS]) == 2
    assert "there is no column 'store'" in capsys.readouterr().err


def test_comparison_of_a_run(run_path: Path, reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A comparison leaves out the texts that a run was trained on, and says that an artifact does not name its own."""
    assert main(["compare", str(run_path), ARTIFACTS[0], "--data", str(reviews)]) == 0
    assert (
        "measured on 12 of 60 texts of reviews.csv; the others are training or validation texts; they may include "
        f"training texts of {ARTIFACTS[0]}:"
    ) in capsys.readouterr().out
    assert main(["compare", str(run_path), str(run_path), "--data", str(reviews)]) == 0
    printed = capsys.readouterr().out
    assert "different predictions: 0 of 12 texts" in printed
    assert "may include" not in printed


def test_models_that_cannot_be_compared(
    run_path: Path, run_of_three_labels: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Models with different labels are refused, and so is a file that cannot be written."""
    assert main(["compare", str(run_path), str(run_of_three_labels), "--data", str(reviews)]) == 2
    assert "the models have different labels: negative, positive (" in capsys.readouterr().err
    missing = str(tmp_path / "missing" / "file.jsonl")
    assert main(["compare", *ARTIFACTS, "--data", str(reviews), "--differences", missing]) == 2
    assert f"{missing}: cannot be written (No such file or directory)" in capsys.readouterr().err


def test_aligned_lines() -> None:
    """Words are aligned to the left and numbers to the right."""
    assert list(table_lines([["name", "n"], ["a", "12"]])) == ["  name   n", "  a     12"]
