"""Training from texts of several domains, with the recipe of the model `reviews`, on generated reviews."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.__main__ import main
from research.mixture.plan import DEFAULT_PLAN, Mixture
from research.mixture.sampling import UNLABELLED, Sampling
from research.mixture.stored_answers import StoredAnswers
from research.mixture.training import part
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.training.checkpoint import Stages
from tests.model.training.runs import weights
from tests.tiny import write_reviews

FLAGS = (
    *("--convolutions", "1:4,2:6"),
    *("--embedding-width", "16"),
    *("--vocabulary-size", "40"),
    *("--max-tokens", "14"),
    *("--epochs", "3"),
    *("--validation-fraction", "0.3"),
)

PLAN = """
texts = 20
[domains.hotels]
texts = 10
unlabelled = 5
[domains.films]
teacher = "accurate/1"
"""


def write(path: Path, header: str, rows: Sequence[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write two folders: reviews of two domains, and a folder `films` whose files do not state the domain."""
    root = tmp_path_factory.mktemp("data")
    with write_reviews(root / "all.csv", count=160).open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    named = [(text, label, "hotels" if number % 3 else "phones") for number, (text, label) in enumerate(rows)]
    write(root / "mine" / "train.csv", "text,label,domain", named[:60])
    write(root / "mine" / "test.csv", "text,label,domain", named[60:80])
    write(root / "mine" / "unlabelled.csv", "text,domain", [(text, domain) for text, _, domain in named[80:100]])
    write(root / "films" / "train.csv", "text,label", rows[100:140])
    write(root / "films" / "unsup.csv", "text", [(text,) for text, _ in rows[140:]])
    return [str(root / "mine"), str(root / "films")]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "mine.toml"
    path.write_text(PLAN, encoding="utf-8")
    return path


def train(folders: list[str], plan: Path, out: Path, *flags: str) -> int:
    return main(["reviews", "--data", *folders, "--mixture", str(plan), "--out", str(out), *FLAGS, *flags])


@pytest.fixture(scope="module")
def run_path(folders: list[str], plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with the recipe."""
    out = tmp_path_factory.mktemp("runs") / "reviews"
    assert train(folders, plan, out) == 0
    return out


def test_run(run_path: Path) -> None:
    """A run learns from all domains, states its plan, and can be folded."""
    run = read_run(run_path)
    assert run.metrics is not None
    assert run.metrics.values["accuracy"] > 0.8
    assert run.metrics.examples == 20
    assert run.configuration.recipe == "mixture"
    assert run.configuration.model_dump()["mixture"]["domains"]["hotels"]["texts"] == 10
    family, reason = recognize(trained.load(run))
    assert family is not None, reason
    epochs = json.loads((run_path / "history.json").read_text())["epochs"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3]


@pytest.mark.parametrize("stage", ["teacher", "network", "answers", "student"])
def test_resumed_training(
    stage: str,
    run_path: Path,
    folders: list[str],
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A training that was interrupted at any stage resumes to the weights of an uninterrupted training."""
    write_stage: Callable[..., None] = Stages.write

    def interrupted(self: Stages, name: str, arrays: Any) -> None:
        write_stage(self, name, arrays)
        if name == stage:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Stages, "write", interrupted)
        assert train(folders, plan, tmp_path / "run") == 130
    assert train(folders, plan, tmp_path / "run") == 0
    assert all(np.array_equal(*pair) for pair in zip(weights(tmp_path / "run"), weights(run_path), strict=True))


@pytest.mark.parametrize("log_odds", [-5, 5])
def test_stored_answers(log_odds: int, folders: list[str], tmp_path: Path) -> None:
    """The student learns another model's answers, also of a word that no labelled text has."""
    with Path(folders[0], "train.csv").open(encoding="utf-8", newline="") as file:
        labelled = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    new = [f"Zorp {number}." for number in range(100)]
    write(tmp_path / "mine" / "train.csv", "text,label", labelled)
    write(tmp_path / "mine" / "unlabelled.csv", "text", [(text,) for text in new])
    answers = [5 if label == "positive" else -5 for _, label in labelled] + [log_odds] * len(new)
    texts = [*(text for text, _ in labelled), *new]
    StoredAnswers.of(texts, np.array(answers, np.float32)).write(tmp_path / "answers.npz")
    plan = tmp_path / "plan.toml"
    plan.write_text('answers = "answers.npz"', encoding="utf-8")
    assert train([str(tmp_path / "mine")], plan, tmp_path / "run") == 0
    run = read_run(tmp_path / "run")
    [[probability]] = trained.load(run).predict(trained.encode(run.tokenizer, ["Zorp."]))
    assert (probability > 0.5) == (log_odds > 0)


