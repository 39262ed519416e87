"""Trainings that continue an artifact."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.artifact.artifact import read_artifact, versions
from sentiment_conv1d.artifact.configuration import RESERVED_IDS, BaseConfiguration
from sentiment_conv1d.artifact.explaining.network import QuantizedTables, from_keras
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.commands.default_repository import SHIPPED
from sentiment_conv1d.export.__main__ import main as export
from sentiment_conv1d.inference.graph_file import read_network
from sentiment_conv1d.loading import load
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.configuration import PRESETS, without_averages
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.evaluation.candidate import answers
from sentiment_conv1d.model.evaluation.evaluation import label_probabilities, probabilities
from sentiment_conv1d.model.run import KEPT_FILE, read_run
from sentiment_conv1d.model.training.initial import InitialTables
from sentiment_conv1d.model.training.linear import Ensemble
from sentiment_conv1d.model.training.pretrained import Pretrained, read_pretrained
from sentiment_conv1d.model.training.table_network import TableNetwork
from tests.tiny import write_reviews

TEXTS = ["A lovely film.", "an awful, clumsy story of two people", "zzz", "", "Not bad at all! " * 300]

SMALL = ("--convolutions", "1:6,2:6", "--epochs", "2", "--max-tokens", "14", "--vocabulary-size", "60")


def newest(name: str) -> Path:
    """Return the newest version of a shipped model."""
    return SHIPPED / name / str(versions(SHIPPED, name)[-1])


def started(start: Pretrained, configuration: BaseConfiguration, labels: tuple[str, ...]) -> Any:
    """Return the probabilities of the labels for the texts, with the weights that a training starts with."""
    outputs = 1 if len(labels) == 2 else len(labels)
    vocabulary = start.tokenizer.vocabulary_size
    net = TableNetwork(
        vocabulary, configuration.max_tokens, configuration.convolutions, np.random.default_rng(0), outputs=outputs
    )
    configuration = configuration.model_copy(update={"labels": labels})
    tables = InitialTables.of(start)
    tables.copy_to(net, configuration, np.arange(vocabulary, dtype=np.int32))
    ensemble = Ensemble(net, tables.linear_of(configuration, vocabulary))
    shape = InputShape.of(start.tokenizer, net.width)
    rows = [shape.pad([encoding.ids])[0] for encoding in start.tokenizer.encode_batch(TEXTS)]
    return label_probabilities(probabilities(ensemble.predict(rows)))


def served(path: Path) -> Any:
    """Return the probabilities of the labels that the artifact answers with."""
    return label_probabilities(answers(read_artifact(path), TEXTS))


@pytest.mark.parametrize("name", ["reviews", "accurate"])
def test_dequantized_start(name: str) -> None:
    """Without other filters, a training starts with the answers of the 8-bit artifact."""
    start = read_pretrained(newest(name))
    found = started(start, start.configuration, start.manifest.labels)
    assert found == pytest.approx(served(newest(name)), abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "meant"),
    [
        (("positive", "negative"), ("positive", "negative")),
        (("bad", "good"), ("negative", "positive")),
    ],
)
def test_labels_that_mean_the_same(labels: tuple[str, ...], meant: tuple[str, ...]) -> None:
    """Two of the labels, in any order and with other names, start with the odds that the artifact gives them."""
    start = read_pretrained(newest("reviews"))
    found = started(start, start.configuration, labels)
    expected = served(newest("reviews"))[:, [start.manifest.labels.index(label) for label in meant]]
    assert found == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-6)


def test_new_label() -> None:
    """The labels of the artifact keep their odds beside a new label, and other filters change them little."""
    start = read_pretrained(newest("reviews"))
    banks = [{"width": 1, "filters": 4}, {"width": 4, "filters": 3}]
    fresh = PRESETS["text-ensemble"].changed(convolutions=banks, members=1)
    configuration = start.continued(fresh)
    assert [str(bank) for bank in configuration.convolutions] == ["1:132", "2:96", "3:160", "4:3"]
    found = started(start, configuration, ("positive", "a question", "negative"))[:, [2, 0]]
    known = start.manifest.labels
    expected = served(newest("reviews"))[:, [known.index("negative"), known.index("positive")]]
    ratio = expected / expected.sum(axis=1, keepdims=True)
    assert found / found.sum(axis=1, keepdims=True) == pytest.approx(ratio, abs=0.01)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish a small 8-bit model with notes."""
    folder = tmp_path_factory.mktemp("published")
    data, notes = write_reviews(folder / "reviews.csv", count=120), folder / "notes.md"
    notes.write_text("## Sources\n\nFor research only.")
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *SMALL, "--init-from", "none"]) == 0
    arguments = ["--name", "small", "--repository", str(folder), "--quantize", "--notes", str(notes)]
    assert export([str(folder / "run"), *arguments, "--license", "cc-by-nc-4.0"]) == 0
    return folder / "small" / "1"


