"""The profile of labelled texts, which training and `check-data` print with warnings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer, learn
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import Examples, Plan, Profile, fitting_length, profile, use_of
from tests.processes import PROJECT


def test_sample(capsys: pytest.CaptureFixture[str]) -> None:
    """The sample of the README can be read, and has enough rows of each label."""
    assert main(["check-data", str(PROJECT / "docs" / "tickets.csv")]) == 0
    shown = capsys.readouterr()
    assert "fewer than" not in shown.out and shown.err == ""
    assert shown.out.count("to train on") == 3


def examples(*rows: tuple[str, int]) -> Examples:
    return Examples([text for text, _ in rows], np.array([label for _, label in rows], np.int64))


def profiled(
    train: Examples,
    test: Examples | None = None,
    tokenizer: str = "words",
    start: VocabularyTokenizer | None = None,
    vocabulary_size: int = 5000,
) -> Profile:
    work = Plan(("bad", "good"), train, None, test, "a.csv", len(train), None, None if test is None else "b.csv")
    configuration = Configuration(tokenizer=tokenizer, max_tokens=5, vocabulary_size=vocabulary_size)
    known = () if start is None else start.words
    return profile(use_of(configuration, work), learn(configuration, train.texts, known), start)


def test_counts() -> None:
    """Labels, lengths, truncated texts, unknown tokens and repeated texts are counted."""
    train = examples(("a b", 0), ("a b", 1), ("c", 1), ("c", 1), ("a b c d e f g", 1))
    found = profiled(train, examples(("a b", 1), ("x y", 0)))
    assert found.labels == (("bad", 1, 0, 1), ("good", 4, 0, 1))
    assert found.majority == ("good", 0.5)
    assert found.lengths == (3, 8, 8, 8)
    assert (found.truncated, found.unknown) == (0.2, 2 / 6)
    assert (found.repeated, found.contradictory, found.leaked) == (2, 1, 1)
    said = "\n".join(found.warnings())
    for warning in ("1 text to measure on is also", "1 training text with several labels", "33.3%"):
        assert warning in said


def test_profile_without_test_texts() -> None:
    """Without test texts, the majority baseline and the unknown tokens are those of the training split."""
    found = profiled(examples(*[("a", 1)] * 9, ("b", 0)))
    assert (found.majority, found.unknown, found.leaked) == (("good", 0.9), 0, 0)
    assert any("--class-weights balanced" in warning for warning in found.warnings())


def test_many_unknown_words() -> None:
    """The warning names a larger vocabulary only if the vocabulary is full, and else more training texts."""
    train, test = examples(*[(f"a b w{n}", n % 2) for n in range(20)]), examples(("a b", 0), ("x y z", 1))
    said = "\n".join(profiled(train, test).warnings())
    assert "42.9% of the tokens are unknown, most of which are in no training text: try more training texts" in said
    assert "--vocabulary-size" not in said
    said = "\n".join(profiled(train, examples(("a w1", 0), ("b w2 z", 1)), vocabulary_size=5).warnings())
    assert "42.9% of the tokens are unknown, because the vocabulary is full: try a larger --vocabulary-size" in said
    assert "more training texts" not in said
    assert "unknown" not in "\n".join(profiled(train, examples(("a b", 0), ("w1 w2 z", 1))).warnings())


def test_start_that_does_not_know_the_words() -> None:
    """A warning tells to start anew if the model to start from does not know the words of the texts."""
    train = examples(*[("ein guter film", n % 2) for n in range(20)])
    [said] = [each for each in profiled(train, start=learn(Configuration(), ["film"])).warnings() if "unknown" in each]
    assert said.startswith(
        "50.0% of the tokens of the training texts are unknown to the model that the training starts"
    )
    assert said.endswith("pass --init-from none")
    known = profiled(train, start=learn(Configuration(), ["ein guter film"]))
    assert "unknown" not in "\n".join(known.warnings())


def test_rare_labels() -> None:
    """A warning names labels with few training texts, and their numbers."""
    said = "\n".join(profiled(examples(*[(f"text {number}", int(number > 2)) for number in range(20)])).warnings())
    assert "labels with fewer than 10 texts to train on: 'bad' (3);" in said


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("这部电影真的很好看。", "Chinese characters"),
        ("ตอนจบจริงๆสวยงาม", "Thai"),
        ("とてもたのしい映画", "Japanese kana"),
    ],
)
def test_scripts_without_spaces(text: str, script: str) -> None:
    """A warning for scripts without spaces between words suggests character n-grams."""
    train = examples((text, 0), (text + text, 1))
    [warning, *_] = profiled(train).warnings()
    assert script in warning
    assert "--tokenizer characters:1-3" in warning
    [warning, *others] = profiled(train, start=learn(Configuration(), ["film"])).warnings()
    assert "--init-from none --tokenizer characters:1-3" in warning  # a start keeps its tokenizer
    assert not any("unknown" in each for each in others)
    assert profiled(train, tokenizer="characters:1-3").unseparated == ()
    assert profiled(examples(("ein langer Satz mit 一 Zeichen", 0), ("привет", 1))).unseparated == ()


def test_check_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check-data` reads and refuses data as training does, and lists the rows that it leaves out."""
    path = tmp_path / "tickets.csv"
    path.write_text("text,label\n" + "".join(f"a {n},x\nb {n},y\n" for n in range(10)) + ",x\n,y\n")
    assert main(["check-data", str(path)]) == 2
    assert "lines 22, 23 (2 rows): the column 'text' is empty" in capsys.readouterr().err
    assert main(["check-data", str(path), "--on-bad-rows", "skip"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "20 texts of tickets.csv:\n  x         8 to train on         8 to decide on         2 to measure on\n"
    )
    assert f"warning: left out: {path}: lines 22, 23 (2 rows)" in shown
    assert main(["check-data", str(path), "--on-bad-rows", "report"]) == 0
    assert f"warning: left out: {path}: line 23: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "tokens"),
    [([], "451"), (["--max-tokens", "30"], "30"), (["--preset", "text-cnn"], "400")],
    ids=["default", "flag", "other preset"],
)
def test_length_of_the_default_preset(
    flags: list[str], tokens: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a flag, the default preset reads 95 % of the training texts whole."""
    path = tmp_path / "texts.csv"
    lengths = [450] * 49 + [2000]  # and the start of a text
    rows = [f"{'word ' * length}{number},{number % 2}\n" for number, length in enumerate([n - 1 for n in lengths])]
    path.write_text("text,label\n" + "".join(rows))
    assert main(["check-data", str(path), "--test-fraction", "0", *flags]) == 0
    assert f"cut to {tokens} tokens" in capsys.readouterr().out


def test_length_has_limits() -> None:
    """The fitting length is within its limits for short and for long texts."""
    tokenizer = learn(Configuration(), ["a b c"])
    assert fitting_length(["a"], tokenizer, 4, 8) == 4
    assert fitting_length(["a " * 20], tokenizer, 4, 8) == 8
    assert fitting_length(["a " * 5], tokenizer, 4, 8) == 6
