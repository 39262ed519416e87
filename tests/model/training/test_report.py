"""The training report contains all results, and needs no other file."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.explaining.reading import Word
from sentiment_conv1d.artifact.tokenizer import learn
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import Examples, Plan, load, plan, use_of
from sentiment_conv1d.model.evaluation import plots, trained
from sentiment_conv1d.model.evaluation.baseline import Baseline
from sentiment_conv1d.model.evaluation.calibration import at_temperature
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.training import network
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.recipes import Trained
from sentiment_conv1d.model.training.report import Explain, report_html
from sentiment_conv1d.model.training.results import Results
from sentiment_conv1d.model.training.task import Task

VOID = {"meta", "img", "br", "link", "input", "hr", "source"}
HISTORY: dict[str, Any] = {
    "steps": [{"step": 50, "loss": 0.61, "accuracy": 0.66}],
    "epochs": [{"epoch": 1, "loss": 0.4321, "accuracy": 0.7987, "seconds": 41.26}],
}
NETWORK = network.build(Configuration(), 5000)
EVIL = '<script>alert("1")</script>'

TRAIN = Examples(["dull"] * 6 + ["a joy to watch"] * 2, np.array([0] * 6 + [1] * 2, np.int64))
TEST = Examples(["dull dull", "so dull", "joy", "watch <b>this</b>"], np.array([0, 0, 1, 1], np.int64))
WORK = Plan(("negative", "positive"), TRAIN, None, TEST, "train.parquet", len(TRAIN), None, "test.parquet")
WORDS = learn(Configuration(), TRAIN.texts)
NO_STAGES = Stages(Path("run.stages"), "", False)

#: An evaluation of four reviews, one of which is misclassified.
BINARY = Evaluation(("negative", "positive"), np.array([0, 0, 1, 1]), np.array([[0.1], [0.2], [0.8], [0.4]]))


class Page(HTMLParser):
    """A strict parser of a page, which requires that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.visible = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost tag."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect the visible text, and the text of table cells."""
        if "style" in self.open:
            return
        self.visible += data
        if {"td", "th"} & set(self.open):
            separator = " " if "small" in self.open else ""
            self.rows[-1][-1] += separator + data


def unexplained(text: str, unit: int) -> list[Word]:
    return []


def report(
    evaluation: Evaluation | None = BINARY,
    *,
    baseline: Baseline | None = None,
    work: Plan = WORK,
    explain: Explain = unexplained,
    plots: Mapping[str, bytes] = {},
    libraries: Mapping[str, str] = {"keras": "3.15.1", "numpy": "2.4.6"},
    seconds: float = 83.2,
    **changes: Any,
) -> str:
    """Return a report of the classic network, in whose `Trained` these fields are changed."""
    trained = Trained(
        Configuration(), NETWORK, WORDS, use_of(Configuration(), work), DecisionRule(), evaluation, HISTORY, NO_STAGES
    )
    trained = replace(trained, **changes)
    return report_html(
        Task(trained.configuration, work, Path("run")),
        trained,
        Results(evaluation, baseline, trained.decision),
        explain=explain,
        plots=plots,
        libraries=libraries,
        seconds=seconds,
    )


def test_baseline() -> None:
    """The report compares the network with its baseline on the same texts."""
    better = Evaluation(("negative", "positive"), np.array([0, 0, 1, 1]), np.array([[0.1], [0.2], [0.8], [0.9]]))
    html = report(baseline=Baseline("NB-SVM", better))
    assert "The network is not significantly more or less accurate than NB-SVM: -0.2500, 95% interval -0.7500" in html
    rows = Page(html).rows
    assert ["This network", "75.00%", "30.06% to 95.44%", f"{BINARY.log_loss:.4f}"] in rows
    assert ["NB-SVM", "100.00%", "51.01% to 100.00%", f"{better.log_loss:.4f}"] in rows
    assert "NB-SVM" not in report()