@pytest.fixture(scope="module")
def run(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Continue it on reviews with other names of the labels and a word that it does not know, but not "music"."""
    folder = tmp_path_factory.mktemp("continued")
    rows = list(csv.reader(write_reviews(folder / "plain.csv", ("bad", "good"), 60).read_text().splitlines()))
    with (folder / "reviews.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [rows[0], *([f"Qwertyish {text}", label] for text, label in rows[1:] if "music" not in text.lower())]
        )
    flags = ["--init-from", str(published), "--name", "mine", "--convolutions", "1:4,3:5", "--epochs", "4"]
    flags += ["--max-tokens", "14", "--vocabulary-size", "20"]
    assert main(["train", "--data", str(folder / "reviews.csv"), "--out", str(folder / "run"), *flags]) == 0
    return folder / "run"


def test_start_with_a_linear_model(published: Path) -> None:
    """The linear model of an ensemble is a part of what a training starts with."""
    start = read_pretrained(published)
    assert "1:1:mean" in map(str, start.configuration.convolutions)
    found = started(start, without_averages(start.configuration), start.manifest.labels)
    assert found == pytest.approx(served(published), abs=1e-6)


def test_run(published: Path, run: Path) -> None:
    """The run has the words of the artifact and those of the texts, and says where it comes from."""
    start, found = read_pretrained(published), read_run(run)
    assert found.tokenizer.words[: len(start.tokenizer.words)] == start.tokenizer.words
    assert "qwertyish" in found.tokenizer.words[len(start.tokenizer.words) :]
    assert [str(bank) for bank in found.configuration.convolutions] == ["1:10", "2:6", "3:5", "1:1:mean"]
    assert found.data is not None and found.data.started_from == "small 1"
    assert found.inherited == start.inherited
    assert found.metrics is not None and found.metrics.values["accuracy"] > 0.8
    assert "How well it still answers the texts that small 1 was" in (run / "report.html").read_text()


def test_export(run: Path, tmp_path: Path) -> None:
    """The artifact is 8-bit as its start is, answers as the run does, and inherits the sources and the licence."""
    assert export([str(run), "--repository", str(tmp_path)]) == 0
    artifact = read_artifact(tmp_path / "mine" / "1")
    manifest, card = artifact.manifest, (artifact.path / "README.md").read_text()
    assert (manifest.precision, manifest.convolution_widths, manifest.license) == ("uint8", (1, 2, 3), "cc-by-nc-4.0")
    assert "## Continued from small 1" in card and "### Sources\n\nFor research only." in card
    assert "starting with the weights of small 1:" in card
    found = read_run(run)
    expected = trained.predict(trained.load(found), found.tokenizer, TEXTS)
    assert answers(artifact, TEXTS) == pytest.approx(expected, abs=0.05)
    explanation = load(artifact.path).explain("A lovely film, not awful.", "good")
    shares = sum(word["share"] for word in explanation["words"])
    assert explanation["logit"] == pytest.approx(explanation["bias"] + explanation["padding"] + shares, abs=1e-4)


def test_other_form(run: Path, tmp_path: Path) -> None:
    """`--no-quantize` publishes the float32 form."""
    assert export([str(run), "--repository", str(tmp_path), "--no-quantize"]) == 0
    assert read_artifact(tmp_path / "mine" / "1").manifest.precision == "float32"


def test_run_that_continues_the_run(run: Path, reviews: Path, tmp_path: Path) -> None:
    """The sources are inherited by a run that starts with the continued one."""
    data = write_reviews(tmp_path / "later.csv", ("bad", "good"), 90)
    flags = ["--init-from", str(run), "--epochs", "1"]
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), *flags]) == 0
    assert read_run(tmp_path / "run").inherited == read_run(run).inherited


def continued(start: Path, data: Path, *flags: str) -> Path:
    """Continue an artifact with so small steps that it learns nothing, and return the published artifact."""
    folder = data.parent
    arguments = ["--init-from", str(start), "--name", "kept", "--learning-rate", "1e-12", "--epochs", "1", *flags]
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *arguments]) == 0
    assert export([str(folder / "run"), "--repository", str(folder)]) == 0
    return folder / "kept" / "1"


def check_kept(start: Path, artifact: Path) -> None:
    """Check that an artifact has the vocabulary and the tables of its start, byte for byte, and its size."""
    assert (artifact / "tokenizer.json").read_bytes() == (start / "tokenizer.json").read_bytes()
    old, new = (read_network((path / "model.onnx").read_bytes()) for path in (start, artifact))
    assert old is not None and new is not None and len(old.tables) == len(new.tables)
    for each, own in zip(old.tables, new.tables, strict=True):
        assert isinstance(each, QuantizedTables) and isinstance(own, QuantizedTables)
        for name in ("entries", "step", "lowest"):
            assert getattr(own, name).tobytes() == getattr(each, name).tobytes()
    was, size = ((path / "model.onnx").stat().st_size for path in (start, artifact))
    assert size == pytest.approx(was, rel=0.1)


def test_kept_start(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If no epoch is better than the artifact by more than chance, the run is the artifact, with its own labels."""
    artifact = continued(published, write_reviews(tmp_path / "reviews.csv", ("bad", "good")), "--calibration", "none")
    assert "it answers as small 1 does, and has learned none of the texts: no epoch lowered" in capsys.readouterr().out
    check_kept(published, artifact)
    assert read_artifact(artifact).manifest.labels == ("bad", "good")
    assert served(artifact) == pytest.approx(served(published), abs=1e-5)
    card, report = (artifact / "README.md").read_text(), (tmp_path / "run" / "report.html").read_text()
    assert "and kept its vocabulary and its filters. Labels, calibration" in card and "was not measured" not in card
    assert "The training kept its vocabulary and its filters" in report


def test_kept_start_with_a_temperature(published: Path, tmp_path: Path) -> None:
    """A temperature divides the logits of the artifact, and its tables stay the same."""
    data = write_reviews(tmp_path / "reviews.csv", count=180)
    header, *rows = data.read_text().splitlines()
    wrong = [re.sub("negative$|positive$", "negative", row) for row in rows[::3]]
    data.write_text("\n".join([header, *wrong, *rows]))
    artifact = continued(published, data)
    check_kept(published, artifact)
    temperature = read_run(tmp_path / "run").decision.temperature
    assert temperature != 1
    logits, expected = (np.log(each[:, 1] / each[:, 0]) for each in map(served, (artifact, published)))
    assert logits * temperature == pytest.approx(expected, abs=1e-4)


def test_kept_shipped_model(tmp_path: Path) -> None:
    """Of a shipped model with three labels, two keep their odds."""
    start = newest("reviews")
    artifact = continued(start, write_reviews(tmp_path / "reviews.csv"), "--calibration", "none")
    check_kept(start, artifact)
    expected = served(start)[:, [0, 2]]
    assert served(artifact) == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-5)