def test_answers_to_other_texts(
    folders: list[str], plan: Path, run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers to other texts change nothing, and a missing file of answers gets one line."""
    mine = tmp_path / "plan.toml"
    mine.write_text('answers = "answers.npz"\n' + plan.read_text(encoding="utf-8"), encoding="utf-8")
    assert train(folders, mine, tmp_path / "run") == 2
    assert f"{tmp_path / 'answers.npz'}: cannot be read as stored answers" in capsys.readouterr().err
    StoredAnswers.of(["Another text."], np.ones(1, np.float32)).write(tmp_path / "answers.npz")
    assert train(folders, mine, tmp_path / "run") == 0
    assert all(np.array_equal(*pair) for pair in zip(weights(tmp_path / "run"), weights(run_path), strict=True))


def test_domain_that_is_left_out(
    folders: list[str], plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A domain that `--without` names is not read, and the plan may still name it."""
    assert train(folders, plan, tmp_path / "run", "--without", "films") == 0
    printed = capsys.readouterr().out
    assert "hotels" in printed
    assert "  films" not in printed
    assert "warning: the plan of the mixture names 'films', and the data has no such domain" in printed


def faulty(tmp_path: Path, header: str, *rows: tuple[str, ...]) -> str:
    write(tmp_path / "mine" / "train.csv", header, list(rows))
    return str(tmp_path / "mine")


GOOD, BAD = ("fine", "1", "a"), ("poor", "0", "a")


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("text,domain", [("fine", "a")], "there is no column 'label'"),
        ("review,label", [("fine", "1")], "there is no column 'text'"),
        ("text,label,domain", [GOOD, ("so-so", "3", "a")], "line 3: the label is '3', not 0, 1, negative or positive"),
        ("text,label,domain", [GOOD, BAD, ("fine", "1", "b")], "the domain 'b' has no negative texts to train on"),
        ("text,label,domain", [GOOD, (" ", "0", "a")], "line 3: the text or the domain is empty"),
        ("text,label,domain", [GOOD, BAD], "there are too few texts of both labels to train on"),
    ],
)
def test_faulty_data(
    header: str,
    rows: list[tuple[str, ...]],
    message: str,
    plan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Data that cannot be used gets one line, which says what is wrong."""
    assert train([faulty(tmp_path, header, *rows)], plan, tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_missing_data(folders: list[str], plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing folder, file or domain gets one line, which names it."""
    assert train([str(tmp_path / "nowhere")], plan, tmp_path / "run") == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
    assert train([str(tmp_path)], plan, tmp_path / "run") == 2
    assert f"{tmp_path}: there is no file train.parquet or train.csv" in capsys.readouterr().err
    assert train(folders, plan, tmp_path / "run", "--without", "cars") == 2
    assert "there is no domain 'cars' to leave out; domains: films, hotels, phones" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("texts = 0", "texts: Input should be greater than or equal to 1"),
        ("[domains.films]\ncap = 3", "domains.films.cap: Extra inputs are not permitted"),
        ("texts =", "not valid TOML"),
    ],
)
def test_faulty_plan(
    text: str, message: str, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan that cannot be used gets one line, which names the file and the key."""
    plan = tmp_path / "plan.toml"
    plan.write_text(text, encoding="utf-8")
    assert train(folders, plan, tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert str(plan) in error
    assert message in error


def test_default_plan() -> None:
    """In the plan of the shipped model, a domain inherits the numbers that it does not state."""
    mixture = Mixture.read(DEFAULT_PLAN)
    assert mixture.amount("imdb").repeats == mixture.repeats
    assert mixture.amount("imdb").texts > mixture.texts == mixture.amount("hotels").texts


def test_sample() -> None:
    """An epoch reads as many negative as positive texts of a domain, as far as the repetitions allow."""
    labels = np.array([0] * 2 + [1] * 9 + [0] * 5 + [1] * 5 + [UNLABELLED] * 8)
    domains = np.array([0] * 11 + [1] * 18)
    sampling = Sampling(Mixture(texts=4, repeats=2, unlabelled=3), labels, ("a", "b"), domains, np.array([0]))
    drawn = sampling.all(np.random.default_rng(0))
    counts = {(domain, label): 0 for domain in (0, 1) for label in (0, 1, UNLABELLED)}
    for index in drawn:
        counts[domains[index], labels[index]] += 1
    assert counts == {(0, 0): 4, (0, 1): 4, (0, UNLABELLED): 0, (1, 0): 4, (1, 1): 4, (1, UNLABELLED): 3}
    assert len(set(drawn[labels[drawn] == 1])) == 8


def test_parts() -> None:
    """A part has consecutive words after the start id, and about half of the parts are as long as a sentence."""
    generator = np.random.default_rng(0)
    ids = np.arange(1, 202, dtype=np.int32)
    parts = [part(ids, generator) for _ in range(200)]
    assert all(each[0] == 1 and (np.diff(each[1:]) == 1).all() for each in parts)
    sentences = [each for each in parts if len(each) <= 26]
    assert 70 < len(sentences) < 130
    assert min(map(len, sentences)) >= 5
    assert [len(part(ids[:count], generator)) for count in (1, 2)] == [1, 2]