def test_first_screen() -> None:
    """Accuracy with its interval, confusion and the five worst errors are above all other sections."""
    labels = ("a", "b", "c")
    answers = [0, 1, 1, 2, 1, 1, 0, 2, 2]
    truth = np.array([0, 0, 0, 0, 1, 2, 2, 2, 2])
    evaluation = Evaluation(labels, truth, np.eye(3)[answers])
    html = report(evaluation, work=replace(WORK, test=Examples([f"text {number}" for number in range(9)], truth)))
    page = Page(html)
    assert "(95 % interval 18.88% to 73.33%)" in page.visible
    first = page.rows.index(["Label", "Answered", "Texts", "Share of the label"]) + 1
    assert page.rows[first : first + 4] == [
        ["a", "b", "2", "50.00%"],
        ["a", "c", "1", "25.00%"],
        ["c", "a", "1", "25.00%"],
        ["c", "b", "1", "25.00%"],
    ]
    assert re.findall(r"<h2>(.*?)</h2>", html)[:3] == ["Confusion", "Worst errors", "Data"]
    assert "1 more error" not in page.visible
    everything_wrong = replace(evaluation, outputs=np.eye(3)[(truth + 1) % 3])
    html = report(everything_wrong, work=replace(WORK, test=Examples([f"text {number}" for number in range(9)], truth)))
    shown, _, behind = html.partition("4 more errors")
    assert (shown.count("text "), behind.count("answered")) == (5, 4)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return PNG files of plots, as a training writes them."""
    folder: Path = tmp_path_factory.mktemp("plots")
    figures = {"learning_curves": plots.learning_curves(HISTORY), "confusion": plots.confusion(BINARY)}
    for name, figure in figures.items():
        plots.save(figure, folder / name)
    return {name: (folder / name).read_bytes() for name in figures}


def test_measures() -> None:
    """The page shows accuracy, ROC AUC, log loss, calibration error, Brier score and macro F1."""
    visible = Page(report()).visible
    assert f"{BINARY.accuracy:.2%}" in visible
    for value in (
        BINARY.roc_auc,
        BINARY.log_loss,
        BINARY.expected_calibration_error,
        BINARY.brier,
        BINARY.macro_f1,
    ):
        assert f"{value:.4f}" in visible


def test_description_of_the_training() -> None:
    """The page shows the data, the number of parameters, the duration and the libraries."""
    page = Page(report())
    for words in ("train.parquet", "test.parquet", "4 texts", "350,751 parameters", "1 min 23 s"):
        assert words in page.visible
    assert ["keras", "3.15.1"] in page.rows


def test_layers() -> None:
    """The layers of the classic network have the shapes 400, 400 x 50, 398 x 250, 250 and 1."""
    page = Page(report())
    cross = "\N{MULTIPLICATION SIGN}"
    first = page.rows.index(["Layer", "Weights", "Output"]) + 1
    assert page.rows[first : first + 9] == [
        ["InputLayer tokens", "", "400"],
        ["Embedding embedding", f"5,000 {cross} 50", f"400 {cross} 50"],
        ["Dropout embedding_dropout", "", f"400 {cross} 50"],
        ["Conv1D convolution_3", f"3 {cross} 50 {cross} 250", f"398 {cross} 250"],
        ["GlobalMaxPooling1D pool_3", "", "250"],
        ["Dense hidden", f"250 {cross} 250", "250"],
        ["Dropout hidden_dropout", "", "250"],
        ["Activation hidden_relu", "", "250"],
        ["Dense probabilities", f"250 {cross} 1", "1"],
    ]


def test_configuration() -> None:
    """The configuration table contains every field with its value."""
    rows = {row[0].split()[0]: row[1] for row in Page(report()).rows if len(row) == 2}
    assert set(Configuration.model_fields) <= set(rows)
    assert rows["learning_rate"] == "0.001"
    assert rows["labels"] == "negative, positive"
    assert rows["convolutions"] == "250 of width 3"


def test_epochs_without_validation() -> None:
    """Without validation, the history table has no columns for it."""
    rows = Page(report()).rows
    assert ["Epoch", "Loss", "Accuracy", "Seconds"] in rows
    assert ["1", "0.4321", "79.87%", "41.3"] in rows


def test_epochs_with_validation() -> None:
    """The history table shows the validation of each epoch beside its training."""
    epoch = HISTORY["epochs"][0] | {"validation_loss": 0.3456, "validation_accuracy": 0.8765}
    rows = Page(report(history=HISTORY | {"epochs": [epoch]})).rows
    assert ["Epoch", "Loss", "Accuracy", "Validation loss", "Validation accuracy", "Seconds"] in rows
    assert ["1", "0.4321", "79.87%", "0.3456", "87.65%", "41.3"] in rows


def test_scores_of_each_label() -> None:
    """Precision, recall, F1 and support of each label are those computed by hand; a note names its usual mistake."""
    rows = Page(report()).rows
    assert ["negative", "0.6667", "1.0000", "0.8000", "2"] in rows
    assert ["positive most often mistaken for negative (1)", "1.0000", "0.5000", "0.6667", "2"] in rows


def test_undefined_scores() -> None:
    """Scores of a label that is neither true nor predicted are dashes, and the page says that ROC AUC is undefined."""
    evaluation = Evaluation(("a", "b", "c"), np.array([0, 1]), np.eye(3)[[0, 1]])
    page = Page(report(evaluation))
    dash = "\N{EN DASH}"
    assert ["c", dash, dash, dash, "0"] in page.rows
    assert "undefined" in page.visible


def test_report_without_test_texts() -> None:
    """Without test texts, the page says so, and shows the network and the training without measures."""
    page = Page(report(None, work=replace(WORK, test=None, test_source=None)))
    assert "Nothing was held out" in page.visible
    assert "ROC AUC" not in page.visible
    assert ["InputLayer tokens", "", "400"] in page.rows
    assert ["1", "0.4321", "79.87%", "41.3"] in page.rows


def test_plots(images: dict[str, bytes]) -> None:
    """The page contains the bytes of each plot, its name and an explanation."""
    page = Page(report(plots=images))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [picture["alt"] for picture in pictures] == ["Learning curves", "Confusion matrix"]
    for picture, name in zip(pictures, ("learning_curves", "confusion"), strict=True):
        kind, _, content = str(picture["src"]).partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content) == images[name]
    assert "Loss should fall" in page.visible
    assert "diagonal" in page.visible


def test_escaping() -> None:
    """Markup in a label, text, source or version is shown as text."""
    labels = (EVIL, "</td>&amp;")
    page = Page(
        report(
            Evaluation(labels, np.array([0, 1, 1, 1]), np.eye(2)[[0, 1, 1, 0]]),
            work=replace(WORK, label_names=labels, source=EVIL, test=replace(TEST, texts=[EVIL] * 4), test_source=EVIL),
            configuration=Configuration(labels=labels),
            libraries={EVIL: EVIL},
        )
    )
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.visible.count(EVIL) >= 6
    assert [row[0] for row in page.rows].count("</td>&amp;") == 2


def test_self_contained_page(images: dict[str, bytes]) -> None:
    """The page contains its images and no scripts or links, and its policy forbids loading anything else."""
    text = report(plots=images)
    page = Page(text)
    without_pictures = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//|url\(|@import", without_pictures)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all(str(attributes.get("src", "data:")).startswith("data:") for _, attributes in page.tags)
    policies = [attributes["content"] for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_media_rules() -> None:
    """The page has rules for a dark colour scheme, for phones and for printing."""
    text = report()
    for rule in ("prefers-color-scheme: dark", "width=device-width", "@media print"):
        assert rule in text


def test_reproducible_page() -> None:
    """The same training gives the same page at any time."""
    assert report() == report()


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.21, "3.2 s"), (59.97, "1 min 0 s"), (83.2, "1 min 23 s"), (7380, "2 h 3 min")]
)
def test_durations(seconds: float, words: str) -> None:
    """A duration is shown in seconds, in minutes and seconds, or in hours and minutes."""
    assert words in Page(report(seconds=seconds)).visible


def test_counts() -> None:
    """Labels, lengths, the majority baseline, thresholds, calibration and worst errors are those computed by hand."""
    work = replace(
        WORK,
        source="12 reviews of a.csv",
        labelled=12,
        validation_source="2 held out of a.csv",
        test_source="4 held out of a.csv",
    )
    evaluation = replace(BINARY, threshold=0.45)
    decision = DecisionRule(threshold=0.45, temperature=2, chosen_on="2 held out of a.csv")
    page = Page(report(evaluation, work=work, decision=decision, best_epoch=1))
    for words in ("8 of 12 reviews of a.csv", "always answering negative is right in 50.00%", "those of epoch 1"):
        assert words in page.visible
    assert ["negative", "6", "0", "2"] in page.rows
    assert ["positive", "2", "0", "2"] in page.rows
    assert ["Tokens of a text", "2", "5", "5", "5"] in page.rows
    visible = " ".join(page.visible.split())
    assert "0.0 % of the texts are cut to 400 tokens, and 30.8 % of the tokens are unknown" in visible
    assert ["0.3", "1.0000", "1.0000", "1.0000", "100.00%"] in page.rows
    assert ["0.45 (chosen)", "1.0000", "0.5000", "0.6667", "75.00%"] in page.rows
    before = at_temperature(evaluation.outputs, 0.5)
    log_loss = replace(evaluation, outputs=before).log_loss
    assert [row[2] for row in page.rows if row[0] == "before"] == [f"{log_loss:.4f}"]
    assert ["watch <b>this</b> is positive, answered negative", " of positive", "0.4000"] in page.rows


def test_confident_predictions() -> None:
    """The report has the share of confident predictions, the accuracies with intervals, and the limit of each label."""
    evaluation = Evaluation(
        ("no", "maybe", "yes"),
        np.array([0, 0, 1, 2]),
        np.array([[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]),
    )
    decision = DecisionRule(confident_from={"no": 0.75, "yes": None}, min_precision=0.95, chosen_on="99 of b.csv")
    page = Page(report(evaluation, decision=decision))
    for row in (
        ["Confident", "50.00%", "0.1500 to 0.8500", "2 of 4"],
        ["Right if confident", "50.00%", "0.0945 to 0.9055", "1 of 2"],
        ["Right if not confident", "100.00%", "0.3424 to 1.0000", "2 of 2"],
        ["no", "0.7500"],
        ["maybe", "not measured"],
        ["yes", "never"],
    ):
        assert row in page.rows
    assert "at least 95 % of the predictions of the label are right on 99 of b.csv" in " ".join(page.visible.split())
    assert "so confident is null in all answers" in " ".join(Page(report(evaluation)).visible.split())


def word(text: str, share: float) -> Word:
    return Word(text, 0, len(text), 3, known=True, share=share)


def test_explained_errors() -> None:
    """An error has the words with the largest shares, in the order of the text, and the explained label."""
    asked = []

    def explain(text: str, unit: int) -> list[Word]:
        asked.append((text, unit))
        return [word(f"w{number}", 0.01 * number) for number in range(9)] + [word("so-so", -1.5)]

    test = Examples(["one", "two", "three", "four"], BINARY.labels)
    shown = ", ".join(f"w{number}\xa0+0.0{number}" for number in range(2, 9)) + ", so-so\xa0\N{MINUS SIGN}1.50"
    work = replace(WORK, test=test)
    page = Page(report(work=work, explain=explain))
    assert ["four is positive, answered negative", f"{shown} of positive", "0.4000"] in page.rows
    labels = ("a", "b", "c")
    evaluation = Evaluation(labels, np.array([0, 1, 2]), np.array([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]))
    page = Page(report(evaluation, work=work, explain=explain))
    assert ["two is b, answered a", f"{shown} of a", "0.3000"] in page.rows
    assert ["three is c, answered b", f"{shown} of b", "0.1000"] in page.rows
    assert asked == [("four", 0), ("three", 1), ("two", 0)]


def test_thresholds_of_each_label() -> None:
    """Every label has a table of thresholds. Only a label with a decision threshold has a chosen row."""
    page = Page(report())
    assert [tag for tag, _ in page.tags].count("details") == 2
    assert ["0.5 (chosen)", "1.0000", "0.5000", "0.6667", "75.00%"] in page.rows
    assert ["0.7", "1.0000", "0.5000", "0.6667", "75.00%"] in page.rows
    assert [row[0] for row in page.rows].count("0.5") == 1
    evaluation = Evaluation(("a", "b", "c"), np.array([0, 1]), np.eye(3)[[0, 1]])
    page = Page(report(evaluation))
    assert [tag for tag, _ in page.tags].count("details") == 3
    assert "(chosen)" not in page.visible


def test_report_of_a_training(run_path: Path, reviews: Path) -> None:
    """Counts, scores and errors equal those computed from the saved model and the data with scikit-learn."""
    run = read_run(run_path)
    dataset = load(reviews, progress=False)
    work = plan(dataset, test_fraction=0.2, validation_fraction=0.2, seed=run.configuration.seed)
    assert work.test is not None and work.validation is not None
    tokens = trained.encode(run.tokenizer, work.test.texts)
    positive = np.asarray(trained.load(run).predict_on_batch(tokens))[:, 0].astype(np.float64)
    truth, answers = work.test.labels, (positive >= run.decision.threshold).astype(int)
    rows = Page((run_path / "report.html").read_text(encoding="utf-8")).rows

    for label, name in enumerate(work.label_names):
        counts = [np.sum(labels == label) for labels in (work.train.labels, work.validation.labels, truth)]
        assert [name, *map(str, counts)] in rows
        scores = precision_recall_fscore_support(truth, answers, labels=[label], zero_division=np.nan)
        precision, recall, f1, support = (float(each[0]) for each in scores)
        shown = ["\N{EN DASH}" if np.isnan(each) else f"{each:.4f}" for each in (precision, recall, f1)]
        mistakes = int(np.sum((truth == label) & (answers != label)))
        note = f" most often mistaken for {work.label_names[1 - label]} ({mistakes})" if mistakes else ""
        assert [name + note, *shown, f"{support:.0f}"] in rows
    longest = max(run.tokenizer.encode(text).tokens for text in work.train.texts)
    assert [row[4] for row in rows if row[0] == "Tokens of a text"] == [str(longest)]
    for tenth in range(1, 10):
        right = np.mean((positive >= tenth / 10) == (truth == 1))
        assert any(
            row[0].split(" ")[0] == f"{tenth / 10:g}" and row[4] == f"{right:.2%}" for row in rows if len(row) == 5
        )
    of_truth = np.where(truth == 1, positive, 1 - positive)
    worst = sorted(np.flatnonzero(answers != truth), key=lambda number: of_truth[number])
    errors = [row for row in rows if len(row) == 3 and ", answered " in row[0]]
    assert [row[2] for row in errors] == [f"{of_truth[number]:.4f}" for number in worst]
    for row, number in zip(errors, worst, strict=True):
        assert row[0].startswith(work.test.texts[number])
    history = json.loads((run_path / "history.json").read_text(encoding="utf-8"))
    for epoch in history["epochs"]:
        assert any(row[:2] == [str(epoch["epoch"]), f"{epoch['loss']:.4f}"] for row in rows)