def test_start_with_a_new_label(published: Path, tmp_path: Path) -> None:
    """An artifact that lacks a label of the texts is never kept."""
    artifact = continued(published, write_reviews(tmp_path / "reviews.csv", ("negative", "positive", "neither")))
    assert read_artifact(artifact).manifest.labels == ("negative", "neither", "positive")
    assert (artifact / "tokenizer.json").read_bytes() != (published / "tokenizer.json").read_bytes()


def test_run_that_continues_a_kept_start(published: Path, tmp_path: Path) -> None:
    """A run that starts with one that kept its start learns on, and has no graph of it."""
    continued(published, write_reviews(tmp_path / "reviews.csv"))
    data, out = write_reviews(tmp_path / "later.csv", count=120), tmp_path / "later"
    assert main(["train", "--data", str(data), "--out", str(out), "--init-from", str(tmp_path / "run")]) == 0
    run = read_run(out)
    assert not run.kept_banks() and not (out / KEPT_FILE).exists()
    assert run.inherited is not None and run.inherited.model == "small 1"


def test_words_that_are_not_learned(published: Path, run: Path) -> None:
    """A word that no text contains keeps what the artifact knows of it, and nothing more."""
    start, found = read_pretrained(published), read_run(run)
    place = RESERVED_IDS + start.tokenizer.words.index("music")
    tables = from_keras(trained.load(found), found.configuration).tables
    filters = start.tables[:2]  # without the linear model
    for table, old in zip((each.entries for each in tables), filters, strict=False):
        assert np.array_equal(table[:, place, : old.shape[2]], old[:, place])
        assert not table[:, place, old.shape[2] :].any()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--init-from", str(newest("imdb-cnn"))],
            "a training cannot continue this model, because it has a hidden layer",
        ),
        (["--init-from", str(SHIPPED / "reviews")], "is a model; name one of its versions, such as"),
        (["--preset", "text-cnn"], "--preset: a training from an artifact needs text-ensemble"),
        (["--tokenizer", "words:unicode"], "--tokenizer: a training from"),
        (["--members", "2"], "--members: a training from"),
    ],
)
def test_refused(
    flags: list[str], message: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the artifact decides cannot be changed, and a network of another kind cannot be continued."""
    start = ["--init-from", str(newest("reviews"))]
    assert main(["train", "--data", str(reviews), "--out", str(tmp_path / "run"), *start, *flags]) == 2
    assert message in capsys.readouterr().err
