"""Training from texts of several domains, with the recipe of the model `reviews`, on generated reviews."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.__main__ import main
from research.mixture.domains import mixture_plan
from research.mixture.labels import LABELS, NEGATIVE, NEUTRAL, POSITIVE, UNLABELLED
from research.mixture.plan import DEFAULT_PLAN, Amount, Last, Mixture
from research.mixture.sampling import Sampling
from research.mixture.stored_answers import StoredAnswers
from research.mixture.training import answered_sentences, calibration, shares, teacher_log_odds, with_means
from sentiment_conv1d.artifact.tokenizer import MarksTokenizer
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.training.checkpoint import Stages
from tests.model.training.runs import weights
from tests.tiny import write_reviews

FLAGS = (
    *("--convolutions", "1:4,2:6"),
    *("--embedding-width", "16"),
    *("--vocabulary-size", "120"),
    *("--max-tokens", "14"),
    *("--epochs", "3"),
    *("--validation-fraction", "0.3"),
)

PLAN = """
texts = 20
contrast = "contrast"
learned = ["learned.csv"]
typed = "typed/learned.csv"
emojis = 0.5
answers = "answers.npz"
sentences = 10
[domains.hotels]
texts = 10
unlabelled = 5
[domains.films]
teacher = "accurate/1"
[domains.contrast]
copies = 2
[last]
texts = 15
unlabelled = 4
others = 10
sentences = 5
copies = { talk = 2, cars = 2 }
"""


def write(path: Path, header: str, rows: Sequence[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Return reviews with their label: negative, neutral, positive, and so on."""
    path = write_reviews(tmp_path_factory.mktemp("data") / "all.csv", LABELS, count=240)
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def folders(reviews: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write two folders: texts of several domains, and a folder `films` whose files do not state the domain."""
    root = tmp_path_factory.mktemp("data")
    opinions = [row for row in reviews if row[1] != "neutral"]
    neutral = [text for text, label in reviews if label == "neutral"]
    named = [(text, label, "hotels" if number % 3 else "phones") for number, (text, label) in enumerate(opinions)]
    write(root / "mine" / "train.csv", "text,label,domain", named[:60])
    write(
        root / "mine" / "neutral_train.csv",
        "text,label,domain",
        [(text, "mixed" if number % 2 else "neutral", "talk") for number, text in enumerate(neutral[:40])],
    )
    write(root / "mine" / "test.csv", "text,label,domain", named[60:80])
    write(
        root / "mine" / "neutral_test.csv", "text,label,domain", [(text, "neutral", "talk") for text in neutral[40:50]]
    )
    unlabelled = [(text, domain, "") for text, _, domain in named[80:100]]
    rated = [(text, "hotels", "3.0") for text in neutral[50:70]]
    write(root / "mine" / "unlabelled.csv", "text,domain,stars", [*unlabelled, *rated])
    write(root / "films" / "train.csv", "text,label", opinions[100:140])
    write(root / "films" / "unsup.csv", "text", [(text,) for text, _ in opinions[140:]])
    return [str(root / "mine"), str(root / "films")]


@pytest.fixture(scope="module")
def plan(reviews: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a plan, with contrasting texts and answers to half of the reviews beside it."""
    path = tmp_path_factory.mktemp("plan") / "mine.toml"
    path.write_text(PLAN, encoding="utf-8")
    contrasts = [
        (f"It is {word}.", label, "f") for word, label in (("odd", "negative"), ("so", "neutral"), ("ok", "1"))
    ]
    write(path.parent / "contrast" / "learned.csv", "text,label,family", contrasts)
    typed = [("{emoji:for}", "positive", "emoji alone"), ("{emoji:against}", "negative", "emoji alone")]
    write(path.parent / "typed" / "learned.csv", "text,label,family", typed)
    words = [("😍", "emoji", "for"), ("😡", "emoji", "against"), ("🤖", "emoji", "neither")]
    write(path.parent / "typed" / "words.csv", "word,kind,sense", words)
    for file in ("contrast/held_out", "contrast/styles", "typed/deciding", "typed/final"):  # only named files are read
        write(path.parent / f"{file}.csv", "text,label,family", [("It is a secret.", "no label", "g")])
    answered = reviews[::2]
    logits = 4 * np.eye(3, dtype=np.float32)[[LABELS.index(label) for _, label in answered]]
    StoredAnswers.of([text for text, _ in answered], logits).write(path.parent / "answers.npz")
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
    assert run.metrics.examples == 30
    assert run.configuration.labels == LABELS
    assert {"odd", "ok", "🤖", "★★★"} < {*run.tokenizer.words} and "secret" not in run.tokenizer.words
    emojis = trained.load(run).predict(trained.encode(run.tokenizer, ["😍", "It is 😡"]))
    assert [LABELS[number] for number in emojis.argmax(axis=1)] == ["positive", "negative"]
    assert run.configuration.recipe == "mixture"
    assert run.configuration.model_dump()["mixture"]["domains"]["hotels"]["texts"] == 10
    family, reason = recognize(trained.load(run))
    assert family is not None, reason
    epochs = json.loads((run_path / "history.json").read_text())["epochs"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3]


def test_marks(folders: list[str], plan: Path, tmp_path: Path) -> None:
    """A run with the rule `words:marks` knows an emoji that is glued to a word, and ratings."""
    assert train(folders, plan, tmp_path / "run", "--tokenizer", "words:marks") == 0
    run = read_run(tmp_path / "run")
    assert isinstance(run.tokenizer, MarksTokenizer)
    emojis = trained.load(run).predict(trained.encode(run.tokenizer, ["It is😍", "It is😡"]))
    assert [LABELS[number] for number in emojis.argmax(axis=1)] == ["positive", "negative"]


def test_resumed_training(
    run_path: Path,
    folders: list[str],
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A training that was interrupted after an epoch resumes to the weights of an uninterrupted training."""
    write_stage: Callable[..., None] = Stages.write

    def interrupted(self: Stages, name: str, arrays: Any) -> None:
        write_stage(self, name, arrays)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Stages, "write", interrupted)
        assert train(folders, plan, tmp_path / "run") == 130
    assert train(folders, plan, tmp_path / "run") == 0
    assert all(np.array_equal(*pair) for pair in zip(weights(tmp_path / "run"), weights(run_path), strict=True))


@pytest.mark.parametrize("label", LABELS)
def test_stored_answers(label: str, reviews: list[tuple[str, str]], tmp_path: Path) -> None:
    """The student learns another model's answers, also of a word that no labelled text has."""
    new = [f"Zorp {number}." for number in range(100)]
    write(tmp_path / "mine" / "train.csv", "text,label", reviews[:120])
    write(tmp_path / "mine" / "unlabelled.csv", "text", [(text,) for text in new])
    StoredAnswers.of(new, np.tile(5 * np.eye(3, dtype=np.float32)[LABELS.index(label)], (100, 1))).write(
        tmp_path / "answers.npz"
    )
    plan = tmp_path / "plan.toml"
    plan.write_text('answers = "answers.npz"', encoding="utf-8")
    assert train([str(tmp_path / "mine")], plan, tmp_path / "run") == 0
    run = read_run(tmp_path / "run")
    [probabilities] = trained.load(run).predict(trained.encode(run.tokenizer, ["Zorp."]))
    assert LABELS[np.argmax(probabilities)] == label


def test_missing_answers(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file of answers, of contrasting texts, or of words beside typed texts gets one line."""
    for text, message in (
        ('answers = "none.npz"', f"{tmp_path / 'none.npz'}: cannot be read as stored answers"),
        ('contrast = "none"', f"{tmp_path / 'none' / 'learned.csv'}: cannot be read"),
        ('typed = "none/learned.csv"', f"{tmp_path / 'none' / 'words.csv'}: cannot be read"),
    ):
        (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
        assert train(folders, tmp_path / "plan.toml", tmp_path / "run") == 2
        assert message in capsys.readouterr().err


def test_a_text_without_an_answer_is_learned_by_its_label(folders: list[str], tmp_path: Path) -> None:
    """Answers to other texts change nothing."""
    plan = tmp_path / "plan.toml"
    found: list[Any] = []
    for text in ("", 'answers = "answers.npz"'):
        plan.write_text(text, encoding="utf-8")
        StoredAnswers.of(["Another text."], np.ones((1, 3), np.float32)).write(tmp_path / "answers.npz")
        out = tmp_path / f"run-{len(found)}"
        assert train(folders, plan, out) == 0
        found.append(weights(out))
    assert all(np.array_equal(*pair) for pair in zip(*found, strict=True))


def test_domain_that_is_left_out(
    folders: list[str], plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A domain that `--without` names is not read, and the plan may still name it."""
    assert train(folders, plan, tmp_path / "run", "--without", "films") == 0
    printed = capsys.readouterr().out
    assert "hotels" in printed
    assert "  films" not in printed
    for name in ("cars", "films"):
        assert f"warning: the plan of the mixture names {name!r}, and the data has no such domain" in printed


def faulty(tmp_path: Path, header: str, *rows: tuple[str, ...]) -> str:
    write(tmp_path / "mine" / "train.csv", header, list(rows))
    return str(tmp_path / "mine")


GOOD, BAD = ("fine", "1", "a"), ("poor", "0", "a")


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("text,domain", [("fine", "a")], "there is no column 'label'"),
        ("review,label", [("fine", "1")], "there is no column 'text'"),
        (
            "text,label,domain",
            [GOOD, ("so-so", "3", "a")],
            "line 3: the label is '3', not 0, 1, mixed, negative, neutral or positive",
        ),
        ("text,label,domain", [GOOD, BAD, ("fine", "1", "b")], "the domain 'b' has no negative texts to train on"),
        ("text,label,domain", [GOOD, (" ", "0", "a")], "line 3: the text or the domain is empty"),
        ("text,label,domain", [GOOD, BAD], "there are too few negative and positive texts to hold out"),
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
    assert (
        "there is no domain 'cars' to leave out; domains: contrast, films, hotels, phones, talk, three-stars, typed"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("texts = 0", "texts: Input should be greater than or equal to 1"),
        ("[domains.films]\ncap = 3", "domains.films.cap: Extra inputs are not permitted"),
        ("texts =", "not valid TOML"),
        ("emojis = 0.1", "emojis are in the table of words beside the file `typed`, which is not stated"),
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


def test_unknown_emoji(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hand-written text with an emoji that the vocabulary does not contain gets one line, which names both."""
    rows = [("This song 💩", "negative", "f"), ("This song.", "positive", "f")]
    for name in ("contrast", "typed"):
        write(tmp_path / name / "learned.csv", "text,label,family", rows)
        write(tmp_path / name / "words.csv", "word,kind,sense", [("😍", "emoji", "for")])
        file = f'{name} = "{name}{"" if name == "contrast" else "/learned.csv"}"'
        (tmp_path / "plan.toml").write_text(f'{file}\nlearned = ["learned.csv"]', encoding="utf-8")
        assert train(folders, tmp_path / "plan.toml", tmp_path / "run", "--vocabulary-size", "20") == 2
        error = capsys.readouterr().err
        assert "no '💩', which decides the label of the text 'This song 💩'" in error and error.count("\n") == 1


def sampling(mixture: Mixture) -> Sampling:
    """Return two domains: 2 negative, 9 positive; 5 negative, 3 neutral, 5 positive and 8 without a label."""
    labels = [*[NEGATIVE] * 2, *[POSITIVE] * 9, *[NEGATIVE] * 5, *[NEUTRAL] * 3, *[POSITIVE] * 5, *[UNLABELLED] * 8]
    domains = np.array([0] * 11 + [1] * 21)
    return Sampling(mixture, np.array(labels), ("a", "b"), domains, np.array([0, 0, 0, 1]))


def test_sample() -> None:
    """An epoch reads as many texts of each label of a domain, as far as the repetitions allow."""
    mixture = Mixture(texts=4, repeats=2, unlabelled=3, others=2, domains={"b": Amount(texts=4, copies=2, repeats=1)})
    found, generator = sampling(mixture), np.random.default_rng(0)
    labelled = found.labelled(generator)
    counts = Counter(zip(found.domains[labelled].tolist(), found.labels[labelled].tolist(), strict=True))
    assert counts == {(0, NEGATIVE): 4, (0, POSITIVE): 4, (1, NEGATIVE): 8, (1, NEUTRAL): 6, (1, POSITIVE): 8}
    assert len({*labelled[found.domains[labelled] == 1]}) == 11
    others = found.others(labelled, generator)
    assert len(others) == 2 and not {*others} & {*labelled} and UNLABELLED not in found.labels[others]


def test_last_epoch() -> None:
    """The last epoch reads less of everything, and the texts of some domains more often."""
    last = Last(texts=3, unlabelled=2, others=1, sentences=4, copies={"a": 3})
    mixture = Mixture(texts=4, repeats=2, others=2, last=last, domains={"b": Amount(texts=2, copies=2, repeats=1)})
    found, generator = sampling(mixture).in_last_epoch(), np.random.default_rng(0)
    labelled = found.labelled(generator)
    counts = Counter(zip(found.domains[labelled].tolist(), found.labels[labelled].tolist(), strict=True))
    assert counts == {(0, NEGATIVE): 9, (0, POSITIVE): 9, (1, NEGATIVE): 4, (1, NEUTRAL): 4, (1, POSITIVE): 4}
    assert len(found.unlabelled(generator)) == 2
    assert len(found.others(labelled, generator)) == 1
    assert found.mixture.sentences == 4
    assert sampling(Mixture()).in_last_epoch().mixture == Mixture()


def test_held_out_weights() -> None:
    """Domains and labels count the same, and the opinions of all domains, except where there are few texts."""
    found, labels = sampling(Mixture()), np.array([NEGATIVE, POSITIVE, NEUTRAL, NEGATIVE])
    assert found.held_out_weights(labels).tolist() == [1, 1, 1, 1]
    assert found.held_out_opinions(labels).tolist() == [1, 1, 0, 1]
    many = replace(found, held_out_domains=np.zeros(1200, np.int64))
    assert many.held_out_opinions(np.repeat([NEGATIVE, NEUTRAL, POSITIVE], 400))[[0, 400]] == pytest.approx([0.075, 0])


def test_answered_sentences() -> None:
    """The sentences that have an answer are found in the texts, each once."""
    text = "This one is good. This one is bad. This is so, too."
    stored = StoredAnswers.of(["This one is bad.", "Other."], np.ones((2, 3), np.float32))
    assert answered_sentences([text, text], stored) == ["This one is bad."]


def test_unknown_answers() -> None:
    """A text of which it is unknown whether it is neutral is assumed to be as those with as clear an opinion."""
    opinion = np.linspace(-4, 4, 400).astype(np.float32)
    neutral = np.where(np.abs(opinion) < 2, 1, -3).astype(np.float32)
    neutral[::2] = np.nan
    opinion[:4] = neutral[:4] = np.nan
    found = with_means(neutral, opinion)
    assert np.isnan(found[:4]).all() and found[1::2][2:] == pytest.approx(neutral[1::2][2:])
    assert found[[20, 198, 202, 390]] == pytest.approx([-3, 1, 1, -3], abs=0.1)
    assert np.isnan(with_means(np.full(3, np.nan, np.float32), opinion[-3:])).all()


def test_shares() -> None:
    """The probabilities of the labels sum to 1 and have the log-odds that are stored."""
    found = shares(np.array([-1, np.nan], np.float32), np.array([2, 0], np.float32))
    assert found[0].sum() == pytest.approx(1) and np.isnan(found[1]).all()
    assert np.log(found[0, POSITIVE] / found[0, NEGATIVE]) == pytest.approx(2)
    assert np.log(found[0, NEUTRAL] / (1 - found[0, NEUTRAL])) == pytest.approx(-1)


def test_teacher_of_a_domain() -> None:
    """A teacher tells positive from negative texts."""
    log_odds = teacher_log_odds("accurate/1", ["A wonderful, moving film.", "The worst film ever. Awful."])
    assert log_odds[0] > 1 and log_odds[1] < -1


def test_doubtful_labels(tmp_path: Path) -> None:
    """A label that the stored answers hold for improbable is ignored, in a domain with an `agreement`."""
    rows = [("Good.", "1"), ("Bad.", "0"), ("Odd.", "1"), ("Nice.", "1"), ("Poor.", "0")] * 4
    rows = [(f"{text} {number}", label) for number, (text, label) in enumerate(rows)]
    write(tmp_path / "mine" / "train.csv", "text,label", rows)
    texts = [text for text, _ in rows if text.startswith(("Odd", "Bad"))]
    StoredAnswers.of(texts, np.tile(np.array([2, 0, -2], np.float32), (8, 1))).write(tmp_path / "answers.npz")
    for least, labelled in ((0.9, 16), (0.0, 20)):
        mixture = Mixture(answers="answers.npz", agreement=least)
        work = mixture_plan(mixture, [tmp_path / "mine"], 0.3, 0, tmp_path / "plan.toml")
        assert work.validation is not None
        assert len(work.train) + len(work.validation) == labelled
        assert {text[:3] for text in work.unlabelled} == ({"Odd"} if least else set())


def test_calibration() -> None:
    """The logits get their true scale, and 5.5 % of the opinions that count are answered with `neutral`."""
    generator = np.random.default_rng(0)
    true = 3 * generator.standard_normal((4000, 3)) + [0, -1, 0.5]
    labels = (true + generator.gumbel(size=true.shape)).argmax(axis=1)
    opinions = np.where((labels != NEUTRAL) & (np.arange(4000) < 3000), 1.0, 0).astype(np.float32)
    factor, offset = calibration((true / 2 + 1).astype(np.float32), labels, np.ones(4000, np.float32), opinions)
    assert factor == pytest.approx(2, rel=0.1)
    assert offset[POSITIVE] - offset[NEGATIVE] == pytest.approx(0, abs=0.2)
    lost = (factor * (true / 2 + 1) + offset).argmax(axis=1) == NEUTRAL
    assert lost[opinions > 0].mean() == pytest.approx(0.055, abs=0.001)
