"""The command `python -m export`."""

import csv
import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest

from sentiment_conv1d.artifact.artifact import read_artifact, versions
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.export import exporter
from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.export.checks.text_graph import odd_texts
from sentiment_conv1d.export.exporter import Exported
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.service.__main__ import main as service

PROJECT = Path(__file__).parents[2]


def refused(capsys: pytest.CaptureFixture[str], message: str) -> None:
    """Assert that stderr contains one line with a message and one line with a hint."""
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["error", "hint"]
    assert all(len(line) > len("error: ") for line in lines)
    assert message in lines[0]


def test_run(run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table lists the comparisons on held-out reviews and on generated ids."""
    assert main([str(run_path), "--repository", str(tmp_path), "--data", str(reviews)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["inputs", "against", "number", "largest", "difference"]
    assert [line.strip().split("  ")[0] for line in printed[1:11]] == [
        f"{inputs}, {form}"
        for inputs in ("12 texts of reviews.csv", "generated ids")
        for form in ("padded, batches", "padded, batches", "padded, one by one", "short, one by one", "short, batches")
    ]
    assert printed[11] == "no label changed"
    assert printed[12] == "folded: convolutions of width 2, 3 are table look-ups"
    assert printed[-2] == f"wrote {tmp_path / 'tiny' / '1'}"
    assert printed[-1].endswith(f" serve --model-repository {tmp_path} --default-model tiny")
    manifest = read_artifact(tmp_path / "tiny" / "1").manifest
    measured_on = "12 of 60 texts of reviews.csv; the others are training or validation texts"
    assert any(line.startswith("accuracy: ") and line.endswith(f" on {measured_on}") for line in printed)
    assert manifest.metrics is not None
    assert (manifest.metrics.measured_on, manifest.metrics.examples) == (measured_on, 12)
    of_run = read_run(run_path).metrics.values  # type: ignore[union-attr]
    found = manifest.metrics.values
    assert found == pytest.approx({name: of_run[name] for name in found}, abs=1e-6)
    assert [check.examples for check in manifest.parity] == [12] * 5 + [256, 256, 64, 256, 256]
    statistics = manifest.statistics
    assert statistics is not None
    assert (statistics.source, statistics.texts, sum(statistics.labels.values())) == (measured_on, 12, 12)
    assert set(statistics.labels) <= set(manifest.labels)
    assert 0.5 <= statistics.scores.mean <= 1 and statistics.tokens.mean > 1


def test_8_bit_form(
    run_path: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output shows the differences on generated ids and the accuracy on held-out reviews."""
    monkeypatch.setattr("sentiment_conv1d.export.checks.quantization_error.MAX_ACCURACY_LOSS", 0.1)  # of 12 reviews
    assert main([str(run_path), "--repository", str(tmp_path), "--data", str(reviews), "--quantize"]) == 0
    printed = capsys.readouterr().out.splitlines()
    after = printed.index("no label changed except by quantization")
    assert printed[after + 1] == "quantized: convolutions of width 2, 3 are look-ups in 8-bit tables"
    assert printed[after + 3].split()[:3] == ["generated", "ids", "256"]
    assert printed[after + 3].split()[-2:] == ["-", "-"]
    manifest = read_artifact(tmp_path / "tiny" / "1").manifest
    assert manifest.metrics is not None
    accuracy = f"{manifest.metrics.values['accuracy']:.4f}"
    assert (
        printed[after + 4]
        .strip()
        .startswith("12 of 60 texts of reviews.csv; the others are training or validation texts  ")
    )
    assert printed[after + 4].split()[-2] == accuracy
    assert manifest.precision == "uint8"


def test_every_test_file_is_named_once(run_path: Path, reviews: Path, tmp_path: Path) -> None:
    """A file that is named twice is measured and named once, and files of the same name with their folders."""
    files = [tmp_path / name / "test.csv" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(reviews.read_bytes())
    first, second = map(str, files)
    assert main([str(run_path), "--repository", str(tmp_path / "repository"), "--data", second, first, second]) == 0
    manifest = read_artifact(tmp_path / "repository" / "tiny" / "1").manifest
    assert manifest.metrics is not None
    assert (manifest.metrics.measured_on, manifest.metrics.examples) == (
        "24 of 120 texts of b/test.csv and a/test.csv; the others are training or validation texts",
        24,
    )
    assert manifest.parity[0].inputs == "24 texts of b/test.csv and a/test.csv, padded, batches"


def test_flags_of_data(run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data can be several files with compression, another encoding and another delimiter. Skipped rows are counted."""
    header, *rows = [";".join(row) for row in csv.reader(reviews.read_text(encoding="utf-8").splitlines())]
    first, second = tmp_path / "first.csv.gz", tmp_path / "second.csv"
    first.write_bytes(
        gzip.compress("\n".join([header, *rows[:30], ";positive", "très bien;positive"]).encode("cp1252"))
    )
    second.write_bytes("\n".join([header, *rows[30:], "schön; POSITIVE "]).encode("cp1252"))
    data = ["--data", str(first), str(second), "--delimiter", ";", "--encoding", "cp1252"]
    arguments = [str(run_path), "--repository", str(tmp_path / "repository"), *data]
    assert main(arguments) == 2
    assert "label ' POSITIVE ' is none of the labels 'negative', 'positive'" in capsys.readouterr().err
    assert main([*arguments, "--similar-labels", "merge", "--on-bad-rows", "skip", "--allow-poor-accuracy"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"warning: left out: {first}: line 32: the column 'text' is empty in this row" in printed
    metrics = read_artifact(tmp_path / "repository" / "tiny" / "1").manifest.metrics
    assert metrics is not None
    assert (
        metrics.measured_on
        == "14 of 62 texts of first.csv.gz and second.csv; the others are training or validation texts"
    )


def test_8_bit_form_without_data(run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output says that the accuracy was not measured."""
    assert main([str(run_path), "--repository", str(tmp_path), "--quantize"]) == 0
    assert "the accuracy of the 8-bit graph was not measured; --data measures it" in capsys.readouterr().out


def test_statistics_of_the_run(run_path: Path, tmp_path: Path) -> None:
    """Without data, the artifact has what the run says about its texts, with the new names of its labels."""
    arguments = [str(run_path), "--repository", str(tmp_path), "--labels", "no,yes", "--license", "cc-by-4.0"]
    assert main(arguments) == 0
    manifest, run = read_artifact(tmp_path / "tiny" / "1").manifest, read_run(run_path)
    found = manifest.statistics
    assert found is not None and run.statistics is not None
    names = {"negative": "no", "positive": "yes"}
    assert found.labels == {names[label]: count for label, count in run.statistics.labels.items()}
    assert found.model_copy(update={"labels": run.statistics.labels}) == run.statistics
    assert manifest.metrics is not None and run.metrics is not None
    assert [each.label for each in manifest.metrics.per_label] == ["no", "yes"]
    assert manifest.license == "cc-by-4.0"
    assert manifest.training_data is not None
    assert manifest.training_data.source == "48 of 60 texts of reviews.csv"
    assert manifest.training_data.labels == {"no": 24, "yes": 24}
    assert manifest.metrics.renamed({"no": "negative", "yes": "positive"}) == run.metrics


def test_long_data(
    run_path: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parity is checked on a limited number of reviews, spread over the whole file."""
    monkeypatch.setattr("sentiment_conv1d.export.checks.parity.MAX_TEXTS", 5)
    assert main([str(run_path), "--repository", str(tmp_path), "--data", str(reviews)]) == 0
    assert "4 texts of reviews.csv, padded, batches" in capsys.readouterr().out


def test_keras_file(recurrent: keras.Model, run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A Keras file is exported with its labels, and the output contains the reason why the model is not folded."""
    recurrent.save(tmp_path / "other.keras")
    reading = ["--tokenizer", str(run_path / "tokenizer.json"), "--labels", "no, yes"]
    arguments = [str(tmp_path / "other.keras"), *reading, "--name", "other", "--repository", str(tmp_path / "r")]
    assert main([*arguments, "--unverified"]) == 0
    printed = capsys.readouterr().out
    assert "not folded, so every text is padded to 12 ids: layer simple_rnn" in printed
    assert read_artifact(tmp_path / "r" / "other" / "1").manifest.labels == ("no", "yes")


def test_model_without_an_8_bit_form(
    recurrent: keras.Model, run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model without an 8-bit form is refused with the reason, and nothing is written."""
    recurrent.save(tmp_path / "other.keras")
    reading = ["--tokenizer", str(run_path / "tokenizer.json"), "--labels", "no,yes"]
    arguments = [str(tmp_path / "other.keras"), *reading, "--name", "other", "--repository", str(tmp_path / "r")]
    assert main([*arguments, "--quantize"]) == 2
    refused(capsys, "only a model of the Conv1D family has an 8-bit form: layer simple_rnn")
    assert not (tmp_path / "r").exists()


def test_concurrent_exports(run_path: Path, tmp_path: Path) -> None:
    """Two processes that export at the same time write two complete versions."""
    command = [sys.executable, "-m", "export", str(run_path), "--repository", str(tmp_path)]
    processes = [
        subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for process in processes:
        with process:
            output, noise = process.communicate()
            assert (process.returncode, noise.decode()) == (0, "")
            assert b"no label changed" in output
    assert versions(tmp_path, "tiny") == [1, 2]
    first, second = (read_artifact(tmp_path / "tiny" / version) for version in ("1", "2"))
    assert first.graph == second.graph
    assert sorted(entry.name for entry in (tmp_path / "tiny").iterdir()) == ["1", "2"]


def test_graph_that_differs_from_keras(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 2, the message names the review, and there is no repository."""

    def tampered(model: keras.Model, *reading: int) -> tuple[Any, str]:
        family, reason = recognize(model, *reading)
        assert family is not None
        return replace(family, banks=family.banks[::-1]), reason

    monkeypatch.setattr(exporter, "recognize", tampered)
    assert main([str(run_path), "--repository", str(tmp_path / "repository")]) == 2
    assert "error: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../up", "Upper", "a/b", ".hidden", "x" * 65, "a b"])
def test_invalid_name(name: str, run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that cannot be part of paths and URLs is refused."""
    assert main([str(run_path), "--name", name, "--repository", str(tmp_path / "repository")]) == 2
    refused(capsys, f"--name: {name!r} is not a valid model name")
    assert list(tmp_path.iterdir()) == []


def test_invalid_exports(run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every error is one line with a hint, and nothing is written."""
    keras_file, reading = str(run_path / "model.keras"), str(run_path / "tokenizer.json")
    whole = [keras_file, "--tokenizer", reading, "--labels", "no,yes"]
    unlabelled = tmp_path / "reviews.csv"
    unlabelled.write_text("text,label\nfine,great\n")
    for arguments, message in (
        ([str(tmp_path / "none")], "none: there is no such run folder"),
        ([str(run_path), "--data", str(tmp_path / "none.csv")], "none.csv: there is no such file or folder"),
        ([str(run_path), "--data", str(unlabelled)], "label 'great' is none of the labels 'negative', 'positive'"),
        ([str(run_path), "--vocabulary", reading], "--vocabulary is for models from elsewhere"),
        ([str(run_path), "--start-id", "none"], "--start-id is for models from elsewhere"),
        ([str(run_path), "--from-logits"], "--from-logits is for models from elsewhere"),
        ([str(run_path), "--labels", "no"], "1 names for the 2 labels negative, positive"),
        ([str(run_path), "--samples", "3"], "--samples takes texts from --data"),
        ([keras_file], "the labels of the model are unknown"),
        ([keras_file, "--labels", "no,yes"], "no file says which word has which"),
        (whole, "--name: '' is not a valid model name"),
        ([*whole[:-1], "no,", "--name", "x"], "labels.1: String should have at least 1 character"),
        ([*whole[:-1], "a,b,c", "--name", "x"], "outputs have shape (256, 1), which does not match 3 labels"),
        ([str(tmp_path / "none.keras"), *whole[1:]], "none.keras: there is no such file"),
    ):
        assert main([*arguments, "--repository", str(tmp_path / "repository")]) == 2
        refused(capsys, message)
        assert not (tmp_path / "repository").exists()


def test_notes(run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--notes` puts a Markdown file into the manifest and into the model card."""
    file, repository = tmp_path / "notes.md", tmp_path / "repository"
    file.write_text("## Purpose\n\nTo sort letters ¿ mine.\n", encoding="utf-8")
    assert main([str(run_path), "--repository", str(repository), "--notes", str(file)]) == 0
    folder = repository / "tiny" / "1"
    assert read_artifact(folder).manifest.notes == "## Purpose\n\nTo sort letters ¿ mine."
    assert "\n## Purpose\n\nTo sort letters ¿ mine.\n\n## Use\n" in (folder / "README.md").read_text("utf-8")
    capsys.readouterr()
    for content, message in ((b"\xff", "notes.md: not UTF-8"), (b"a" * 50_001, "50,001 characters are too many")):
        file.write_bytes(content)
        assert main([str(run_path), "--repository", str(repository), "--notes", str(file)]) == 2
        refused(capsys, message)


def test_text_input(run_path: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--text-input` adds text.onnx, which `check` verifies and `copy` copies, and its proof on the data too."""
    assert main([str(run_path), "--repository", str(tmp_path), "--data", str(reviews), "--text-input"]) == 0
    artifact = read_artifact(tmp_path / "tiny" / "1")
    file, stated = artifact.path / "text.onnx", artifact.manifest.text_graph
    assert stated is not None
    assert file.read_bytes() == text_graph(artifact)
    assert stated.proof.examples == len(odd_texts(artifact)) + 12
    size = f"{file.stat().st_size:,} bytes"
    assert f"text.onnx: {size}, answers {stated.proof.examples:,} texts as the artifact does" in capsys.readouterr().out
    copied = artifact.path.with_name("2")
    assert service(["copy", str(artifact.path), str(copied)]) == service(["check", str(copied)]) == 0
    assert f"  ok  text.onnx: {size}, SHA-256 {stated.file.sha256}\n" in capsys.readouterr().out
    file.unlink()
    assert service(["check", str(artifact.path)]) == 0
    assert "  --  text.onnx: not in the folder; `convert` writes it\n" in capsys.readouterr().out
    file.write_bytes(b"changed")
    assert service(["check", str(artifact.path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {file}: 7 bytes, while manifest.json says")


def test_more_models_than_a_service_serves(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The export of a model for which a service may have no room says so. Versions of one model replace each other."""
    monkeypatch.setattr("sentiment_conv1d.export.__main__.MAX_MODELS", 1)
    for name, warns in (("first", False), ("first", False), ("second", True)):
        assert main([str(run_path), "--repository", str(tmp_path), "--name", name]) == 0
        warning = f"warning: {tmp_path} has 2 models, and a service serves at most 1 versions"
        assert (warning in capsys.readouterr().out) == warns


def test_file_as_a_repository(run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the place of the repository is refused and not changed."""
    (tmp_path / "file").write_text("mine")
    assert main([str(run_path), "--repository", str(tmp_path / "file")]) == 2
    refused(capsys, "cannot be written to")
    assert (tmp_path / "file").read_text() == "mine"


def test_interruption(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends the command with status 130 and leaves nothing behind."""

    def interrupted(*_: object, **__: object) -> Exported:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, "compare", interrupted)
    assert main([str(run_path), "--repository", str(tmp_path / "repository")]) == 130
    assert capsys.readouterr().err == "interrupted: nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_invalid_licence(run_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A licence that is not an identifier of the Hub is a usage error."""
    with pytest.raises(SystemExit):
        main([str(run_path), "--license", "Apache 2.0"])
    assert "'Apache 2.0' is not an identifier such as apache-2.0" in capsys.readouterr().err
